use super::*;
use crate::engine::exchange::{Alone, Threads};
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
            let mut learner =
                SegmentLearner::new(&config, 2, &Device::cpu(), false, Rc::new(Alone)).expect("a learner");
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
            // Both crops are the same: of the whole map in one bin there is no variance.
            if name.starts_with("ppm.features.0") {
                continue;
            }
            assert!(once > 0.0, "{name} does not move");
            assert!((ratio - if new { 10.0 } else { 1.0 }).abs() < 0.05, "{name}: {ratio}");
        }
    }
}

#[test]
fn a_few_steps_lower_the_loss_and_a_bad_number_moves_nothing() {
    let config = tiny(SegmentKind::PspNet);
    let mut learner =
        SegmentLearner::new(&config, 2, &Device::cpu(), false, Rc::new(Alone)).expect("a learner");
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
    let mut learner =
        SegmentLearner::new(&config, 2, &Device::cpu(), false, Rc::new(Alone)).expect("a learner");
    let blank = Crops { labels: vec![255.0; 2 * 33 * 33], ..crops() };
    let report = learner.step(&blank, &Now { lr: 0.01, base_lr: 0.01, ..Now::default() }).expect("a step");
    assert_eq!((report.loss, report.moved), (0.0, true));
}

#[test]
fn channels_are_dropped_in_training_by_seed_and_step() {
    let loss = |dropout: f32, seed: u64, step: u64| {
        let mut config = tiny(SegmentKind::PspNet);
        config.segmenter.dropout = dropout.into();
        let mut learner =
            SegmentLearner::new(&config, 2, &Device::cpu(), false, Rc::new(Alone)).expect("a learner");
        learner.config.seed = seed; // the same parameters
        learner.step(&crops(), &Now { step, lr: 0.01, base_lr: 0.01, ..Now::default() }).expect("a step").loss
    };
    assert_eq!(loss(0.5, 0, 0), loss(0.5, 0, 0));
    for other in [loss(0.0, 0, 0), loss(0.5, 1, 0), loss(0.5, 0, 1)] {
        assert_ne!(loss(0.5, 0, 0), other);
    }
}

#[test]
fn a_segmenter_starts_from_its_encoder_and_draws_the_rest() {
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/benchmarks/encoders/mls-scenes-r18-w32.safetensors");
    let values = |seed: u64, init: Option<&str>| {
        let mut config = tiny(SegmentKind::PspNet);
        (config.seed, config.segmenter.width, config.init) = (seed, 32, init.map(Into::into));
        let net = starting_segmenter(&config, 2, &Device::cpu()).expect("a segmenter");
        let of = |param: &Param| (param.name().to_string(), param.get().to_vec().expect("values"));
        net.trained().iter().map(of).collect::<Vec<_>>()
    };
    let [taken, again, random] =
        [(0, Some(encoder)), (1, Some(encoder)), (1, None)].map(|(s, i)| values(s, i));
    for (((name, taken), (_, again)), (_, random)) in taken.iter().zip(&again).zip(&random) {
        let is_new = ["ppm.", "cls.", "aux."].iter().any(|prefix| name.starts_with(prefix));
        match is_new {
            true => assert!(again == random, "{name} is drawn by the seed"),
            false => assert!(taken == again && taken != random, "{name} is the encoder's"),
        }
    }
}

#[test]
fn presets_have_the_numbers_of_their_sources() {
    let of = |name: &str| SegmentConfig::preset(name).expect("a preset");
    for (name, size) in [("pspnet-cityscapes-40k", 713), ("psanet-cityscapes-40k", 705)] {
        let SegmentConfig { segmenter, train, optimizer, eval, crops, .. } = of(name);
        assert_eq!((crops.size, crops.scale, crops.rotation), (size, [0.5, 2.0], 10.0), "{name}");
        assert_eq!((train.batch, train.steps), (16, 40_000), "{name}");
        assert_eq!((optimizer.lr, optimizer.new_layers, optimizer.power), (0.01, 10.0, 0.9), "{name}");
        assert_eq!((optimizer.momentum, optimizer.weight_decay), (0.9, 1e-4), "{name}");
        assert_eq!(
            (segmenter.bins, segmenter.shrink, segmenter.dropout),
            (vec![1, 2, 3, 6], 2, 0.1),
            "{name}"
        );
        assert_eq!((eval.scales, eval.flip, eval.stride), (vec![1.0], true, 2.0 / 3.0), "{name}");
    }
    let schedule = of("pspnet-cityscapes-40k").schedule(40_000);
    for (step, lr) in
        [(0, 0.01), (20_000, 0.01 * 0.5_f64.powf(0.9)), (39_999, 0.01 * (1.0 / 40_000.0_f64).powf(0.9))]
    {
        assert!((schedule.lr(step) - lr).abs() < 1e-9, "step {step}: {}", schedule.lr(step));
    }
}

/// Ranks with a part of a batch each, in which one has far fewer labels, are one rank with the whole.
#[test]
fn ranks_with_a_share_of_the_crops_are_one_rank_with_all() {
    let (size, device) = (33, Device::reference());
    let mut config = tiny(SegmentKind::PspNet);
    (config.train.batch, config.segmenter.dropout) = (4, 0.5);
    let two = crops();
    // The last two crops are others, of which few pixels are labelled.
    let other = |i: usize| ((i * 31 % 97) as f32 - 48.0) / 48.0;
    let more = (0..2 * size * size).map(|i| if i % 17 == 0 { two.labels[i] } else { 255.0 });
    let pixels = [two.pixels.clone(), (0..two.pixels.len()).map(other).collect()].concat();
    let all =
        Crops { pixels, labels: [two.labels.clone(), more.collect()].concat(), left_out: vec![None; 4] };
    let part = |exchange: &dyn Exchange| {
        let n = 4 / exchange.ranks();
        let from = n * exchange.rank();
        let own = |values: &[f32], row: usize| values[from * row..(from + n) * row].to_vec();
        let left_out = vec![None; n];
        Crops { pixels: own(&all.pixels, 3 * size * size), labels: own(&all.labels, size * size), left_out }
    };
    let steps = |exchange: Rc<dyn Exchange>| {
        let mut learner =
            SegmentLearner::new(&config, 2, &device, false, exchange.clone()).expect("a learner");
        let now = |step| Now { step, lr: 0.01, base_lr: 0.01, ..Now::default() };
        let told = [0, 1].map(|step| {
            let report = learner.step(&part(&*exchange), &now(step)).expect("a step");
            [report.loss, report.terms[0].1, report.terms[1].1, report.gradient_norm.into()]
        });
        let state = learner.net.state();
        let state: Vec<Vec<f64>> = state.iter().map(|param| param.get().to_f64().expect("values")).collect();
        (told, state)
    };
    let (told, state) = steps(Rc::new(Alone));
    let ranks = std::thread::scope(|scope| {
        let ranks = Threads::of(2).into_iter().map(|exchange| scope.spawn(|| steps(Rc::new(exchange))));
        ranks.collect::<Vec<_>>().into_iter().map(|rank| rank.join().expect("a rank")).collect::<Vec<_>>()
    });
    assert!(ranks[0] == ranks[1], "the same bits on both");
    for (of_ranks, of_one) in ranks[0].0.iter().flatten().zip(told.iter().flatten()) {
        assert!((of_ranks - of_one).abs() <= 1e-6 * of_one.abs(), "{of_ranks}, not {of_one}");
    }
    for (of_ranks, of_one) in ranks[0].1.iter().flatten().zip(state.iter().flatten()) {
        assert!((of_ranks - of_one).abs() <= 1e-11 * of_one.abs().max(1.0), "{of_ranks}, not {of_one}");
    }
}
