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

/// 0 or 1, one row of each kind at least: no ones, ones alone, and mixed.
fn labels([rows, columns]: [usize; 2]) -> Vec<f32> {
    let share = |row: usize| [0.3, 0.0, 1.0][row % 3];
    let drawn = uniform(5, rows * columns, 0.0, 1.0);
    drawn.iter().enumerate().map(|(i, u)| f32::from(*u < share(i / columns))).collect()
}

fn constant<'t>(x: &Var<'t>, shape: impl Into<vista::Shape>, values: &[f32]) -> Var<'t> {
    let device = x.tape().device();
    x.tape().constant(Tensor::new(device, shape, values).unwrap())
}

#[test]
fn binary_cross_entropy_is_softplus_less_the_logits_of_the_positives() {
    for shape in [[5, 65], [1, 1], [3, 1030]] {
        let y = labels(shape);
        assert_same(
            "bce_with_logits",
            shape,
            &|x| x.bce_with_logits(&Tensor::new(x.tape().device(), shape, &y)?),
            &|x| x.softplus()?.sub(&x.mul(&constant(x, shape, &y))?)?.mean(Over::All),
        );
        assert_same(
            "bce_positives",
            [3, shape[1]],
            &|x| x.bce_positives(&Tensor::new(x.tape().device(), [3, shape[1]], &labels([3, shape[1]]))?),
            &|x| {
                let y = constant(x, [3, shape[1]], &labels([3, shape[1]]));
                x.scale(-1.0)?.softplus()?.mul(&y)?.mean(Over::All)
            },
        );
    }
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

#[test]
fn knn_softmax_sets_each_positive_against_itself_and_all_negatives() {
    // `mean_b 1/k_b sum_{i positive} softplus(L_b - x_bi)`, `L_b = log sum_{j negative} exp(x_bj)`
    for shape in [[1, 9], [4, 65], [2, 1030]] {
        let [rows, columns] = shape;
        let y: Vec<f32> = uniform(8, rows * columns, 0.0, 1.0).iter().map(|u| f32::from(*u < 0.3)).collect();
        let negative: Vec<f32> = y.iter().map(|y| 1.0 - y).collect();
        let count = |row: &[f32]| row.iter().sum::<f32>().max(1.0);
        let counts: Vec<f32> = y.chunks(columns).map(count).collect(); // k_b
        assert_same(
            "knn_softmax",
            shape,
            &|x| x.knn_softmax(&Tensor::new(x.tape().device(), shape, &y)?),
            &|x| {
                let of_negatives = x.exp()?.mul(&constant(x, shape, &negative))?;
                let log_sum = of_negatives.sum(Over::Row)?.log()?.reshape([rows, 1])?; // L_b
                let terms = log_sum.sub(x)?.softplus()?.mul(&constant(x, shape, &y))?;
                let per_row = terms.sum(Over::Row)?.div(&constant(x, [rows], &counts))?;
                per_row.mean(Over::All)
            },
        );
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
