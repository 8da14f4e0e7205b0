use super::*;

/// A scene of a size with an object.
fn scene(size @ [height, width]: [usize; 2]) -> Scene {
    let mask = Bitmap { size, pixels: (0..height * width).map(|i| u8::from(i % width < 60)).collect() };
    let rect = [4.0, 8.0, 60.0, 90.0];
    let object =
        SceneObject { class: 0, rect, crowd: false, difficult: false, area: 4592.0, mask: Some(mask) };
    let pixels = (0..3 * height * width).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    Scene { pixels, size, own: size, objects: vec![object], left_out: Vec::new() }
}

#[test]
fn the_plan_holds_a_batch_of_a_high_and_a_wide_photo_and_is_not_far_above_it() {
    let settings =
        ["model.width=8", "model.pyramid=16", "model.convs=16", "model.hidden=16", "train.batch=2"];
    for kind in ["model.kind=mask-rcnn-fpn", "model.kind=faster-rcnn-c4"] {
        let config = DetectConfig::preset("detect-small").expect("a preset");
        let all = settings.iter().chain([&kind]);
        let config = all.fold(config, |config, setting| config.with(setting).expect("a key"));
        let (short, long) = (*config.scenes.shortest.last().expect("a side"), config.scenes.longest);
        let planned = plan(&config, 2, &Device::cpu()).expect("a plan").peak;
        let taken = |sizes: [[usize; 2]; 2]| {
            let device = Device::cpu();
            let mut learner = DetectLearner::new(&config, 2, &device, false).expect("a learner");
            let scenes = sizes.map(scene);
            for step in 0..2 {
                let now = Now { step, lr: 1e-3, base_lr: 1e-3, ..Now::default() };
                learner.step(&scenes, &now).expect("a step");
            }
            device.usage().1
        };
        let (mixed, wide) = (taken([[long, short], [short, long]]), taken([[short, long]; 2]));
        assert!(mixed > wide, "{kind}: padding costs nothing: {mixed} {wide}");
        assert!(
            mixed <= planned && planned < 2 * mixed,
            "{kind}: planned {planned}, taken {mixed}, all wide {wide}"
        );
    }
}
