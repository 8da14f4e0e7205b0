use super::*;
use crate::Device;
use crate::engine::tensor::{Tensor, init};
use crate::pretrain::Dispersion;
use rand::{SeedableRng, rngs::StdRng};

/// How far rows `[N, width]` are spread.
fn spread(z: &[f32], width: usize) -> Dispersion {
    let z = Tensor::new(&Device::cpu(), [z.len() / width, width], z).expect("z");
    Dispersion::of(&z).expect("spread")
}

fn report(z: &[f32], value: f32) -> StepReport {
    let term = TermReport { name: "loss_nce", value, gradient_norm: 1.0, collapsed: 8.318, helps: HELPS };
    StepReport {
        loss: value.into(),
        terms: vec![term],
        gradient_norm: 1.0,
        spread: spread(z, 4),
        neighbours: Vec::new(),
        watch: Vec::new(),
        moved: true,
    }
}

#[test]
fn each_kind_of_collapse_is_told_once_after_it_has_lasted() {
    let noise = init::normal(&mut StdRng::seed_from_u64(1), 4 * 64, 1.0);
    let line: Vec<f32> = (0..64).flat_map(|i| [if i % 2 == 0 { 1.0 } else { -1.0 }, 0.0, 0.0, 0.0]).collect();
    let point = [1.0, 2.0, 0.5, 1.0].repeat(64);
    let told = |reports: &[StepReport]| -> Vec<String> {
        let mut watch = Watch::new(3);
        reports.iter().flat_map(|r| watch.look(r)).collect()
    };
    let of = |z: &[f32], value, n| vec![report(z, value); n];
    assert!(told(&of(&noise, 5.0, 20)).is_empty());
    let stuck = told(&of(&noise, 8.32, 20));
    assert!(stuck.len() == 1 && stuck[0].contains("loss_nce is stuck"), "{stuck:?}");
    let fallen = told(&[of(&noise, 5.0, 1), of(&line, 5.0, 5)].concat());
    assert!(fallen.is_empty(), "a rank of 1 after one of 4 is above a fifth of it: {fallen:?}");
    let equal = told(&of(&point, 5.0, 5));
    assert!(equal.len() == 1 && equal[0].contains("all the same"), "{equal:?}");
    let twice = told(&[of(&point, 5.0, 4), of(&noise, 5.0, 1), of(&point, 5.0, 4)].concat());
    assert_eq!(twice.iter().filter(|t| t.contains("all the same")).count(), 2);
    assert!(told(&of(&point, 5.0, 2)).is_empty(), "not before it has lasted");
}

#[test]
fn a_term_that_is_stuck_is_told_with_what_helps_its_own_method() {
    let noise = init::normal(&mut StdRng::seed_from_u64(1), 4 * 64, 1.0);
    let mut report = report(&noise, 8.318);
    report.terms[0] = TermReport { helps: "lower method.sinkhorn_eps", ..report.terms[0] };
    let mut watch = Watch::new(2);
    let told: Vec<String> = (0..3).flat_map(|_| watch.look(&report)).collect();
    assert!(told.len() == 1 && told[0].contains("lower method.sinkhorn_eps"), "{told:?}");
    assert!(!told[0].contains("learning rate"), "{told:?}");
}

#[test]
fn a_falling_rank_is_told_unless_the_loss_is_better_than_at_equal_embeddings() {
    let rows = |width: usize| init::normal(&mut StdRng::seed_from_u64(2), 64 * width, 1.0);
    let wide = |z: &[f32], width: usize, value: f32| StepReport {
        spread: spread(z, width),
        ..report(&[0.0; 4], value)
    };
    let flat: Vec<f32> = rows(32).chunks(32).flat_map(|r| [&r[..2], &[0.0; 30]].concat()).collect();
    let told = |value: f32| {
        let mut watch = Watch::new(2);
        let mut told = watch.look(&wide(&rows(32), 32, value));
        for _ in 0..3 {
            told.extend(watch.look(&wide(&flat, 32, value)));
        }
        told
    };
    let worse = told(8.5);
    assert!(worse.len() == 1 && worse[0].contains("effective rank"), "{worse:?}");
    assert!(told(8.318).iter().any(|t| t.contains("effective rank")));
    assert!(told(8.0).is_empty(), "a loss better than at equal embeddings is learned");
}
