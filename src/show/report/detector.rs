//! The page of a detector's run: what it was trained on, how well it finds objects, where it is wrong.

use super::detected::worst;
use super::facts::{RunFacts, chart, grouped, history, last, made, state, time};
use crate::error::{Error, Result};
use crate::files;
use crate::photos::Photos;
use crate::run::settings::flatten;
use crate::run::{History, Settings};
use crate::shell;
use crate::show::figures::{course, precision_recall};
use crate::transfer::detect::{Classes, DetectConfig, DetectSets, Judged, judge_again};
use crate::transfer::metrics::detection::{Detection, DetectionAp, results};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a run found in the photos that it is judged on, in COCO's results format, in its folder.
const FOUND: &str = "found.json";
/// LIMIT: bytes of it; a hundred objects with masks in each of 40,000 photos have 2 GiB.
const MAX_FOUND: u64 = 4 << 30;

/// What the folder of a detector's run says, whose configuration this is.
pub(super) fn facts(folder: &Path, text: &str) -> Result<RunFacts> {
    let config = DetectConfig::kept(text, &folder.join("config.toml").display().to_string())?;
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
        "command": format!("vista detect --config {} --out {}", shell::path(folder.join("config.toml")), shell::path(folder.with_extension("again"))),
        "config": config.to_toml(),
        "settings": flatten(&config.table()).into_iter().map(|(key, value)| [key, value.to_string()]).collect::<Vec<_>>(),
    });
    Ok(RunFacts { name, json, judged: None, panels: course(&history) })
}

fn lead(config: &DetectConfig, history: &History) -> String {
    let count = history.of_kind("start").last().and_then(|start| start["photos"]["count"].as_u64());
    let photos = count.map_or("the photos".to_string(), |count| format!("{} photos", grouped(count)));
    let place = config.data.annotations.as_ref().or(config.data.photos.as_ref());
    let place = place.map_or(String::new(), |place| format!(" of {}", place.display()));
    let start = match &config.init {
        Some(init) => format!("from the encoder in {}", init.display()),
        None => "from random weights".into(),
    };
    let [steps, seconds] = ["step", "seconds"].map(|field| last(history, field));
    let (kind, backbone, width) = (config.model.kind, config.model.backbone, config.model.width);
    format!(
        "A {kind} on a {backbone} of width {width} was trained on {photos}{place}, {start}, for {:.1} minutes. That was {} steps of {} \
         photos.",
        seconds / 60.0,
        grouped(steps as u64),
        config.train.batch
    )
}

/// The last judgement as bars: average precision, and that at an IoU of .50 beside it.
fn judged(history: &History) -> Option<Value> {
    let last = history.of_kind("ap").last()?;
    let row = |name: &str, fields: [&str; 2]| {
        let [ap, at_50] = fields.map(|field| last[field].as_f64());
        ap.map(|ap| json!({ "name": name, "top1": ap, "error": null, "balanced": at_50 }))
    };
    let rows = [row("boxes", ["ap", "ap50"]), row("masks", ["mask_ap", "mask_ap50"])];
    Some(json!({
        "head": ["average precision", "", "AP", "AP50"],
        "rows": rows.into_iter().flatten().collect::<Vec<_>>(),
        "told": format!("Of {} photos with {} objects. AP is the mean over the IoUs .50 to .95.", last["photos"], last["objects"]),
    }))
}

/// Keeps what a detector found in all photos that it is judged on, for its page.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
pub fn keep_found(folder: &Path, judged: &Judged, photos: &Photos, classes: &Classes) -> Result<PathBuf> {
    let path = folder.join(FOUND);
    write_found(&path, &judged.detections, photos, classes)?;
    Ok(path)
}

/// Writes detections as COCO's results.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
pub fn write_found(path: &Path, found: &[Detection], photos: &Photos, classes: &Classes) -> Result<()> {
    let mut text = Vec::new();
    results::write(&mut text, found, &ids(photos), &classes.ids).map_err(|e| Error::io(path, e))?;
    files::replace(path, &text)
}

fn ids(photos: &Photos) -> Vec<Value> {
    (0..photos.len()).map(|photo| photos.image_id(photo)).collect()
}

/// What was found, beside what is there: `{detections: {title, charts, head, classes, worst}}`, by what the run kept of it; the `count` worst photos are
/// shown.
///
/// # Errors
/// [`Error::Input`] if nothing was kept, or the photos are no longer there.
pub(super) fn detections(folder: &Path, text: &str, count: usize) -> Result<Value> {
    let config = DetectConfig::kept(text, &folder.join("config.toml").display().to_string())?;
    let path = folder.join(FOUND);
    let DetectSets { test, classes, .. } = DetectSets::open(&config)?;
    let Some(test) = test else {
        let advice = "give photos to be judged on by --test";
        return Err(Error::input("the detector was not judged", folder.display().to_string(), advice));
    };
    let found = files::read_text(&path, MAX_FOUND)?;
    let found = results::read(&found, &path.display().to_string(), &ids(test.photos()), &classes.ids)?;
    let judged = judge_again(&config, classes.names.len(), &test, found)?;
    let charts: Vec<Value> = precision_recall(&judged.boxes, &classes.names).iter().map(chart).collect();
    let worst = worst(&judged.truths, &judged.detections, &classes.names, count, &mut |id| {
        let photo = test.photo(id).map_err(Error::Run)?;
        Ok((test.photos().name(id).to_string(), photo.image.clone()))
    })?;
    Ok(
        json!({ "detections": { "title": "Detections", "head": ["class", "AP", "AP50", "AP75", "AP of masks"], "charts": charts, "classes": table(&judged, &classes.names), "worst": worst } }),
    )
}

/// A row for each class, with what is known of it: name, AP, AP50 and AP75 of boxes, AP of masks.
fn table(judged: &Judged, names: &[String]) -> Vec<Vec<String>> {
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    let of = |ap: Option<&DetectionAp>, class: usize| ap.and_then(|ap| ap.classes[class].clone());
    let row = |(class, name): (usize, &String)| {
        let boxes = of(Some(&judged.boxes), class)?;
        let masks = of(judged.masks.as_ref(), class).map_or(String::new(), |masks| percent(masks.mean()));
        Some(vec![name.clone(), percent(boxes.mean()), percent(boxes.at(50)), percent(boxes.at(75)), masks])
    };
    names.iter().enumerate().filter_map(row).collect()
}
