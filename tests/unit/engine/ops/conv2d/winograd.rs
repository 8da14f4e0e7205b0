use super::super::twin;
use super::*;
use crate::engine::device::real::Real;

fn sequence<T: Real>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0)).collect()
}

fn geometry([n, h, w, c]: [usize; 4], o: usize, padding: [usize; 2]) -> Geometry {
    Geometry::new(&[n, h, w, c], &[o, 3, 3, c], [1, 1], padding, [1, 1]).expect("sizes that fit")
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
        let g = geometry(x, o, padding);
        let direct = error(None, &g);
        for (algorithm, factor) in Winograd::ALL.into_iter().zip([3.0, 12.0, 12.0]) {
            let rounded = error(Some(algorithm), &g);
            assert!(rounded < factor * direct.max(1e-7), "{algorithm:?} of {g:?}: off by {rounded:e} in f32");
        }
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
    let strided = Geometry::new(&[16, 24, 24, 64], &[64, 3, 3, 64], [2, 2], [1, 1], [1, 1]);
    assert_eq!(Winograd::choose(&strided.expect("sizes that fit")), None);
}

#[test]
fn a_gradient_is_added_to_what_is_there() {
    let g = geometry([2, 7, 9, 16], 48, [1, 1]);
    let (w, dy) = (sequence::<f32>(g.o * g.depth(), 1), sequence::<f32>(g.pixels() * g.o, 2));
    let sum = sequence::<f32>(g.n * g.h * g.w * g.c, 3);
    for algorithm in Winograd::ALL {
        let (mut dx, mut both) = (vec![f32::NAN; sum.len()], sum.clone());
        algorithm.grad_input(&g, &w, &dy, &mut dx, false);
        algorithm.grad_input(&g, &w, &dy, &mut both, true);
        assert!(both.iter().zip(sum.iter().zip(&dx)).all(|(both, (sum, dx))| *both == sum + dx));
    }
}
