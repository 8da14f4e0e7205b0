use super::super::twin;
use super::*;
use crate::engine::device::real::Real;
use crate::engine::ops::relative_l2;
use rand::{RngExt, SeedableRng, rngs::StdRng};

fn sequence<T: Real>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0)).collect()
}

fn geometry([n, h, w, c]: [usize; 4], o: usize, padding: [usize; 2]) -> Geometry {
    dilated([n, h, w, c], o, padding, [1, 1])
}

fn dilated([n, h, w, c]: [usize; 4], o: usize, padding: [usize; 2], dilation: [usize; 2]) -> Geometry {
    Geometry::new(&[n, h, w, c], &[o, 3, 3, c], [1, 1], padding, dilation).expect("sizes that fit")
}

/// Largest error of forward pass and both gradients against direct ones in f64, relative to the root of the number
/// of terms summed; `None` is the direct convolution.
fn error(algorithm: Option<Winograd>, g: &Geometry) -> f64 {
    let (x, w, dy) = (g.n * g.h * g.w * g.c, g.o * g.depth(), g.pixels() * g.o);
    let numbers = |n, seed| (sequence::<f64>(n, seed), sequence::<f32>(n, seed));
    let ((x, x_32), (w, w_32), (dy, dy_32)) = (numbers(x, 1), numbers(w, 2), numbers(dy, 3));
    let worst = |terms: usize, n: usize, want: &dyn Fn(&mut [f64]), got: &dyn Fn(&mut [f32])| {
        let (mut a, mut b) = (vec![f64::NAN; n], vec![f32::NAN; n]);
        want(&mut a);
        got(&mut b);
        let errors = a.iter().zip(&b).map(|(a, b)| (a - f64::from(*b)).abs());
        errors.fold(0.0, |m: f64, e: f64| if e > m || e.is_nan() { e } else { m }) / (terms as f64).sqrt()
    };
    let y = worst(g.depth(), dy.len(), &|y| twin::direct_forward(g, &x, &w, y), &|y| match algorithm {
        Some(algorithm) => algorithm.forward(g, &x_32, &w_32, y),
        None => twin::direct_forward(g, &x_32, &w_32, y),
    });
    let dx =
        worst(
            9 * g.o,
            x.len(),
            &|dx| twin::direct_grad_input(g, &w, &dy, dx, false),
            &|dx| match algorithm {
                Some(algorithm) => algorithm.grad_input(g, &w_32, &dy_32, dx, false),
                None => twin::direct_grad_input(g, &w_32, &dy_32, dx, false),
            },
        );
    let dw =
        worst(g.pixels(), w.len(), &|dw| twin::direct_grad_weight(g, &x, &dy, dw), &|dw| match algorithm {
            Some(algorithm) => algorithm.grad_weight(g, &x_32, &dy_32, dw),
            None => twin::direct_grad_weight(g, &x_32, &dy_32, dw),
        });
    if [y, dx, dw].iter().any(|e| e.is_nan()) { f64::NAN } else { y.max(dx).max(dw) }
}

/// Errors of each algorithm in f32 beside those of direct convolution in f32, which sums as many terms.
fn assert_near_direct(g: &Geometry) {
    let direct = error(None, g);
    for (algorithm, factor) in Winograd::ALL.into_iter().zip([3.0, 12.0, 12.0]) {
        let rounded = error(Some(algorithm), g);
        assert!(rounded < factor * direct.max(1e-7), "{algorithm:?} of {g:?}: off by {rounded:e} in f32");
    }
}

#[test]
fn both_algorithms_equal_the_direct_convolution() {
    let cases = [
        ([1, 1, 1, 16], 16, [1, 1]),
        ([2, 5, 7, 32], 16, [1, 1]),
        ([3, 4, 9, 16], 48, [0, 2]),
        ([2, 3, 13, 16], 32, [2, 0]),
        ([7, 12, 12, 64], 80, [1, 1]),
        ([2, 30, 41, 16], 16, [1, 1]),
        // Fewer tiles than channels: by output channels, with more input channels than are taken at a time.
        ([2, 4, 3, 144], 80, [1, 1]),
    ];
    for (x, o, padding) in cases {
        assert_near_direct(&geometry(x, o, padding));
    }
}

/// Uniform from -1 to 1, rounded to f32.
fn draws(n: usize, seed: u64) -> (Vec<f64>, Vec<f32>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let f32s: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    (f32s.iter().map(|&x| x.into()).collect(), f32s)
}

/// Forward pass and both gradients of each algorithm in f32 beside the direct ones in f64, for random values.
fn assert_close(g: &Geometry) {
    let (x, w, dy) = (g.n * g.h * g.w * g.c, g.o * g.depth(), g.pixels() * g.o);
    let ((x, x_32), (w, w_32), (dy, dy_32)) = (draws(x, 1), draws(w, 2), draws(dy, 3));
    let zeros = || [&dy, &x, &w].map(|values| vec![0.0; values.len()]);
    let [mut y, mut dx, mut dw] = zeros();
    twin::direct_forward(g, &x, &w, &mut y);
    twin::direct_grad_input(g, &w, &dy, &mut dx, false);
    twin::direct_grad_weight(g, &x, &dy, &mut dw);
    for (algorithm, bound) in Winograd::ALL.into_iter().zip([1e-6, 3e-6, 3e-6]) {
        let [mut y_32, mut dx_32, mut dw_32] = zeros().map(|values| vec![f32::NAN; values.len()]);
        algorithm.forward(g, &x_32, &w_32, &mut y_32);
        algorithm.grad_input(g, &w_32, &dy_32, &mut dx_32, false);
        algorithm.grad_weight(g, &x_32, &dy_32, &mut dw_32);
        for (name, expected, got) in [("y", &y, y_32), ("dx", &dx, dx_32), ("dw", &dw, dw_32)] {
            let got: Vec<f64> = got.into_iter().map(f64::from).collect();
            let error = relative_l2(&got, expected);
            assert!(error < bound, "{algorithm:?}: {name} of {g:?} is off by {error:.1e}");
        }
    }
}

#[test]
fn dilated_convolutions_equal_the_direct_one() {
    let cases = [
        ([2, 16, 12, 16], 32, [2, 2], [2, 2]),
        ([2, 29, 29, 32], 48, [2, 2], [2, 2]),
        ([1, 29, 27, 32], 16, [4, 4], [4, 4]),
        ([3, 9, 7, 16], 16, [4, 4], [4, 4]),
        // Sides below the dilation, and one pixel: of most remainders there is none.
        ([2, 3, 2, 16], 16, [4, 4], [4, 4]),
        ([3, 1, 1, 32], 16, [2, 2], [2, 2]),
        // Other paddings than the dilation, other dilations of rows than of columns.
        ([2, 11, 13, 16], 16, [3, 0], [2, 4]),
        ([1, 9, 10, 16], 32, [6, 2], [3, 1]),
        ([2, 8, 9, 144], 80, [4, 2], [4, 2]),
    ];
    cases.into_iter().for_each(|(x, o, padding, dilation)| assert_close(&dilated(x, o, padding, dilation)));
}

#[test]
fn more_channels_than_a_block_equal_the_direct_convolution() {
    // By output channels, by tiles, and with many outputs.
    for (x, o) in [([1, 4, 4, 1072], 48), ([2, 13, 12, 528], 16), ([2, 5, 4, 16], 544)] {
        assert_near_direct(&geometry(x, o, [1, 1]));
    }
}

#[test]
fn a_dilated_convolution_is_the_plain_one_of_interleaved_images() {
    let (n, h, w, c, o, d) = (2, 6, 5, 16, 32, 2);
    let (_, x) = draws(n * d * h * d * w * c, 1);
    let (_, weights) = draws(o * 9 * c, 2);
    // The images of each pair of remainders, one behind the other.
    let apart = |from: &[f32], channels: usize| -> Vec<f32> {
        let pixel = |at: usize| {
            let [j, i, image] = [at % w, at / w % h, at / (w * h)];
            let [b, a, image] = [image % d, image / d % d, image / (d * d)];
            ((image * d * h + i * d + a) * d * w + j * d + b) * channels
        };
        (0..n * d * d * h * w).flat_map(|at| from[pixel(at)..][..channels].to_vec()).collect()
    };
    let whole = dilated([n, d * h, d * w, c], o, [d; 2], [d; 2]);
    let parts = geometry([n * d * d, h, w, c], o, [1, 1]);
    for algorithm in Winograd::ALL {
        let [mut y, mut y_parts] = [&whole, &parts].map(|g| vec![f32::NAN; g.pixels() * o]);
        algorithm.forward(&whole, &x, &weights, &mut y);
        algorithm.forward(&parts, &apart(&x, c), &weights, &mut y_parts);
        assert!(apart(&y, o) == y_parts, "{algorithm:?}");
        let [mut dx, mut dx_parts] = [&x, &x].map(|x| vec![f32::NAN; x.len()]);
        algorithm.grad_input(&whole, &weights, &y, &mut dx, false);
        algorithm.grad_input(&parts, &weights, &y_parts, &mut dx_parts, false);
        assert!(apart(&dx, c) == dx_parts, "{algorithm:?}");
    }
}

#[test]
fn the_choice_follows_the_shape() {
    let choice = |x, o| Winograd::choose(&geometry(x, o, [1, 1]));
    assert_eq!(choice([16, 24, 24, 64], 64), Some(Winograd { m: 4 }));
    assert_eq!(choice([16, 6, 6, 256], 256), Some(Winograd { m: 3 }), "two tiles fill an image's side");
    assert_eq!(choice([16, 24, 24, 60], 64), None, "channels that are not whole vectors");
    assert_eq!(choice([1, 4, 4, 16], 16), None, "transforms that cost more than they save");
    assert_eq!(choice([1, 3, 3, 512], 512), None, "weights that are transformed for one tile");
    let stage = |dilation| Winograd::choose(&dilated([2, 29, 29, 256], 256, [dilation; 2], [dilation; 2]));
    assert_eq!([2, 4].map(stage), [Some(Winograd { m: 4 }); 2]);
    assert_eq!(
        Winograd::choose(&dilated([16, 24, 24, 64], 64, [5, 2], [2, 2])),
        None,
        "padding out of reach"
    );
    let strided = Geometry::new(&[16, 24, 24, 64], &[64, 3, 3, 64], [2, 2], [1, 1], [1, 1]);
    assert_eq!(Winograd::choose(&strided.expect("sizes that fit")), None);
}

#[test]
fn a_gradient_is_added_to_what_is_there() {
    for dilation in [1, 2, 4] {
        let g = dilated([2, 7, 9, 16], 48, [dilation; 2], [dilation; 2]);
        let (w, dy) = (sequence::<f32>(g.o * g.depth(), 1), sequence::<f32>(g.pixels() * g.o, 2));
        let sum = sequence::<f32>(g.n * g.h * g.w * g.c, 3);
        for algorithm in Winograd::ALL {
            let (mut dx, mut both) = (vec![f32::NAN; sum.len()], sum.clone());
            algorithm.grad_input(&g, &w, &dy, &mut dx, false);
            algorithm.grad_input(&g, &w, &dy, &mut both, true);
            assert!(both.iter().zip(sum.iter().zip(&dx)).all(|(both, (sum, dx))| *both == sum + dx));
        }
    }
}
