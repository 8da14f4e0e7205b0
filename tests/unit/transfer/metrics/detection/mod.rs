use super::*;
use crate::photos::Bitmap;
use crate::transfer::metrics::ApKind;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn found(photo: usize, class: usize, rect: [f64; 4], score: f64) -> Detection {
    Detection { photo, class, rect, score, mask: None }
}

const HERE: [f64; 4] = [10.0, 10.0, 20.0, 20.0];
const THERE: [f64; 4] = [60.0, 60.0, 20.0, 20.0];

fn by_coco(truths: &[Truth], detections: &[Detection]) -> DetectionAp {
    coco(truths, detections, 2, Measure::Box).unwrap()
}

fn by_voc(truths: &[Truth], detections: &[Detection]) -> DetectionAp {
    voc(truths, detections, 2, ApKind::Area).unwrap()
}

/// A number of the summary; pycocotools adds 2e-16 to the number of detections.
fn value(ap: &DetectionAp, name: &str) -> Option<f64> {
    ap.value(name).map(|value| (value * 1e12).round() / 1e12)
}

#[test]
fn nothing_to_find_is_no_number_and_nothing_found_is_zero() {
    for measure in [by_coco, by_voc] {
        for detections in [&[][..], &[found(0, 0, HERE, 0.5)]] {
            let nothing = measure(&[], detections);
            assert!(nothing.summary.iter().all(|(_, value)| value.is_none()), "{nothing:?}");
            assert_eq!(nothing.classes, [None, None]);
        }
        let missed = measure(&[Truth::new(3, 1, HERE)], &[]);
        assert_eq!((missed.value("AP"), missed.value("AP50")), (Some(0.0), Some(0.0)));
        assert_eq!((&missed.classes[0], missed.classes[1].as_ref().unwrap().mean()), (&None, 0.0));
    }
}

/// pycocotools sorts by mergesort, which keeps the order of equals: photos by number, within a photo as given.
#[test]
fn of_equal_scores_the_earlier_detection_is_first() {
    let truth = [Truth::new(1, 0, HERE)];
    let right_first = by_coco(&truth, &[found(1, 0, HERE, 0.5), found(1, 0, THERE, 0.5)]);
    let wrong_first = by_coco(&truth, &[found(1, 0, THERE, 0.5), found(1, 0, HERE, 0.5)]);
    assert_eq!((value(&right_first, "AP"), value(&wrong_first, "AP")), (Some(1.0), Some(0.5)));
    let other_photo = by_coco(&truth, &[found(1, 0, HERE, 0.5), found(0, 0, THERE, 0.5)]);
    assert_eq!(value(&other_photo, "AP"), Some(0.5));
    // VOC's curve has one point for both.
    let voc = by_voc(&truth, &[found(1, 0, HERE, 0.5), found(1, 0, THERE, 0.5)]);
    assert_eq!(voc.value("AP"), Some(0.5));
}

#[test]
fn a_crowd_is_neither_found_nor_missed() {
    let crowd = Truth { crowd: true, ..Truth::new(0, 0, [0.0, 0.0, 100.0, 100.0]) };
    let truths = [crowd, Truth::new(1, 0, HERE)];
    // Far smaller than the crowd: COCO compares with the detection's area alone, VOC calls it wrong.
    let detections = [found(0, 0, HERE, 0.9), found(1, 0, HERE, 0.8)];
    assert_eq!(value(&by_coco(&truths, &detections), "AP"), Some(1.0));
    assert_eq!(value(&by_voc(&truths, &detections), "AP"), Some(0.5));
    let whole = [found(0, 0, [0.0, 0.0, 100.0, 99.0], 0.9), found(1, 0, HERE, 0.8)];
    assert_eq!(value(&by_voc(&truths, &whole), "AP"), Some(1.0));
}

#[test]
fn what_is_difficult_counts_nothing_by_voc() {
    let truths = [Truth { difficult: true, ..Truth::new(0, 0, HERE) }, Truth::new(0, 0, THERE)];
    let detections = [found(0, 0, HERE, 0.9), found(0, 0, HERE, 0.8), found(0, 0, THERE, 0.7)];
    assert_eq!(value(&by_voc(&truths, &detections), "AP"), Some(1.0));
    assert_eq!(value(&by_voc(&truths, &detections[..2]), "AP"), Some(0.0));
}

/// The rule that tells VOC from COCO: a second detection of an object is wrong even where another object would do.
#[test]
fn voc_gives_a_detection_the_best_object_though_it_is_taken() {
    let near = [10.0, 10.0, 20.0, 17.0]; // IoU .85 with HERE
    let truths = [Truth::new(0, 0, HERE), Truth::new(0, 0, near)];
    let twice = [found(0, 0, HERE, 0.9), found(0, 0, HERE, 0.8)];
    assert_eq!(
        (value(&by_coco(&truths, &twice), "AP50"), value(&by_voc(&truths, &twice), "AP50")),
        (Some(1.0), Some(0.5))
    );
}

#[test]
fn of_a_class_a_hundred_detections_a_photo_count() {
    let mut detections: Vec<Detection> = (0..100).map(|_| found(0, 0, THERE, 0.9)).collect();
    detections.push(found(0, 0, HERE, 0.1));
    let truth = [Truth::new(0, 0, HERE)];
    assert_eq!(value(&by_coco(&truth, &detections), "AR100"), Some(0.0));
    assert_eq!(value(&by_coco(&truth, &detections[1..]), "AR100"), Some(1.0));
}

#[test]
fn sizes_are_the_annotations_own() {
    // A box of 40 x 40 whose object has 900 pixels is small.
    let truth = Truth { area: 900.0, ..Truth::new(0, 0, [0.0, 0.0, 40.0, 40.0]) };
    let ap = by_coco(&[truth], &[found(0, 0, [0.0, 0.0, 40.0, 40.0], 0.9)]);
    assert_eq!((value(&ap, "APs"), value(&ap, "APm"), value(&ap, "APl")), (Some(1.0), None, None));
    let lines: Vec<&str> = ap.text.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000");
    assert_eq!(lines[1], " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 1.000");
    assert_eq!(lines[7], " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 1.000");
    assert_eq!(lines[11], " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000");
}

#[test]
fn bad_numbers_are_one_line() {
    let (truth, good) = (Truth::new(0, 0, HERE), found(2, 0, HERE, 0.5));
    let message = |truths: &[Truth], detections: &[Detection]| {
        let [a, b] = [
            coco(truths, detections, 1, Measure::Box).map(|_| ()),
            voc(truths, detections, 1, ApKind::Area).map(|_| ()),
        ]
        .map(|outcome| outcome.unwrap_err().to_string());
        assert_eq!(a, b);
        a
    };
    let score = Detection { score: f64::NAN, ..good.clone() };
    assert_eq!(
        message(std::slice::from_ref(&truth), &[good.clone(), score]),
        "detection 1, of photo 2 has a box or score that is no number: training diverged, lower lr"
    );
    let rect = Truth { rect: [0.0, f64::INFINITY, 1.0, 1.0], ..truth.clone() };
    assert!(message(&[rect], &[]).contains("object 0, of photo 0"));
    assert!(message(&[], &[Detection { class: 1, ..good.clone() }]).contains("class 1 where there are 1"));
    assert!(message(&[Truth { class: 7, ..truth.clone() }], &[]).contains("class 7"));

    let mask = |size| Some(Rle::of(&Bitmap { size, pixels: vec![1; size[0] * size[1]] }));
    let masks = |truth_size, detection_mask| {
        let truth = Truth { mask: mask(truth_size), photo: 2, ..truth.clone() };
        coco(&[truth], &[Detection { mask: detection_mask, ..good.clone() }], 1, Measure::Mask)
    };
    assert_eq!(value(&masks([3, 4], mask([3, 4])).unwrap(), "AP"), Some(1.0));
    assert!(masks([3, 4], None).unwrap_err().to_string().contains("detection without a mask: photo 2"));
    assert!(masks([3, 4], mask([4, 3])).unwrap_err().to_string().contains("3 x 4 and of 4 x 3"));
}

#[test]
fn errors_name_what_was_missed_and_what_is_wrong_the_worst_photo_first() {
    let truths = [
        Truth::new(0, 0, HERE),
        Truth::new(1, 0, HERE),
        Truth::new(1, 1, THERE),
        Truth { crowd: true, ..Truth::new(2, 0, [0.0, 0.0, 100.0, 100.0]) },
    ];
    let detections = [
        found(0, 0, HERE, 0.6),                     // right, but not the first to be asked
        found(0, 0, [10.0, 10.0, 20.0, 18.0], 0.9), // takes the object
        found(1, 1, HERE, 0.8),                     // another class
        found(1, 1, THERE, 0.3),                    // not sure enough
        found(2, 0, HERE, 0.9),                     // in the crowd
        found(3, 1, HERE, 0.7),                     // of nothing
    ];
    let all = errors(&truths, &detections, 0.5);
    let photo = |photo, right: &[usize], wrong: &[usize], missed: &[usize], cost| PhotoErrors {
        photo,
        right: right.into(),
        wrong: wrong.into(),
        missed: missed.into(),
        cost,
    };
    let expected = [
        photo(1, &[], &[2], &[1, 2], 2.8),
        photo(3, &[], &[5], &[], 0.7),
        photo(0, &[1], &[0], &[], 0.6),
        photo(2, &[], &[], &[], 0.0),
    ];
    assert_eq!(all, expected);
    assert_eq!(errors(&truths, &detections, 0.2)[0], photo(1, &[3], &[2], &[1], 1.8));
}

#[test]
fn ten_thousand_detections_take_no_time() {
    let mut rng = crate::rng::KeyedRng::new("detections", 7, [0; 3]);
    let mut rect = || {
        let mut side = |n| f64::from(rng.below(n) as u32);
        [side(400), side(400), 20.0 + side(100), 20.0 + side(100)]
    };
    let truths: Vec<Truth> = (0..3000).map(|i| Truth::new(i % 500, i % 20, rect())).collect();
    let detections: Vec<Detection> =
        (0..10_000).map(|i| found(i % 500, i % 20, rect(), (i * 7919 % 10_007) as f64)).collect();
    let start = Instant::now();
    let all = coco(&truths, &detections, 20, Measure::Box).unwrap();
    let by_coco = start.elapsed();
    let other = voc(&truths, &detections, 20, ApKind::ElevenPoint).unwrap();
    let took = start.elapsed();
    println!("10,000 detections: coco {by_coco:?}, voc {:?}", took - by_coco);
    assert!(all.value("AR100").unwrap() > 0.0 && other.value("AP50").is_some());
    assert!(took < Duration::from_secs(20), "{took:?}"); // a hundred times what it takes
}

fn rects() -> impl Strategy<Value = [f64; 4]> {
    // Small whole numbers: many ties of IoU, many empty boxes.
    [0_i32..8, 0_i32..8, 0_i32..6, 0_i32..6].prop_map(|numbers| numbers.map(f64::from))
}

proptest! {
    #[test]
    fn shares_are_shares_and_the_truth_itself_is_perfect(
        truths in proptest::collection::vec((0_usize..3, 0_usize..2, rects(), any::<bool>()), 0..12),
        detections in proptest::collection::vec((0_usize..4, 0_usize..2, rects(), 0_u32..4), 0..20),
    ) {
        let truths: Vec<Truth> = truths.into_iter()
            .map(|(photo, class, rect, hidden)| Truth { crowd: hidden, difficult: hidden, ..Truth::new(photo, class, rect) })
            .collect();
        let detections: Vec<Detection> =
            detections.into_iter().map(|(photo, class, rect, score)| found(photo, class, rect, score.into())).collect();
        for measure in [by_coco, by_voc] {
            let ap = measure(&truths, &detections);
            prop_assert!(ap.summary.iter().all(|(_, value)| value.is_none_or(|value| (0.0..=1.0 + 1e-12).contains(&value))));
            for class in ap.classes.iter().flatten() {
                for (share, curve) in class.ap.iter().zip(&class.curves) {
                    prop_assert!((0.0..=1.0 + 1e-12).contains(share));
                    prop_assert!(curve.windows(2).all(|pair| pair[0][0] <= pair[1][0]));
                    prop_assert!(curve.iter().flatten().all(|share| (0.0..=1.0).contains(share)));
                }
            }
        }
        // Every object found once, where no two of them are the same place and none is empty.
        let mut apart: Vec<Truth> = truths;
        apart.iter_mut().enumerate().for_each(|(i, truth)| truth.rect = [100.0 * i as f64, 0.0, 5.0, 5.0]);
        let perfect: Vec<Detection> = apart.iter().map(|t| found(t.photo, t.class, t.rect, 1.0)).collect();
        for measure in [by_coco, by_voc] {
            let ap = measure(&apart, &perfect);
            prop_assert_eq!(ap.value("AP").is_some(), apart.iter().any(|truth| !truth.crowd));
            prop_assert!(ap.value("AP").is_none_or(|ap| (ap - 1.0).abs() < 1e-12));
        }
    }
}
