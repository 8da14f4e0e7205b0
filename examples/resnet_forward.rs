//! A ResNet-50 forward pass on the bundled photos: stages, shapes, parameters, time.

use rand::{SeedableRng, rngs::StdRng};
use std::time::Instant;
use vista::prelude::*;

fn main() -> Result<()> {
    let device = Device::open("auto")?;
    let config = ResNetConfig {
        architecture: Architecture::Resnet50,
        width: 64,
        stem: Stem::Imagenet,
        zero_init: false,
        dilated: 0,
    };
    let net = ResNet::new(&device, &mut StdRng::seed_from_u64(0), &config)?;
    println!("{}: {} parameters in {} tensors", device.name(), net.count(), net.trained().len());
    for param in net.trained().iter().take(3) {
        println!("  {:24} {}", param.name(), param.shape());
    }

    // The middle of each of four photos at 96 pixels, normalised as torchvision does.
    let album = Album::new(Photos::bundled_pretrain().take(4), AlbumOptions::default());
    let (pixels, _) = album.center_views(&[0, 1, 2, 3], &ViewConfig::moco_v2(96))?;

    let tape = Tape::inert(&device); // records nothing: no gradient is wanted
    let images = tape.constant(Tensor::new(&device, [4, 96, 96, 3], &pixels)?);
    let began = Instant::now();
    let map = net.map(&images, Mode::Eval)?; // [4, 3, 3, 2048]
    let features = map.global_avg_pool()?; // [4, 2048]
    let values = features.value().to_vec()?;
    println!("images {} -> map {} -> features {}", images.shape(), map.shape(), features.shape());
    println!("in {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    assert!(values.iter().all(|v| v.is_finite() && *v >= 0.0), "features are means of relus");
    Ok(())
}
