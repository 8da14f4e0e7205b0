use super::super::supervised::tests::two_colours;
use super::*;
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use rand::{SeedableRng, rngs::StdRng};

#[test]
fn colours_are_told_apart_the_encoder_stays_and_one_seed_gives_the_same_bits() {
    let device = Device::cpu();
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let backbone = ResNet::new(&device, &mut StdRng::seed_from_u64(0), &config).expect("backbone");
    let state =
        || -> Vec<Vec<f32>> { backbone.state().iter().map(|p| p.get().to_vec().expect("values")).collect() };
    let before = state();
    let albums = two_colours();
    let probe = SgdProbe { epochs: 8, ..SgdProbe::scaled(10) };
    let mut seen = 0;
    let mut fit = || {
        let views = ViewConfig::moco_v2(16);
        probe.fit(&backbone, &albums, &views, &device, &mut |done| seen = done).expect("probe")
    };
    let result = fit();
    assert_eq!(result, fit());
    assert_eq!(seen, probe.work(&albums));
    assert_eq!((result.top1, result.balanced, result.best_on_test), (1.0, 1.0, 1.0), "{result:?}");
    assert!(result.train_loss < 0.6, "{result:?}");
    assert_eq!(before, state(), "a frozen encoder changes neither parameters nor statistics");
    assert!((probe.lr - 0.1 * 10.0 / 256.0).abs() < 1e-12);
}
