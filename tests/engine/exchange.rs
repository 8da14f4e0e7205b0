//! Two ranks with half of a batch each are one rank with the whole batch: values, gradients, running statistics.

use rand::{SeedableRng, rngs::StdRng};
use std::rc::Rc;
use vista::engine::autograd::{Observation, Tape};
use vista::engine::exchange::{Alone, Block, Exchange, Threads};
use vista::engine::nn::{BatchNorm, ConvNorm, Mode, Module, Param};
use vista::engine::ops::{self, Coefficients, Ranks};
use vista::engine::tensor::init;
use vista::{Device, Result, Tensor};

const MODE: Mode = Mode::Train { groups: 1 };

/// A batch's rows of values that are the same for the same seed.
fn random(device: &Device, seed: u64, shape: [usize; 4], scale: f32) -> Tensor {
    let values = init::normal(&mut StdRng::seed_from_u64(seed), shape.iter().product(), 1.0);
    Tensor::new(device, shape, &values.iter().map(|v| scale * v + 3.0).collect::<Vec<_>>()).expect("tensor")
}

/// The rows of one rank.
fn share(x: &Tensor, exchange: &dyn Exchange) -> Tensor {
    let rows = x.shape()[0] / exchange.ranks();
    x.rows(exchange.rank() * rows..(exchange.rank() + 1) * rows).expect("rows")
}

/// What a rank has after one pass: its rows of y, dx and dresidual, then what all ranks must have alike.
struct Pass {
    rows: Vec<Vec<f64>>,
    all: Vec<Vec<f64>>,
}

/// Two layers and a norm with a residual and a relu, and a norm without gamma and beta.
fn pass(device: &Device, exchange: Rc<dyn Exchange>) -> Result<Pass> {
    let rng = &mut StdRng::seed_from_u64(3);
    let conv = |rng: &mut StdRng, channels| ConvNorm::new(device, rng, ["c", "n"], channels, [3, 1], 1.0);
    let layers = [conv(rng, [3, 5])?, conv(rng, [5, 4])?];
    let (norm, plain) = (BatchNorm::new(device, "last", 4, 0.7)?, BatchNorm::plain(device, "plain", 4)?);
    let batch = |seed, c, scale| share(&random(device, seed, [6, 4, 5, c], scale), &*exchange);
    let tape = Tape::new(device).across(exchange.clone());
    let (x, residual) = (tape.leaf(batch(1, 3, 1.0)), tape.leaf(batch(2, 4, 5.0)));
    let y = ConvNorm::chain(&layers, &x, MODE, true, Some(&residual))?;
    let y = plain.forward(&norm.forward_add_relu(&y, &residual, MODE)?, MODE)?;
    // The op by itself, too.
    let (by, ones) = (Coefficients::Batch { groups: 1, eps: 1e-5 }, Tensor::full(device, [4], 0.5)?);
    let op = Ranks { norm: ops::BatchNorm { by, relu: true }, exchange: exchange.clone() };
    let y = tape.apply(op, &[&y, &tape.constant(ones.clone()), &tape.constant(ones)])?.0;
    let mut grads = y.backward_with(batch(4, 4, 1.0))?;
    let trained: Vec<Param> = layers.iter().flat_map(|l| l.trained()).chain(norm.trained()).collect();
    grads.sum(&trained, &*exchange)?;
    Observation::apply(&tape.take_observations())?;
    assert!(plain.trained().is_empty() && plain.state().len() == 2, "running statistics alone");
    let of = |leaf| grads.of(leaf).expect("a gradient").to_f64();
    let rows = vec![y.value().to_f64()?, of(&x)?, of(&residual)?];
    let mut all: Vec<Vec<f64>> = Vec::new();
    for param in &trained {
        all.push(grads.of_param(param).expect("a gradient").to_f64()?);
    }
    let norms = layers.iter().map(|l| &l.norm).chain([&norm, &plain]);
    for param in norms.flat_map(|n| [&n.running.mean, &n.running.var]) {
        all.push(param.get().to_f64()?);
    }
    Ok(Pass { rows, all })
}

fn on_ranks<R: Send>(ranks: usize, f: impl Fn(Threads) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            Threads::of(ranks).into_iter().map(|exchange| scope.spawn(|| f(exchange))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank")).collect()
    })
}

fn assert_close(got: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= bound * expected.abs().max(1.0), "{what}: {got}, not {expected}");
    }
}

#[test]
fn ranks_with_a_share_of_the_batch_are_one_rank_with_the_whole() {
    for (device, bound) in [(Device::reference(), 1e-12), (Device::cpu(), 1e-3)] {
        let whole = pass(&device, Rc::new(Alone)).expect("whole");
        for ranks in [1, 2, 3] {
            let passes = on_ranks(ranks, |exchange| pass(&device, Rc::new(exchange)).expect("share"));
            for (i, expected) in whole.rows.iter().enumerate() {
                let got: Vec<f64> = passes.iter().flat_map(|pass| pass.rows[i].clone()).collect();
                assert_close(&got, expected, bound, &format!("{ranks} ranks, rows of {i}"));
            }
            for pass in &passes {
                assert_eq!(pass.all, passes[0].all, "the same bits on all ranks");
                for (i, (got, expected)) in pass.all.iter().zip(&whole.all).enumerate() {
                    assert_close(got, expected, bound, &format!("{ranks} ranks, {i}"));
                }
            }
        }
    }
}

#[test]
fn the_same_ranks_give_the_same_bits_twice() {
    let device = Device::cpu();
    let run = || on_ranks(3, |exchange| pass(&device, Rc::new(exchange)).expect("share"));
    for (a, b) in run().iter().zip(&run()) {
        assert_eq!((&a.rows, &a.all), (&b.rows, &b.all));
    }
}

#[test]
fn alone_costs_nothing() {
    let device = Device::cpu();
    let x = Tensor::full(&device, [3], 2.0).expect("x");
    let before = device.usage();
    let same = [Alone.sum(&x).expect("sum"), Alone.gather(&x).expect("rows")];
    assert_eq!(device.usage(), before, "no memory");
    assert!(same.iter().all(|same| same.to_vec().expect("values") == [2.0; 3]));
    assert!(Tape::new(&device).across(Rc::new(Alone)).exchange().is_none(), "the pass of one process");
}

#[test]
fn sums_and_rows_are_in_rank_order_and_a_rank_that_has_ended_is_named() {
    let device = Device::reference();
    let told = on_ranks(3, |exchange| {
        let rank = exchange.rank() as f32;
        let x = Tensor::full(&device, [2], rank + 1.0).expect("x");
        let sum = exchange.sum(&x).and_then(|x| x.to_vec()).expect("sum");
        let rows = exchange.gather(&x).and_then(|x| x.to_vec()).expect("rows");
        (sum, rows, exchange.tell(&vec![7; exchange.rank()]).expect("told"))
    });
    for (sum, rows, said) in told {
        assert_eq!((sum, rows), (vec![6.0; 2], vec![1.0, 1.0, 2.0, 2.0, 3.0, 3.0]));
        assert_eq!(said, [vec![], vec![7], vec![7, 7]]);
    }
    let mut ranks = Threads::of(2);
    drop(ranks.pop());
    let error = ranks[0].tell(&[1]).expect_err("no one listens").to_string();
    assert!(error.contains("rank 1 has ended"), "{error}");
    let unlike = on_ranks(2, |exchange| {
        let x = Tensor::full(&device, [1 + exchange.rank()], 1.0).expect("x");
        exchange.sum(&x).expect_err("shapes differ").to_string()
    });
    // One element and two: the second rank's slice of both is one, and it hears that the first has ended.
    assert!(unlike[0].contains("rank 0 has 0 bytes, rank 1 8"), "{unlike:?}");
    assert!(unlike[1].contains("rank 0 has ended"), "{unlike:?}");
}

#[test]
fn sums_have_slices_of_any_length_and_rows_are_dealt_by_their_numbers() {
    for device in [Device::cpu(), Device::reference()] {
        let told = on_ranks(3, |exchange| {
            let rank = exchange.rank();
            let x = Tensor::from_fn(&device, [5, 1], |i| (10 * rank + i[0]) as f32).expect("x");
            let sum = exchange.sum(&x).and_then(|x| x.to_vec()).expect("sum");
            let rows = x.rows(0..2).expect("rows");
            let dealt = exchange.deal(&rows, &[5, 0, 1, 4, 2, 3]).and_then(|x| x.to_vec()).expect("rows");
            let wrong = exchange.deal(&x, &[5, 0, 1, 4, 2, 3]).expect_err("five rows, not two").to_string();
            (sum, dealt, wrong)
        });
        let dealt: Vec<f32> = told.iter().flat_map(|(_, dealt, _)| dealt.clone()).collect();
        assert_eq!(dealt, [21.0, 0.0, 1.0, 20.0, 10.0, 11.0]);
        for (sum, _, wrong) in told {
            assert_eq!(sum, [30.0, 33.0, 36.0, 39.0, 42.0]);
            assert!(wrong.contains("6 rows for 3 ranks"), "{wrong}");
        }
    }
}

#[test]
fn a_block_of_ranks_is_alone_with_itself() {
    let told = on_ranks(4, |exchange| {
        let rank = exchange.rank() as u8;
        let block = Block::of(Rc::new(exchange), 2);
        (block.rank(), block.ranks(), block.tell(&[rank]).expect("told"))
    });
    for (rank, (own, ranks, said)) in told.into_iter().enumerate() {
        let first = rank as u8 / 2 * 2;
        assert_eq!((own, ranks, said), (rank % 2, 2, vec![vec![first], vec![first + 1]]));
    }
}

#[test]
fn groups_are_local_to_a_rank() {
    let device = Device::reference();
    let errors = on_ranks(2, |exchange| {
        let norm = BatchNorm::new(&device, "n", 2, 1.0).expect("norm");
        let tape = Tape::new(&device).across(Rc::new(exchange));
        let x = tape.leaf(random(&device, 1, [4, 1, 1, 2], 1.0));
        norm.forward(&x, Mode::Train { groups: 2 }).expect_err("two groups").to_string()
    });
    assert!(errors.iter().all(|error| error.contains("one group")), "{errors:?}");
}
