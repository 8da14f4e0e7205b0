use super::*;
use crate::engine::device::Device;

#[test]
fn a_convolution_goes_out_channels_first_and_comes_back_to_the_bit() {
    let device = Device::cpu();
    let values: Vec<f32> = (0..2 * 3 * 3 * 4).map(|i| i as f32).collect();
    let param = Param::new("conv", Tensor::new(&device, [2, 3, 3, 4], &values).expect("tensor"));
    struct One(Param);
    impl Module for One {
        fn visit(&self, f: &mut dyn FnMut(&Param)) {
            f(&self.0);
        }
    }
    let weights = Weights::of(&One(param.clone())).expect("weights");
    let array = &weights.0["conv"];
    assert_eq!(array.shape, [2, 4, 3, 3]);
    // OIHW [1, 2, 0, 1] is OHWI [1, 0, 1, 2].
    assert_eq!(array.values[((4 + 2) * 3) * 3 + 1], values[((3 * 3) + 1) * 4 + 2]);
    let back = weights.tensor("conv", &param).expect("fits").to_vec().expect("values");
    assert_eq!(back, values);
}

#[test]
fn floats_of_any_width_are_read_whole_numbers_left_out_and_what_is_not_finite_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.safetensors");
    let half: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brain: Vec<u8> = [0.5f32, 4.0].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let double: Vec<u8> = [0.25f64, f64::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
    let whole = 7i64.to_le_bytes();
    let view = |dtype, bytes| TensorView::new(dtype, vec![2], bytes).expect("view");
    let count = TensorView::new(Dtype::I64, vec![], &whole).expect("view");
    let good = [("h", view(Dtype::F16, &half)), ("b", view(Dtype::BF16, &brain)), ("n", count)];
    safetensors::serialize_to_file(good, None, &path).expect("written");
    let weights = Weights::read(&path).expect("read");
    assert_eq!(weights.0.keys().collect::<Vec<_>>(), ["b", "h"]);
    assert_eq!((&weights.0["h"].values[..], &weights.0["b"].values[..]), (&[1.5, -2.0][..], &[0.5, 4.0][..]));
    safetensors::serialize_to_file([("bad", view(Dtype::F64, &double))], None, &path).expect("written");
    let weights = Weights::read(&path).expect("an array that nobody uses may hold anything");
    let message = weights.check_finite("bad", "x.safetensors").unwrap_err().to_string();
    assert!(message.contains("bad is not finite") && message.contains("x.safetensors"), "{message}");
    // A sound file whose header's length begins as a pickle does.
    let name = "x".repeat(0x80 - 60);
    safetensors::serialize_to_file([(name, view(Dtype::F16, &half))], None, &path).expect("written");
    assert_eq!(std::fs::read(&path).expect("bytes")[0], 0x80);
    assert_eq!(Weights::read(&path).expect("read").0.len(), 1);
    std::fs::write(&path, b"PK\x03\x04 a zip").expect("written");
    let message = Weights::read(&path).unwrap_err().to_string();
    assert!(message.contains("save_file") && message.contains("x.safetensors"), "{message}");
    std::fs::write(&path, b"version https://git-lfs.github.com/spec/v1").expect("written");
    let message = Weights::read(&path).unwrap_err().to_string();
    assert!(message.contains("git lfs pull"), "{message}");
}
