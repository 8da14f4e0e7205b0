//! From another library's file to an encoder of this one.

use super::{Library, Weights};
use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::{Architecture, Module, Param, ResNetConfig, Stem};
use crate::train::{Config, ModelConfig};
use std::path::Path;

/// The convolution by whose name a ResNet is found.
const ANCHOR: &str = "layer1.0.conv1.weight";

/// Parts of prefixes that mark the encoder that is meant, among several in a file, the best first: MoCo's and DenseCL's
/// query encoder, MoCo-v3's, BYOL's, DINO's, OpenSelfSup's.
const MEANT: [&str; 5] = ["encoder_q", "base_encoder", "online", "student", "backbone"];

/// Where in a file a ResNet is, and which one.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What stands before the names, such as `module.encoder_q.`.
    pub prefix: String,
    /// Whose names they are.
    pub library: Library,
    /// The network.
    pub backbone: ResNetConfig,
    /// Its head of two layers, if it has one.
    pub head: Option<Head>,
}

/// A head of two linear layers, as MoCo-v2, DenseCL and this crate have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What stands before `0.weight`.
    pub prefix: String,
    /// Width of its hidden layer and of its output.
    pub widths: [usize; 2],
    /// Whether there is batch norm between them.
    pub batch_norm: bool,
}

impl Source {
    /// Looks for a ResNet among arrays of a file called `place`. `prefix` chooses one of several; `stem` tells the kinds
    /// of 3x3 stems apart ([`Stem::Cifar`] if `None`).
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, several, or one that this crate has not.
    pub fn find(weights: &Weights, prefix: Option<&str>, stem: Option<Stem>, place: &str) -> Result<Source> {
        let libraries = [Library::Torchvision, Library::Detectron2];
        let mut all: Vec<(String, Library)> = Vec::new();
        for library in libraries {
            let anchor = library.rename(ANCHOR);
            let prefixes = weights.0.keys().filter_map(|name| name.strip_suffix(anchor.as_str()));
            let whole = prefixes.filter(|p| p.is_empty() || p.ends_with('.'));
            all.extend(whole.map(|p| (p.to_string(), library)));
        }
        let (prefix, library) = chosen(all, prefix, place)?;
        let shape =
            |name: &str| weights.0.get(&(prefix.clone() + &library.rename(name))).map(|a| a.shape.as_slice());
        let bad = |what: String| {
            Error::input(
                what,
                place,
                "give a ResNet-18, -34 or -50 as torchvision, timm or detectron2 name it",
            )
        };
        let depth = |stage: usize| {
            (0..).take_while(|i| shape(&format!("layer{stage}.{i}.conv1.weight")).is_some()).count()
        };
        let depths = [1, 2, 3, 4].map(depth);
        let bottleneck = shape("layer1.0.conv3.weight").is_some();
        let architecture = match (depths, bottleneck) {
            ([2, 2, 2, 2], false) => Architecture::Resnet18,
            ([3, 4, 6, 3], false) => Architecture::Resnet34,
            ([3, 4, 6, 3], true) => Architecture::Resnet50,
            _ => {
                let kind = if bottleneck { "bottlenecks" } else { "basic blocks" };
                return Err(bad(format!("a ResNet of {depths:?} {kind}")));
            }
        };
        let (width, stem) = match shape("conv1.weight") {
            Some(&[width, 3, 7, 7]) => (width, Stem::Imagenet),
            Some(&[width, 3, 3, 3]) => (width, stem.unwrap_or(Stem::Cifar)),
            Some(other) => return Err(bad(format!("a stem of {other:?}"))),
            None => return Err(bad(format!("no {prefix}{}", library.rename("conv1.weight")))),
        };
        let backbone = ResNetConfig { architecture, width, stem, zero_init: false };
        let head = Head::find(weights, &prefix, backbone.features());
        Ok(Source { prefix, library, backbone, head })
    }

    /// Gives the parameters of an encoder the arrays' values: the backbone's, and the projector's if the file has one
    /// that fits. Returns the names of the arrays that were used.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first array of the backbone that is missing or misshapen.
    pub fn load(&self, weights: &Weights, encoder: &ResNetEncoder, place: &str) -> Result<Vec<String>> {
        let mut used = Vec::new();
        for param in encoder.backbone.state() {
            let name = self.prefix.clone() + &self.library.rename(param.name());
            let value = weights.tensor(&name, &param, param.get().device()).map_err(|why| {
                let ResNetConfig { architecture, width, .. } = self.backbone;
                let advice = format!("the file holds a {architecture:?} of width {width}");
                Error::input(why, place, format!("{advice}: set --backbone, model.width and model.stem so"))
            })?;
            param.set(value)?;
            used.push(name);
        }
        let Some(head) = &self.head else { return Ok(used) };
        let named = |param: Param| {
            let name = format!("{}{}", head.prefix, param.name().trim_start_matches("projector."));
            let value = weights.tensor(&name, &param, param.get().device()).ok()?;
            Some((param, name, value))
        };
        // All of it or nothing.
        let found: Option<Vec<_>> = encoder.projector.state().into_iter().map(named).collect();
        for (param, name, value) in found.into_iter().flatten() {
            param.set(value)?;
            used.push(name);
        }
        Ok(used)
    }
}

impl Head {
    /// The head behind a backbone: MoCo's `fc.`, DenseCL's `1.mlp.` beside the backbone's `0.`, this crate's `projector.`.
    fn find(weights: &Weights, prefix: &str, features: usize) -> Option<Head> {
        let places = [
            format!("{prefix}projector."),
            format!("{prefix}fc."),
            format!("{}1.mlp.", prefix.strip_suffix("0.").unwrap_or("-")),
        ];
        places.into_iter().find_map(|prefix| {
            let shape = |name: &str| weights.0.get(&format!("{prefix}{name}")).map(|a| a.shape.as_slice());
            let batch_norm = shape("1.running_mean").is_some();
            let last = if batch_norm { "3.weight" } else { "2.weight" };
            let (&[hidden, inputs], &[outputs, between]) = (shape("0.weight")?, shape(last)?) else {
                return None;
            };
            let fits = inputs == features && between == hidden;
            fits.then_some(Head { prefix, widths: [hidden, outputs], batch_norm })
        })
    }
}

/// Which of the ResNets of a file is meant.
fn chosen(all: Vec<(String, Library)>, prefix: Option<&str>, place: &str) -> Result<(String, Library)> {
    let names = all.iter().map(|(p, _)| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    let wanted = match prefix {
        Some(prefix) => vec![prefix],
        None if all.len() == 1 => vec![all[0].0.as_str()],
        None => {
            let of = |part: &&str| all.iter().map(|(p, _)| p.as_str()).filter(|p| p.contains(part)).collect();
            let plain: Vec<&str> = all.iter().map(|(p, _)| p.as_str()).filter(|p| p.is_empty()).collect();
            std::iter::once(plain)
                .chain(MEANT.iter().map(of))
                .find(|found| !found.is_empty())
                .unwrap_or_default()
        }
    };
    let mut found = all.iter().filter(|(p, _)| wanted.contains(&p.as_str()));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        _ if all.is_empty() => {
            let advice = "give weights of a ResNet as torchvision, timm or detectron2 name them";
            Err(Error::input(format!("no ResNet here (no {ANCHOR})"), place, advice))
        }
        (None, _) if prefix.is_some() => {
            let what = format!("no ResNet behind the prefix `{}`", prefix.unwrap_or_default());
            Err(Error::input(what, place, format!("use one of {names}")))
        }
        _ => Err(Error::input("several ResNets", place, format!("choose one by --prefix: {names}"))),
    }
}

/// An encoder made from another library's file.
pub struct Found {
    /// The encoder; without a head in the file its projector is random.
    pub encoder: ResNetEncoder,
    /// A configuration that describes it: MoCo-v2's, with this backbone and head, and `init` naming the file.
    pub config: Config,
    /// Where it was.
    pub source: Source,
    /// Arrays that were not used.
    pub left_out: Vec<String>,
}

impl Found {
    /// Reads a file; see [`Source::find`]. Views have 224 pixels, or 32 with a 3x3 stem.
    ///
    /// # Errors
    /// As [`Weights::read`], [`Source::find`] and [`Source::load`].
    pub fn in_file(path: &Path, prefix: Option<&str>, stem: Option<Stem>, device: &Device) -> Result<Found> {
        let place = path.display().to_string();
        let mut weights = Weights::read(path)?;
        let source = Source::find(&weights, prefix, stem, &place)?;
        let mut config = Config::preset("moco-v2-coco-r50")?;
        let ResNetConfig { architecture: backbone, width, stem, .. } = source.backbone;
        config = config.with_size(if stem == Stem::Imagenet { 224 } else { 32 });
        config.model = ModelConfig { backbone, width, stem, ..config.model };
        if let Some(Head { widths: [hidden, projection], batch_norm, .. }) = source.head {
            config.model = ModelConfig { hidden, projection, projector_norm: batch_norm, ..config.model };
        }
        config.init = Some(path.to_path_buf());
        let encoder = config.encoder(device)?;
        for name in source.load(&weights, &encoder, &place)? {
            weights.0.remove(&name);
        }
        Ok(Found { encoder, config, source, left_out: weights.0.into_keys().collect() })
    }
}

/// Gives a freshly initialised encoder the backbone of a file, and its projector where one of the same widths is there:
/// a checkpoint of this program or another library's weights. Returns whether the projector was taken.
///
/// # Errors
/// As [`Found::in_file`]; [`Error::Input`] if the file's backbone is not of the encoder's kind.
pub fn start_from(encoder: &ResNetEncoder, path: &Path) -> Result<bool> {
    let place = path.display().to_string();
    let weights = Weights::read(path)?;
    let source = Source::find(&weights, None, None, &place)?;
    let used = source.load(&weights, encoder, &place)?;
    Ok(used.len() > encoder.backbone.state().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::Array;
    use rand::{SeedableRng, rngs::StdRng};

    fn encoder(seed: u64, setting: &str) -> (ResNetEncoder, Config) {
        let config = Config::preset("moco-v2-coco-r50").expect("preset");
        let config = ["model.backbone=resnet18", "model.width=4", setting]
            .iter()
            .fold(config, |config, setting| config.with(setting).expect("set"));
        let mut rng = StdRng::seed_from_u64(seed);
        let made = ResNetEncoder::new(&Device::cpu(), &mut rng, &config.resnet(), &config.heads());
        (made.expect("encoder"), config)
    }

    /// The arrays of an encoder under other names.
    fn renamed(encoder: &ResNetEncoder, rename: impl Fn(&str) -> String) -> Weights {
        let own = Weights::of(encoder).expect("weights").0;
        Weights(own.into_iter().map(|(name, array)| (rename(&name), array)).collect())
    }

    fn equal(a: &dyn Module, b: &dyn Module) -> bool {
        let values =
            |m: &dyn Module| m.state().iter().map(|p| p.get().to_vec().expect("v")).collect::<Vec<_>>();
        values(a) == values(b)
    }

    #[test]
    fn a_query_encoder_is_found_among_others_with_its_head_under_each_convention() {
        let (theirs, _) = encoder(1, "seed=1");
        let moco = |name: &str| format!("module.encoder_q.{}", name.replace("projector", "fc"));
        let densecl = |name: &str| match name.strip_prefix("projector.") {
            Some(rest) => format!("encoder_q.1.mlp.{rest}"),
            None => format!("encoder_q.0.{name}"),
        };
        let detectron2 = |name: &str| match name.starts_with("projector") {
            true => name.to_string(),
            false => Library::Detectron2.rename(name),
        };
        type Rename<'a> = &'a dyn Fn(&str) -> String;
        let cases: [(&str, Rename); 3] =
            [("module.encoder_q.", &moco), ("encoder_q.0.", &densecl), ("", &detectron2)];
        for (prefix, rename) in cases {
            let mut weights = renamed(&theirs, rename);
            let copy = renamed(&encoder(2, "seed=1").0, |n| rename(n).replace("encoder_q", "encoder_k"));
            copy.0.into_iter().for_each(|(name, array)| _ = weights.0.entry(name).or_insert(array));
            let source = Source::find(&weights, None, None, "file").expect("found");
            assert_eq!((source.prefix.as_str(), source.backbone.width), (prefix, 4));
            let (ours, _) = encoder(3, "seed=1");
            source.load(&weights, &ours, "file").expect("loaded");
            assert!(equal(&ours, &theirs), "{prefix}");
        }
    }

    #[test]
    fn a_backbone_without_a_head_leaves_the_projector_as_it_was() {
        let (theirs, _) = encoder(1, "seed=1");
        let mut weights = renamed(&theirs, str::to_string);
        weights.0.retain(|name, _| !name.starts_with("projector"));
        let (ours, untouched) = (encoder(3, "seed=1").0, encoder(3, "seed=1").0);
        Source::find(&weights, None, None, "file")
            .expect("found")
            .load(&weights, &ours, "f")
            .expect("loaded");
        assert!(equal(&ours.backbone, &theirs.backbone) && equal(&ours.projector, &untouched.projector));
    }

    #[test]
    fn what_is_missing_misshapen_ambiguous_or_unknown_is_named() {
        let (theirs, _) = encoder(1, "seed=1");
        let refusal = |weights: &Weights, prefix: Option<&str>| {
            let found = Source::find(weights, prefix, None, "file");
            found.and_then(|s| s.load(weights, &encoder(2, "seed=1").0, "file")).unwrap_err().to_string()
        };
        let mut two = renamed(&theirs, |n| format!("a.{n}"));
        two.0.extend(renamed(&theirs, |n| format!("b.{n}")).0);
        assert!(refusal(&two, None).contains("`a.`, `b.`"), "{}", refusal(&two, None));
        assert!(refusal(&two, Some("c.")).contains("`c.`"));
        assert!(refusal(&Weights::default(), None).contains("no ResNet"));
        let mut cut = renamed(&theirs, str::to_string);
        cut.0.remove("layer3.1.bn2.bias");
        assert!(refusal(&cut, None).contains("layer3.1.bn2.bias is missing"));
        cut.0.insert("layer3.1.bn2.bias".into(), Array { shape: vec![3], values: vec![0.0; 3] });
        assert!(refusal(&cut, None).contains("is [3], not [16]"));
        cut.0.remove("layer4.1.conv1.weight");
        assert!(refusal(&cut, None).contains("[2, 2, 2, 1] basic blocks"));
        let (wide, _) = encoder(1, "model.width=8");
        let message = refusal(&renamed(&wide, str::to_string), None);
        assert!(message.contains("of width 8") && message.contains("model.width"), "{message}");
    }
}
