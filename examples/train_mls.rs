//! MLS in one file, on the bundled photos: the method's numbered steps without the trainer around them.

use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;
use vista::engine::autograd::{Observation, Tape, Var};
use vista::engine::nn::{After, Architecture, Mlp, Mode, Module, ResNet, ResNetConfig, Stem};
use vista::engine::optim::{OptimConfig, SgdConfig, ema_update};
use vista::photos::views::ViewConfig;
use vista::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos};
use vista::pretrain::methods::mls::pseudo_labels;
use vista::pretrain::methods::moco::info_nce;
use vista::pretrain::momentum::{Joined, copy_state};
use vista::pretrain::named::Named;
use vista::pretrain::queue::Queue;
use vista::{Device, Result, Tensor};

const BATCH: usize = 32;
const SIZE: usize = 32;
const SLOTS: usize = 256; // D: less than half of the photos
const K: usize = 5; // pseudo-positives
const TAU: f32 = 0.2;
const LAMBDA: f32 = 0.5;
const STEPS: usize = 24;

/// Features g and projections z.
fn embed<'t>(net: &ResNet, head: &Mlp, images: &Var<'t>, mode: Mode) -> Result<Named<Var<'t>>> {
    let g = net.map(images, mode)?.global_avg_pool()?;
    let z = head.forward(&g, mode)?;
    Ok([("g", g), ("z", z)].into())
}

fn main() -> Result<()> {
    let device = Device::open("auto")?;
    let album = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
    let mut loader = Loader::new(album, LoaderOptions::new(BATCH, vec![ViewConfig::moco_v2(SIZE); 2], 0))?;
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 16,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let mut rng = StdRng::seed_from_u64(0);
    let encoder = |rng: &mut StdRng| -> Result<(ResNet, Mlp)> {
        let net = ResNet::new(&device, rng, &config)?;
        let widths = [(config.features(), After::Relu), (64, After::Bias)];
        Ok((net, Mlp::new(&device, rng, "projector", config.features(), &widths)?))
    };
    let (query_net, query_head) = encoder(&mut rng)?;
    let (key_net, key_head) = encoder(&mut rng)?;
    let (query, key) = (Joined([&query_net, &query_head]), Joined([&key_net, &key_head]));
    copy_state(&key, &query)?;
    let rings = [("g", config.features()), ("z", 64)];
    let mut queue = Queue::random(&device, &mut rng, SLOTS, rings, false)?;
    let sgd = SgdConfig { momentum: 0.9, weight_decay: 1e-4, nesterov: false };
    let mut sgd = OptimConfig::Sgd(sgd).build();
    let mode = Mode::Train { groups: 4 };

    for step in 0..STEPS {
        // 1. Two views of each image.
        let Some(batch) = loader.next() else { break };
        let batch = batch?;
        let (v1, v2) = batch.data.images.split_at(batch.data.images.len() / 2);
        let view = |values| Tensor::new(&device, [BATCH, SIZE, SIZE, 3], values);

        // 2. The key encoder follows the query encoder, before its pass.
        ema_update(&key, &query, 0.99)?;

        // 3. Keys of the second views. (The trainer also shuffles them between the groups of batch norm.)
        let inert = Tape::inert(&device);
        let keys = embed(&key_net, &key_head, &inert.constant(view(v2)?), mode)?;
        Observation::apply(&inert.take_observations())?;
        let keys = keys.try_map(|x| Ok(x.value().clone()))?;

        // 4. The query pass.
        let tape = Tape::new(&device);
        let q = embed(&query_net, &query_head, &tape.constant(view(v1)?), mode)?;
        let (g1, z1) = (q.get("g")?, q.get("z")?);

        // 5. Pseudo-labels: the k nearest backbone keys of the old queue (Eq. 7).
        let (queue_g, queue_z) = (queue.ring("g")?, queue.ring("z")?);
        let [labels, _] = pseudo_labels(g1.value(), queue_g, K)?; // [B, D]

        // 6. Logits against the old queue of projections (Eq. 8), and the two losses (Eq. 1, 9).
        let p = queue_z.products(&z1.l2_normalize()?)?; // [B, D]
        let loss_ml = p.scale(1.0 / TAU)?.bce_with_logits(&labels)?;
        let (loss_nce, _) = info_nce(z1, keys.get("z")?, queue_z, TAU)?;
        let loss = loss_nce.add(&loss_ml.scale(LAMBDA)?)?; // Eq. 10

        // 7. Backward, batch-norm statistics, SGD.
        let grads = loss.backward()?;
        Observation::apply(&tape.take_observations())?;
        sgd.step(&query.trained(), &grads, 0.06)?;

        // 8. Only now the keys enter both queues, at one pointer (Eq. 6).
        queue.enqueue(&keys, &batch.ids)?;

        if step % 4 == 0 {
            let (nce, ml) = (loss_nce.value().item()?, loss_ml.value().item()?);
            println!("step {step:3}  L_nce {nce:.4}  L_ml {ml:.4}  next slot {}", queue.ptr);
        }
        loader.recycle(batch);
    }
    println!("(equal logits would give L_nce = ln(D + 1) = {:.4})", ((SLOTS + 1) as f32).ln());
    assert!(queue.ids.iter().flatten().count() == SLOTS, "the ring has been filled");
    Ok(())
}
