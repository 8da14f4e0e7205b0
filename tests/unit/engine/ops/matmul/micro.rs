use super::*;
use pulp::{Arch, WithSimd};

struct Product<'a> {
    sizes: [usize; 3],
    a: Rows<'a>,
    packed: bool,
    b: &'a [f32],
    y: &'a mut [f32],
    add: bool,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ([_, n, k], pair) = (self.sizes, columns::<S>());
        let mut panels = vec![0.0; k * n.next_multiple_of(pair)];
        for (l, row) in self.b.chunks(n).enumerate() {
            row.iter().enumerate().for_each(|(j, &b)| panels[j / pair * pair * k + l * pair + j % pair] = b);
        }
        let b = match self.packed {
            true => Panels { data: &panels, row: pair, panel: pair * k },
            false => Panels { data: self.b, row: n, panel: pair },
        };
        multiply(simd, self.sizes, self.a, b, self.y, n, self.add);
    }
}

#[test]
fn products_agree_with_a_triple_loop() {
    let numbers = |n: usize, seed: usize| -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f32 / 5003.5 - 1.0).collect()
    };
    for [m, n, k] in [[1, 16, 1], [12, 32, 5], [29, 80, 33], [24, 64, 64], [7, 48, 7], [20, 32, 9]] {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        for (packed, across, add) in [(true, false, false), (false, true, true), (true, true, true)] {
            let (row, column) = if across { (1, m) } else { (k, 1) };
            let mut y = vec![0.5; m * n];
            let rows = Rows { data: &a, row, column };
            Arch::new().dispatch(Product { sizes: [m, n, k], a: rows, packed, b: &b, y: &mut y, add });
            for (at, y) in y.iter().enumerate() {
                let term = |l: usize| f64::from(a[at / n * row + l * column]) * f64::from(b[l * n + at % n]);
                let expected = (0..k).map(term).sum::<f64>() + if add { 0.5 } else { 0.0 };
                assert!((f64::from(*y) - expected).abs() < 1e-5 * k as f64, "{m} {n} {k} at {at}");
            }
        }
    }
}
