use super::*;

/// Images of six features: class c adds to feature c; the rest is noise. The third class is in the noise alone.
fn set(seed: u64, count: usize) -> (Vec<f32>, Vec<i8>) {
    let mut rng = KeyedRng::new("voc", seed, [0; 3]);
    let labels: Vec<i8> = (0..count * 3).map(|_| i8::from(rng.chance(0.3))).collect();
    let features = (0..count * 6)
        .map(|i| {
            let (image, feature) = (i / 6, i % 6);
            let shown = feature < 2 && labels[image * 3 + feature] == 1;
            (rng.normal() * 0.3 + if shown { 2.0 } else { 1.0 }) as f32
        })
        .collect();
    (features, labels)
}

fn small() -> Voc {
    Voc { costs: vec![1e-3, 0.1, 10.0], ..Default::default() }
}

#[test]
fn classes_that_features_show_are_found_and_one_they_do_not_stays_near_chance() {
    let ((train, train_labels), (test, test_labels)) = (set(1, 200), set(2, 200));
    let sets = [
        MultiLabelled { features: &train, labels: &train_labels, classes: 3 },
        MultiLabelled { features: &test, labels: &test_labels, classes: 3 },
    ];
    let count = AtomicUsize::new(0);
    let watch = |done: usize| {
        count.fetch_max(done, Ordering::Relaxed);
    };
    let result = small().run(&sets[0], &sets[1], &watch).expect("voc");
    assert_eq!(count.load(Ordering::Relaxed), small().fits(3));
    let area: Vec<f64> = result.classes.iter().filter_map(|c| c.area).collect();
    assert!(area[0] > 0.85 && area[1] > 0.85 && area[2] < 0.5, "{result:?}");
    assert!((result.map_area - area.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    assert!(result.classes.iter().all(|c| (c.chance - c.test_positives as f64 / 200.0).abs() < 1e-12));
    assert_eq!(result, small().run(&sets[0], &sets[1], &|_| ()).expect("voc"), "one seed, the same bits");
}

#[test]
fn difficult_images_change_nothing_that_their_absence_would_not() {
    let ((train, labels), (test, test_labels)) = (set(1, 120), set(2, 120));
    let first = |labels: &[i8]| -> Vec<i8> { labels.iter().step_by(3).copied().collect() };
    let (labels, test_labels) = (first(&labels), first(&test_labels));
    let voc = Voc { costs: vec![10.0], ..Default::default() };
    let run = |train: &[f32], labels: &[i8], test: &[f32], test_labels: &[i8]| {
        let train = MultiLabelled { features: train, labels, classes: 1 };
        let test = MultiLabelled { features: test, labels: test_labels, classes: 1 };
        voc.run(&train, &test, &|_| ()).expect("voc").classes[0]
    };
    // Every third image: left out, or not there at all.
    let left_out = |labels: &[i8]| -> Vec<i8> {
        labels.iter().enumerate().map(|(i, &l)| if i % 3 == 0 { -1 } else { l }).collect()
    };
    let others = |features: &[f32]| -> Vec<f32> {
        features.chunks(6).enumerate().filter(|(i, _)| i % 3 != 0).flat_map(|(_, row)| row.to_vec()).collect()
    };
    let kept = |labels: &[i8]| -> Vec<i8> {
        labels.iter().enumerate().filter(|(i, _)| i % 3 != 0).map(|(_, &l)| l).collect()
    };
    let with = run(&train, &left_out(&labels), &test, &left_out(&test_labels));
    let without = run(&others(&train), &kept(&labels), &others(&test), &kept(&test_labels));
    assert_eq!(ClassAp { cross_validated: without.cross_validated, ..with }, without);
    assert_ne!(without.area, run(&train, &labels, &test, &test_labels).area);
}

#[test]
fn the_cost_with_the_best_cross_validation_is_chosen() {
    // What shows the class is the difference of two features that share a much larger noise: mean differences,
    // which is all that a small cost sees, miss it.
    let draw = |seed| {
        let mut rng = KeyedRng::new("shared", seed, [0; 3]);
        let labels: Vec<i8> = (0..150).map(|_| i8::from(rng.chance(0.3))).collect();
        let row = |&label: &i8| {
            let shared = 10.0 + 3.0 * rng.normal();
            [shared + 0.8 * f64::from(label), shared + 0.1 * rng.normal(), 5.0].map(|v| v as f32)
        };
        (labels.iter().flat_map(row).collect::<Vec<f32>>(), labels)
    };
    let ((train, labels), (test, test_labels)) = (draw(1), draw(2));
    let train = MultiLabelled { features: &train, labels: &labels, classes: 1 };
    let test = MultiLabelled { features: &test, labels: &test_labels, classes: 1 };
    let run = |costs: &[f64]| {
        let voc = Voc { costs: costs.to_vec(), ..Default::default() };
        voc.run(&train, &test, &|_| ()).expect("voc").classes[0]
    };
    let (chosen, small) = (run(&[1e-6, 1e-2, 100.0]), run(&[1e-6]));
    assert!(chosen.cost == 100.0 && chosen.cross_validated > Some(0.9), "{chosen:?}");
    assert!(chosen.area > Some(0.9) && small.cross_validated < Some(0.7), "{chosen:?} {small:?}");
}

#[test]
fn folds_share_positives_and_others_evenly() {
    let labels: Vec<i8> = (0..100).map(|i| i8::from(i % 7 == 0)).collect();
    let fold_of = folds(&labels, 3, 0, 5);
    for fold in 0..3 {
        let inside = |i: &usize| fold_of[*i] == fold;
        assert!((4..=5).contains(&(0..100).filter(inside).filter(|&i| labels[i] == 1).count()));
        assert!((33..=34).contains(&(0..100).filter(inside).count()));
    }
    assert_ne!(fold_of, folds(&labels, 3, 1, 5));
}

#[test]
fn a_class_with_one_positive_takes_the_usual_cost_and_what_does_not_fit_is_an_error() {
    let features: Vec<f32> = (0..24).map(|i| (i * 7 % 5) as f32).collect();
    let mut labels = vec![0; 12];
    labels[3] = 1;
    let set = MultiLabelled { features: &features, labels: &labels, classes: 1 };
    let result = small().run(&set, &set, &|_| ()).expect("voc");
    assert_eq!((result.classes[0].cost, result.classes[0].train_positives), (COST_OF_THE_RARE, 1));
    let message = |voc: Voc, test| voc.run(&set, test, &|_| ()).expect_err("an error").to_string();
    let wide = MultiLabelled { features: &[1.0; 36], labels: &labels, classes: 1 };
    assert!(message(small(), &wide).contains("3 and 1 in the test"));
    assert!(message(Voc { folds: 1, ..small() }, &set).contains("at least 2 folds"));
    assert!(
        message(small(), &MultiLabelled { features: &[], labels: &[], classes: 1 }).contains("one image")
    );
}

#[test]
fn the_costs_are_the_sources() {
    let costs = Voc::default().costs;
    assert_eq!((costs.len(), costs[0], costs[25]), (26, 1e-7, 100.0));
    assert!(costs.windows(2).all(|c| c[0] < c[1]) && costs.contains(&0.5f64.powi(19)));
}
