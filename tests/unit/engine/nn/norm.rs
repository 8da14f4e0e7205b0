use super::*;

#[test]
fn a_plain_norm_is_one_with_gamma_1_and_beta_0_that_are_not_trained() {
    let device = Device::reference();
    let (affine, plain) = (
        BatchNorm::new(&device, "a", 2, 1.0).expect("norm"),
        BatchNorm::plain(&device, "p", 2).expect("norm"),
    );
    assert_eq!((affine.trained().len(), plain.trained().len(), plain.state().len()), (2, 0, 2));
    for mode in [Mode::Train { groups: 1 }, Mode::Eval] {
        let values = [&affine, &plain].map(|norm| {
            let tape = Tape::new(&device);
            let x = tape.leaf(Tensor::new(&device, [3, 2], &[1.0, 5.0, 2.0, 3.0, 6.0, 0.0]).expect("x"));
            let y = norm.forward(&x, mode).expect("forward");
            let grads = y.backward_with(x.value().clone()).expect("backward");
            [y.value().to_f64().expect("y"), grads.of(&x).expect("dx").to_f64().expect("dx")]
        });
        assert_eq!(values[0], values[1]);
    }
}

#[test]
fn an_odd_number_of_values_is_counted_whole() {
    let device = Device::reference();
    let norm = BatchNorm::new(&device, "norm", 1, 1.0).expect("norm");
    let tape = Tape::new(&device);
    let x = tape.constant(Tensor::new(&device, [3, 1, 1, 1], &[1.0, 2.0, 6.0]).expect("values"));
    norm.forward(&x, Mode::Train { groups: 1 }).expect("forward");
    Observation::apply(&tape.take_observations()).expect("statistics");
    let value = |param: &Param| f64::from(param.get().item().expect("one value"));
    assert!((value(&norm.running.mean) - 0.1 * 3.0).abs() < 1e-6);
    // The sum of squared deviations, 4 + 1 + 9, over n - 1 = 2.
    assert!((value(&norm.running.var) - (0.9 + 0.1 * 7.0)).abs() < 1e-6);
}
