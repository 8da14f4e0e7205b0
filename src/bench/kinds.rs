//! Pieces of work by name: `conv:16,64,24,24,64,3,1,1` and the like.

use super::workload::Workload;
use super::{detector, judging, ops, segmenter, step, views};
use crate::engine::device::Device;
use crate::engine::nn::Architecture;
use crate::engine::ops::{
    BatchNorm, Coefficients, Conv2d, CrossEntropy, Draw, Input, L2Normalize, Matmul, MaxPool, TopK, Update,
};
use crate::error::{Error, Result};
use std::fmt;

/// A kind of work: what stands before the colon, and the sizes behind it.
#[derive(Debug)]
pub struct Kind {
    /// What stands before the colon.
    pub name: &'static str,
    /// The names of its sizes, as they are written.
    pub sizes: &'static str,
    /// What it does.
    pub what: &'static str,
    prepare: Prepare,
}

/// Makes the inputs of these sizes on a device.
type Prepare = fn(&Device, &[usize]) -> Result<Workload>;

impl Kind {
    fn sizes(&self) -> usize {
        self.sizes.split([',', 'x']).count()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.sizes)
    }
}

const CONV: &str = "batch,in,height,width,out,kernel,stride,padding";
const MAPS: &str = "batch,height,width,channels";
const BN: BatchNorm = BatchNorm { by: Coefficients::Batch { groups: 1, eps: 1e-5 }, relu: true };
const POOL: MaxPool = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
/// A step after the first, which would only fill the momentum buffer.
const SGD: Update =
    Update::Sgd { lr: 1e-3, momentum: 0.9, weight_decay: 1e-4, nesterov: false, first: false };

/// Every kind of work. A `b` at the end: with backward.
pub const KINDS: &[Kind] = &[
    kind(
        "resnet18",
        "batch,size",
        "training step: forward, mean of squares of the pooled features, backward, SGD",
        |device, s| training(device, Architecture::Resnet18, [s[0], s[1]]),
    ),
    kind("resnet50", "batch,size", "the same of a ResNet-50", |device, s| {
        training(device, Architecture::Resnet50, [s[0], s[1]])
    }),
    kind("matmul", "N", "product of two NxN matrices", |device, s| {
        ops::forward(device, Matmul::NN, product(s[0], s[0], s[0]))
    }),
    kind("matmul", "M,K,N", "product of MxK and KxN", |device, s| {
        ops::forward(device, Matmul::NN, product(s[0], s[1], s[2]))
    }),
    kind("conv", CONV, "convolution", |device, s| {
        ops::forward(device, Conv2d::new(s[6], s[7]), images_and_filters(s))
    }),
    kind("convb", CONV, "with the gradients of input and weight", |device, s| {
        ops::backward(device, Conv2d::new(s[6], s[7]), images_and_filters(s), &[true, true])
    }),
    kind("convw", CONV, "with the gradient of the weight alone, as a network's first layer", |device, s| {
        ops::backward(device, Conv2d::new(s[6], s[7]), images_and_filters(s), &[false, true])
    }),
    kind("batch_norm", MAPS, "batch norm and relu by the batch's statistics", |device, s| {
        ops::forward(device, BN, normed(s))
    }),
    kind("batch_normb", MAPS, "with backward", |device, s| ops::backward(device, BN, normed(s), &[true; 3])),
    kind("max_pool", MAPS, "3x3 maxima, stride 2", |device, s| {
        ops::forward(device, POOL, vec![Input::normal(s)])
    }),
    kind("max_poolb", MAPS, "with backward", |device, s| {
        ops::backward(device, POOL, vec![Input::normal(s)], &[true])
    }),
    kind("l2_normalize", "rows,width", "rows to unit length", |device, s| {
        ops::forward(device, L2Normalize, vec![Input::normal(s)])
    }),
    kind("l2_normalizeb", "rows,width", "with backward", |device, s| {
        ops::backward(device, L2Normalize, vec![Input::normal(s)], &[true])
    }),
    kind("cross_entropyb", "batch,classes", "mean softmax cross-entropy, with backward", |device, s| {
        let labels = Input::of([s[0]], Draw::Index(s[1]));
        ops::backward(device, CrossEntropy::default(), vec![Input::normal(s), labels], &[true, false])
    }),
    kind(
        "smooth_ap",
        "images,views,width",
        "S2R2's ranking: cosines of images x views projections, smoothed AP, and back to the projections",
        |device, s| ops::ranking(device, [s[0], s[1], s[2]]),
    ),
    kind(
        "queue",
        "batch,slots,width",
        "MLS's pseudo-labels: product with the queue, then the 20 largest of each row",
        |device, s| ops::queue(device, [s[0], s[1], s[2]]),
    ),
    kind("top_k", "rows,columns,k", "the k largest of each row, and labels", |device, s| {
        ops::forward(device, TopK { k: s[2], labels: true }, vec![Input::normal([s[0], s[1]])])
    }),
    kind("sgd", "elements", "step of SGD with momentum", |device, s| {
        ops::forward(device, SGD, vec![Input::normal(s); 3])
    }),
    kind("ema", "elements", "step of a moving average", |device, s| {
        ops::forward(device, Update::Ema { momentum: 0.99 }, vec![Input::normal(s); 2])
    }),
    kind("views", "WxH,size", "MoCo-v2's views of a WxH JPEG, decoded for each, on one thread", |_, s| {
        views::prepare(s[0], s[1], s[2])
    }),
    kind(
        "voc",
        "classes,photos,width",
        "VOC's protocol on features: 26 costs, 3 folds; on the host",
        |_, s| judging::voc([s[0], s[1], s[2]]),
    ),
    kind("knn", "photos,width", "kNN of features among as many others", |device, s| {
        judging::knn(device, [s[0], s[1]])
    }),
    kind("probe", "classes,photos,width", "linear probe of features, 100 epochs", |device, s| {
        judging::probe(device, [s[0], s[1], s[2]])
    }),
    kind(
        "mask_rcnn",
        "batch,shortest",
        "training step of Mask R-CNN R50-FPN: proposals, targets, losses, SGD",
        |device, s| detector::step(device, [s[0], s[1]]),
    ),
    kind(
        "mask_rcnn_photo",
        "shortest",
        "a hundred objects of one photo by Mask R-CNN R50-FPN",
        |device, s| detector::photo(device, s[0]),
    ),
    kind(
        "pspnet",
        "batch,size",
        "training step of PSPNet R50, 19 classes: both losses, dropout, SGD",
        |device, s| segmenter::step(device, segmenter::pyramid(), [s[0], s[1]]),
    ),
    kind("psanet", "batch,size", "the same of PSANet R50", |device, s| {
        segmenter::step(device, segmenter::attention(s[1]), [s[0], s[1]])
    }),
    kind("nms", "N", "suppression of a photo's proposals, on one thread of the host", |_, s| {
        detector::suppression(s[0], false)
    }),
    kind("nms_disjoint", "N", "suppression of boxes of which none goes", |_, s| {
        detector::suppression(s[0], true)
    }),
    kind(
        "match",
        "anchors,objects",
        "which anchor stands for which object, on one thread of the host",
        |_, s| detector::matching([s[0], s[1]]),
    ),
    kind("tsne", "photos,width", "t-SNE of rows; on the host", |_, s| judging::plane([s[0], s[1]])),
];

/// A row of the table.
const fn kind(name: &'static str, sizes: &'static str, what: &'static str, prepare: Prepare) -> Kind {
    Kind { name, sizes, what, prepare }
}

fn training(device: &Device, architecture: Architecture, sizes: [usize; 2]) -> Result<Workload> {
    let work = 3 * step::forward_work(architecture, sizes)?;
    let mut step = step::TrainingStep::new(device, step::StepConfig::new(architecture, sizes))?;
    let device = device.clone();
    Ok(Workload::new(work, move || {
        step.run(|_| Ok(()))?;
        device.wait()
    }))
}

fn product(m: usize, k: usize, n: usize) -> Vec<Input> {
    vec![Input::normal([m, k]), Input::normal([k, n])]
}

fn images_and_filters(s: &[usize]) -> Vec<Input> {
    vec![Input::normal([s[0], s[2], s[3], s[1]]), Input::normal([s[4], s[5], s[5], s[1]])]
}

fn normed(s: &[usize]) -> Vec<Input> {
    vec![Input::normal(s), Input::of([s[3]], Draw::Positive), Input::normal([s[3]])]
}

/// A kind of work with its sizes.
#[derive(Clone, Debug)]
pub struct Name {
    kind: &'static Kind,
    sizes: Vec<usize>,
    text: String,
}

impl Name {
    /// Reads `kind:size,size,..`; sizes are whole numbers from 1 to 2^31, a padding may be 0.
    ///
    /// # Errors
    /// [`Error::Input`] naming every kind if there is no such one, or the sizes that it takes.
    pub fn parse(text: &str) -> Result<Name> {
        let refused = |what: String, advice: String| Error::input(what, format!("--test {text}"), advice);
        let (name, sizes) = text.split_once(':').unwrap_or((text, ""));
        let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.name == name).collect();
        let list = |kinds: &mut dyn Iterator<Item = &Kind>, between: &str| {
            let kinds: Vec<String> = kinds.map(Kind::to_string).collect();
            format!("use {}", kinds.join(between))
        };
        if kinds.is_empty() {
            return Err(refused(format!("no test is called `{name}`"), list(&mut KINDS.iter(), ", ")));
        }
        let parsed: Vec<Option<usize>> = sizes.split([',', 'x']).map(|size| size.parse().ok()).collect();
        let Some(kind) = kinds.iter().find(|kind| kind.sizes() == parsed.len()) else {
            let what = format!("`{name}` takes other sizes");
            return Err(refused(what, list(&mut kinds.into_iter(), " or ")));
        };
        let fits = |(size, of): (&Option<usize>, &str)| {
            let least = usize::from(of != "padding");
            size.filter(|size| (least..=1 << 31).contains(size))
                .ok_or_else(|| refused(format!("no {of} is like that"), "use whole numbers from 1".into()))
        };
        let sizes = parsed.iter().zip(kind.sizes.split([',', 'x'])).map(fits).collect::<Result<_>>()?;
        Ok(Name { kind, sizes, text: text.to_string() })
    }

    /// Makes its inputs on a device.
    ///
    /// # Errors
    /// [`Error::Input`] if the sizes do not go together or a tensor would have more than 2^31 elements; the device's.
    pub fn prepare(&self, device: &Device) -> Result<Workload> {
        (self.kind.prepare)(device, &self.sizes).map_err(|error| match error {
            Error::Shape { op, detail } => {
                Error::input(format!("{op}: {detail}"), format!("--test {self}"), "choose other sizes")
            }
            other => other,
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
#[path = "../../tests/unit/bench/kinds.rs"]
mod tests;
