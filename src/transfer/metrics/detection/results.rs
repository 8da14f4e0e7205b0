//! COCO's results file: what pycocotools' `loadRes` reads.
//!
//! `[{"image_id": .., "category_id": .., "bbox": [x, y, width, height], "score": .., "segmentation": {"size": [height, width],
//! "counts": "run-length code"}}, ..]`; `segmentation` where there is a mask.
//!
//! ```
//! # use vista::transfer::metrics::detection::{Detection, results};
//! let cat = Detection { photo: 0, class: 0, rect: [1.0, 2.0, 30.0, 40.0], score: 0.5, mask: None };
//! let (photos, classes) = ([139.into()], [17.into()]); // ids in the annotations
//! let mut file = Vec::new();
//! results::write(&mut file, &[cat.clone()], &photos, &classes)?;
//! let text = String::from_utf8(file)?;
//! assert_eq!(text, r#"[{"image_id":139,"category_id":17,"bbox":[1.0,2.0,30.0,40.0],"score":0.5}]"#);
//! assert_eq!(results::read(&text, "results.json", &photos, &classes)?, [cat]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::io::Write;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Detection;
use crate::error::{Error, Result};
use crate::photos::Rle;

#[derive(Serialize)]
struct Written<'d> {
    image_id: &'d Value,
    category_id: &'d Value,
    bbox: [f64; 4],
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Code>,
}

#[derive(Serialize)]
struct Code {
    size: [usize; 2],
    counts: String,
}

/// Writes detections, one after another, under the ids of their photos and classes as the annotations have them.
///
/// # Errors
/// The writer's.
/// # Panics
/// If a detection's photo or class has no id.
pub fn write(
    out: impl Write,
    detections: &[Detection],
    photos: &[Value],
    classes: &[Value],
) -> std::io::Result<()> {
    let entries = detections.iter().map(|found| Written {
        image_id: &photos[found.photo],
        category_id: &classes[found.class],
        bbox: found.rect,
        score: found.score,
        segmentation: found.mask.as_ref().map(|mask| Code { size: mask.size, counts: mask.text() }),
    });
    Ok(serde_json::Serializer::new(out).collect_seq(entries)?)
}

#[derive(Deserialize)]
struct Read {
    image_id: Value,
    category_id: Value,
    bbox: Option<[f64; 4]>,
    score: f64,
    segmentation: Option<ReadCode>,
}

#[derive(Deserialize)]
struct ReadCode {
    size: [usize; 2],
    counts: Counts,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Text(String),
    Runs(Vec<u32>),
}

/// Reads detections of photos and classes that have these ids; `place` is the file's name. Ids are compared as values: `7` and `7.0` are one, `"7"`
/// is another.
///
/// An entry with a mask alone gets the rectangle around it. Other keys are passed over.
///
/// # Errors
/// [`Error::Input`] naming the entry, counted from 0: an id that is not known, neither a box nor a mask, a box of negative
/// size, a damaged mask, or text that is no such list.
pub fn read(text: &str, place: &str, photos: &[Value], classes: &[Value]) -> Result<Vec<Detection>> {
    let bad = |what: String, advice: &str| Error::input(what, place, advice);
    let entries: Vec<Read> = serde_json::from_str(text).map_err(|e| {
        let advice = "give a list of {image_id, category_id, bbox, score, segmentation}";
        bad(format!("no COCO results ({e})"), advice)
    })?;
    let places = |ids: &[Value]| ids.iter().enumerate().map(|(i, id)| (key(id), i)).collect();
    let [photos, classes]: [HashMap<String, usize>; 2] = [places(photos), places(classes)];
    let known = |ids: &HashMap<String, usize>, id: &Value, what: &str, i: usize| {
        let advice = "take the annotations that these results were made for";
        ids.get(&key(id)).copied().ok_or_else(|| bad(format!("entry {i}: {what} {id} is not known"), advice))
    };
    let mut detections = Vec::with_capacity(entries.len());
    for (i, entry) in entries.into_iter().enumerate() {
        let mask = entry.segmentation.map(|code| match code.counts {
            Counts::Text(text) => Rle::parse(&text, code.size),
            Counts::Runs(runs) => Rle::new(runs, code.size),
        });
        let advice = "write it again, or leave the entry out";
        let mask = mask.transpose().map_err(|why| bad(format!("entry {i}: its mask: {why}"), advice))?;
        let rect = match (entry.bbox, &mask) {
            (Some(rect), _) => rect,
            (None, Some(mask)) => mask.rect(),
            (None, None) => return Err(bad(format!("entry {i} has neither bbox nor segmentation"), advice)),
        };
        if rect[2] < 0.0 || rect[3] < 0.0 {
            let what = format!("entry {i}: a box of {} x {} pixels", rect[2], rect[3]);
            return Err(bad(what, "bbox is [x, y, width, height]"));
        }
        detections.push(Detection {
            photo: known(&photos, &entry.image_id, "image_id", i)?,
            class: known(&classes, &entry.category_id, "category_id", i)?,
            rect,
            score: entry.score,
            mask,
        });
    }
    Ok(detections)
}

/// An id as text, a whole number without a point.
fn key(id: &Value) -> String {
    match id.as_f64().filter(|number| number.fract() == 0.0 && id.is_f64()) {
        Some(number) => format!("{number}"),
        None => id.to_string(),
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/transfer/metrics/detection/results.rs"]
mod tests;
