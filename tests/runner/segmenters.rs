//! PSPNet and PSANet, with parameters computed from integer hashes.

use super::case::{GoldenCase, Outputs, channels_first};
use super::detectors::{resnet, train};
use rand::{SeedableRng, rngs::StdRng};
use vista::engine::autograd::Tape;
use vista::engine::nn::Mode;
use vista::photos::IGNORED;
use vista::transfer::segment::{AUXILIARY, Context, DropoutKey, Segmenter, SegmenterConfig};
use vista::{Device, Result};

/// Our name of a parameter of the golden files: semseg's, whose layers are numbered within sequences.
fn ours(name: &str, bins: &[usize]) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let numbered = |sequence: &str, first: usize, rest: &[&str]| match rest {
        ["conv", rest] => format!("{sequence}.{first}.{rest}"),
        ["bn", rest] => format!("{sequence}.{}.{rest}", first + 1),
        _ => panic!("{name}: neither conv nor bn"),
    };
    match &parts[..] {
        ["ppm", bin, rest @ ..] => {
            let level = bins.iter().position(|b| format!("bin{b}") == *bin).expect("one of the bins");
            numbered(&format!("ppm.features.{level}"), 1, rest)
        }
        ["psa", attention, "hidden", rest @ ..] => numbered(&format!("psa.{attention}"), 0, rest),
        ["psa", attention, "out", rest] => format!("psa.{attention}.3.{rest}"),
        ["psa", layer, rest @ ..] => numbered(&format!("psa.{layer}"), 0, rest),
        [classifier @ ("cls" | "aux"), "hidden", rest @ ..] => numbered(classifier, 0, rest),
        [classifier @ ("cls" | "aux"), "out", rest] => format!("{classifier}.4.{rest}"),
        _ => name.to_string(),
    }
}

pub fn segmenter_step(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let bins: Vec<usize> = serde_json::from_value(case.attrs["bins"].clone()).unwrap_or_default();
    let context = match case.attrs["head"].as_str() {
        Some("ppm") => Context::Pyramid { bins: bins.clone() },
        Some("psa") => {
            assert_eq!(case.number("normalization"), 1.0, "the one that there is");
            let mask = [case.whole("mask_h"), case.whole("mask_w")];
            Context::Attention { mask, shrink: case.whole("shrink") }
        }
        other => panic!("head {other:?}"),
    };
    let weight = case.attrs["loss_weights"]["loss_aux"].as_f64().map(|weight| weight as f32);
    assert_eq!((case.whole("ignore"), weight), (usize::from(IGNORED), Some(AUXILIARY)));
    let config = SegmenterConfig { context, classes: case.whole("classes"), dropout: case.number("dropout") };
    let net = Segmenter::new(device, &mut StdRng::seed_from_u64(0), config, resnet(case, device, 2)?)?;
    let (x, labels) = (case.input("x", device), case.input("labels", device));
    train(
        case,
        device,
        &net,
        &|name| ours(name, &bins),
        &|tape| {
            let images = tape.constant(x.clone());
            let losses =
                net.losses(&images, &labels, Mode::Train { groups: 1 }, Some(DropoutKey::default()))?;
            let all = [("loss", losses.total()?), ("loss_main", losses.main), ("loss_aux", losses.aux)];
            Ok(all.map(|(name, loss)| (name.to_string(), loss)).into())
        },
        &|outputs| {
            let tape = Tape::inert(device);
            let cells = net.cells(&tape.constant(x.clone()), Mode::Eval)?;
            outputs.insert("out.scores_eval".into(), channels_first(cells.value())?);
            Ok(())
        },
    )
}
