use super::*;
use crate::engine::device::GpuOptions;
use crate::rng::KeyedRng;

/// Random unit rows.
fn rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut rng = KeyedRng::new("test", seed, [0; 3]);
    let mut values: Vec<f32> = (0..count * width).map(|_| rng.normal() as f32).collect();
    for row in values.chunks_mut(width) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    values
}

#[test]
fn neighbours_and_purity_equal_a_naive_loop_without_the_querys_own_photo() {
    let (q, k) = (rows(9, 5, 1), rows(40, 5, 2));
    let photos: Vec<usize> = (0..40).map(|i| (i * 7) % 40).collect();
    let own: Vec<usize> = (0..9).collect();
    let labels: Vec<Vec<usize>> = (0..40).map(|i| vec![i % 3, 3 + i % 4]).collect();
    let queries = Points { values: &q, width: 5, photos: &own };
    let keys = Points { values: &k, width: 5, photos: &photos };
    let related = |query: usize, key: usize| share_a_label(&labels[own[query]], &labels[photos[key]]);
    let found = nearest(&Device::cpu(), &queries, &keys, 6).expect("neighbours");
    let curve = purity(&found, &related);
    for top in 1..=6 {
        let mut sum = 0.0;
        for query in 0..9 {
            let cosine = |key: usize| (0..5).map(|c| q[query * 5 + c] * k[key * 5 + c]).sum::<f32>();
            let mut order: Vec<usize> = (0..40).filter(|&key| photos[key] != query).collect();
            order.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
            let expected: Vec<usize> = found[query][..top].iter().map(|n| n.key).collect();
            assert_eq!(order[..top], expected);
            let common = |key: &usize| labels[query].iter().any(|l| labels[photos[*key]].contains(l));
            sum += order[..top].iter().filter(|key| common(key)).count() as f64 / top as f64;
        }
        assert!((curve[top - 1] - sum / 9.0).abs() < 1e-12, "k = {top}");
    }
}

#[test]
fn chance_is_the_share_among_all_other_photos() {
    let labels = [0, 0, 0, 1];
    let photos = [0, 1, 2, 3];
    let related = |query: usize, key: usize| labels[query] == labels[key];
    assert!((chance(&photos, &photos, &related) - (3.0 * 2.0 / 3.0) / 4.0).abs() < 1e-12);
    assert_eq!(chance(&[], &photos, &related), 0.0);
}

#[test]
fn the_worst_query_has_the_fewest_shared_labels_then_the_lowest_similarity() {
    let near = |pairs: &[(usize, f32)]| -> Vec<Neighbour> {
        pairs.iter().map(|&(key, similarity)| Neighbour { key, similarity }).collect()
    };
    let found = [
        near(&[(0, 0.5), (1, 0.4)]),
        near(&[(2, 0.9), (1, 0.8)]),
        near(&[(2, 0.7), (1, 0.6)]),
        near(&[(0, 0.3), (0, 0.3)]),
    ];
    assert_eq!(worst(&found, None), Some(3), "the lowest mean cosine");
    let related = |_: usize, key: usize| key == 0;
    assert_eq!(worst(&found, Some(&related)), Some(2), "no shared label, and less similar than query 1");
    assert_eq!(worst(&[], None), None);
}

#[test]
fn few_keys_give_short_curves_and_none_gives_none() {
    let (q, k) = (rows(2, 3, 1), rows(4, 3, 2));
    let keys = Points { values: &k, width: 3, photos: &[0, 1, 2, 3] };
    let queries = Points { values: &q, width: 3, photos: &[0, 9] };
    let found = nearest(&Device::cpu(), &queries, &keys, 64).expect("neighbours");
    assert_eq!((found[0].len(), found[1].len()), (3, 4));
    assert_eq!(purity(&found, &|_, _| true), [1.0; 3]);
    assert!(purity(&[], &|_, _| true).is_empty());
}

#[test]
fn a_gpu_finds_the_neighbours_that_the_cpu_finds_where_photos_have_several_keys() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    let (q, k) = (rows(30, 17, 3), rows(90, 17, 4));
    let photos: Vec<usize> = (0..90).map(|i| i % 30).collect();
    let queries = Points { values: &q, width: 17, photos: &photos[..30] };
    let keys = Points { values: &k, width: 17, photos: &photos };
    for count in [4, 64] {
        let of = |device| nearest(device, &queries, &keys, count).expect("neighbours");
        gpu.start_trace();
        let (found, expected) = (of(&gpu), of(&Device::cpu()));
        let kernels = gpu.take_trace().expect("trace").kernels;
        gpu.stop_trace();
        assert!(kernels.iter().any(|kernel| kernel.shader == "matmul"));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert_eq!(found.key, expected.key);
            assert!((found.similarity - expected.similarity).abs() < 1e-6);
        }
        assert!(
            found
                .iter()
                .enumerate()
                .all(|(i, near)| near.len() == count && near.iter().all(|n| n.key % 30 != i))
        );
        let cosines = |device| scores(device, 7, &queries, &keys).expect("cosines");
        let (found, expected) = (cosines(&gpu), cosines(&Device::cpu()));
        assert_eq!(found.len(), 87);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn keys_in_blocks_give_the_neighbours_of_all_at_once_and_of_equals_the_first() {
    // Whole numbers, whose products do not round: products of other shapes add up in another order.
    let whole = |rows: Vec<f32>| -> Vec<f32> { rows.iter().map(|v| (8.0 * v).round()).collect() };
    let (q, mut k) = (whole(rows(11, 5, 5)), whole(rows(40, 5, 6)));
    k.copy_within(0..5 * 12, 5 * 23); // keys 23 to 34 are keys 0 to 11 again
    for count in [1, 6, 40, 50] {
        let of = |at_once| by_blocks(&Device::cpu(), &q, &k, 5, count, at_once).expect("neighbours");
        let whole = of(1000);
        assert!(whole.iter().all(|near| near.len() == count.min(40)));
        for at_once in [1, 35, 5 * 39] {
            assert_eq!(of(at_once), whole, "{count} neighbours, blocks of {at_once}");
        }
    }
    assert_eq!(by_blocks(&Device::cpu(), &q, &[], 5, 3, 35).expect("none"), vec![Vec::new(); 11]);
}
