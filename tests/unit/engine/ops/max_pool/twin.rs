use super::*;

fn naive(p: &Window, x: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let (mut y, mut from) = (Vec::new(), Vec::new());
    for out in 0..x.len() / (p.h * p.w * p.c) * p.oh * p.ow * p.c {
        let (n, i, j, c) =
            (out / (p.oh * p.ow * p.c), out / (p.ow * p.c) % p.oh, out / p.c % p.ow, out % p.c);
        let mut best: Option<usize> = None;
        for (ky, kx) in (0..p.kernel[0] * p.kernel[1]).map(|tap| (tap / p.kernel[1], tap % p.kernel[1])) {
            let a = (i * p.stride[0] + ky).wrapping_sub(p.padding[0]);
            let b = (j * p.stride[1] + kx).wrapping_sub(p.padding[1]);
            if a < p.h && b < p.w {
                let at = ((n * p.h + a) * p.w + b) * p.c + c;
                if best.is_none_or(|best| x[at] > x[best]) {
                    best = Some(at);
                }
            }
        }
        let best = best.expect("every window holds a pixel");
        y.push(x[best]);
        from.push(best);
    }
    (y, from)
}

#[test]
fn pooling_and_its_gradient_agree_with_a_naive_loop() {
    for (n, h, w, c, kernel, stride, padding) in [
        (2, 13, 17, 3, [3, 3], [2, 2], [1, 1]),
        (1, 7, 6, 1, [3, 3], [2, 2], [1, 1]),
        (2, 8, 9, 3, [2, 2], [2, 2], [0, 0]),
        (1, 9, 10, 19, [3, 2], [1, 3], [1, 0]),
        (1, 5, 5, 2, [5, 4], [1, 2], [2, 2]),
    ] {
        let size = |a: usize, s: usize| (s + 2 * padding[a] - kernel[a]) / stride[a] + 1;
        let p = Window { h, w, c, oh: size(0, h), ow: size(1, w), kernel, stride, padding };
        // Coarse values, so that there are ties.
        let x: Vec<f64> = (0..n * h * w * c).map(|i| (i * 7919 % 23) as f64 - 30.0).collect();
        let (want, from) = naive(&p, &x);
        let (mut y, mut index) = (vec![f64::NAN; want.len()], vec![f64::NAN; want.len()]);
        forward(&p, &x, &mut y, &mut index);
        assert_eq!(y, want);
        let dy: Vec<f64> = (0..y.len()).map(|i| (i * 31 % 17) as f64 - 8.0).collect();
        let mut expected = vec![0.0; x.len()];
        from.iter().zip(&dy).for_each(|(&at, dy)| expected[at] += dy);
        let mut dx = vec![f64::NAN; x.len()];
        backward(&p, &index, &dy, &mut dx);
        assert_eq!(dx, expected, "{p:?}");
    }
}

#[test]
fn nan_and_minus_infinity_are_kept() {
    let p = Window { h: 1, w: 3, c: 1, oh: 1, ow: 2, kernel: [1, 2], stride: [1, 1], padding: [0, 0] };
    let (mut y, mut index) = ([0.0f32; 2], [9.0; 2]);
    forward(&p, &[1.0, f32::NAN, 2.0], &mut y, &mut index);
    assert!(y[0].is_nan() && y[1].is_nan());
    assert_eq!(index, [1.0, 0.0]);
    forward(&p, &[f32::NEG_INFINITY; 3], &mut y, &mut index);
    assert_eq!((y, index), ([f32::NEG_INFINITY; 2], [0.0; 2]));
}
