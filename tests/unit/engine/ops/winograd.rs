use super::*;
use crate::engine::device::{Device, GpuOptions};
use crate::engine::ops::{Conv2d, Op, relative_l2};

fn device(as_real: bool) -> Device {
    let options = GpuOptions { as_real, ..GpuOptions::default() };
    Device::gpu_named(None, options).expect("a Vulkan, Metal or DirectX 12 device")
}

fn sequence(device: &Device, shape: [usize; 4], seed: usize) -> Tensor {
    let value = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f32 / 5003.5 - 1.0;
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::new(device, shape, &values).expect("tensor")
}

/// Value and gradient of the input.
fn both(op: &dyn Op, device: &Device, x: [usize; 4], o: usize) -> [Vec<f64>; 2] {
    let (x, w) = (sequence(device, x, 1), sequence(device, [o, 3, 3, x[3]], 2));
    let (y, saved) = op.forward(&[&x, &w]).expect("forward");
    let &[n, h, w, o] = &y[0].shape()[..] else { panic!("four dimensions") };
    let dx = op.backward(&saved, &sequence(device, [n, h, w, o], 3), &[true, false]).expect("backward");
    [y[0].to_f64().expect("value"), dx[0].as_ref().expect("gradient").to_f64().expect("values")]
}

#[test]
fn a_convolution_takes_what_is_tuned_on_both_kinds_of_adapters() {
    let (x, o) = ([2, 9, 11, 24], 20);
    let plain = Conv2d::new(1, 1);
    let expected = both(&plain, &Device::reference(), x, o);
    let g = plain.geometry(&x, &[o, 3, 3, x[3]]).expect("geometry");
    for as_real in [false, true] {
        let device = device(as_real);
        let Device::Gpu(gpu) = &device else { unreachable!("a GPU was asked for") };
        for side in [1, 2, 4] {
            gpu.set_tuned(class(&g, false), Choice::Side(side));
            gpu.set_tuned(class(&g, true), Choice::Side(side));
            device.start_trace();
            let got = both(&plain, &device, x, o);
            let kernels = device.take_trace().expect("trace").kernels;
            device.stop_trace();
            let ours = kernels.iter().filter(|kernel| kernel.shader == "winograd").count();
            assert_eq!(ours, if side == 1 { 0 } else { 6 }, "F({side}x{side},3x3)");
            for (got, expected) in got.iter().zip(&expected) {
                let error = relative_l2(got, expected);
                assert!(error < 1e-5, "F({side}x{side},3x3): relative L2 {error:.1e}");
            }
            if let Some(algorithm) = Winograd::of(side) {
                let op = Conv2d { algorithm: Some(algorithm), ..plain };
                assert!(both(&op, &device, x, o) == got, "{algorithm:?}: other bits than the op's");
            }
        }
    }
}

#[test]
fn workgroups_of_more_than_one_row_find_their_tiles() {
    let device = device(false);
    // 33,024 tiles: 66,048 workgroups in the products.
    let (x, w) = (sequence(&device, [2, 255, 258, 1], 1), sequence(&device, [1, 3, 3, 1], 2));
    let op = Conv2d { algorithm: Some(Winograd::F2), ..Conv2d::new(1, 1) };
    let got = op.forward(&[&x, &w]).expect("forward").0[0].to_f64().expect("values");
    let reference = Device::reference();
    let (x, w) = (sequence(&reference, [2, 255, 258, 1], 1), sequence(&reference, [1, 3, 3, 1], 2));
    let expected = op.forward(&[&x, &w]).expect("forward").0[0].to_f64().expect("values");
    assert!(relative_l2(&got, &expected) < 1e-6);
}

#[test]
fn a_gpu_keeps_the_implicit_product_and_a_software_driver_follows_the_shape() {
    let g = |x: [usize; 4], o| Conv2d::new(1, 1).geometry(&x, &[o, 3, 3, x[3]]).expect("geometry");
    let large = g([16, 24, 24, 64], 64);
    for back in [false, true] {
        assert_eq!(choose(&Gpu::plan(), &large, back), None);
    }
    let device = device(false);
    let Device::Gpu(gpu) = &device else { unreachable!("a GPU was asked for") };
    if gpu.is_cpu {
        assert_eq!(choose(gpu, &large, false), Some(Winograd::F2));
        assert_eq!(choose(gpu, &g([1, 3, 3, 512], 512), false), None, "weights for one tile");
    }
}
