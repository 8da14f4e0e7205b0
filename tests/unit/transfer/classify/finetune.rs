use super::super::supervised::tests::two_colours;
use super::*;
use crate::engine::nn::{Architecture, ResNetConfig, Stem};

fn tiny(device: &Device) -> (ResNet, usize) {
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let backbone = ResNet::new(device, &mut StdRng::seed_from_u64(0), &config).expect("backbone");
    (backbone, config.features())
}

fn run(finetune: &Finetune) -> Result<(FinetuneResult, bool)> {
    let device = Device::cpu();
    let (backbone, features) = tiny(&device);
    let first = |backbone: &ResNet| backbone.trained()[0].get().to_vec().expect("values");
    let before = first(&backbone);
    let views = ViewConfig::moco_v2(16);
    let mut last = 0;
    let watch = &mut |p: FinetuneProgress| last = p.step;
    let result = finetune.fit(&backbone, features, &two_colours(), &views, &device, watch)?;
    assert_eq!(last, result.steps);
    Ok((result, before != first(&backbone)))
}

#[test]
fn two_colours_are_learned_by_the_whole_network_and_one_seed_gives_the_same_bits() {
    let finetune = Finetune { epochs: 6, lr: 0.02, judge_every: 4, ..Finetune::scaled(8) };
    let (result, moved) = run(&finetune).expect("fine-tuned");
    assert_eq!((result.top1, result.balanced, result.steps), (1.0, 1.0, 18), "{result:?}");
    assert_eq!(result.classes, [Some(1.0), Some(1.0)]);
    assert!(moved, "the first convolution is trained too");
    assert!(result.epochs[5].train_loss < 0.5 * result.epochs[0].train_loss, "{result:?}");
    let judged: Vec<bool> = result.epochs.iter().map(|e| e.top1.is_some()).collect();
    assert_eq!(judged, [false, false, false, true, false, true]);
    assert_eq!(result, run(&finetune).expect("fine-tuned").0);
}

#[test]
fn it_is_judged_with_batch_norms_statistics_of_the_training_photos() {
    let (device, albums, views) = (Device::cpu(), two_colours(), ViewConfig::moco_v2(16));
    let (backbone, features) = tiny(&device);
    let finetune = Finetune { epochs: 2, ..Finetune::scaled(8) };
    finetune.fit(&backbone, features, &albums, &views, &device, &mut |_| ()).expect("fine-tuned");
    let state = || -> Vec<Vec<f32>> {
        backbone.state().iter().map(|param| param.get().to_vec().expect("values")).collect()
    };
    let left = state();
    precise_statistics(&backbone, &albums.train, &views, &device).expect("statistics");
    assert_eq!(left, state());
}

#[test]
fn learning_rates_follow_their_schedules() {
    let step = Finetune { schedule: FinetuneSchedule::Step, epochs: 30, lr: 1.0, ..Default::default() };
    let rates: Vec<f64> = [0, 99, 100, 199, 200, 299].map(|s| step.learning_rate(s, 300)).into();
    for (rate, expected) in rates.iter().zip([1.0, 1.0, 0.1, 0.1, 0.01, 0.01]) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
    let cosine = Finetune { schedule: FinetuneSchedule::Cosine, ..step };
    assert!(cosine.learning_rate(0, 300) == 1.0 && (cosine.learning_rate(150, 300) - 0.5).abs() < 1e-12);
    assert!((Finetune::scaled(32).lr - 0.01).abs() < 1e-12);
}

#[test]
fn impossible_constants_and_a_diverging_run_are_errors_that_say_what_to_do() {
    let message = |finetune| run(&finetune).expect_err("an error").to_string();
    assert!(message(Finetune { batch: 1, ..Default::default() }).contains("--batch"));
    assert!(message(Finetune { epochs: 0, ..Default::default() }).contains("at least 1"));
    assert!(message(Finetune { lr: f64::NAN, ..Default::default() }).contains("above 0"));
    assert!(message(Finetune { lr: 1e30, epochs: 3, ..Finetune::scaled(8) }).contains("lower --lr"));
}
