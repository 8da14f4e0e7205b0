use super::*;
use crate::engine::device::GpuOptions;

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
fn the_first_component_is_the_axis_of_two_clouds_and_holds_their_variance_on_both_devices() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    gpu.start_trace();
    let mut found = Vec::new();
    for device in [&Device::cpu(), &gpu] {
        let of = |values: &[f32], count| principal(device, values, 5, count).expect("components");
        let (scores, shares) = of(&clouds(60), 2);
        assert_eq!((scores.len(), shares.len()), (120, 2));
        assert!(apart(&scores) && shares[0] > 0.95 && shares[1] < 0.03, "{shares:?}");
        let sum: f64 = of(&clouds(60), 5).1.iter().sum();
        assert!((sum - 1.0).abs() < 1e-3, "all components hold all of the variance: {sum}");
        assert!(of(&[], 2).0.is_empty());
        assert_eq!(of(&[0.7; 50], 2).1, [0.0; 2], "equal rows have no variance");
        found.push(scores);
    }
    assert!(gpu.take_trace().expect("trace").kernels.iter().any(|kernel| kernel.shader == "matmul"));
    let off = found[0]
        .iter()
        .zip(&found[1])
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m });
    assert!(off < 1e-3, "scores of the devices are {off} apart");
}
