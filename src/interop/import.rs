//! From another library's file to an encoder of this one.

use super::{Library, Weights};
use crate::engine::nn::{Architecture, Module, Param, ResNetConfig, Stem};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// The convolution by whose name a ResNet is found.
const ANCHOR: &str = "layer1.0.conv1.weight";

/// Parts of prefixes that mark the encoder that is meant, among several in a file, the best first: MoCo's and DenseCL's
/// query encoder, MoCo-v3's, BYOL's, DINO's, OpenSelfSup's.
const MEANT: [&str; 5] = ["encoder_q", "base_encoder", "online", "student", "backbone"];
/// Words of prefixes that mark a copy that follows the encoder: taken only where there is nothing else.
const COPIES: [&str; 6] = ["momentum", "ema", "teacher", "target", "key", "k"];
/// What a backbone must be like.
const PLAIN: &str = "give a plain ResNet-18, -34 or -50 as torchvision, timm or detectron2 name it";

/// Where in a file a ResNet is, and which one.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What stands before the names, such as `module.encoder_q.`.
    pub prefix: String,
    /// Whose names they are.
    pub library: Library,
    /// The network.
    pub backbone: ResNetConfig,
    /// Its head of two layers, if it has one; of another form than this crate's what is different about it.
    pub head: Result<Option<Head>, String>,
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
        let numbered = [2, 3, 4].map(Library::Numbered);
        let libraries = [&[Library::Torchvision, Library::Detectron2][..], &numbered].concat();
        let mut all: Vec<(String, Library)> = Vec::new();
        for library in libraries {
            let anchor = library.rename(ANCHOR);
            let prefixes = weights.0.keys().filter_map(|name| name.strip_suffix(anchor.as_str()));
            let whole = prefixes.filter(|p| p.is_empty() || p.ends_with('.'));
            let has = |prefix: &str, name: &str| weights.0.contains_key(&format!("{prefix}{name}"));
            // Numbers are anyone's: they must begin with a stem, and with the first of the stages.
            let begins = |prefix: &&str| match library {
                Library::Numbered(first) => {
                    has(prefix, "0.weight") && !has(prefix, &format!("{}.0.conv1.weight", first - 1))
                }
                _ => true,
            };
            all.extend(whole.filter(begins).map(|p| (p.to_string(), library)));
        }
        let (prefix, library) = chosen(all, prefix, place)?;
        let shape =
            |name: &str| weights.0.get(&(prefix.clone() + &library.rename(name))).map(|a| a.shape.as_slice());
        let bad = |what: String| Error::input(what, place, PLAIN);
        let depth = |stage: usize| {
            (0..).take_while(|i| shape(&format!("layer{stage}.{i}.conv1.weight")).is_some()).count()
        };
        let depths = [1, 2, 3, 4].map(depth);
        let bottleneck = shape("layer1.0.conv3.weight").is_some();
        let known = [Architecture::Resnet18, Architecture::Resnet34, Architecture::Resnet50];
        let is_it = |a: &Architecture| a.depths() == depths && (a.expansion() > 1) == bottleneck;
        let architecture = known.into_iter().find(is_it).ok_or_else(|| {
            let kind = if bottleneck { "bottlenecks" } else { "basic blocks" };
            bad(format!("a ResNet of {depths:?} {kind}"))
        })?;
        let (width, stem) = match shape("conv1.weight") {
            Some(&[width, 3, 7, 7]) => (width, Stem::Imagenet),
            Some(&[width, 3, 3, 3]) => (width, stem.unwrap_or(Stem::Cifar)),
            other => {
                let (stem, wanted) = (library.rename("conv1.weight"), "[width, 3, 7, 7] or [width, 3, 3, 3]");
                let what = other.map_or("missing".into(), |shape| format!("{shape:?}, not {wanted}"));
                return Err(bad(format!("the stem {prefix}{stem} is {what}")));
            }
        };
        let backbone = ResNetConfig { architecture, width, stem, zero_init: false, dilated: 0 };
        let head = Head::find(weights, &prefix, backbone.features());
        Ok(Source { prefix, library, backbone, head })
    }

    /// Whether a name behind the prefix is one of the backbone, not of a head.
    fn in_backbone(&self, name: &str) -> bool {
        let part = name.split('.').next().unwrap_or_default();
        match self.library {
            Library::Numbered(first) => part.parse().is_ok_and(|number: usize| number < first + 4),
            Library::Torchvision | Library::Timm | Library::Detectron2 => {
                let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
                ["conv", "bn", "norm", "stem", "layer", "res", "maxpool"].contains(&stem)
            }
        }
    }

    /// Refuses arrays of the backbone that were not used: the network that they are from computes something else.
    fn check_unused(&self, weights: &Weights, used: &[String], place: &str) -> Result<()> {
        let unused = |name: &&String| {
            let inner = name.strip_prefix(&self.prefix).filter(|inner| self.in_backbone(inner));
            inner.is_some_and(|inner| !inner.ends_with("num_batches_tracked")) && !used.contains(name)
        };
        let left: Vec<&String> = weights.0.keys().filter(unused).collect();
        let Some(first) = left.first() else { return Ok(()) };
        let more =
            if left.len() > 1 { format!(" and {} more arrays", left.len() - 1) } else { String::new() };
        let what = format!("{first}{more} of the backbone would stay unused");
        let advice = format!("{PLAIN}: without squeeze-excitation, biases of convolutions or a deeper stem");
        Err(Error::input(what, place, advice))
    }

    /// Refuses a backbone of another kind than a run's.
    ///
    /// # Errors
    /// [`Error::Input`] naming both.
    pub fn expect(&self, ours: &ResNetConfig, place: &str) -> Result<()> {
        let kind = |net: &ResNetConfig| {
            let stem = if net.stem == Stem::Imagenet { "7x7" } else { "3x3" };
            format!("a {:?} of width {} with a {stem} stem", net.architecture, net.width)
        };
        let (theirs, ours) = (kind(&self.backbone), kind(ours));
        if theirs != ours {
            let advice = "set --backbone, model.width and model.stem as the file has them";
            return Err(Error::input(format!("the file holds {theirs}, the run has {ours}"), place, advice));
        }
        Ok(())
    }

    /// Gives the parameters of a backbone the arrays' values, and those of a projector among its `heads` if the file has one
    /// that fits. Returns the names of the arrays that were used.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first array of the backbone that is missing, misshapen, not finite or left unused.
    pub fn load(
        &self,
        weights: &Weights,
        [backbone, heads]: [&dyn Module; 2],
        place: &str,
    ) -> Result<Vec<String>> {
        let mut used = Vec::new();
        for param in backbone.state() {
            let name = self.prefix.clone() + &self.library.rename(param.name());
            let value = weights.tensor(&name, &param).map_err(|why| Error::input(why, place, PLAIN))?;
            weights.check_finite(&name, place)?;
            param.set(value)?;
            used.push(name);
        }
        self.check_unused(weights, &used, place)?;
        let Ok(Some(head)) = &self.head else { return Ok(used) };
        let projector = heads.state().into_iter().filter(|param| param.name().starts_with("projector."));
        let named = |param: Param| {
            let name = format!("{}{}", head.prefix, param.name().trim_start_matches("projector."));
            let value = weights.tensor(&name, &param).ok()?;
            Some((param, name, value))
        };
        // All of it or nothing.
        let found: Option<Vec<_>> = projector.map(named).collect();
        for (param, name, value) in found.into_iter().flatten() {
            weights.check_finite(&name, place)?;
            param.set(value)?;
            used.push(name);
        }
        Ok(used)
    }
}

impl Head {
    /// The head behind a backbone: MoCo's `fc.`, DenseCL's `1.mlp.` beside the backbone's `0.`, this crate's `projector.`.
    ///
    /// # Errors
    /// What is different about one of another form.
    fn find(weights: &Weights, prefix: &str, features: usize) -> Result<Option<Head>, String> {
        let places = [
            format!("{prefix}projector."),
            format!("{prefix}fc."),
            format!("{}1.mlp.", prefix.strip_suffix("0.").unwrap_or("-")),
        ];
        let Some(prefix) = places.into_iter().find(|p| weights.0.contains_key(&format!("{p}0.weight")))
        else {
            return Ok(None);
        };
        let there: BTreeSet<&str> = weights.0.keys().filter_map(|name| name.strip_prefix(&prefix)).collect();
        let batch_norm = there.contains("1.running_mean");
        let norm: &[&str] = match batch_norm {
            false => &[],
            true => &["1.weight", "1.bias", "1.running_mean", "1.running_var"],
        };
        let last = if batch_norm { ["3.weight", "3.bias"] } else { ["2.weight", "2.bias"] };
        let wanted = [&["0.weight", "0.bias"][..], norm, &last].concat();
        let missing: Vec<&str> = wanted.iter().copied().filter(|name| !there.contains(name)).collect();
        let more: Vec<&str> = there
            .into_iter()
            .filter(|name| !wanted.contains(name) && !name.ends_with("num_batches_tracked"))
            .collect();
        match (&missing[..], &more[..]) {
            ([], []) => {}
            (["0.bias", "2.bias" | "3.bias"], _) => return Err(format!("`{prefix}`: no biases")),
            ([], more) => return Err(format!("`{prefix}`: more layers, {}", more.join(", "))),
            (missing, _) => return Err(format!("`{prefix}`: no {}", missing.join(", "))),
        }
        let shape = |name: &str| weights.0[&format!("{prefix}{name}")].shape.as_slice();
        match (shape("0.weight"), shape(last[0])) {
            (&[hidden, inputs], &[outputs, between]) if inputs == features && between == hidden => {
                Ok(Some(Head { prefix, widths: [hidden, outputs], batch_norm }))
            }
            (first, last) => {
                Err(format!("`{prefix}`: weights {first:?} and {last:?} behind {features} features"))
            }
        }
    }
}

/// Which of the ResNets of a file is meant.
fn chosen(all: Vec<(String, Library)>, prefix: Option<&str>, place: &str) -> Result<(String, Library)> {
    let names = all.iter().map(|(p, _)| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    let wanted = match prefix {
        Some(prefix) => vec![prefix],
        None => {
            let is_copy = |prefix: &&str| {
                prefix.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| COPIES.contains(&word))
            };
            let (copies, own): (Vec<&str>, Vec<&str>) =
                all.iter().map(|(p, _)| p.as_str()).partition(is_copy);
            let among = if own.is_empty() { copies } else { own };
            let of = |part: &&str| among.iter().copied().filter(|p| p.contains(part)).collect();
            let plain: Vec<&str> = among.iter().copied().filter(|p| p.is_empty()).collect();
            let meant = std::iter::once(plain).chain(MEANT.iter().map(of)).find(|found| !found.is_empty());
            meant.unwrap_or(among)
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
