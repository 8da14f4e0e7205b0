use super::*;
use crate::engine::device::{Device, GpuOptions};

fn counting(shape: &[usize], first: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| first + i as f32).collect();
    Tensor::new(&Device::cpu(), shape, &values).expect("tensor")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().expect("values")
}

#[test]
fn packed_tensors_come_back_and_are_not_copied_again() {
    let tensors = [counting(&[3, 5], 1.0), counting(&[64], 100.0), counting(&[], 7.0)];
    let shapes = tensors.each_ref().map(|t| t.shape().clone());
    let flat = Tensor::pack(&tensors.each_ref()).expect("pack");
    assert_eq!(flat.shape()[..], [129]);
    let sum: f32 = tensors.iter().flat_map(values).sum();
    assert_eq!(values(&flat).iter().sum::<f32>(), sum, "gaps hold zeros");
    let parts = flat.unpack(&shapes).expect("unpack");
    for (part, original) in parts.iter().zip(&tensors) {
        assert_eq!(values(part), values(original));
        assert!(part.shares_memory(&flat));
    }
    let again = Tensor::pack(&parts.iter().collect::<Vec<_>>()).expect("pack");
    assert!(again.shares_memory(&flat) && again.start == flat.start);
    let other_order = Tensor::pack(&[&parts[1], &parts[0]]).expect("pack");
    assert!(!other_order.shares_memory(&flat));
    assert!(flat.unpack(&shapes[..1]).is_err());
}

#[test]
fn writing_to_one_packed_tensor_leaves_its_neighbours_alone() {
    let (a, b) = (counting(&[2, 2], 0.0), counting(&[2, 2], 10.0));
    let flat = Tensor::pack(&[&a, &b]).expect("pack");
    let mut parts = flat.unpack(&[a.shape().clone(), b.shape().clone()]).expect("unpack");
    parts[1].write_rows(1, &a.rows(0..1).expect("row")).expect("write");
    assert_eq!(values(&parts[1]), [10.0, 11.0, 0.0, 1.0]);
    assert_eq!(values(&parts[0]), values(&a));
    assert_eq!(values(&flat)[64..68], values(&b));
}

#[test]
fn tensors_are_read_together_in_one_read_back_of_each_device() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    for device in [Device::cpu(), gpu] {
        let of = |shape: &[usize], first| counting(shape, first).to_device(&device).expect("a copy");
        let tensors = [of(&[3, 5], 1.0), of(&[], 7.0), of(&[70], 100.0), of(&[0], 0.0), of(&[2], -3.0)];
        device.start_trace();
        let read = Tensor::read(&tensors.each_ref()).expect("values");
        assert!(Tensor::read(&[]).expect("none").is_empty());
        assert_eq!(device.take_trace().expect("trace").reads.len(), 1);
        device.stop_trace();
        for (tensor, read) in tensors.iter().zip(&read) {
            assert_eq!(&tensor.to_f64().expect("values"), read);
        }
    }
}
