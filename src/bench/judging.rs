//! Judging frozen features, as workloads. The features are made up of hidden factors that classes depend on too.

use super::workload::Workload;
use crate::engine::device::Device;
use crate::engine::ops::matmul::twin::matmul;
use crate::error::Result;
use crate::rng::KeyedRng;
use crate::transfer::classify::{Features, Knn, MultiLabelled, Probe, Voc, tsne};
use crate::transfer::metrics::accuracy::arg_max;

/// Hidden factors, the first the strongest.
const FACTORS: usize = 128;
/// A photo shows a class whose affinity is above this: some 7 %, as in VOC.
const SHOWN: f32 = 1.7;

/// Photos as a made-up encoder sees them.
struct Seen {
    /// `[photos, width]`, none below 0.
    features: Vec<f32>,
    /// How much each photo shows each class, `[photos, classes]`, of deviation 1.1.
    affinity: Vec<f32>,
}

fn seen(set: u64, photos: usize, width: usize, classes: usize) -> Seen {
    let normals = |purpose: &str, set: u64, count: usize, scale: &dyn Fn(usize) -> f64| -> Vec<f32> {
        let mut rng = KeyedRng::new(purpose, set, [0; 3]);
        (0..count).map(|i| (scale(i) * rng.normal()) as f32).collect()
    };
    let z = normals("factors", set, photos * FACTORS, &|_| 1.0);
    let of_features = normals("encoder", 0, FACTORS * width, &|i| ((i / width + 1) as f64).powf(-0.7));
    let of_classes = normals("classes", 0, FACTORS * classes, &|_| (FACTORS as f64).powf(-0.5));
    let mut features = normals("noise", set, photos * width, &|_| 0.5);
    let mut affinity = normals("labels", set, photos * classes, &|_| 0.5);
    let plus = |weights: &[f32], width: usize, y: &mut [f32]| {
        let mut product = vec![0.0; y.len()];
        matmul(false, false, photos, width, FACTORS, &z, weights, None, &mut product);
        y.iter_mut().zip(product).for_each(|(y, p)| *y += p);
    };
    plus(&of_features, width, &mut features);
    plus(&of_classes, classes, &mut affinity);
    features.iter_mut().for_each(|v| *v = (*v - 0.5).max(0.0));
    Seen { features, affinity }
}

/// Photos of one class each.
fn labelled(set: u64, photos: usize, width: usize, classes: usize) -> Features {
    let Seen { features, affinity } = seen(set, photos, width, classes);
    Features { values: features, labels: affinity.chunks(classes).map(arg_max).collect() }
}

/// The whole protocol of `vista voc`, with as many test photos.
pub(super) fn voc([classes, photos, width]: [usize; 3]) -> Result<Workload> {
    let sets = [1, 2].map(|set| {
        let Seen { features, affinity } = seen(set, photos, width, classes);
        (features, affinity.into_iter().map(|a| i8::from(a > SHOWN)).collect::<Vec<i8>>())
    });
    Ok(Workload::new(0, move || {
        let [train, test] =
            [0, 1].map(|i| MultiLabelled { features: &sets[i].0, labels: &sets[i].1, classes });
        std::hint::black_box(Voc::default().run(&train, &test, &|_| ())?);
        Ok(())
    }))
}

/// kNN of photos among as many others.
pub(super) fn knn(device: &Device, [photos, width]: [usize; 2]) -> Result<Workload> {
    let (train, test) = (labelled(1, photos, width, 10), labelled(2, photos, width, 10));
    let (device, knn) = (device.clone(), Knn { k: Knn::default().k.min(photos), ..Knn::default() });
    Ok(Workload::new((photos * photos * width) as u64, move || {
        std::hint::black_box(knn.classify(&device, &train, &test)?);
        Ok(())
    }))
}

/// A linear probe, judged on as many test photos.
pub(super) fn probe(device: &Device, [classes, photos, width]: [usize; 3]) -> Result<Workload> {
    let (train, test) = (labelled(1, photos, width, classes), labelled(2, photos, width, classes));
    let device = device.clone();
    Ok(Workload::new(0, move || {
        std::hint::black_box(Probe::default().fit(&device, &train, &test, &mut |_| ())?);
        Ok(())
    }))
}

/// A plane of rows.
pub(super) fn plane([photos, width]: [usize; 2]) -> Result<Workload> {
    let rows = seen(1, photos, width, 1).features;
    Ok(Workload::new(0, move || {
        std::hint::black_box(tsne(&rows, width));
        Ok(())
    }))
}
