use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

#[test]
fn equal_values_give_minus_ln_n_and_shifts_change_nothing() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
    for device in [Device::reference(), Device::cpu(), gpu] {
        for (n, value) in [(2usize, 0.0f32), (4097, -5.0), (3000, 1e4), (1, -1e30)] {
            let x = Tensor::full(&device, [2, n], value).unwrap();
            let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
            let expected = -(n as f32).ln();
            assert!(y.iter().all(|y| (y - expected).abs() < 2e-6), "{} for {n} times {value}", y[0]);
        }
        let x = Tensor::new(&device, [2], &[-1e30, 1e30]).unwrap();
        let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
        assert_eq!(y, [-2e30, 0.0]);
    }
}

fn on_all_devices(check: impl Fn(&Device)) {
    let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
    [Device::reference(), Device::cpu(), gpu].iter().for_each(check);
}

#[test]
fn bce_is_ln_2_at_zero_logits_and_the_closed_form_at_the_lowest_cosine() {
    on_all_devices(|device| {
        let loss = |logit: f32, targets: &[f32], shape: [usize; 2]| {
            let logits = Tensor::full(device, shape, logit).unwrap();
            let targets = Tensor::new(device, shape, targets).unwrap();
            Tape::inert(device).constant(logits).bce_with_logits(&targets).unwrap().value().item().unwrap()
        };
        let labels: Vec<f32> = (0..2 * 4096).map(|i| f32::from(i % 4096 < 20)).collect();
        let at_zero = loss(0.0, &labels, [2, 4096]);
        assert!((at_zero - std::f32::consts::LN_2).abs() < 1e-6, "{at_zero}");
        let at_lowest = loss(-1.0 / 0.2, &labels, [2, 4096]);
        assert!((at_lowest - 0.031129).abs() < 5e-7, "{at_lowest}");
        assert_eq!(loss(1e30, &[1.0, 1.0], [1, 2]), 0.0);
        assert_eq!(loss(1e30, &[1.0, 0.0], [1, 2]), 5e29);
    });
}

#[test]
fn knn_softmax_of_rows_without_positives_or_negatives_is_0_and_so_is_its_gradient() {
    on_all_devices(|device| {
        let logits = [0.5, -1.0, 2.0, 1e30, -1e30, 3.0, 700.0, 700.0, 700.0];
        let labels = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        let tape = Tape::new(device);
        let x = tape.leaf(Tensor::new(device, [3, 3], &logits).unwrap());
        let loss = x.knn_softmax(&Tensor::new(device, [3, 3], &labels).unwrap()).unwrap();
        let value = loss.value().item().unwrap();
        assert!((value - 3f32.ln() / 3.0).abs() < 1e-6, "{}: {value}", device.name());
        let dx = loss.backward().unwrap().of(&x).unwrap().to_vec().unwrap();
        assert!(dx[..6].iter().all(|&d| d == 0.0), "{}: {dx:?}", device.name());
        let expected = [-2.0, 1.0, 1.0].map(|d| d / 9.0);
        assert!(dx[6..].iter().zip(expected).all(|(d, e)| (d - e).abs() < 1e-6), "{}: {dx:?}", device.name());
    });
}
