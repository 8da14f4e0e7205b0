//! Ranks with a share of each batch are one rank with the whole: every method's steps, a run, and what goes wrong on one of them.

use crate::config::config;
use rand::{SeedableRng, rngs::StdRng};
use std::rc::Rc;
use vista::engine::exchange::{Alone, Exchange, Threads, share};
use vista::engine::nn::Module;
use vista::engine::tensor::init;
use vista::pretrain::method::KeyViews;
use vista::pretrain::{Batch, Config, Learner, Now, learner_of, methods};
use vista::{Device, Tensor};

const IMAGES: usize = 24;
const SIZE: usize = 32;

/// What each of some ranks comes to, each in a thread of its own.
fn on_ranks<R: Send>(ranks: usize, f: impl Fn(Threads) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            Threads::of(ranks).into_iter().map(|exchange| scope.spawn(|| f(exchange))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank")).collect()
    })
}

/// A small net that learns by a method with all that it has; `groups` of batch norm.
fn settings(method: &str, groups: usize) -> Config {
    let (batch, groups) = (format!("train.batch={IMAGES}"), format!("train.groups={groups}"));
    let size = format!("views.size={SIZE}");
    let own = [
        "seed=1",
        "model.width=2",
        "method.projection=8",
        "method.hidden=8",
        "method.prototypes=5",
        "method.m=0.9",
        "method.frozen_steps=0",
        "method.small_views=2",
        "method.small_side=0.75",
        "method.views=4",
        "method.queue=52",
        // What Adam and LARS make of a gradient that is zero but for rounding says nothing.
        "optimizer.name=sgd",
        &batch,
        &size,
        &groups,
    ];
    config(method, own)
}

/// Views of all images, by a seed.
fn batch(device: &Device, config: &Config, seed: u64) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tensor = |rows: usize, size: usize| {
        let values = init::normal(&mut rng, rows * size * size * 3, 1.0);
        Tensor::new(device, [rows, size, size, 3], &values).expect("views")
    };
    let keys = config.method.key_views();
    let views = config.image_views();
    let sizes = views.chunk_by(|a, b| a.size == b.size).map(|of| (of.len(), of[0].size));
    let query: Vec<Tensor> = match keys {
        KeyViews::Second => vec![tensor(IMAGES, SIZE)],
        _ => sizes.map(|(count, size)| tensor(count * IMAGES, size)).collect(),
    };
    let (key, shuffle) = match keys {
        KeyViews::Both => (Some(query[0].clone()), Vec::new()),
        KeyViews::None => (None, Vec::new()),
        KeyViews::Second => (Some(tensor(IMAGES, SIZE)), (0..IMAGES).map(|i| (7 * i + 3) % IMAGES).collect()),
    };
    Batch { query, key, ids: (0..IMAGES as u64).map(|i| 100 * seed + i).collect(), shuffle }
}

/// The part of a batch that a rank has: some images next to each other, with all of their views.
fn part(all: &Batch, exchange: &dyn Exchange) -> Batch {
    let own = share(IMAGES, exchange.rank(), exchange.ranks());
    let rows = |views: &Tensor| {
        let of_a_view = (0..views.shape()[0] / IMAGES)
            .map(|view| views.rows(view * IMAGES + own.start..view * IMAGES + own.end).expect("rows"));
        Tensor::stack_rows(&of_a_view.collect::<Vec<_>>().iter().collect::<Vec<_>>()).expect("rows")
    };
    Batch {
        query: all.query.iter().map(rows).collect(),
        key: all.key.as_ref().map(rows),
        ids: all.ids[own].to_vec(),
        shuffle: all.shuffle.clone(),
    }
}

/// What is left after some steps: losses and norms of each, and everything that training changes.
#[derive(Debug, PartialEq)]
struct Left {
    steps: Vec<Vec<f64>>,
    neighbours: Vec<Option<u64>>,
    state: Vec<(String, Vec<f64>)>,
}

fn left(device: &Device, config: &Config, steps: u64, exchange: Rc<dyn Exchange>) -> Left {
    let mut learner = learner_of(config, device, exchange.clone()).expect("learner");
    let (mut told, mut neighbours) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let now = Now { step, lr: 1e-3, base_lr: 1e-3, progress: step as f64 / 20.0, epoch: 0 };
        let report = learner.step(&part(&batch(device, config, step + 1), &*exchange), &now).expect("step");
        assert!(report.moved);
        let norms = report.terms.iter().flat_map(|term| [term.value, term.gradient_norm]).map(f64::from);
        told.push([report.loss, report.gradient_norm.into()].into_iter().chain(norms).collect());
        neighbours = report.neighbours;
    }
    Left { steps: told, neighbours, state: state(&learner) }
}

fn state(learner: &Learner) -> Vec<(String, Vec<f64>)> {
    let values = |x: Tensor| x.to_f64().expect("values");
    let target = learner.method.target.iter().flat_map(Module::state);
    let mut all: Vec<_> =
        learner.state().into_iter().chain(target).map(|p| (p.name().to_string(), values(p.get()))).collect();
    if let Some(queue) = &learner.method.queue {
        let rings =
            queue.keys.iter().map(|(name, ring)| (name.to_string(), values(ring.values().expect("keys"))));
        all.extend(rings);
        let ids = queue.ids.iter().map(|id| id.map_or(-1.0, |id| id as f64)).collect();
        all.extend([("ids".to_string(), ids), ("ptr".to_string(), vec![queue.ptr as f64])]);
    }
    all
}

/// How far two lists are apart, beside the larger of 1 and what is expected.
fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let one = |(got, expected): (&f64, &f64)| (got - expected).abs() / expected.abs().max(1.0);
    got.iter().zip(expected).map(one).fold(0.0, f64::max)
}

fn assert_alike(got: &Left, expected: &Left, bound: f64, what: &str) {
    for (step, (got, expected)) in got.steps.iter().zip(&expected.steps).enumerate() {
        // Norms are told in f32.
        assert!(distance(got, expected) <= bound.max(1e-5), "{what}, step {step}: {got:?}, not {expected:?}");
    }
    assert_eq!(got.neighbours, expected.neighbours, "{what}: neighbours");
    for ((name, got), (_, expected)) in got.state.iter().zip(&expected.state) {
        let distance = distance(got, expected);
        assert!(distance <= bound, "{what}: {name} is {distance:e} off");
    }
}

/// Groups of batch norm that reach over all ranks, in the whole or view by view, and as many as there are ranks for each view.
fn groups(config: &Config, ranks: usize) -> Vec<usize> {
    let views = config.image_views();
    let views = match config.method.key_views() {
        KeyViews::Second => 1,
        _ => views.iter().filter(|view| view.size == SIZE).count(),
    };
    let mut all = vec![1, views, ranks * views];
    all.dedup();
    all
}

#[test]
fn ranks_with_a_share_of_the_batch_are_one_rank_with_the_whole_for_every_method() {
    let device = Device::reference();
    for method in methods::names() {
        for ranks in [2, 3] {
            for groups in groups(&settings(method, 1), ranks) {
                let config = settings(method, groups);
                let steps = if (ranks, groups) == (3, 1) { 20 } else { 2 };
                let whole = left(&device, &config, steps, Rc::new(Alone));
                let all = on_ranks(ranks, |exchange| left(&device, &config, steps, Rc::new(exchange)));
                let what = format!("{method}, {groups} groups, {ranks} ranks");
                for rank in &all {
                    assert_eq!(rank, &all[0], "{what}: the same bits on all ranks");
                }
                assert_alike(&all[0], &whole, 1e-12, &what);
            }
        }
    }
}

/// Two groups for each view on four ranks: each reaches over two of them.
#[test]
fn a_group_of_batch_norm_may_reach_over_some_of_the_ranks() {
    let device = Device::reference();
    for (method, groups) in [("mls", 2), ("simclr", 4)] {
        let config = settings(method, groups);
        let whole = left(&device, &config, 2, Rc::new(Alone));
        let all = on_ranks(4, |exchange| left(&device, &config, 2, Rc::new(exchange)));
        assert!(all.iter().all(|rank| rank == &all[0]), "{method}");
        assert_alike(&all[0], &whole, 1e-12, method);
    }
}

/// What fits at once and what passes in chunks, whose activations are made again.
#[test]
fn ranks_pass_in_chunks_alike() {
    let device = Device::reference();
    // Groups that reach over ranks, and own ones: a chunk is one of them.
    for (method, chunk) in [("s2r2", 12), ("mls", 6)] {
        let whole = settings(method, 4);
        let config = whole.with(&format!("train.chunk={chunk}")).expect("setting");
        let whole = left(&device, &whole, 1, Rc::new(Alone));
        let all = on_ranks(2, |exchange| left(&device, &config, 1, Rc::new(exchange)));
        assert!(all.iter().all(|rank| rank == &all[0]), "{method}");
        assert_alike(&all[0], &whole, 1e-12, method);
    }
}
