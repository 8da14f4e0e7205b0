//! Every fused op against the composition that it stands for: value and gradient, for a random upstream gradient.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use vista::engine::autograd::{Tape, Var};
use vista::engine::device::GpuOptions;
use vista::engine::ops::{Over, relative_l2};
use vista::{Device, Result, Tensor};

type Loss<'a> = dyn for<'t> Fn(&Var<'t>) -> Result<Var<'t>> + 'a;

fn uniform(seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(low..high)).collect()
}

/// Value and gradient at these logits for an upstream gradient of 1.7.
fn evaluate(device: &Device, shape: [usize; 2], logits: &[f32], loss: &Loss) -> [Vec<f64>; 2] {
    let tape = Tape::new(device);
    let x = tape.leaf(Tensor::new(device, shape, logits).unwrap());
    let y = loss(&x).unwrap();
    let grads = y.backward_with(Tensor::new(device, y.shape().clone(), &[1.7]).unwrap()).unwrap();
    [y.value().to_f64().unwrap(), grads.of(&x).unwrap().to_f64().unwrap()]
}

fn assert_same(name: &str, shape: [usize; 2], fused: &Loss, composed: &Loss) {
    let logits = uniform(3, shape[0] * shape[1], -3.0, 3.0);
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a device");
    let [value, gradient] = evaluate(&Device::reference(), shape, &logits, composed);
    for (device, bound) in [(Device::reference(), 1e-12), (Device::cpu(), 1e-5), (gpu, 1e-5)] {
        for loss in [fused, composed] {
            let got = evaluate(&device, shape, &logits, loss);
            for (got, expected) in got.iter().zip([&value, &gradient]) {
                let error = relative_l2(got, expected);
                assert!(error < bound, "{name} {shape:?} on {}: {error:.1e}", device.name());
            }
        }
    }
}

fn constant<'t>(x: &Var<'t>, shape: impl Into<vista::Shape>, values: &[f32]) -> Var<'t> {
    let device = x.tape().device();
    x.tape().constant(Tensor::new(device, shape, values).unwrap())
}

#[test]
fn cross_entropy_is_the_log_softmax_at_the_labels() {
    for [rows, columns] in [[5, 33], [1, 1], [3, 1030]] {
        let at: Vec<usize> = (0..rows).map(|row| (row * 7 + 2) % columns).collect();
        let index: Vec<f32> = at.iter().map(|&at| at as f32).collect();
        let mut one_hot = vec![0.0; rows * columns];
        at.iter().enumerate().for_each(|(row, at)| one_hot[row * columns + at] = 1.0);
        assert_same(
            "cross_entropy",
            [rows, columns],
            &|x| x.cross_entropy(&Tensor::new(x.tape().device(), [rows], &index)?),
            &|x| {
                let log_p = x.log_softmax()?.mul(&constant(x, [rows, columns], &one_hot))?;
                log_p.sum(Over::Row)?.mean(Over::All)?.scale(-1.0)
            },
        );
    }
}

/// The sum of the elements with weights.
fn weighted<'t>(y: &Var<'t>, weights: &[f32]) -> Result<Var<'t>> {
    y.mul(&constant(y, y.shape().clone(), weights))?.sum(Over::All)
}

#[test]
fn softmax_is_exponentials_over_their_sum_and_log_softmax_its_logarithm() {
    for [rows, columns] in [[5, 33], [7, 2], [3, 1030]] {
        let weights: Vec<f32> = (0..rows * columns).map(|i| (i % 7) as f32 + 1.0).collect();
        assert_same("softmax", [rows, columns], &|x| weighted(&x.softmax()?, &weights), &|x| {
            weighted(&x.exp()?.div(&x.exp()?.sum(Over::Row)?.reshape([rows, 1])?)?, &weights)
        });
        assert_same("log_softmax", [rows, columns], &|x| weighted(&x.log_softmax()?, &weights), &|x| {
            weighted(&x.sub(&x.exp()?.sum(Over::Row)?.log()?.reshape([rows, 1])?)?, &weights)
        });
    }
}

#[test]
fn smooth_ap_is_made_of_sigmoids_of_all_triples() {
    for (images, views, tau) in [(2, 2, 0.25), (3, 5, 0.125)] {
        let n = images * views;
        // Of query q the positive i and the candidate j: neither is the query, nor one the other.
        let triple = |wanted: &dyn Fn(usize, usize, usize) -> bool| -> Vec<f32> {
            (0..n * n * n)
                .map(|at| [at / (n * n), at / n % n, at % n])
                .map(|[q, i, j]| f32::from(q != i && q != j && i != j && wanted(q, i, j)))
                .collect()
        };
        let of_image = |q: usize, i: usize| q / views == i / views;
        let positive = triple(&|q, i, j| of_image(q, i) && of_image(q, j));
        let any = triple(&|q, i, _| of_image(q, i));
        let pairs: Vec<f32> =
            (0..n * n).map(|at| f32::from(at / n != at % n && of_image(at / n, at % n))).collect();
        assert_same("smooth_ap", [n, n], &|s| Ok(s.smooth_ap(views, tau)?.0), &|s| {
            let difference = s.reshape([n, 1, n])?.sub(&s.reshape([n, n, 1])?)?; // s_qj - s_qi
            let above = difference.scale(1.0 / tau)?.sigmoid()?; // [n, n, n]
            let rank = |set: &[f32]| {
                above.mul(&constant(s, [n, n, n], set))?.sum(Over::Row)?.offset(1.0) // [n, n]
            };
            let precision = rank(&positive)?.div(&rank(&any)?)?.mul(&constant(s, [n, n], &pairs))?;
            let mean = precision.sum(Over::All)?.div(&constant(s, [], &[(n * (views - 1)) as f32]))?;
            mean.scale(-1.0)?.offset(1.0)
        });
    }
}
