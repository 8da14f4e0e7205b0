//! Objects: masks as run-length codes, and average precision of boxes and masks. Cases in JSON.

use super::case::{GoldenCase, Outputs, named};
use serde_json::{Map, Value, json};
use vista::photos::{Bitmap, Rle};
use vista::transfer::metrics::detection::{
    ClassAp, Detection, DetectionAp, Measure, Truth, coco, results, voc,
};
use vista::{Device, Result};

fn from_json<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The ids of a list's entries.
fn ids(case: &GoldenCase, key: &str) -> Vec<Value> {
    list(&case.attrs, key).iter().map(|entry| entry["id"].clone()).collect()
}

fn place(ids: &[Value], id: &Value) -> usize {
    ids.iter().position(|known| known == id).unwrap_or_else(|| panic!("id {id}"))
}

/// A mask as COCO's files have it: polygons, or a code whose counts are text or numbers.
fn mask(value: &Value, size: [usize; 2]) -> Rle {
    let counts = &value["counts"];
    match (value.is_array(), counts.as_str()) {
        (true, _) => Rle::polygons(&from_json::<Vec<Vec<f64>>>(value), size),
        (false, Some(text)) => Rle::parse(text, from_json(&value["size"])),
        (false, None) => Rle::new(from_json(counts), from_json(&value["size"])),
    }
    .expect("a mask")
}

fn given(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| !value.is_null())
}

fn truths(case: &GoldenCase, rect: impl Fn(&Value) -> [f64; 4]) -> Vec<Truth> {
    let [photos, classes] = ["images", "categories"].map(|key| ids(case, key));
    let truth = |entry: &Value| {
        let photo = place(&photos, &entry["image_id"]);
        let image = &case.attrs["images"][photo];
        let size = || [from_json(&image["height"]), from_json(&image["width"])];
        let plain = Truth::new(photo, place(&classes, &entry["category_id"]), rect(&entry["bbox"]));
        Truth {
            area: entry["area"].as_f64().unwrap_or(plain.area),
            crowd: entry["iscrowd"] == 1,
            difficult: entry["difficult"] == 1,
            mask: given(&entry["segmentation"]).map(|value| mask(value, size())),
            ..plain
        }
    };
    list(&case.attrs, "annotations").iter().map(truth).collect()
}

/// -1 where there is nothing to be found.
fn undefined(value: Option<f64>) -> f64 {
    value.unwrap_or(-1.0)
}

fn judged(case: &GoldenCase, ap: &DetectionAp, of: impl Fn(Option<&ClassAp>) -> Vec<f64>) -> Outputs {
    let numbers: Map<String, Value> =
        ap.summary.iter().map(|&(name, value)| (name.into(), json!(undefined(value)))).collect();
    let classes: Map<String, Value> = ids(case, "categories")
        .iter()
        .zip(&ap.classes)
        .map(|(id, class)| (id.to_string(), json!(of(class.as_ref()))))
        .collect();
    named(&json!({ "expected": numbers, "per_class": classes }))
}

pub fn coco_ap(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let [photos, classes] = ["images", "categories"].map(|key| ids(case, key));
    let found = results::read(&case.attrs["detections"].to_string(), "the case", &photos, &classes)?;
    // Through a results file and back: nothing of a detection is lost in it.
    let mut file = Vec::new();
    results::write(&mut file, &found, &photos, &classes).expect("a write to memory");
    let again = results::read(std::str::from_utf8(&file).expect("text"), "results", &photos, &classes)?;
    assert_eq!(again, found);
    let measure = if case.op == "coco_segm_ap" { Measure::Mask } else { Measure::Box };
    let ap = coco(&truths(case, from_json), &found, classes.len(), measure)?;
    let three = |class: Option<&ClassAp>| {
        let of = |number: &dyn Fn(&ClassAp) -> f64| undefined(class.map(number));
        vec![of(&ClassAp::mean), of(&|class| class.at(50)), of(&|class| class.at(75))]
    };
    Ok(judged(case, &ap, three))
}

pub fn voc_box_ap(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let [photos, classes] = ["images", "categories"].map(|key| ids(case, key));
    let rect = |[x0, y0, x1, y1]: [f64; 4]| [x0, y0, x1 - x0, y1 - y0];
    // VOC's corners are whole pixels counted from 1, both of them inside.
    let whole = |value: &Value| {
        let [x0, y0, x1, y1] = from_json(value);
        rect([x0 - 1.0, y0 - 1.0, x1, y1])
    };
    let found = list(&case.attrs, "detections").iter().map(|entry| Detection {
        photo: place(&photos, &entry["image_id"]),
        class: place(&classes, &entry["category_id"]),
        rect: rect(from_json(&entry["bbox"])),
        score: from_json(&entry["score"]),
        mask: None,
    });
    let found: Vec<Detection> = found.collect();
    let ap = voc(&truths(case, whole), &found, classes.len(), from_json(&case.attrs["metric"]))?;
    Ok(judged(case, &ap, |class| class.expect("objects of every class").ap.to_vec()))
}

fn bitmap(item: &Value) -> Bitmap {
    let rows: Vec<String> = from_json(&item["rows"]);
    let pixels = rows.iter().flat_map(|row| row.bytes().map(|c| c - b'0')).collect();
    Bitmap { size: from_json(&item["size"]), pixels }
}

fn rows(mask: &Bitmap) -> Vec<String> {
    let row = |row: &[u8]| row.iter().map(|pixel| char::from(b'0' + pixel)).collect();
    mask.pixels.chunks(mask.size[1]).map(row).collect()
}

pub fn rle(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let codes: Vec<Rle> = list(&case.attrs, "items").iter().map(|item| Rle::of(&bitmap(item))).collect();
    let item = |code: &Rle| {
        let read = Rle::parse(&code.text(), code.size).expect("its own text");
        assert_eq!(&read, code);
        json!({ "rows": rows(&read.bitmap()), "counts": code.counts, "string": code.text(), "area": code.area(),
            "bbox": code.rect() })
    };
    let mut all = json!({ "items": codes.iter().map(item).collect::<Vec<_>>() });
    for (key, crowd) in [("iou", false), ("iou_crowd", true)] {
        if given(&case.attrs[key]).is_some() {
            let row = |d: &Rle| codes.iter().map(|g| d.iou(g, crowd)).collect::<Vec<_>>();
            all[key] = json!(codes.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(named(&all))
}

pub fn rle_polygon(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let item = |item: &Value| {
        let polygons: Vec<Vec<f64>> = from_json(&item["polygons"]);
        let code = Rle::polygons(&polygons, from_json(&item["size"])).expect("polygons");
        json!({ "string": code.text(), "area": code.area(), "rows": rows(&code.bitmap()) })
    };
    Ok(named(&json!({ "items": list(&case.attrs, "items").iter().map(item).collect::<Vec<_>>() })))
}
