//! What one step of a detector's training is made of, for another program to compute again.
//!
//! `detector_step CHECKPOINT FILE [KEY=VALUE ..]` takes the detector of a run of `vista detect` and a batch of its photos, and writes
//! safetensors: the padded images, the objects in them, what the sampled anchors and regions should have said, the losses, and the gradient of
//! every parameter. [`scripts/peers/mask_rcnn.py step`](../scripts/peers/mask_rcnn.py) compares them with PyTorch's.

use safetensors::tensor::{Dtype, TensorView};
use vista::engine::autograd::{Tape, Var};
use vista::engine::nn::Module;
use vista::photos::views::SceneObject;
use vista::photos::{Loader, LoaderOptions};
use vista::transfer::detect::{BoxTargets, DetectLearner, DetectSets, load};
use vista::{Device, Error, Result, Tensor};

/// Arrays of f32: name, shape, bytes.
#[derive(Default)]
struct Arrays(Vec<(String, Vec<usize>, Vec<u8>)>);

impl Arrays {
    fn add(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) {
        self.0.push((name.into(), shape.into(), values.into_iter().flat_map(f32::to_le_bytes).collect()));
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.add(name, tensor.shape(), tensor.to_vec()?);
        Ok(())
    }

    fn boxes(&mut self, name: &str, of: &BoxTargets) -> Result<()> {
        self.tensor(&format!("{name}.deltas"), &of.deltas)?;
        self.tensor(&format!("{name}.counts"), &of.counts)
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, file, settings @ ..] = &arguments[..] else {
        return Err(Error::input("two files are wanted", "arguments", "give CHECKPOINT FILE [KEY=VALUE ..]"));
    };
    // In f64 unless a device is named, so that what differs is no rounding.
    let device = match settings.iter().find_map(|setting| setting.strip_prefix("device=")) {
        Some(name) => Device::open(name)?,
        None => Device::reference(),
    };
    let (net, config, classes) = load(checkpoint, &device)?;
    let config = settings.iter().try_fold(config, |config, setting| config.with(setting))?;
    let album = DetectSets::open(&config)?.train;
    let options = LoaderOptions::new(config.train.batch, config.scenes.clone(), config.seed);
    let scenes = Loader::new(album, options)?.next().expect("batches have no end")?.data.all;

    let mut learner = DetectLearner::new(&config, classes.names.len(), &device, true)?;
    learner.net = net;
    let tape = Tape::new(&device);
    let forward = learner.forward(&tape, &scenes, 0, None)?;
    let grads = forward.losses.total()?.backward()?;

    let mut arrays = Arrays::default();
    let floats = |values: &[usize]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
    arrays.tensor("images", &forward.images)?;
    arrays.add("sizes", &[scenes.len(), 2], scenes.iter().flat_map(|scene| floats(&scene.size)));

    // Crowds stand for no object.
    let objects: Vec<(f32, &SceneObject)> = (0..scenes.len())
        .flat_map(|image| scenes[image].objects.iter().map(move |object| (image as f32, object)))
        .filter(|(_, object)| !object.crowd)
        .collect();
    let count = objects.len();
    let rects = objects.iter().flat_map(|(image, object)| [&[*image][..], &object.rect].concat());
    arrays.add("objects", &[count, 5], rects);
    arrays.add("objects.classes", &[count], objects.iter().map(|(_, object)| object.class as f32));
    let [height, width] = [forward.images.shape()[1], forward.images.shape()[2]];
    let mut masks = vec![0.0; count * height * width];
    for (padded, (_, object)) in masks.chunks_mut(height * width).zip(&objects) {
        if let Some(mask) = &object.mask {
            for (to, from) in padded.chunks_mut(width).zip(mask.pixels.chunks(mask.size[1])) {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = f32::from(from));
            }
        }
    }
    arrays.add("objects.masks", &[count, height, width], masks);

    let (anchors, regions) = (&forward.anchors.targets, &forward.regions);
    arrays.tensor("anchors.objects", &anchors.objects)?;
    arrays.tensor("anchors.sampled", &anchors.sampled)?;
    arrays.boxes("anchors", &anchors.boxes)?;
    let rects = regions.regions.iter().flat_map(|(image, rect)| [&[*image as f32][..], rect].concat());
    arrays.add("regions", &[regions.regions.len(), 5], rects);
    arrays.add("regions.classes", &[regions.classes.len()], floats(&regions.classes));
    arrays.boxes("regions", &regions.boxes)?;
    arrays.add("regions.masked", &[regions.masked.len()], floats(&regions.masked));
    let pixels = regions.masks.len() / regions.masked.len().max(1);
    arrays.add("regions.masks", &[regions.masked.len(), pixels], regions.masks.iter().copied());

    let losses = &forward.losses;
    let value = |loss: &Var| Ok::<f32, Error>(loss.value().to_vec()?[0]);
    for (name, loss) in [
        ("rpn_class", Some(&losses.rpn_class)),
        ("rpn_box", Some(&losses.rpn_box)),
        ("class", Some(&losses.class)),
        ("box", Some(&losses.rect)),
        ("mask", losses.mask.as_ref()),
    ] {
        let value = loss.map_or(Ok(0.0), value)?;
        println!("{name:10} {value:.6}");
        arrays.add(&format!("loss.{name}"), &[1], [value]);
    }
    for param in learner.net.trained() {
        // A parameter of which nothing was made, as a mask head's in a step without an object, has none.
        if let Some(gradient) = grads.of_param(&param) {
            arrays.tensor(&format!("gradient.{}", param.name()), gradient)?;
        }
    }
    // Convolution weights are OHWI, images NHWC.
    let mut views = Vec::new();
    for (name, shape, bytes) in &arrays.0 {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of the shape")));
    }
    safetensors::serialize_to_file(views, None, file.as_ref())
        .map_err(|e| Error::input(e.to_string(), file.clone(), "name a file that can be written"))?;
    println!(
        "{count} objects, {} anchors and {} masks to learn them by",
        forward.anchors.positive,
        regions.masked.len()
    );
    Ok(())
}
