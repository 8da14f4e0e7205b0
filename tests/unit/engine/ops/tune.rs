use super::*;
use crate::engine::device::GpuOptions;

#[test]
fn another_kernel_is_taken_only_if_clearly_faster() {
    let (built_in, other) = (Choice::Side(1), Choice::Side(4));
    let timing = |usual, faster| Timing {
        built_in,
        times: vec![(built_in, Duration::from_micros(usual)), (other, Duration::from_micros(faster))],
    };
    assert_eq!(timing(1000, 980).best(), built_in);
    assert_eq!(timing(1000, 900).best(), other);
}

#[test]
fn tuned_choices_are_kept_for_the_next_opening_and_change_no_value_but_by_rounding() {
    let folder = tempfile::tempdir().expect("folder");
    let options =
        || GpuOptions { as_real: true, cache: Some(folder.path().to_path_buf()), ..GpuOptions::default() };
    let product = Product { x: [1, 6, 6, 8], w: [40, 3, 3, 8], pass: Pass::Forward };
    let value = |device: &Device| {
        let x: Vec<f32> = (0..288).map(|i| (i % 17) as f32 - 8.0).collect();
        let w: Vec<f32> = (0..2880).map(|i| (i % 13) as f32 - 6.0).collect();
        let tensor = |shape: [usize; 4], values: &[f32]| Tensor::new(device, shape, values).expect("tensor");
        let inputs = [tensor(product.x, &x), tensor(product.w, &w)];
        Conv2d::new(1, 1).forward(&[&inputs[0], &inputs[1]]).expect("forward").0[0].to_vec().expect("values")
    };
    let device = Device::gpu_named(None, options()).expect("a Vulkan, Metal or DirectX 12 device");
    let before = value(&device);
    let Device::Gpu(gpu) = &device else { unreachable!("a GPU was asked for") };
    let timings = product.tune(&device, gpu, 1).expect("tune");
    let candidates: Vec<usize> = timings.iter().map(|timing| timing.times.len()).collect();
    assert_eq!(candidates, [5, 3], "tiles, and Winograd's algorithms beside the implicit product");
    let [tile, algorithm] = [product.classes()[0].0, product.classes()[1].0];
    gpu.set_tuned(tile, Choice::Tile([4, 16]));
    gpu.set_tuned(algorithm, Choice::Side(1));
    gpu.save_tuned().expect("save");
    let again = Device::gpu_named(None, options()).expect("device");
    let Device::Gpu(gpu) = &again else { unreachable!("a GPU was asked for") };
    assert_eq!(gpu.tuned(tile), Some(Choice::Tile([4, 16])));
    assert_eq!(gpu.tuned(algorithm), Some(Choice::Side(1)));
    // Whole numbers below 2^24 add up exactly in any order.
    assert_eq!(value(&again), before);
}
