use crate::engine::autograd::{Tape, Var};
use crate::{Device, Tensor, engine::device::GpuOptions};

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

/// The derivative of `f` at x along `u` against differences, with a random upstream gradient, on the f64 device.
fn check_gradient(shape: [usize; 2], f: impl for<'t> Fn(&Var<'t>) -> crate::Result<Var<'t>>) {
    let device = Device::reference();
    let mut rng = crate::rng::KeyedRng::new("loss", 0, [0; 3]);
    let mut random = |n: usize| -> Vec<f64> { (0..n).map(|_| 2.0 * rng.unit() - 1.0).collect() };
    let (x, u) = (random(shape[0] * shape[1]), random(shape[0] * shape[1]));
    let value = |h: f64, dy: Option<&[f64]>| {
        let tape = Tape::new(&device);
        let moved: Vec<f64> = x.iter().zip(&u).map(|(x, u)| x + h * u).collect();
        let x = tape.leaf(Tensor::from_f64(&device, shape, &moved).unwrap());
        let y = f(&x).unwrap();
        let dx = dy.map(|dy| {
            let dy = Tensor::from_f64(&device, y.shape().clone(), dy).unwrap();
            y.backward_with(dy).unwrap().of(&x).unwrap().to_f64().unwrap()
        });
        (y.value().to_f64().unwrap(), dx)
    };
    let dy = random(value(0.0, None).0.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let h = 1e-6;
    let numeric = (dot(&value(h, None).0, &dy) - dot(&value(-h, None).0, &dy)) / (2.0 * h);
    let analytic = dot(&value(0.0, Some(&dy)).1.unwrap(), &u);
    assert!((analytic - numeric).abs() < 1e-7 * numeric.abs().max(1.0), "{analytic} is not {numeric}");
}

#[test]
fn what_losses_are_made_of_has_its_closed_forms_on_all_devices() {
    on_all_devices(|device| {
        let tape = Tape::inert(device);
        let matrix =
            |shape: [usize; 2], values: &[f32]| tape.constant(Tensor::new(device, shape, values).unwrap());
        let x = matrix([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let values = |var: crate::Result<Var>| var.unwrap().value().to_vec().unwrap();
        let sums: Vec<f32> = values(x.softmax()).chunks(3).map(|row| row.iter().sum()).collect();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
        let log_sums = values(matrix([2, 2], &[0.0, 0.0, 1e4, 1e4]).log_sum_exp());
        assert!((log_sums[0] - 2f32.ln()).abs() < 1e-6 && (log_sums[1] - 1e4).abs() < 2.0, "{log_sums:?}");
        let cosines = values(
            matrix([3, 2], &[3.0, 0.0, 0.0, -2.0, 1.0, 1.0])
                .cosine(&matrix([3, 2], &[5.0, 0.0, 0.0, 7.0, -1.0, 1.0])),
        );
        assert!(cosines.iter().zip([1.0, -1.0, 0.0]).all(|(c, e)| (c - e).abs() < 1e-6), "{cosines:?}");
        assert_eq!(values(x.neg()), [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
        assert_eq!(values(x.rows(1..2)), [4.0, 5.0, 6.0]);
        assert_eq!(values(x.matmul(&matrix([3, 1], &[1.0, 0.0, -1.0]))), [-2.0, -2.0]);
        assert_eq!(values(x.matmul_tn(&matrix([2, 1], &[1.0, -1.0]))), [-3.0, -3.0, -3.0]);
        assert!(x.rows(1..3).is_err() && x.reshape([6]).unwrap().log_sum_exp().is_err());
    });
}

#[test]
fn the_gradients_of_what_losses_are_made_of_are_those_of_differences() {
    check_gradient([3, 5], |x| x.softmax());
    check_gradient([3, 5], |x| x.log_sum_exp());
    check_gradient([4, 3], |x| x.rows(0..2)?.cosine(&x.rows(2..4)?));
    check_gradient([3, 4], |x| x.matmul_tn(x)?.matmul(&x.neg()?.matmul_tn(x)?));
}
