//! The page of a segmenter's run: what it was trained on, how well it tells pixels apart, where it is wrong.

use super::facts::{RunFacts, grouped, history, last, made, state, time};
use super::picture::jpeg;
use crate::error::{Error, Result};
use crate::files;
use crate::photos::{IGNORED, LabelMap, PixelClasses};
use crate::run::settings::flatten;
use crate::run::{History, Settings};
use crate::shell;
use crate::show::figures::{confusion_matrix, course, escaped, label_map};
use crate::transfer::metrics::Confusion;
use crate::transfer::segment::{Judged, LabelledAlbum, SegmentConfig};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a run said of the photos that it is judged on, in its folder.
const FOUND: &str = "segmented.json";
/// LIMIT: bytes of it.
const MAX_FOUND: u64 = 1 << 30;
/// Quality of the pictures.
const QUALITY: u8 = 80;

/// What is kept of a judgement for the page.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What the segmenter tells apart.
    classes: PixelClasses,
    /// Pixels of each class that were taken for each class.
    confusion: Vec<Vec<u64>>,
    worst: Vec<KeptPhoto>,
}

/// A photo with what was said of it.
#[derive(Serialize, Deserialize)]
struct KeptPhoto {
    name: String,
    right: f64,
    size: [usize; 2],
    /// Runs of pixels of one class, row by row: class and length in turn.
    runs: Vec<u32>,
}

/// What the folder of a segmenter's run says, whose configuration this is.
pub(super) fn facts(folder: &Path, text: &str) -> Result<RunFacts> {
    let config = SegmentConfig::kept(text, &folder.join("config.toml").display().to_string())?;
    let history = history(folder)?;
    let [word, told] = state(folder, &history);
    let name = folder.display().to_string();
    let json = json!({
        "name": name,
        "lead": lead(&config, &history),
        "state": { "word": word, "told": told },
        "knn": judged(&history),
        "time": time(&history),
        "facts": made(&history).into_iter().map(|(key, value)| [key.to_string(), value]).collect::<Vec<_>>(),
        "warnings": history.of_kind("warning").cloned().collect::<Vec<Value>>(),
        "replaced": history.of_kind("replaced").cloned().collect::<Vec<Value>>(),
        "command": format!("vista segment --config {} --out {}", shell::path(folder.join("config.toml")), shell::path(folder.with_extension("again"))),
        "config": config.to_toml(),
        "settings": flatten(&config.table()).into_iter().map(|(key, value)| [key, value.to_string()]).collect::<Vec<_>>(),
    });
    Ok(RunFacts { name, json, judged: None, panels: course(&history) })
}

fn lead(config: &SegmentConfig, history: &History) -> String {
    let count = history.of_kind("start").last().and_then(|start| start["photos"]["count"].as_u64());
    let photos = count.map_or("the photos".to_string(), |count| format!("{} photos", grouped(count)));
    let place = config.data.photos.as_ref().map_or(String::new(), |place| format!(" of {}", place.display()));
    let start = match &config.init {
        Some(init) => format!("from the encoder in {}", init.display()),
        None => "from random weights".into(),
    };
    let [steps, seconds] = ["step", "seconds"].map(|field| last(history, field));
    let model = &config.segmenter;
    format!(
        "A {} on a {} of width {} was trained on {photos}{place}, {start}, for {:.1} minutes. That was {} steps of {} crops of {} pixels.",
        model.kind,
        model.backbone,
        model.width,
        seconds / 60.0,
        grouped(steps as u64),
        config.train.batch,
        config.crops.size,
    )
}

/// The last judgement as bars.
fn judged(history: &History) -> Option<Value> {
    let last = history.of_kind("miou").last()?;
    let row = |name: &str, field: &str| json!({ "name": name, "top1": last[field].as_f64().unwrap_or_default(), "error": null, "balanced": null });
    let rows = [row("mIoU", "miou"), row("mAcc", "macc"), row("aAcc", "aacc")];
    Some(json!({
        "head": ["measure", "", "share", ""],
        "rows": rows,
        "told": format!("Of {} photos. mIoU: mean over classes of intersection over union; mAcc: mean over classes of the pixels found; aAcc: of all pixels.", last["photos"]),
    }))
}

/// Keeps what a segmenter said of the photos that it is judged on, for its page.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
pub fn keep_segmented(folder: &Path, judged: &Judged, test: &LabelledAlbum) -> Result<PathBuf> {
    let n = test.labels.classes().len();
    let row = |label: usize| (0..n).map(|predicted| judged.confusion.count(label, predicted)).collect();
    let worst = judged.worst.iter().map(|photo| KeptPhoto {
        name: test.album.photos().name(photo.photo).to_string(),
        right: photo.right,
        size: photo.map.size,
        runs: runs(&photo.map.classes),
    });
    let kept = Kept {
        classes: test.labels.known().clone(),
        confusion: (0..n).map(row).collect(),
        worst: worst.collect(),
    };
    let path = folder.join(FOUND);
    files::replace(&path, json!(kept).to_string().as_bytes())?;
    Ok(path)
}

fn runs(classes: &[u8]) -> Vec<u32> {
    classes.chunk_by(|a, b| a == b).flat_map(|run| [u32::from(run[0]), run.len() as u32]).collect()
}

/// What was said beside what is there: `{detections: {title, charts, head, classes, worst}}`, by what the run kept of it; the `count` worst
/// photos are shown.
///
/// # Errors
/// [`Error::Input`] if nothing was kept, or the photos are no longer there.
pub(super) fn segmented(folder: &Path, text: &str, count: usize) -> Result<Value> {
    let config = SegmentConfig::kept(text, &folder.join("config.toml").display().to_string())?;
    let path = folder.join(FOUND);
    let changed = || {
        Error::input("it does not fit the photos", path.display().to_string(), "judge the segmenter again")
    };
    let kept: Kept = serde_json::from_str(&files::read_text(&path, MAX_FOUND)?).map_err(|_| changed())?;
    let Some(test) = LabelledAlbum::to_be_judged_on(&config.data, &kept.classes)? else {
        let advice = "give photos to be judged on by --test-photos and --test-labels";
        return Err(Error::input("the segmenter was not judged", folder.display().to_string(), advice));
    };
    let classes = test.labels.classes();
    let n = classes.len();
    if kept.confusion.len() != n || kept.confusion.iter().any(|row| row.len() != n) {
        return Err(changed());
    }
    let confusion = Confusion::of(&kept.confusion, IGNORED);
    let mut worst = String::new();
    for photo in kept.worst.iter().take(count) {
        worst += &figure(&test, photo).unwrap_or_default();
    }
    let worst = format!(
        "{}<p>What is there and what was said, the photos with most pixels wrong first.</p>\n{worst}",
        picture(&confusion_matrix(&confusion, classes))
    );
    Ok(json!({ "detections": {
        "title": "Segmentation", "charts": [], "head": ["class", "IoU", "accuracy", "of the pixels"],
        "classes": table(&confusion, &test), "worst": worst,
    } }))
}

fn picture(svg: &str) -> String {
    let bytes = BASE64_STANDARD.encode(svg);
    format!(
        "<figure><img style=\"max-width:100%\" alt=\"Which classes were taken for which\" src=\"data:image/svg+xml;base64,{bytes}\"></figure>\n"
    )
}

/// A row for each class: name, IoU, accuracy, share of the labelled pixels.
fn table(confusion: &Confusion, test: &LabelledAlbum) -> Vec<Vec<String>> {
    let percent =
        |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{:.1} %", 100.0 * value));
    let (iou, accuracies, labelled) = (confusion.iou(), confusion.accuracies(), confusion.labelled());
    let all = labelled.iter().sum::<u64>().max(1) as f64;
    let row = |(class, known): (usize, &crate::photos::PixelClass)| {
        let share = Some(labelled[class] as f64 / all);
        vec![known.name.clone(), percent(iou[class]), percent(accuracies[class]), percent(share)]
    };
    test.labels.classes().iter().enumerate().map(row).collect()
}

/// A photo with what is there and what was said of it; nothing of one that has changed.
fn figure(test: &LabelledAlbum, kept: &KeptPhoto) -> Option<String> {
    let photos = test.album.photos();
    let id = (0..photos.len()).find(|&id| photos.name(id) == kept.name)?;
    let photo = test.album.photo(id).ok()?;
    let size = [photo.height, photo.width];
    let there = test.labels.map(id, size, photos.objects_in(id, size).ok()?).ok()?;
    let run = |pair: &[u32; 2]| std::iter::repeat_n(pair[0] as u8, pair[1] as usize);
    let pixels: u64 = kept.runs.as_chunks::<2>().0.iter().map(|pair| u64::from(pair[1])).sum();
    if kept.size != size || pixels != (size[0] * size[1]) as u64 {
        return None;
    }
    let said = LabelMap { size, classes: kept.runs.as_chunks::<2>().0.iter().flat_map(run).collect() };
    let shown = |map: &LabelMap, what: &str| {
        let bytes = jpeg(&label_map(&photo.image, map, test.labels.classes()), QUALITY).ok()?;
        Some(format!(
            r#"<img style="width:49%;vertical-align:top" alt="{what}" title="{what}" src="data:image/jpeg;base64,{bytes}">"#
        ))
    };
    let caption = format!("{}: {:.1} % of the labelled pixels right", kept.name, 100.0 * kept.right);
    Some(format!(
        "<figure>{} {}<figcaption>{}</figcaption></figure>\n",
        shown(&there, "what is there")?,
        shown(&said, "what was said")?,
        escaped(&caption)
    ))
}
