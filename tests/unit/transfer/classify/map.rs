use super::*;

/// Two clouds of points in five dimensions, ten apart along the third.
fn clouds(n: usize) -> Vec<f32> {
    let mut rng = KeyedRng::new("test", 1, [0; 3]);
    let point = |i: usize, rng: &mut KeyedRng| -> [f32; 5] {
        let mut p = [0.0; 5].map(|_: f32| rng.random::<f32>());
        p[2] += if i.is_multiple_of(2) { 10.0 } else { 0.0 };
        p
    };
    (0..n).flat_map(|i| point(i, &mut rng)).collect()
}

/// Whether even and odd rows lie on two sides along some column.
fn apart(plane: &[f32]) -> bool {
    let of = |odd: usize, c: usize| plane.chunks(2).skip(odd).step_by(2).map(move |p| p[c]);
    (0..2).any(|c| {
        let range = |odd| of(odd, c).fold([f32::MAX, f32::MIN], |[a, b], v| [a.min(v), b.max(v)]);
        let ([a, b], [c, d]) = (range(0), range(1));
        b < c || d < a
    })
}

#[test]
fn the_first_component_is_the_axis_of_two_clouds_and_holds_their_variance() {
    let (scores, shares) = principal(&clouds(60), 5, 2);
    assert_eq!((scores.len(), shares.len()), (120, 2));
    assert!(apart(&scores) && shares[0] > 0.95 && shares[1] < 0.03, "{shares:?}");
    let sum: f64 = principal(&clouds(60), 5, 5).1.iter().sum();
    assert!((sum - 1.0).abs() < 1e-3, "all components hold all of the variance: {sum}");
    assert!(principal(&[], 5, 2).0.is_empty());
    assert_eq!(principal(&[0.7; 50], 5, 2).1, [0.0; 2], "equal rows have no variance");
}
