use super::*;

#[test]
fn streams_keep_their_values_on_every_platform() {
    let mut rng = KeyedRng::new("view", 7, [1, 2, 3]);
    let drawn: Vec<u64> = (0..3).map(|_| rng.bits()).collect();
    assert_eq!(drawn, [4377275189822326990, 6873285737027414946, 17309342517811549970]);
}

#[test]
fn every_word_of_the_key_changes_the_stream() {
    let first = |purpose, seed, key| KeyedRng::new(purpose, seed, key).bits();
    let base = first("view", 0, [0, 0, 0]);
    let others = [
        first("vie", 0, [0, 0, 0]),
        first("view", 1, [0, 0, 0]),
        first("view", 0, [1, 0, 0]),
        first("view", 0, [0, 1, 0]),
        first("view", 0, [0, 0, 1]),
    ];
    for (i, a) in others.iter().enumerate() {
        assert_ne!(*a, base);
        assert!(others[i + 1..].iter().all(|b| a != b));
    }
}

#[test]
fn neighbouring_streams_are_uniform_and_uncorrelated() {
    let (n, mut sum, mut square, mut product, mut before) = (20_000u64, 0.0, 0.0, 0.0, 0.5);
    for image in 0..n {
        let x = KeyedRng::new("view", 0, [0, image, 0]).unit();
        sum += x;
        square += (x - 0.5) * (x - 0.5);
        product += (x - 0.5) * (before - 0.5);
        before = x;
    }
    let n = n as f64;
    assert!((sum / n - 0.5).abs() < 0.01);
    assert!((square / n - 1.0 / 12.0).abs() < 0.003);
    assert!((product / n).abs() < 0.003);
}

#[test]
fn permutation_holds_every_index_once() {
    let mut order = KeyedRng::new("epoch", 3, [9, 0, 0]).permutation(101);
    assert_ne!(order, (0..101).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..101).collect::<Vec<_>>());
}

#[test]
fn normal_has_mean_zero_and_variance_one() {
    let mut rng = KeyedRng::new("init", 0, [0; 3]);
    let x: Vec<f64> = (0..20_000).map(|_| rng.normal()).collect();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / x.len() as f64;
    assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
}

#[test]
fn fills_bytes_through_the_rand_trait() {
    use rand::Rng;
    let mut bytes = [0u8; 11];
    KeyedRng::new("bytes", 0, [0; 3]).fill_bytes(&mut bytes);
    assert_ne!(bytes[8..], [0; 3]);
}
