//! Any value at any place of a set's lists costs at most what it stands for, never the set.

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use vista::photos::{Photos, Source};

use crate::count;
use crate::memory::alone;
use crate::sets::{COCO, coco, voc, write};

/// Values that stand where others should.
fn values() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "",
        "a.png",
        "3",
        "1.0",
        "../x.png",
        "/etc/passwd",
        "\u{0}",
        "nan",
        "true",
        "é\n",
        "C:\\x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3..100i64).prop_map(Value::from),
        text.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(vec!["id", "file_name", "bbox", "x"]), inner), 0..4)
                .prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_string(), v))
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
        ]
    })
}

/// Every place below the top of a document, as a JSON pointer.
fn places(value: &Value, prefix: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let place = format!("{prefix}/{key}");
        places(value, &place, all);
        all.push(place);
    }
}

fn runs<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    alone(|| {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count(3000)) };
        TestRunner::new(config).run(&strategy, test).unwrap();
    });
}

/// The document of the tests with more images and annotations, so that one odd id that two entries share is no large
/// share of them.
fn document() -> Value {
    let mut document: Value = serde_json::from_str(COCO).unwrap();
    for id in 100..400 {
        document["images"].as_array_mut().unwrap().push(json!({"id": id, "file_name": "a.png"}));
        let annotation = json!({"id": id, "image_id": id, "category_id": 90, "bbox": [0, 0, 1, 1]});
        document["annotations"].as_array_mut().unwrap().push(annotation);
    }
    document
}

#[test]
fn any_value_at_any_place_of_a_coco_file_costs_at_most_that_entry() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    let document = document();
    let mut all = Vec::new();
    places(&document, "", &mut all);
    // The three lists themselves are the top level.
    all.retain(|place| !["/images", "/annotations", "/categories"].contains(&place.as_str()));
    // The first entries are looked at as often as all that are alike.
    let few: Vec<String> =
        all.iter().filter(|place| place.split('/').nth(2).is_some_and(|n| n.len() < 2)).cloned().collect();
    let place = prop_oneof![prop::sample::select(few), prop::sample::select(all)];
    runs((place, values(), any::<bool>()), |(place, value, forget)| {
        let mut changed = document.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Object(map) if forget => drop(map.shift_remove(key)),
            _ => *changed.pointer_mut(&place).unwrap() = value.clone(),
        }
        let _ = fs::remove_file(&file);
        write(&file, changed.to_string());
        let photos = Photos::coco(&file, None);
        prop_assert!(photos.is_ok(), "{} at {}: {}", value, place, photos.unwrap_err());
        let photos = photos.unwrap();
        prop_assert!((301..=303).contains(&photos.len()), "{} at {}: {} photos", value, place, photos.len());
        let touched = place.starts_with("/images") || place.starts_with("/annotations");
        let labelled = (0..photos.len()).filter(|&id| !photos.labels(id).is_empty()).count();
        prop_assert!(!touched || labelled >= 300, "{} at {}: {} have labels", value, place, labelled);
        Ok(())
    });
}

/// Each element of an XML text without attributes, from its start to its end.
fn elements(xml: &str) -> Vec<std::ops::Range<usize>> {
    let mut open = Vec::new();
    let mut found = Vec::new();
    for (at, _) in xml.match_indices('<') {
        let end = at + xml[at..].find('>').unwrap() + 1;
        if xml[at..].starts_with("</") {
            found.push(open.pop().unwrap()..end);
        } else {
            open.push(at);
        }
    }
    found.pop(); // the whole
    found
}

#[test]
fn any_element_in_the_place_of_another_of_an_annotation_costs_at_most_that_object() {
    let folder = voc();
    let root = folder.path().join("VOC2007");
    let file = root.join("Annotations/000007.xml");
    let whole = fs::read_to_string(&file).unwrap();
    let found = elements(&whole);
    let texts = [
        "",
        "x",
        "-1",
        "1e999",
        "nan",
        "inf",
        "Unspecified",
        "&lt;",
        "&#233;",
        "<![CDATA[<object>]]>",
        "<!-- no -->",
    ];
    let new = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(String::from),
        (
            prop::sample::select(vec!["name", "difficult", "bndbox", "object", "xmin", "any"]),
            prop::sample::select(texts.to_vec())
        )
            .prop_map(|(tag, text)| format!("<{tag}>{text}</{tag}>")),
        (0..found.len()).prop_map({
            let (whole, found) = (whole.clone(), found.clone());
            move |i| whole[found[i].clone()].to_string()
        }),
    ];
    runs((0..found.len(), new, any::<bool>()), |(which, new, inside)| {
        let mut range = found[which].clone();
        if inside {
            // What the element holds, not itself.
            let text = &whole[range.clone()];
            range = range.start + text.find('>').unwrap() + 1..range.start + text.rfind("</").unwrap();
        }
        let changed = format!("{}{new}{}", &whole[..range.start], &whole[range.end..]);
        let _ = fs::remove_file(&file);
        write(&file, &changed);
        let photos = Photos::voc(Source::from(&root), "trainval");
        prop_assert!(photos.is_ok(), "{}: {}", changed, photos.unwrap_err());
        let photos = photos.unwrap();
        prop_assert_eq!(photos.len(), 2);
        let known = photos.labels(1).len() + photos.difficult(1).len();
        prop_assert!(known >= 2, "{} classes of {}", known, changed);
        Ok(())
    });
}
