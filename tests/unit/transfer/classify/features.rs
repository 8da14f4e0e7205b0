use super::super::supervised::tests::colour_album;
use super::*;
use crate::engine::nn::{Architecture, Module, ResNetConfig, Stem};
use rand::{SeedableRng, rngs::StdRng};

fn values(backbone: &ResNet, trained: bool) -> Vec<Vec<f32>> {
    let state = backbone.state().into_iter().filter(|param| param.is_trained() == trained);
    state.map(|param| param.get().to_vec().expect("values")).collect()
}

#[test]
fn precise_statistics_are_those_of_the_photos_whatever_was_there_and_leave_weights_alone() {
    let device = Device::cpu();
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let backbone = ResNet::new(&device, &mut StdRng::seed_from_u64(0), &config).expect("backbone");
    let views = ViewConfig::moco_v2(32);
    let album = colour_album(3, 64, &[[200, 20, 20], [20, 60, 200]]);
    let precise = || {
        precise_statistics(&backbone, &album, &views, &device).expect("statistics");
        values(&backbone, false)
    };
    let (weights, fresh) = (values(&backbone, true), values(&backbone, false));
    let once = precise();
    assert_ne!(once, fresh);
    for param in backbone.state().iter().filter(|param| !param.is_trained()) {
        param.set(Tensor::full(&device, param.shape(), 7.0).expect("sevens")).expect("set");
    }
    assert_eq!(once, precise());
    assert_eq!(weights, values(&backbone, true));
    // One batch: in evaluation mode it is normalised as in training, but for n / (n - 1) in the variance.
    let (images, _) = album.center_views(&(0..64).collect::<Vec<_>>(), &views).expect("views");
    let images = Tensor::new(&device, [64, 32, 32, 3], &images).expect("images");
    let g = |mode| {
        let tape = Tape::inert(&device);
        backbone.forward(&tape.constant(images.clone()), mode).expect("g").value().to_vec().expect("values")
    };
    let (training, evaluation) = (g(Mode::Train { groups: 1 }), g(Mode::Eval));
    let most = training.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    for (a, b) in training.iter().zip(&evaluation) {
        assert!((a - b).abs() < 0.03 * most, "{a} and {b} of {most}");
    }
}

#[test]
fn statistics_of_many_batches_are_their_mean_without_the_odd_rest() {
    let device = Device::cpu();
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let backbone = ResNet::new(&device, &mut StdRng::seed_from_u64(0), &config).expect("backbone");
    let views = ViewConfig::moco_v2(32);
    let album = colour_album(4, 130, &[[200, 20, 20], [20, 60, 200]]);
    precise_statistics(&backbone, &album, &views, &device).expect("statistics");
    let precise = values(&backbone, false);
    let order = KeyedRng::new("statistics", 0, [0; 3]).permutation(130);
    let mut means = vec![0.0; 4];
    for ids in order[..128].chunks(64) {
        let (images, _) = album.center_views(ids, &views).expect("views");
        let tape = Tape::inert(&device);
        let images = tape.constant(Tensor::new(&device, [64, 32, 32, 3], &images).expect("images"));
        backbone.forward(&images, Mode::Train { groups: 1 }).expect("g");
        let first = tape.take_observations().swap_remove(0).statistics.to_vec().expect("values");
        means.iter_mut().zip(&first[..4]).for_each(|(mean, batch)| *mean += batch / 2.0);
    }
    for (a, b) in means.iter().zip(&precise[0]) {
        assert!((a - b).abs() < 1e-5, "{means:?} and {:?}", precise[0]);
    }
}
