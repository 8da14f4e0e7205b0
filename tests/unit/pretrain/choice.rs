//! What is chosen for somebody's photos.

use super::*;

const SCENES: Survey = Survey { photos: 2000, copies: 3, size: [160, 213] };

fn wish() -> Wish {
    Wish::default()
}

fn config(wish: &Wish, survey: &Survey, gpu: bool) -> Config {
    let config = wish.config(survey, gpu, Some(8 << 30)).expect("a configuration");
    config.check().expect("a run can have it");
    config
}

#[test]
fn photos_alone_give_mls_on_an_encoder_that_others_can_load() {
    let config = config(&wish(), &SCENES, false);
    assert_eq!(config.method.name(), "mls");
    assert_eq!((config.model.width, config.model.stem), (64, Stem::Imagenet));
    assert_eq!((config.views.size, config.train.batch, config.train.minutes), (64, 64, 20.0));
    // At most half of the photos are in the queue, and all of them fit decoded.
    assert_eq!((config.whole("queue"), config.whole("k")), (Some(512), Some(7)));
    assert_eq!(config.data.shrink_to, 128);
    assert_eq!(config.data.cache_mib, (2000 * 128 * 170 * 3) >> 20);
    assert_eq!((config.optimizer.warmup_steps, config.optimizer.warmup_share), (0, 0.05));
}

#[test]
fn minutes_and_quality_bound_the_size_of_the_network_and_its_views() {
    let of = |quality, minutes, gpu| {
        let config = config(&Wish { quality, minutes, ..wish() }, &SCENES, gpu);
        (config.model.backbone, config.views.size, config.train.minutes)
    };
    assert_eq!(of(None, Some(90.0), false), (Architecture::Resnet18, 96, 90.0));
    assert_eq!(of(None, Some(600.0), true), (Architecture::Resnet50, 224, 600.0));
    assert_eq!(of(Some(Quality::Small), Some(600.0), false), (Architecture::Resnet18, 64, 600.0));
    assert_eq!(of(Some(Quality::Large), None, false), (Architecture::Resnet18, 128, 600.0));
}

#[test]
fn every_method_gets_a_run_on_few_photos_and_on_many() {
    for photos in [2, 5, 64, 573, 100_000] {
        for name in super::super::methods::names() {
            let survey = Survey { photos, copies: 0, size: [3000, 4000] };
            let config = config(&Wish { method: Some(name.into()), ..wish() }, &survey, false);
            assert!(config.train.batch <= photos, "{name}, {photos} photos: batch {}", config.train.batch);
            let queue = config.whole("queue").unwrap_or(0);
            assert!(queue <= (photos / 2).max(config.train.batch), "{name}, {photos} photos: queue {queue}");
        }
    }
}

#[test]
fn a_large_batch_is_a_larger_rate_but_for_adam() {
    let rate = |method: &str, batch| {
        let wish = Wish { method: Some(method.into()), batch: Some(batch), ..wish() };
        config(&wish, &SCENES, false).optimizer.lr
    };
    assert!((rate("mls", 128) - 2.0 * rate("mls", 64)).abs() < 1e-12);
    assert_eq!(rate("s2r2", 128), rate("s2r2", 64));
}

#[test]
fn many_views_are_ranked() {
    assert_eq!(config(&Wish { views: Some(8), ..wish() }, &SCENES, false).method.name(), "s2r2");
    assert_eq!(config(&Wish { views: Some(2), ..wish() }, &SCENES, false).method.name(), "mls");
}

#[test]
fn phone_photos_are_scaled_down_and_kept_as_far_as_memory_allows() {
    let phone = Survey { photos: 50_000, copies: 0, size: [3000, 4000] };
    let config = config(&wish(), &phone, false);
    assert_eq!((config.data.shrink_to, config.data.cache_mib), (128, 2048));
    let small = Survey { size: [96, 120], ..phone };
    assert_eq!(wish().config(&small, false, None).expect("a configuration").data.shrink_to, 0);
}

#[test]
fn six_lines_tell_what_was_chosen() {
    let config = config(&wish(), &SCENES, false);
    let device = Device::cpu();
    let memory = crate::pretrain::memory_plan(&config, &device, 1).expect("a plan");
    let lines = told(&config, &SCENES, &device, &memory, Some(0.3));
    assert_eq!(lines.lines().count(), 6);
    for part in
        ["usually 160 x 213 px; 3 are copies", "mls, a queue of 512 keys", "torchvision", "about 4000 steps"]
    {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
}
