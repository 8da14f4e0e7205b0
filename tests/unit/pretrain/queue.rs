use super::*;
use rand::{SeedableRng, rngs::StdRng};

fn queue(slots: usize) -> Queue {
    let widths = [("g", 3), ("z", 2)];
    Queue::random(&Device::cpu(), &mut StdRng::seed_from_u64(0), slots, widths, false).expect("queue")
}

/// Embeddings in the direction of the image's number: `(1, number, ..)`.
fn keys(ids: &[u64]) -> Named<Tensor> {
    let ring = |width| {
        let row = |&id: &u64| [vec![1.0], vec![id as f32; width - 1]].concat();
        let values: Vec<f32> = ids.iter().flat_map(row).collect();
        Tensor::new(&Device::cpu(), [ids.len(), width], &values).expect("keys")
    };
    Named::from([("g", ring(3)), ("z", ring(2))])
}

#[test]
fn queue_keeps_the_newest_rows_in_pairs_when_the_batch_does_not_divide_its_slots() {
    let mut queue = queue(7);
    for step in 0..5u64 {
        let ids: Vec<u64> = (0..3).map(|i| 100 + 3 * step + i).collect();
        queue.enqueue(&keys(&ids), &ids).expect("enqueue");
        assert_eq!(queue.is_full(), step >= 2);
    }
    assert_eq!(queue.ptr, 15 % 7);
    let values = queue.keys.try_map(|ring| ring.values()?.to_vec()).expect("values");
    let (g, z) = (values.get("g").expect("g"), values.get("z").expect("z"));
    for slot in 0..7 {
        let id = queue.ids[slot].expect("filled");
        assert!(id >= 100 + 15 - 7, "slot {slot} holds {id}, which is not among the newest seven");
        for row in [&g[3 * slot..][..3], &z[2 * slot..][..2]] {
            assert!(row[1..].iter().all(|v| (v / row[0] - id as f32).abs() < 0.01), "slot {slot}: {row:?}");
            assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_batch_larger_than_the_queue_or_without_a_ring_is_refused_and_leaves_the_rings_together() {
    let mut queue = queue(2);
    let message = queue.enqueue(&keys(&[1, 2, 3]), &[1, 2, 3]).unwrap_err().to_string();
    assert!(message.contains("lower --batch"), "{message}");
    let before = queue.ring("g").expect("g").values().expect("values").to_vec().expect("values");
    let half: Named<Tensor> = keys(&[1, 2]).iter().take(1).map(|(name, x)| (name, x.clone())).collect();
    assert!(queue.enqueue(&half, &[1, 2]).is_err());
    assert_eq!(queue.ring("g").expect("g").values().expect("values").to_vec().expect("values"), before);
}
