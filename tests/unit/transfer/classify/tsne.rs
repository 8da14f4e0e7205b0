use super::*;
use crate::rng::KeyedRng;
use rand::RngExt;

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
fn tsne_keeps_two_clouds_apart_is_the_same_again_and_wants_rows_that_differ() {
    let plane = tsne(&clouds(80), 5).expect("a plane");
    assert!(plane.len() == 160 && apart(&plane));
    assert_eq!(plane, tsne(&clouds(80), 5).expect("a plane"));
    assert!(tsne(&[1.0; 500], 5).is_none() && tsne(&clouds(9), 5).is_none());
}

#[test]
fn the_picture_does_not_depend_on_the_number_of_threads() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| tsne(&clouds(83), 5)).expect("a plane")
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn every_row_has_the_perplexity_asked_for_and_the_joint_probabilities_are_symmetric_and_sum_to_one() {
    let squares: Vec<f64> = (0..90).map(|i| 100.0 + f64::from(i * i)).collect();
    let entropy: f64 = conditional(&squares, 20.0).iter().map(|p| -p * p.max(1e-300).ln()).sum();
    assert!((entropy.exp() - 20.0).abs() < 1e-3, "{}", entropy.exp());
    assert_eq!(conditional(&[4.0; 5], 2.0), [0.2; 5], "equally far");
    let (values, n) = (clouds(40), 40);
    let rows: Vec<&[f32]> = values.chunks(5).collect();
    let near = Attraction::of(&rows, 5.0);
    let mut dense = vec![0.0; n * n];
    for i in 0..n {
        near.pairs[near.starts[i]..near.starts[i + 1]].iter().for_each(|&(j, p)| dense[i * n + j] = p);
    }
    assert!((dense.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    for i in 0..n {
        assert!((0..n).all(|j| dense[i * n + j] == dense[j * n + i]) && dense[i * n + i] == 0.0);
        let neighbours = dense[i * n..][..n].iter().filter(|p| **p > 0.0).count();
        assert!(neighbours >= 15, "a row is near its own 15, and to those that it is near to");
    }
}

/// Kullback and Leibler's divergence of the plane's similarities from the joint probabilities, from its formula.
fn divergence(near: &Attraction, x: &[f32], y: &[f32]) -> f64 {
    let similar = |i: usize, j: usize| {
        let [dx, dy] = [x[i] - x[j], y[i] - y[j]].map(f64::from);
        1.0 / (1.0 + dx * dx + dy * dy)
    };
    let n = x.len();
    let sum: f64 = (0..n)
        .flat_map(|i| (0..n).map(move |j| (i, j)))
        .filter(|(i, j)| i != j)
        .map(|(i, j)| similar(i, j))
        .sum();
    let of_row = |i: usize| {
        let pairs = near.pairs[near.starts[i]..near.starts[i + 1]].iter();
        pairs.map(|&(j, p)| f64::from(p) * (f64::from(p) * sum / similar(i, j)).ln()).sum::<f64>()
    };
    (0..n).map(of_row).sum()
}

#[test]
fn forces_are_a_quarter_of_the_slope_of_the_divergence() {
    let values = clouds(37);
    let rows: Vec<&[f32]> = values.chunks(5).collect();
    let near = Attraction::of(&rows, 5.0);
    let mut rng = KeyedRng::new("plane", 0, [0; 3]);
    let [mut x, y]: [Vec<f32>; 2] = [0, 1].map(|_| (0..37).map(|_| 3.0 * rng.normal() as f32).collect());
    let forces: Vec<Forces> = (0..37).map(|i| Forces::on(i, &x, &y, &near)).collect();
    let normaliser: f32 = forces.iter().map(|f| f.similarity - 1.0).sum();
    for i in [0, 5, 36] {
        let force = forces[i].attraction[0] - forces[i].repulsion[0] / normaliser;
        let at = x[i];
        let mut moved = |by: f32| {
            x[i] = at + by;
            divergence(&near, &x, &y)
        };
        let slope = (moved(0.01) - moved(-0.01)) / 0.02;
        x[i] = at;
        assert!((4.0 * f64::from(force) - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{force} {slope}");
    }
}
