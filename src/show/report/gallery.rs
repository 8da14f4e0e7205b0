//! A run's photos in the space that its encoder has learned.

use super::facts::chart;
use super::picture::jpeg;
use super::{detector, segmenter};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::photos::views::{CropBox, resized_crop};
use crate::photos::{Album, Rgb};
use crate::pretrain::{Config, album, checkpoint, judge_photos, pretraining_photos, starting_encoder};
use crate::run::{DETECTORS, Kind, SEGMENTERS};
use crate::show::figures::{Drawing, Figure, Rows, Sampler, Study, gone};
use crate::transfer::classify::{self, Neighbour, nearest, principal, tsne, unit};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The longer side of a thumbnail in pixels, and the quality of its JPEG.
const THUMBNAIL: usize = 128;
const QUALITY: u8 = 72;
/// Photos of a detector or a segmenter at most, the worst.
const WORST: usize = 40;
/// Neighbours of each photo.
const NEIGHBOURS: usize = 8;
/// Of so many photos Fig. 4 shows some, as `vista figures` does.
const QUERIES: usize = 60;
/// Principal components that t-SNE starts from.
const COMPONENTS: usize = 30;

/// The photos of a run's page, at most `count` of them (at least two), drawn by its seed, by its encoder before training
/// and as the checkpoint in its folder holds it: `{place, of, warnings, classes, photos, labelled, maps, figures}`. `progress`
/// hears how much of the work is done, and of how much.
///
/// Neighbours are those of MLS, Fig. 4: a crop of each photo against another crop of every other one, by the features g. The
/// maps are of the features of whole photos, as kNN and probes see them; where a run's own photos have no labels, those that it
/// is judged on are on the maps too, half as many.
///
/// # Errors
/// [`Error::Input`] or [`Error::Io`] if there is no checkpoint, the run's photos are no longer there, or fewer than two can be
/// decoded; the device's.
pub fn gallery(
    folder: &(impl AsRef<Path> + ?Sized),
    count: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Value> {
    let folder = folder.as_ref();
    let text = std::fs::read_to_string(folder.join("config.toml")).unwrap_or_default();
    match Kind::of(&text) {
        Some(&DETECTORS) => return detector::detections(folder, &text, count.min(WORST)),
        Some(&SEGMENTERS) => return segmenter::segmented(folder, &text, count.min(WORST)),
        _ => {}
    }
    let (after, config) = checkpoint::load(&checkpoint_of(folder), device)?;
    let before = starting_encoder(&config, device)?;
    let album = album(&config, pretraining_photos(&config)?)?;
    let count = count.max(2).min(album.photos().len());
    let judged = match album.photos().classes().is_empty() {
        true => judged(&config),
        false => None,
    };
    let others = judged.as_ref().map_or(0, |judged| (count / 2).max(2).min(judged.photos().len()));
    // Photos decoded, queries and keys embedded, whole photos embedded.
    let (total, mut done) = (4 * count + 2 * others, 0);
    let mut more = |n: usize| {
        done += n;
        progress(done, total);
    };
    let sampler = Sampler { album: &album, views: &config.views, seed: config.seed, device };
    let ids = sampler.photos(count, &|_| true, &mut more)?;
    let study = Study::new(&sampler, [&before, &after], &ids, ids.len(), &mut more)?;
    let whole = |album: &Album, ids: &[usize], more: &mut dyn FnMut(usize)| {
        let mut embedded = 0;
        let whole = classify::embed(&after.backbone, album, ids, &config.views, device, &mut |n| {
            more(n - embedded);
            embedded = n;
        })?;
        if whole.kept != ids {
            let place = album.photos().place();
            return Err(Error::input("photos changed while they were read", place, "leave them meanwhile"));
        }
        Ok(whole.values)
    };
    let mut values = whole(&album, &ids, &mut more)?;
    let width = values.len() / ids.len();
    let (mut classes, mut labelled) = (album.photos().classes(), Vec::new());
    if let Some(judged) = &judged {
        let sampler = Sampler { album: judged, views: &config.views, seed: config.seed, device };
        // Without them, as where only one can be decoded, the map is of the run's own.
        if let Ok(ids) = sampler.photos(others, &|_| true, &mut more) {
            values.extend(whole(judged, &ids, &mut more)?);
            labelled = ids.par_iter().map(|&id| Ok(thumbnail(judged, id)?.0)).collect::<Result<_>>()?;
            classes = judged.photos().classes();
        }
    }
    let [queries, keys] = study.samples();
    let found = nearest(device, &queries.points(1, false), &keys.points(1, false), NEIGHBOURS)?;
    let entry =
        |(row, &id): (usize, &usize)| photo(&album, id, [queries.crops[row], keys.crops[row]], &found[row]);
    let photos: Vec<Value> = ids.par_iter().enumerate().map(entry).collect::<Result<_>>()?;
    let purity = study.purity(config.whole("k").unwrap_or(20))?;
    let figures =
        [Some(drawn(&study.scores()?)), Some(crops(&study.rows(QUERIES)?)), purity.as_ref().map(drawn)];
    Ok(json!({
        "place": album.photos().place(),
        "of": album.used(),
        "warnings": album.all_left_out(),
        "classes": classes,
        "photos": photos,
        "labelled": labelled,
        "maps": maps(device, &values, width)?,
        "figures": figures.into_iter().flatten().collect::<Vec<_>>(),
    }))
}

/// In place of the photos: why there are none.
pub fn missing(why: impl Into<String>) -> Value {
    json!({ "missing": why.into() })
}

/// The encoder of a run.
pub(super) fn checkpoint_of(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

/// The labelled photos that a run is judged on, if there are any and they are still there.
fn judged(config: &Config) -> Option<Album> {
    let [_, test] = judge_photos(config).ok()??;
    album(config, test).ok()
}

/// A photo on the page: its thumbnail, its crops as `[x, y, width, height]` in hundredths of it, its neighbours.
fn photo(album: &Album, id: usize, [query, key]: [CropBox; 2], near: &[Neighbour]) -> Result<Value> {
    let (mut all, size) = thumbnail(album, id)?;
    // Crops are given in the pixels of the photo itself, which may have been shrunk.
    let [w, h] = size.map(|side| side as f64);
    let share = |b: CropBox| {
        let area = [b.x0 as f64 / w, b.y0 as f64 / h, b.width() as f64 / w, b.height() as f64 / h];
        area.map(|share| (1e4 * share).round() / 100.0)
    };
    all["query"] = json!(share(query));
    all["key"] = json!(share(key));
    all["near"] = near.iter().map(|n| json!([n.key, round(n.similarity, 3)])).collect();
    Ok(all)
}

/// A photo's name, labels, thumbnail and a digest of all its pixels; and its own size.
fn thumbnail(album: &Album, id: usize) -> Result<(Value, [usize; 2])> {
    let bad = |why: String| gone(album.photos(), id, why);
    let photo = album.photo(id).map_err(bad)?;
    let Rgb { width, height, .. } = photo.image;
    let longer = width.max(height);
    let side = |x: usize| (x * THUMBNAIL.min(longer) / longer).max(1);
    let small = resized_crop(&photo.image, CropBox::whole(&photo.image), side(width), side(height));
    let shown = json!({
        "name": album.photos().name(id),
        "labels": album.photos().labels(id),
        "jpeg": jpeg(&small, QUALITY).map_err(bad)?,
        "pixels": crc32fast::hash(&photo.image.data),
        "size": [small.width, small.height],
    });
    Ok((shown, [photo.width, photo.height]))
}

/// The planes on which photos are shown: name, caption, `[x, y]` of each photo in 0 to 1.
fn maps(device: &Device, values: &[f32], width: usize) -> Result<Vec<Value>> {
    let (scores, shares) = principal(device, &unit(values, width), width, COMPONENTS)?;
    let count = shares.len();
    if count < 2 {
        return Ok(Vec::new());
    }
    let first: Vec<f32> = scores.chunks(count).flat_map(|row| [row[0], row[1]]).collect();
    let [x, y] = [0, 1].map(|axis| format!("{:.0}", 100.0 * shares[axis]));
    let held = format!(
        "The two directions along which the photos' features differ most: {x} and {y} % of the variance."
    );
    let near = "Photos that are close in all directions lie close; distances between groups mean little.";
    let mut maps = vec![json!({ "name": "PCA", "note": held, "at": framed(&first) })];
    maps.extend(tsne(&scores, count).map(|at| json!({ "name": "t-SNE", "note": near, "at": framed(&at) })));
    Ok(maps)
}

/// Points brought into the unit square, one scale for both axes.
fn framed(plane: &[f32]) -> Vec<[f64; 2]> {
    let range = |c: usize| {
        let column = plane.iter().skip(c).step_by(2);
        column.fold([f32::MAX, f32::MIN], |[a, b], &v| [a.min(v), b.max(v)])
    };
    let ranges = [range(0), range(1)];
    let extent = ranges.iter().map(|[a, b]| b - a).fold(1e-12, f32::max);
    let place = |v: f32, [a, b]: [f32; 2]| round((v - (a + b) / 2.0) / extent + 0.5, 4);
    plane.chunks(2).map(|p| [place(p[0], ranges[0]), place(p[1], ranges[1])]).collect()
}

fn round(value: f32, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (f64::from(value) * scale).round() / scale
}

/// A figure as the page shows it: its caption and charts.
fn drawn(figure: &Figure) -> Value {
    let charts: Vec<Value> = match &figure.drawing {
        Drawing::Charts(panels, _) => panels.iter().map(chart).collect(),
        Drawing::Picture(_) => Vec::new(),
    };
    json!({ "name": figure.name, "caption": figure.json["caption"], "charts": charts })
}

/// Fig. 4 as the page shows it, which has the photos: numbers of the queries and of their nearest with the cosines.
fn crops(Rows { rows, caption, .. }: &Rows) -> Value {
    let near = |found: &[Neighbour]| {
        found.iter().map(|n| json!([n.key, round(n.similarity, 3)])).collect::<Vec<_>>()
    };
    let rows: Vec<Value> = rows.iter().map(|(query, found)| json!([query, near(found)])).collect();
    json!({ "name": "fig4_neighbours", "caption": caption, "rows": rows })
}
