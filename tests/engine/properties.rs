//! Properties that must hold for every size and value, on random ones.

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use vista::engine::ops::{Conv2d, SmoothAp, TopK, run};
use vista::engine::tensor::init;
use vista::pretrain::named::Named;
use vista::pretrain::queue::Queue;
use vista::{Device, Tensor};

fn normal(device: &Device, seed: u64, shape: &[usize]) -> Tensor {
    let values = init::normal(&mut StdRng::seed_from_u64(seed), shape.iter().product(), 1.0);
    Tensor::new(device, shape, &values).expect("a tensor")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The ring against a list that is pushed to and cut.
    #[test]
    fn a_queue_holds_the_newest_keys_for_any_batch_and_size(slots in 1usize..40, batches in prop::collection::vec(1usize..40, 1..8)) {
        let device = Device::cpu();
        let rings = [("g", 3), ("z", 2)];
        let mut queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), slots, rings, false).expect("queue");
        let mut all: Vec<u64> = Vec::new();
        for batch in batches.into_iter().filter(|b| *b <= slots) {
            let ids: Vec<u64> = (0..batch as u64).map(|i| all.len() as u64 + i).collect();
            let keys = |width: usize| {
                // In the direction of the image's number.
                let row = |&id: &u64| [vec![1.0], vec![id as f32; width - 1]].concat();
                let values: Vec<f32> = ids.iter().flat_map(row).collect();
                Tensor::new(&device, [batch, width], &values).expect("keys")
            };
            let keys = Named::from([("g", keys(3)), ("z", keys(2))]);
            queue.enqueue(&keys, &ids).expect("enqueue");
            all.extend(&ids);
        }
        let newest = &all[all.len().saturating_sub(slots)..];
        let mut held: Vec<u64> = queue.ids.iter().flatten().copied().collect();
        held.sort_unstable();
        prop_assert_eq!(&held, newest);
        let values = queue.keys.try_map(|ring| ring.values()?.to_vec()).expect("keys");
        let (g, z) = (values.get("g").expect("g"), values.get("z").expect("z"));
        for (slot, id) in queue.ids.iter().enumerate().filter_map(|(slot, id)| Some((slot, (*id)? as f32))) {
            let close = |value: f32, one: f32| (value / one - id).abs() < 1e-3 * id.max(1.0);
            let (g, z) = (&g[3 * slot..][..3], &z[2 * slot..][..2]);
            prop_assert!(close(g[1], g[0]) && close(g[2], g[0]) && close(z[1], z[0]));
        }
    }

    /// Exactly k results, the same as a stable sort, ties and NaN included.
    #[test]
    fn top_k_is_the_head_of_a_stable_sort(values in prop::collection::vec(prop_oneof![4 => -3i32..3, 1 => Just(99)], 1..200), k in 1usize..64) {
        let row: Vec<f32> = values.iter().map(|&v| if v == 99 { f32::NAN } else { v as f32 }).collect();
        let k = k.min(row.len());
        let x = Tensor::new(&Device::cpu(), [1, row.len()], &row).expect("row");
        let indices = run(&TopK { k, labels: false }, &[&x]).expect("top-k")[1].to_vec().expect("indices");
        let mut order: Vec<usize> = (0..row.len()).collect();
        let rank = |v: f32| if v.is_nan() { f32::NEG_INFINITY } else { v };
        order.sort_by(|&a, &b| rank(row[b]).total_cmp(&rank(row[a])));
        let got: Vec<usize> = indices.into_iter().map(|i| i as usize).collect();
        prop_assert_eq!(got, &order[..k]);
    }

    /// Average precision lies in (0, 1] and does not change when a constant is added to all similarities.
    #[test]
    fn smooth_ap_is_a_share_and_ignores_a_shift(images in 1usize..6, views in 2usize..6, tau in 0.01f32..1.0, seed: u64) {
        let device = Device::cpu();
        let n = images * views;
        let s = normal(&device, seed, &[n, n]);
        let shifted: Vec<f32> = s.to_vec().expect("values").iter().map(|v| v + 4.0).collect();
        let shifted = Tensor::new(&device, [n, n], &shifted).expect("shifted");
        let ap = |s: &Tensor| run(&SmoothAp { views, tau }, &[s]).expect("smooth AP")[1].to_vec().expect("values");
        for (a, b) in ap(&s).into_iter().zip(ap(&shifted)) {
            prop_assert!(a > 0.0 && a <= 1.0 + 1e-6 && (a - b).abs() < 1e-3, "{} and {}", a, b);
        }
    }

    /// A convolution is linear: conv(a + b) = conv(a) + conv(b), for any geometry that fits.
    #[test]
    fn a_convolution_is_linear(
        n in 1usize..3, h in 1usize..12, w in 1usize..12, c in 1usize..9, o in 1usize..9,
        kernel in 1usize..4, stride in 1usize..4, padding in 0usize..3, dilation in 1usize..3, seed: u64,
    ) {
        let device = Device::cpu();
        let op = Conv2d { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], algorithm: None };
        let weight = normal(&device, seed, &[o, kernel, kernel, c]);
        let conv = |x: &Tensor| run(&op, &[x, &weight]).map(|y| y[0].to_vec().expect("values"));
        let (a, b) = (normal(&device, seed ^ 1, &[n, h, w, c]), normal(&device, seed ^ 2, &[n, h, w, c]));
        let sum = run(&vista::engine::ops::Map::Add, &[&a, &b]).expect("sum").swap_remove(0);
        let reach = dilation * (kernel - 1) + 1;
        match (conv(&a), conv(&b), conv(&sum)) {
            (Ok(a), Ok(b), Ok(sum)) => for ((a, b), s) in a.iter().zip(&b).zip(&sum) {
                prop_assert!((a + b - s).abs() < 1e-4 * (1.0 + s.abs()) * (kernel * kernel * c) as f32);
            },
            _ => prop_assert!(h.min(w) + 2 * padding < reach),
        }
    }
}
