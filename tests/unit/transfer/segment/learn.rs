use super::*;
use crate::transfer::segment::SegmentKind;

fn tiny(kind: SegmentKind) -> SegmentConfig {
    let mut config = SegmentConfig::preset("segment-small").expect("a preset");
    config.segmenter.kind = kind;
    config.segmenter.width = 4;
    config.crops.size = 33;
    config.train.batch = 2;
    config
}

/// Two crops, the left half of class 0 and dark, the right half of class 1 and bright, rows at the top without labels.
fn crops() -> Crops {
    let size = 33;
    let bright = |i: usize| i % size > size / 2;
    let pixels = (0..2 * size * size * 3).map(|i| if bright(i / 3) { 1.0 } else { -1.0 }).collect();
    let label = |i: usize| if i / size % size < 4 { 255.0 } else { f32::from(u8::from(bright(i))) };
    Crops { pixels, labels: (0..2 * size * size).map(label).collect(), left_out: vec![None; 2] }
}

#[test]
fn new_layers_move_ten_times_as_fast_as_the_backbone() {
    for kind in [SegmentKind::PspNet, SegmentKind::PsaNet] {
        let mut config = tiny(kind);
        (config.optimizer.momentum, config.optimizer.weight_decay) = (0.0, 0.0);
        let mut moved = |factor: f64| {
            config.optimizer.new_layers = factor;
            let mut learner = SegmentLearner::new(&config, 2, &Device::cpu(), false).expect("a learner");
            let before: Vec<Vec<f32>> =
                learner.net.trained().iter().map(|param| param.get().to_vec().expect("values")).collect();
            learner.step(&crops(), &Now { lr: 0.01, base_lr: 0.01, ..Now::default() }).expect("a step");
            let of = |(param, before): (&Param, &Vec<f32>)| {
                let after = param.get().to_vec().expect("values");
                let moved = after.iter().zip(before).map(|(a, b)| f64::from(a - b).abs()).sum::<f64>();
                (param.name().to_string(), moved)
            };
            learner.net.trained().iter().zip(&before).map(of).collect::<Vec<_>>()
        };
        for ((name, once), (_, fast)) in moved(1.0).into_iter().zip(moved(10.0)) {
            let new = ["ppm.", "psa.", "cls.", "aux."].iter().any(|prefix| name.starts_with(prefix));
            let ratio = fast / once;
            assert!(once == 0.0 || (ratio - if new { 10.0 } else { 1.0 }).abs() < 0.05, "{name}: {ratio}");
        }
    }
}

#[test]
fn a_few_steps_lower_the_loss_and_a_bad_number_moves_nothing() {
    let config = tiny(SegmentKind::PspNet);
    let mut learner = SegmentLearner::new(&config, 2, &Device::cpu(), false).expect("a learner");
    let now = |step| Now { step, lr: 0.01, base_lr: 0.01, ..Now::default() };
    let losses: Vec<f64> =
        (0..8).map(|step| learner.step(&crops(), &now(step)).expect("a step").loss).collect();
    assert!(losses[7] < 0.6 * losses[0], "{losses:?}");
    let values = |learner: &SegmentLearner| -> Vec<Vec<f32>> {
        learner.net.state().iter().map(|param| param.get().to_vec().expect("values")).collect()
    };
    let before = values(&learner);
    let mut broken = crops();
    broken.pixels[17] = f32::NAN;
    assert!(!learner.step(&broken, &now(8)).expect("a report").moved);
    assert_eq!(values(&learner), before);
}

#[test]
fn a_batch_without_a_label_has_no_loss_and_no_nan() {
    let config = tiny(SegmentKind::PspNet);
    let mut learner = SegmentLearner::new(&config, 2, &Device::cpu(), false).expect("a learner");
    let blank = Crops { labels: vec![255.0; 2 * 33 * 33], ..crops() };
    let report = learner.step(&blank, &Now { lr: 0.01, base_lr: 0.01, ..Now::default() }).expect("a step");
    assert_eq!((report.loss, report.moved), (0.0, true));
}
