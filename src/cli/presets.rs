//! `vista pretrain --presets`: each setting with its source, and how long it would take on this machine.

use crate::bench::{Measured, Name, Plan, StepConfig};
use crate::engine::device::Device;
use crate::error::Result;
use crate::pretrain::Config;
use crate::pretrain::method::KeyViews;
use crate::pretrain::methods;
use indicatif::HumanDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Photos of the data set that a preset is for, by its name.
const PHOTOS: [(&str, u64); 3] = [("stl10", 105_000), ("coco-val", 5_000), ("coco", 118_287)];

pub(super) fn list(device: &str) -> Result<Value> {
    let device = Device::open(device)?;
    let step = Measured::of(&device, &Name::parse("resnet18:16,64")?, [1, 3], false)?;
    let speed = 1e9 * step.gflops.expect("a training step counts its work");
    let (mut known, mut all) = (BTreeMap::new(), Vec::new());
    for preset in methods::presets() {
        let (name, what, config) = (preset.name, preset.about, (preset.config)());
        let time = match config.train.minutes > 0.0 {
            true => config.train.minutes * 60.0,
            false => flops(name, &config, &mut known)? / speed,
        };
        all.push(json!({ "name": name, "about": what, "seconds": time }));
        let time = HumanDuration(Duration::from_secs_f64(time)).to_string();
        println!("{name:24} {time:>10}  {what}");
    }
    eprintln!(
        "the times are estimates for {}, from one small step: {:.0} GFLOP/s.",
        device.name(),
        speed / 1e9
    );
    Ok(json!({ "device": device.name(), "presets": all }))
}

/// FLOPs of a whole run: three passes of every view through the encoder; one, not three, where it is a key.
fn flops(name: &str, config: &Config, known: &mut BTreeMap<(usize, usize, usize), f64>) -> Result<f64> {
    let (resnet, photos) = (config.resnet(), PHOTOS.iter().find(|(part, _)| name.contains(part)));
    let keys = match config.method.key_views() {
        KeyViews::None => [1.0, 1.0],
        KeyViews::Second => [1.0, 1.0 / 3.0],
        KeyViews::Both => [4.0 / 3.0; 2],
    };
    let mut image = 0.0;
    for (i, view) in config.image_views().iter().enumerate() {
        let key = (resnet.architecture as usize, resnet.width, view.size);
        let step = match known.get(&key) {
            Some(&step) => step,
            None => {
                let config = StepConfig::new(resnet.architecture, [2, view.size]);
                let plan = Plan::of(StepConfig { width: resnet.width, ..config })?;
                plan.phases.last().map_or(0.0, |total| total.flops as f64 / 2.0)
            }
        };
        known.insert(key, step);
        image += step * keys.get(i).copied().unwrap_or(1.0);
    }
    Ok(image * photos.map_or(0, |&(_, count)| count) as f64 * config.train.epochs as f64)
}
