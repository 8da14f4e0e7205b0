use super::*;
use crate::Device;
use crate::engine::device::GpuOptions;
use crate::engine::ops::run;

#[test]
fn blocks_smaller_than_the_tensor_give_the_same_sums() {
    let options = GpuOptions { max_binding: Some(1 << 22), ..Default::default() };
    let (gpu, cpu) =
        (Device::gpu_named(None, options).expect("a Vulkan, Metal or DirectX 12 device"), Device::cpu());
    let values: Vec<f32> = (0..2_200_000).map(|i| (i % 7) as f32).collect();
    for (over, shape) in
        [(Over::All, [1, 2_200_000]), (Over::Row, [22_000, 100]), (Over::Channel, [220_000, 10])]
    {
        let op = Reduce { over, mean: false };
        let on = |device: &Device| {
            let x = Tensor::new(device, shape, &values).expect("tensor");
            let y = run(&op, &[&x]).expect("sums");
            y[0].to_vec().expect("values")
        };
        assert_eq!(on(&gpu), on(&cpu), "{over:?}");
    }
}

#[test]
fn more_rows_than_groups_in_one_dimension_are_all_summed() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device");
    let values: Vec<f32> = (0..66_001).map(|i| i as f32).collect();
    let x = Tensor::new(&gpu, [66_001, 1], &values).expect("tensor");
    let y = run(&Reduce { over: Over::Row, mean: true }, &[&x]).expect("means");
    assert_eq!(y[0].to_vec().expect("values"), values);
}
