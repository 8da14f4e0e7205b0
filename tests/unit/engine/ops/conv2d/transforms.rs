use super::*;

/// `sum_k x[i + k] w[k]` by an algorithm, and the gradients of a random sum of it; in f64.
fn check<const M: usize, const IN: usize>()
where
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
    OutputBack<M>: Transform<M, IN>,
    Weight<M>: Transform<3, IN>,
    WeightBack<M>: Transform<IN, 3>,
{
    let number = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003.5 - 1.0;
    let (x, w, dy) = ([(); IN], [(); 3], [(); M]);
    let mut count = 0;
    let mut next = |()| {
        count += 1;
        number(count)
    };
    let (x, w, dy) = (x.map(&mut next), w.map(&mut next), dy.map(&mut next));
    let times = |a: [f64; IN], b: [f64; IN]| std::array::from_fn(|i| a[i] * b[i]);
    let y = Output::<M>::apply(times(Input::<M>::apply(x), Weight::<M>::apply(w)));
    let dw = WeightBack::<M>::apply(times(Input::<M>::apply(x), OutputBack::<M>::apply(dy)));
    for (i, y) in y.iter().enumerate() {
        let expected: f64 = (0..3).map(|k| x[i + k] * w[k]).sum();
        assert!((y - expected).abs() < 1e-14, "y {i}: {y}, not {expected}");
    }
    for (k, dw) in dw.iter().enumerate() {
        let expected: f64 = (0..M).map(|i| x[i + k] * dy[i]).sum();
        assert!((dw - expected).abs() < 1e-14, "dw {k}: {dw}, not {expected}");
    }
}

#[test]
fn the_algebra_is_that_of_three_taps() {
    check::<2, 4>();
    check::<3, 5>();
    check::<4, 6>();
}
