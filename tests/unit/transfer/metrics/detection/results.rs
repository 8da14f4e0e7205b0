use super::*;
use crate::photos::Bitmap;
use serde_json::json;

fn ids() -> [Vec<Value>; 2] {
    [vec![json!("a/1.jpg"), json!(7), json!(0)], vec![json!(18), json!("cat")]]
}

fn refused(text: &str) -> String {
    let [photos, classes] = ids();
    read(text, "dets.json", &photos, &classes).unwrap_err().to_string()
}

#[test]
fn detections_are_written_under_the_callers_ids_and_read_back() {
    let [photos, classes] = ids();
    let mask = Rle::of(&Bitmap { size: [2, 3], pixels: vec![0, 1, 1, 0, 1, 0] });
    let detections = [
        Detection { photo: 0, class: 1, rect: [0.1, 0.2, 3.3, 4.0], score: 0.25, mask: None },
        Detection { photo: 2, class: 0, rect: mask.rect(), score: 1.0 / 3.0, mask: Some(mask) },
    ];
    let mut file = Vec::new();
    write(&mut file, &detections, &photos, &classes).unwrap();
    let text = String::from_utf8(file).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"[{"image_id":"a/1.jpg","category_id":"cat","bbox":[0.1,0.2,3.3,4.0],"score":0.25},"#,
            r#"{"image_id":0,"category_id":18,"bbox":[1.0,0.0,2.0,2.0],"score":0.3333333333333333,"#,
            r#""segmentation":{"size":[2,3],"counts":"231"}}]"#
        )
    );
    assert_eq!(read(&text, "dets.json", &photos, &classes).unwrap(), detections);
}

#[test]
fn files_of_others_are_read() {
    let [photos, classes] = ids();
    // An id as a decimal number, a list of runs, a key of theirs, a mask alone.
    let text = r#"[{"image_id": 7.0, "category_id": 18, "score": 1, "segmentation": {"size": [2, 3], "counts": [2, 3, 1]}, "id": 4}]"#;
    let found = read(text, "dets.json", &photos, &classes).unwrap().remove(0);
    assert_eq!((found.photo, found.class, found.rect, found.score), (1, 0, [1.0, 0.0, 2.0, 2.0], 1.0));
    assert_eq!(read("[]", "dets.json", &photos, &classes).unwrap(), []);
}

#[test]
fn what_cannot_be_read_is_one_line_that_names_the_entry() {
    let entry = |changed: &str| format!(r#"[{{"category_id": 18, "score": 0.5, {changed}}}]"#);
    assert!(refused("[{").starts_with("no COCO results (EOF"));
    assert!(refused(r#"{"annotations": []}"#).contains("no COCO results"));
    let line = refused(&entry(r#""image_id": "7", "bbox": [1, 1, 2, 2]"#));
    assert!(line.starts_with(r#"entry 0: image_id "7" is not known: dets.json"#), "{line}");
    assert!(refused(&entry(r#""image_id": 7"#)).contains("neither bbox nor segmentation"));
    assert!(refused(&entry(r#""image_id": 7, "bbox": [1, 1, -2, 2]"#)).contains("-2 x 2 pixels"));
    assert!(refused(&entry(r#""image_id": 7, "bbox": [1, 1, 2]"#)).contains("no COCO results"));
    let code = r#""image_id": 7, "segmentation": {"size": [2, 3], "counts": "23"}"#;
    assert!(refused(&entry(code)).contains("entry 0: its mask: its runs cover 5 pixels, not the 2 x 3"));
    assert!(!refused("[{\n\"image_id\": 7}]").contains('\n'));
}
