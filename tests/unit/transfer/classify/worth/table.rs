use super::super::super::supervised::tests::two_colours;
use super::super::Key;
use super::*;
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use crate::photos::views::ViewConfig;

fn start(name: &str) -> Start {
    let net = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    Start { name: name.into(), net, views: ViewConfig::moco_v2(16), backbone: None }
}

/// Cells of a start by fine-tuning, one a seed; its probe is at 0.1.
fn cells(name: &str, share: f64, top1: &[f64]) -> Vec<Cell> {
    let of = |by: By| {
        top1.iter().enumerate().map(move |(seed, &top1)| {
            let key = Key {
                start: name.into(),
                set: String::new(),
                by,
                protocol: String::new(),
                share,
                seed: seed as u64,
            };
            let top1 = if by == By::Probe { 0.1 } else { top1 };
            Cell { key, name: name.into(), photos: 7, top1, balanced: top1, seconds: 0.0 }
        })
    };
    of(By::Finetune).chain(of(By::Probe)).collect()
}

fn table(of: &[(&str, f64, [f64; 3])]) -> Table {
    let cells: Vec<Cell> = of.iter().flat_map(|(name, share, top1)| cells(name, *share, top1)).collect();
    let worth = Worth { shares: vec![0.01, 1.0], ..Worth::default() };
    worth.table(&[start("random"), start("the run")], &two_colours(), &cells)
}

#[test]
fn a_mean_has_the_standard_error_of_its_seeds() {
    let of = |values: &[f64]| Estimate::of(values).expect("values");
    let three = of(&[0.1, 0.2, 0.6]);
    // deviations -0.2, -0.1, 0.3: variance 0.14 / 2, over 3 seeds
    assert!(
        (three.mean - 0.3).abs() < 1e-12
            && (three.error.expect("three") - (0.07f64 / 3.0).sqrt()).abs() < 1e-12
    );
    assert_eq!((of(&[0.5]).error, of(&[0.5]).seeds), (None, 1));
    assert_eq!(Estimate::of(&[]), None);
    assert_eq!(format!("{three}|{}", of(&[0.5])), "0.300 ± 0.153|0.500");
    assert_eq!([of(&[0.1, 0.11, 0.12]), of(&[-0.1, -0.11, -0.12]), three].map(|e| e.sign()), [1, -1, 0]);
    assert!((student(30) - 2.042).abs() < 3e-3 && student(1) > 12.0);
}

#[test]
fn differences_are_paired_by_seed() {
    // Seeds differ by far more than the starts do, and in the same way.
    let table = table(&[("random", 0.01, [0.2, 0.4, 0.6]), ("the run", 0.01, [0.3, 0.51, 0.72])]);
    let row =
        |start: &str| table.rows.iter().find(|r| r.start == start && r.by == By::Finetune).expect("a row");
    assert_eq!(row("random").gain, None);
    let gain = row("the run").gain.expect("a gain");
    assert!(
        (gain.mean - 0.11).abs() < 1e-12 && (gain.error.expect("seeds") - 0.01 / 3f64.sqrt()).abs() < 1e-12
    );
    assert!((row("the run").top1.mean - 0.51).abs() < 1e-12);
    assert_eq!(table.rows.len(), 4, "shares without a cell have no row");
    let said = table.to_string();
    assert!(said.contains("+0.110 ± 0.006") && said.contains("1 % (7)"), "{said}");
}

#[test]
fn the_verdict_says_where_it_is_worth_it_and_where_nothing_is_seen() {
    let both = |few: [f64; 3], all: [f64; 3]| {
        let random = [0.2, 0.4, 0.6];
        let rows = [
            ("random", 0.01, random),
            ("the run", 0.01, few),
            ("random", 1.0, random),
            ("the run", 1.0, all),
        ];
        table(&rows).verdict
    };
    assert_eq!(
        both([0.3, 0.51, 0.72], [0.2, 0.41, 0.55]),
        "the run is worth it here: better than random at 1 % (+0.110) of the labels, no clear difference at 100 % (-0.013)"
    );
    assert_eq!(
        both([0.2, 0.41, 0.55], [0.1, 0.29, 0.48]),
        "the run is not seen to be worth it here: worse than random at 100 % (-0.110), no clear difference at 1 % (-0.013)"
    );
    let one: Vec<Cell> = ["random", "the run"].iter().flat_map(|name| cells(name, 1.0, &[0.4])).collect();
    let worth = Worth { shares: vec![1.0], seeds: 1, ..Worth::default() };
    let said = worth.table(&[start("random"), start("the run")], &two_colours(), &one).verdict;
    assert!(said.contains("one seed") && said.contains("+0.000 at 100 %"), "{said}");
}

#[test]
fn a_share_that_would_be_less_than_a_photo_of_a_class_says_so() {
    let notes = Worth::default().notes(&two_colours());
    assert_eq!(notes.len(), 1, "{notes:?}"); // 12 photos a class: 1 % is none, 10 % one
    assert!(notes[0].starts_with("1 % is 2 photos: of 2 classes"), "{notes:?}");
}
