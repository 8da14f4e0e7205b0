//! S2R2 in one file, on the bundled photos: the method's numbered steps without the trainer around them.

use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;
use vista::engine::autograd::{Observation, Tape};
use vista::engine::nn::{After, Architecture, Mlp, Mode, Module, ResNet, ResNetConfig, Stem};
use vista::engine::optim::{AdamConfig, OptimConfig};
use vista::photos::views::ViewConfig;
use vista::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos};
use vista::pretrain::methods::s2r2::by_image;
use vista::pretrain::momentum::Joined;
use vista::{Device, Result, Tensor};

const IMAGES: usize = 8; // B
const VIEWS: usize = 6; // K
const SIZE: usize = 32;
const TAU: f32 = 0.05;
const STEPS: usize = 60;

fn main() -> Result<()> {
    let device = Device::open("auto")?;
    let album = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
    let views = ViewConfig { blur_p: 0.0, ..ViewConfig::simclr(SIZE) };
    let mut loader = Loader::new(album, LoaderOptions::new(IMAGES, vec![views; VIEWS], 0))?;
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 16,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let rng = &mut StdRng::seed_from_u64(0);
    let net = ResNet::new(&device, rng, &config)?;
    let widths = [(config.features(), After::Relu), (64, After::Bias)];
    let projector = Mlp::new(&device, rng, "projector", config.features(), &widths)?;
    let mut adam = OptimConfig::Adam(AdamConfig::default()).build();
    let mut losses = Vec::new();

    for step in 0..STEPS {
        // 1. B images, K views each: all first views, then all second ones, and so on.
        let Some(batch) = loader.next() else { break };
        let batch = batch?;
        let images = Tensor::new(&device, [IMAGES * VIEWS, SIZE, SIZE, 3], &batch.data.images)?;

        // 2. Every view through the one encoder, with a tape.
        let tape = Tape::new(&device);
        let mode = Mode::Train { groups: 1 };
        let z = projector.forward(&net.forward(&tape.constant(images), mode)?, mode)?;

        // 3. Cosine similarities of all views with all views; now the views of an image are neighbours.
        let z = z.gather_rows(&by_image(&device, IMAGES, VIEWS)?)?.l2_normalize()?; // [B K, d]
        let similarities = z.matmul_nt(&z)?; // [B K, B K]

        // 4. Each view ranks all others; its own image's views should come first (Eq. 1-3).
        let (loss, _) = similarities.smooth_ap(VIEWS, TAU)?; // 1 - mean AP

        // 5. Backward, batch-norm statistics, Adam.
        let grads = loss.backward()?;
        Observation::apply(&tape.take_observations())?;
        adam.step(&Joined([&net, &projector]).trained(), &grads, 1e-3)?;

        losses.push(loss.value().item()?);
        if step % 10 == 0 {
            println!("step {step:3}  loss {:.4}  mean AP {:.4}", losses[step], 1.0 - losses[step]);
        }
        loader.recycle(batch);
    }

    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[STEPS - 10..]));
    println!("loss of the first ten steps {first:.4}, of the last ten {last:.4}");
    println!("(equal embeddings would give 1 - 1/B = {:.4})", 1.0 - 1.0 / IMAGES as f32);
    assert!(last < first - 0.03, "nothing was learned");
    Ok(())
}
