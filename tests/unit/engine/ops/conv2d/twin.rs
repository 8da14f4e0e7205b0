use super::*;

fn sequence<T: Real>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0)).collect()
}

/// Calls `f(index in x, index in w, index in y)` for every multiplication of the convolution.
fn each_term(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    for (n, i, j) in (0..g.n * g.oh * g.ow).map(|p| (p / (g.oh * g.ow), p / g.ow % g.oh, p % g.ow)) {
        for (o, ky, kx) in (0..g.o * g.kh * g.kw).map(|p| (p / (g.kh * g.kw), p / g.kw % g.kh, p % g.kw)) {
            let a = (i * g.stride[0] + ky * g.dilation[0]).wrapping_sub(g.padding[0]);
            let b = (j * g.stride[1] + kx * g.dilation[1]).wrapping_sub(g.padding[1]);
            if a < g.h && b < g.w {
                for c in 0..g.c {
                    f(
                        ((n * g.h + a) * g.w + b) * g.c + c,
                        ((o * g.kh + ky) * g.kw + kx) * g.c + c,
                        ((n * g.oh + i) * g.ow + j) * g.o + o,
                    );
                }
            }
        }
    }
}

fn check<T: Real>(g: &Geometry, bound: f64) {
    let (x, w) = (sequence::<T>(g.n * g.h * g.w * g.c, 1), sequence::<T>(g.o * g.depth(), 2));
    let dy = sequence::<T>(g.pixels() * g.o, 3);
    let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    each_term(g, |i, j, k| {
        y[k] += x[i].f64() * w[j].f64();
        dx[i] += dy[k].f64() * w[j].f64();
        dw[j] += dy[k].f64() * x[i].f64();
    });
    let compare = |want: &[f64], run: &dyn Fn(&mut [T])| {
        let mut got = vec![T::nan(); want.len()];
        run(&mut got);
        let error = got
            .iter()
            .zip(want)
            .map(|(a, b)| (a.f64() - b).abs())
            .fold(0.0, |m: f64, e: f64| if e > m || e.is_nan() { e } else { m });
        assert!(error < bound, "{g:?}: off by {error}");
    };
    compare(&y, &|y| forward(g, &x, &w, y));
    compare(&dx, &|dx| grad_input(g, &w, &dy, dx, false));
    let sums: Vec<f64> = dx.iter().map(|d| d + 3.0).collect();
    compare(&sums, &|dx| {
        dx.fill(T::of(3.0));
        grad_input(g, &w, &dy, dx, true);
    });
    compare(&dw, &|dw| grad_weight(g, &x, &dy, dw));
}

#[test]
fn all_three_products_agree_with_a_naive_loop() {
    type Sizes = ([usize; 4], [usize; 3], [usize; 2], [usize; 2], [usize; 2]);
    let cases: [Sizes; 20] = [
        ([2, 9, 11, 17], [23, 1, 1], [1, 1], [0, 0], [1, 1]),
        ([2, 9, 10, 16], [33, 1, 1], [2, 2], [0, 0], [1, 1]),
        ([2, 9, 13, 5], [7, 3, 3], [1, 1], [1, 1], [1, 1]),
        ([1, 8, 8, 65], [16, 3, 3], [1, 1], [1, 1], [1, 1]),
        ([2, 9, 12, 6], [10, 3, 3], [2, 2], [1, 1], [1, 1]),
        ([3, 13, 10, 3], [8, 7, 7], [2, 2], [3, 3], [1, 1]),
        ([1, 11, 12, 4], [5, 3, 3], [1, 1], [2, 2], [2, 2]),
        ([1, 11, 12, 4], [5, 3, 3], [2, 2], [2, 2], [2, 2]),
        ([2, 12, 11, 3], [4, 3, 2], [3, 2], [1, 0], [2, 3]),
        ([1, 7, 9, 2], [3, 5, 1], [1, 3], [2, 1], [1, 1]),
        ([2, 6, 5, 3], [4, 2, 2], [3, 3], [0, 0], [1, 1]),
        ([1, 4, 4, 1], [1, 4, 4], [1, 1], [0, 0], [1, 1]),
        ([1, 1, 1, 3], [2, 3, 3], [1, 1], [1, 1], [1, 1]),
        ([3, 3, 3, 70], [40, 3, 3], [1, 1], [1, 1], [1, 1]),
        ([1, 3, 40, 2], [3, 3, 3], [1, 1], [5, 6], [1, 1]),
        ([1, 2, 2, 3], [2, 1, 1], [1, 1], [1, 1], [1, 1]),
        ([2, 13, 11, 64], [48, 3, 3], [1, 1], [2, 2], [2, 2]),
        ([2, 13, 15, 32], [64, 3, 3], [1, 1], [4, 4], [4, 4]),
        ([3, 3, 10, 64], [32, 3, 3], [1, 1], [4, 4], [4, 4]),
        ([1, 9, 12, 5], [7, 3, 3], [1, 1], [4, 4], [4, 4]),
    ];
    for ([n, h, w, c], [o, kh, kw], stride, padding, dilation) in cases {
        let g = Geometry::new(&[n, h, w, c], &[o, kh, kw, c], stride, padding, dilation).unwrap();
        check::<f64>(&g, 1e-11);
        // Winograd's algorithms are up to 9 times as far.
        check::<f32>(&g, if winograd::<f32>(&g).is_some() { 1e-3 } else { 2e-4 });
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    // Images, weights; stride, padding, dilation.
    let shapes: [([usize; 4], [usize; 3], [usize; 3]); 10] = [
        ([4, 28, 28, 128], [128, 3, 3], [1, 1, 1]),
        ([4, 28, 28, 128], [128, 3, 3], [2, 1, 1]),
        ([4, 7, 7, 512], [512, 3, 3], [1, 1, 1]),
        ([8, 14, 14, 256], [64, 1, 1], [1, 0, 1]),
        ([8, 14, 14, 64], [256, 1, 1], [2, 0, 1]),
        ([4, 7, 7, 2048], [512, 1, 1], [1, 0, 1]),
        ([4, 64, 64, 3], [64, 7, 7], [2, 3, 1]),
        ([3, 13, 11, 70], [90, 3, 3], [1, 2, 1]),
        ([2, 29, 29, 64], [64, 3, 3], [1, 2, 2]),
        ([2, 15, 13, 256], [256, 3, 3], [1, 4, 4]),
    ];
    for ([n, h, w, c], [o, kh, kw], steps) in shapes {
        let [stride, padding, dilation] = steps.map(|step| [step; 2]);
        let g = Geometry::new(&[n, h, w, c], &[o, kh, kw, c], stride, padding, dilation).expect("a shape");
        let (x, weights) = (sequence::<f32>(n * h * w * c, 1), sequence::<f32>(o * g.depth(), 2));
        let dy = sequence::<f32>(g.pixels() * g.o, 3);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let (mut y, mut dx, mut dw) =
                    (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; weights.len()]);
                forward(&g, &x, &weights, &mut y);
                grad_input(&g, &weights, &dy, &mut dx, false);
                grad_weight(&g, &x, &dy, &mut dw);
                [y, dx, dw].map(|values| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            })
        };
        let one = on(1);
        for threads in [2, 3, 8] {
            for ((what, one), many) in ["y", "dx", "dw"].iter().zip(&one).zip(&on(threads)) {
                let differ = one.iter().zip(many).filter(|(a, b)| a != b).count();
                assert_eq!(differ, 0, "{what} of {g:?} on {threads} threads, of {} values", one.len());
            }
        }
    }
}
