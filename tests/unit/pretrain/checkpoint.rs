use super::*;
use crate::run::Found;
use std::fs;

#[test]
fn a_saved_encoder_comes_back_to_the_bit_in_torchvisions_layout() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.safetensors");
    let config = Config::preset("demo").expect("preset").with("model.width=8").expect("width");
    let device = Device::cpu();
    let encoder = config.encoder(&device).expect("encoder");
    save(&path, &encoder, &config, Progress { epoch: 1, step: 2 }).expect("saved");
    let (again, same) = load(&path, &device).expect("loaded");
    assert_eq!(config, same);
    for (a, b) in encoder.state().iter().zip(again.state()) {
        assert_eq!(a.get().to_vec().expect("values"), b.get().to_vec().expect("values"), "{}", a.name());
    }
    let bytes = fs::read(&path).expect("bytes");
    let file = SafeTensors::deserialize(&bytes).expect("file");
    assert_eq!(file.tensor("layer2.0.conv1.weight").expect("there").shape(), [16, 8, 3, 3]);
    assert!(Found::<Config>::read(&path).unwrap_err().to_string().contains("without its run"));
}

#[test]
fn a_checkpoint_in_half_has_half_the_bytes_and_rounds_weights_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let device = Device::cpu();
    let size = |setting: &str| {
        let path = folder.path().join(format!("{setting}.safetensors"));
        let config = Config::preset("demo").expect("preset").with(setting).expect("setting");
        let encoder = config.encoder(&device).expect("encoder");
        save(&path, &encoder, &config, Progress { epoch: 1, step: 2 }).expect("saved");
        let (again, same) = load(&path, &device).expect("loaded");
        assert_eq!(config, same);
        for (param, read) in encoder.state().iter().zip(again.state()) {
            let [whole, read] = [param, &read].map(|p| p.get().to_vec().expect("values"));
            let rounded = config.half.checkpoint && param.shape().len() > 1;
            // Nothing but zero becomes zero, which the crate's rounding does not know.
            let expected = |v: f32| if rounded { f16::from_f32(v).to_f32() } else { v };
            let equal = whole.iter().zip(&read).all(|(&a, &b)| expected(a) == b || a.abs() < 1e-7);
            assert!(equal, "{}", param.name());
        }
        fs::metadata(&path).expect("a file").len() as f64
    };
    assert!(size("half.checkpoint=true") < 0.51 * size("half.checkpoint=false"));
}

#[test]
fn a_file_that_is_no_checkpoint_or_lies_about_its_size_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.safetensors");
    fs::write(&path, b"not a checkpoint at all").expect("written");
    let message = load(&path, &Device::cpu()).unwrap_err().to_string();
    assert!(message.contains("x.safetensors"), "{message}");
    let config = Config::preset("demo").expect("preset").with("model.width=100000000").expect("width");
    archive::write(&path, &[], texts(&config, Progress { epoch: 0, step: 0 })).expect("written");
    let message = load(&path, &Device::cpu()).unwrap_err().to_string();
    assert!(message.contains("its encoder has more than"), "{message}");
}
