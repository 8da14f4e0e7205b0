//! What other libraries call the parameters of a ResNet.

use crate::engine::nn::{ResNetConfig, Stem};

/// A library whose names an encoder can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// torchvision: this crate's own names.
    Torchvision,
    /// timm: the same as torchvision's.
    Timm,
    /// detectron2's backbone.
    Detectron2,
    /// The children of torchvision's network in a list, as lightly keeps them: 0 the convolution, 1 its batch norm, this and
    /// the next three the stages (4 behind a relu and a pooling).
    Numbered(usize),
}

impl Library {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Library::Torchvision => "torchvision",
            Library::Timm => "timm",
            Library::Detectron2 => "detectron2",
            Library::Numbered(_) => "lightly",
        }
    }

    /// What it calls a parameter of torchvision's name.
    ///
    /// | torchvision | detectron2 | numbered |
    /// |---|---|---|
    /// | `conv1.weight`, `bn1.bias` | `stem.conv1.weight`, `stem.conv1.norm.bias` | `0.weight`, `1.bias` |
    /// | `layer2.0.conv3.weight`, `layer2.0.bn3.bias` | `res3.0.conv3.weight`, `res3.0.conv3.norm.bias` | `5.0.conv3.weight`, .. |
    /// | `layer2.0.downsample.0.weight`, `..1.bias` | `res3.0.shortcut.weight`, `res3.0.shortcut.norm.bias` | `5.0.downsample.0.weight`, .. |
    ///
    /// # Source
    /// The parameter names of detectron2's `BasicStem`, `BasicBlock` and `BottleneckBlock`.
    pub fn rename(self, name: &str) -> String {
        match self {
            Library::Torchvision | Library::Timm => return name.to_string(),
            Library::Numbered(first) => return numbered(name, first),
            Library::Detectron2 => {}
        }
        let renamed =
            DETECTRON2.iter().fold(name.to_string(), |name, (ours, theirs)| name.replace(ours, theirs));
        if name.starts_with("layer") { renamed } else { format!("stem.{renamed}") }
    }

    /// What must be changed in the library's own network so that it can hold this backbone: nothing (`Ok(None)`), a
    /// line of Python for its net `net` (`Some`), or why nothing helps (`Err`).
    pub fn fit(self, backbone: &ResNetConfig) -> Result<Option<&'static str>, String> {
        let name = self.name();
        if backbone.dilated > 0 {
            return Err(format!("{name}'s ResNets have strides where this one is dilated"));
        }
        if backbone.width != 64 {
            return Err(format!("{name}'s ResNets are 64 wide, this one is {} wide", backbone.width));
        }
        match (backbone.stem, self) {
            (Stem::Imagenet, _) => Ok(None),
            (_, Library::Detectron2) => Err("detectron2's stem is a 7x7 convolution, this one is 3x3".into()),
            (Stem::Small, _) => Ok(Some("net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)")),
            (Stem::Cifar, _) => Ok(Some(
                "net.conv1, net.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()",
            )),
        }
    }
}

/// Parts of torchvision's names and what detectron2 has in their place.
const DETECTRON2: [(&str, &str); 9] = [
    ("downsample.0", "shortcut"),
    ("downsample.1", "shortcut.norm"),
    ("bn1", "conv1.norm"),
    ("bn2", "conv2.norm"),
    ("bn3", "conv3.norm"),
    ("layer4", "res5"),
    ("layer3", "res4"),
    ("layer2", "res3"),
    ("layer1", "res2"),
];

/// `layer2.0.conv1.weight` -> `5.0.conv1.weight` where the first stage is 4.
fn numbered(name: &str, first: usize) -> String {
    let (part, rest) = name.split_once('.').unwrap_or((name, ""));
    let stage = part.strip_prefix("layer").and_then(|stage| stage.parse::<usize>().ok());
    let number = stage.map_or(usize::from(part == "bn1"), |stage| first + stage - 1);
    format!("{number}.{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dilated_network_fits_no_library() {
        let strides = ResNetConfig {
            architecture: crate::engine::nn::Architecture::Resnet50,
            width: 64,
            stem: Stem::Imagenet,
            zero_init: false,
            dilated: 0,
        };
        for library in [Library::Torchvision, Library::Timm, Library::Detectron2] {
            assert_eq!(library.fit(&strides), Ok(None));
            let why = library.fit(&ResNetConfig { dilated: 2, ..strides }).expect_err("dilated");
            assert!(why.contains("dilated"), "{why}");
        }
    }

    #[test]
    fn names_are_those_of_detectron2_and_of_a_list() {
        for (ours, theirs) in [
            ("conv1.weight", "stem.conv1.weight"),
            ("bn1.running_mean", "stem.conv1.norm.running_mean"),
            ("layer1.0.conv3.weight", "res2.0.conv3.weight"),
            ("layer4.2.bn2.running_var", "res5.2.conv2.norm.running_var"),
            ("layer2.0.downsample.0.weight", "res3.0.shortcut.weight"),
            ("layer2.0.downsample.1.bias", "res3.0.shortcut.norm.bias"),
        ] {
            assert_eq!(Library::Detectron2.rename(ours), theirs);
            assert_eq!(Library::Timm.rename(ours), ours);
        }
        for (ours, theirs) in [
            ("conv1.weight", "0.weight"),
            ("bn1.running_mean", "1.running_mean"),
            ("layer1.0.conv3.weight", "4.0.conv3.weight"),
            ("layer4.2.downsample.1.bias", "7.2.downsample.1.bias"),
        ] {
            assert_eq!(Library::Numbered(4).rename(ours), theirs);
        }
    }
}
