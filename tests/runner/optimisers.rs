//! Optimisers, through the trainer's own: parameters after each step.

use super::case::{Array, GoldenCase, Outputs};
use vista::engine::autograd::Tape;
use vista::engine::nn::{Module, Param};
use vista::engine::optim::{AdamConfig, Decay, LarsConfig, LrSchedule, OptimConfig, SgdConfig, ema_update};
use vista::{Device, Result};

/// Parameters without a network.
struct Params(Vec<Param>);

impl Module for Params {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.0.iter().for_each(f);
    }
}

/// Entry t of an array whose first dimension is time.
fn at(array: &Array, t: usize) -> Array {
    let shape = array.shape[1..].to_vec();
    let count: usize = shape.iter().product();
    Array { values: array.values[t * count..][..count].to_vec(), shape }
}

/// `sgd`, `adam` and `lars`: two parameters, T gradients each, one learning rate per step.
pub fn optimiser(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let weight_decay = case.number("weight_decay");
    let number = |key| case.number(key);
    let config = match case.op.as_str() {
        "sgd" => {
            let (momentum, nesterov) = (number("momentum"), case.flag("nesterov"));
            OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov })
        }
        "adam" => {
            let [beta1, beta2, eps] = ["beta1", "beta2", "eps"].map(number);
            OptimConfig::Adam(AdamConfig { beta1, beta2, eps, weight_decay })
        }
        _ => {
            let ([momentum, trust, eps], exclude_1d) =
                (["momentum", "trust", "eps"].map(number), case.flag("exclude_1d"));
            OptimConfig::Lars(LarsConfig { momentum, weight_decay, trust, eps, exclude_1d })
        }
    };
    let mut optimizer = config.build();
    let params = ["w", "b"].map(|name| Param::new(name, case.input(name, device)));
    let mut outputs = Outputs::new();
    let lrs = case.attrs["lrs"].as_array().expect("learning rates");
    for (t, lr) in lrs.iter().enumerate() {
        // The gradient of sum(p * g) with respect to p is g.
        let tape = Tape::new(device);
        let roots = params.iter().map(|p| {
            let gradient = at(case.array(&format!("in.grad_{}", p.name())), t).tensor(device);
            Ok((tape.param(p), gradient))
        });
        let roots = roots.collect::<Result<Vec<_>>>()?;
        let roots: Vec<_> = roots.iter().map(|(p, g)| (p, g.clone())).collect();
        let grads = tape.backward(&roots)?;
        optimizer.step(&params, &grads, lr.as_f64().expect("a learning rate"))?;
        for p in &params {
            outputs.entry(format!("out.{}", p.name())).or_default().extend(p.get().to_f64()?);
        }
    }
    Ok(outputs)
}

pub fn ema_update_case(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let key = Params(vec![Param::new("p", case.input("p", device))]);
    let online = case.array("in.q");
    let mut values = Vec::new();
    for t in 0..online.shape[0] {
        let query = Params(vec![Param::new("p", at(online, t).tensor(device))]);
        ema_update(&key, &query, case.number("m"))?;
        values.extend(key.0[0].get().to_f64()?);
    }
    Ok(Outputs::from([("out.p".into(), values)]))
}

fn rates(schedule: &LrSchedule) -> Result<Outputs> {
    let values = (0..schedule.total).map(|t| schedule.lr(t)).collect();
    Ok(Outputs::from([("out.lr".into(), values)]))
}

pub fn cosine_schedule(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    rates(&LrSchedule {
        base: case.number("base_lr"),
        start: case.number("start_lr"),
        warmup: case.whole("warmup") as u64,
        total: case.whole("total") as u64,
        decay: Decay::Cosine { to: case.number("final_lr") },
    })
}

pub fn warmup_step_schedule(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let base = case.number("base_lr");
    let at = serde_json::from_value(case.attrs["steps"].clone()).expect("steps");
    rates(&LrSchedule {
        base,
        start: base * case.number("warmup_factor"),
        warmup: case.whole("warmup") as u64,
        total: case.whole("iterations") as u64,
        decay: Decay::Steps { at, factor: case.number("gamma") },
    })
}

pub fn poly_schedule(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let (base, total) = (case.number("base_lr"), case.whole("total") as u64);
    let decay = Decay::Poly { power: case.number("power") };
    rates(&LrSchedule { base, start: base, warmup: 0, total, decay })
}
