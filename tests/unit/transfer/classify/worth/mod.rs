use super::super::supervised::tests::{colour_album, two_colours};
use super::part::{digest, part};
use super::*;
use crate::engine::nn::{Architecture, Stem};
use std::collections::BTreeSet;

fn net() -> ResNetConfig {
    ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    }
}

fn starts(device: &Device) -> Vec<Start> {
    let views = ViewConfig::moco_v2(16);
    let backbone = ResNet::new(device, &mut StdRng::seed_from_u64(9), &net()).expect("backbone");
    let start =
        |name: &str, backbone| Start { name: name.into(), net: net(), views: views.clone(), backbone };
    vec![start("random", None), start("the run", Some(backbone))]
}

fn tiny() -> Worth {
    let finetune = Finetune { epochs: 2, ..Finetune::scaled(8) };
    Worth { shares: vec![0.25, 1.0], seeds: 2, finetune, probe: Probe { epochs: 3, ..Probe::default() } }
}

/// The cells, and how many of them were trained for.
fn run(worth: &Worth, done: &[Cell]) -> (Vec<Cell>, usize) {
    let (device, mut trained) = (Device::cpu(), 0);
    let mut last = (0, 0);
    let cells = worth.run(&starts(&device), &two_colours(), &device, done, &mut |heard| {
        match heard {
            Heard::Cell(_) => trained += 1,
            Heard::Work { done, total, .. } => {
                assert!(done >= last.0 && done <= total, "{done} of {total} after {last:?}");
                last = (done, total);
            }
        }
        Ok(())
    });
    assert_eq!(last.0, last.1, "all work was announced and done");
    (cells.expect("compared"), trained)
}

fn figures(cells: &[Cell]) -> Vec<(Key, f64)> {
    cells.iter().map(|cell| (cell.key.clone(), cell.top1)).collect()
}

#[test]
fn a_part_has_each_class_and_is_within_a_larger_one_of_the_same_seed() {
    let colours = [[200, 20, 20], [20, 60, 200], [20, 200, 60]];
    let albums = LabelledAlbums { train: colour_album(1, 60, &colours), test: colour_album(2, 9, &colours) };
    let of = |share, seed| part(&albums, share, seed);
    for (share, each) in [(0.01, 1), (0.1, 2), (0.49, 10), (1.0, 20)] {
        let (ids, photos) = of(share, 0);
        assert_eq!(ids.len(), 3 * each, "{share}");
        let train = photos.train.photos();
        for class in 0..3 {
            let count = (0..train.len()).filter(|&id| train.label(id) == Some(class)).count();
            assert_eq!(count, each, "class {class} at {share}");
        }
        let names: Vec<&str> = ids.iter().map(|&id| albums.train.photos().name(id)).collect();
        assert_eq!(names, (0..train.len()).map(|id| train.name(id)).collect::<Vec<_>>());
    }
    let set = |share, seed| of(share, seed).0.into_iter().collect::<BTreeSet<usize>>();
    assert!(set(0.01, 3).is_subset(&set(0.1, 3)) && set(0.1, 3).is_subset(&set(0.49, 3)));
    assert_ne!(set(0.1, 0), set(0.1, 1));
}

#[test]
fn a_comparison_that_was_stopped_goes_on_to_the_same_figures() {
    let (all, trained) = run(&tiny(), &[]);
    assert_eq!((all.len(), trained), (2 * 2 * 2 * 2, 16)); // shares, seeds, starts, protocols
    let (device, mut kept) = (Device::cpu(), Vec::new());
    let stopped = tiny().run(&starts(&device), &two_colours(), &device, &[], &mut |heard| {
        if let Heard::Cell(cell) = heard {
            kept.push(cell.clone());
        }
        if kept.len() == 5 { Err(Error::Run("stopped".into())) } else { Ok(()) }
    });
    assert!(stopped.is_err());
    let (again, trained) = run(&tiny(), &kept);
    assert_eq!((trained, figures(&again)), (11, figures(&all)));
    assert_eq!(run(&tiny(), &again).1, 0);
    // All starts see the same parts: the counts of a share and seed are those of any start.
    let counts: BTreeSet<(String, usize)> =
        all.iter().map(|c| (format!("{} {}", c.key.share, c.key.seed), c.photos)).collect();
    assert_eq!(counts.len(), 4, "{counts:?}");
}

#[test]
fn other_photos_other_starts_and_other_settings_are_other_cells() {
    let device = Device::cpu();
    let keys = |worth: &Worth, starts: &[Start], albums: &LabelledAlbums| {
        let keys = worth.keys(starts, albums).expect("keys");
        keys.into_iter().map(|(_, key)| format!("{key:?}")).collect::<BTreeSet<String>>()
    };
    let usual = keys(&tiny(), &starts(&device), &two_colours());
    assert_eq!((usual.len(), &usual), (16, &keys(&tiny(), &starts(&device), &two_colours())));
    let colours = [[200, 20, 20], [20, 60, 200]];
    let others = LabelledAlbums { train: colour_album(7, 24, &colours), ..two_colours() };
    assert_ne!(digest(&others), digest(&two_colours()), "names are the same, contents are not");
    assert!(usual.is_disjoint(&keys(&tiny(), &starts(&device), &others)));
    let smaller: Vec<Start> = starts(&device)
        .into_iter()
        .map(|start| Start { views: ViewConfig { size: 12, ..start.views.clone() }, ..start })
        .collect();
    assert!(usual.is_disjoint(&keys(&tiny(), &smaller, &two_colours())));
    let mut trained = starts(&device);
    trained[1].backbone =
        Some(ResNet::new(&device, &mut StdRng::seed_from_u64(8), &net()).expect("backbone"));
    assert_eq!(usual.intersection(&keys(&tiny(), &trained, &two_colours())).count(), 8, "random is the same");
    let longer = Worth { finetune: Finetune { epochs: 3, ..tiny().finetune }, ..tiny() };
    assert_eq!(
        usual.intersection(&keys(&longer, &starts(&device), &two_colours())).count(),
        8,
        "the probe is"
    );
}

#[test]
fn shares_and_seeds_that_compare_nothing_are_refused() {
    for share in [0.0, 1.5, f64::NAN] {
        let error = Worth { shares: vec![share], ..tiny() }.check().unwrap_err().to_string();
        assert!(error.contains("--shares") && error.contains("above 0"), "{error}");
    }
    assert!(Worth { seeds: 0, ..tiny() }.check().is_err());
}
