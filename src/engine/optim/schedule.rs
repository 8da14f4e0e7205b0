//! Learning-rate schedules: pure functions of the step.

use std::f64::consts::PI;

/// A linear warm-up to `base`, then a [`Decay`].
///
/// ```text
/// t < warmup   start + (base - start) t / warmup
/// ```
///
/// Step 0 has `start`, step `warmup` has `base`.
#[derive(Clone, Debug, PartialEq)]
pub struct LrSchedule {
    /// After the warm-up.
    pub base: f64,
    /// At the start of the warm-up.
    pub start: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
    /// The course after the warm-up.
    pub decay: Decay,
}

/// How a learning rate falls after its warm-up, with `p = (t - warmup) / (total - warmup)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// `base`.
    Constant,
    /// `to + (base - to) / 2 (1 + cos(pi p))`. Source: Loshchilov and Hutter 2017, Eq. 5, without restarts.
    Cosine {
        /// What step `total` would have.
        to: f64,
    },
    /// `base factor^n`, with n those of the steps `at` that t has reached.
    Steps {
        /// Where it falls.
        at: Vec<u64>,
        /// What it is multiplied by there.
        factor: f64,
    },
    /// `base (1 - p)^power`. Source: Chen et al. 2018 (DeepLab), Sec. 3; PSPNet, Sec. 5.1: 0.9.
    Poly {
        /// The exponent.
        power: f64,
    },
}

impl LrSchedule {
    /// From `base` to 0 along half a cosine, without a warm-up.
    pub fn cosine(base: f64, total: u64) -> LrSchedule {
        LrSchedule { base, start: 0.0, warmup: 0, total, decay: Decay::Cosine { to: 0.0 } }
    }

    /// The learning rate of step `t`, from 0; past the end that of the end.
    pub fn lr(&self, t: u64) -> f64 {
        if t < self.warmup {
            return self.start + (self.base - self.start) * t as f64 / self.warmup as f64;
        }
        let progress = match t < self.total {
            true => (t - self.warmup) as f64 / (self.total - self.warmup) as f64,
            false => 1.0,
        };
        match &self.decay {
            Decay::Constant => self.base,
            Decay::Cosine { to } if progress == 1.0 => *to,
            Decay::Cosine { to } => to + (self.base - to) / 2.0 * (1.0 + (PI * progress).cos()),
            Decay::Steps { at, factor } => {
                self.base * factor.powi(at.iter().filter(|&&step| step <= t).count() as i32)
            }
            Decay::Poly { power } => self.base * (1.0 - progress).powf(*power),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_to_the_base_falls_by_half_midway_and_ends_at_the_final_rate() {
        let decay = Decay::Cosine { to: 0.2 };
        let cosine = LrSchedule { base: 1.0, start: 0.1, warmup: 9, total: 29, decay };
        assert_eq!(cosine.lr(0), 0.1);
        assert!((cosine.lr(3) - 0.4).abs() < 1e-12);
        assert_eq!(cosine.lr(9), 1.0);
        assert!((cosine.lr(19) - 0.6).abs() < 1e-12);
        assert!(cosine.lr(28) > 0.2 && cosine.lr(29) == 0.2 && cosine.lr(1000) == 0.2);
    }

    #[test]
    fn a_run_that_is_all_warm_up_never_divides_by_zero() {
        for decay in [Decay::Constant, Decay::Cosine { to: 0.0 }, Decay::Poly { power: 0.9 }] {
            let schedule = LrSchedule { base: 1.0, start: 0.0, warmup: 5, total: 5, decay };
            assert!((0..10).all(|t| schedule.lr(t).is_finite()));
        }
    }

    #[test]
    fn steps_fall_at_their_step_and_poly_ends_at_0() {
        let decay = Decay::Steps { at: vec![4, 8], factor: 0.1 };
        let steps = LrSchedule { base: 1.0, start: 0.5, warmup: 2, total: 10, decay };
        let near = |t, lr: f64| (steps.lr(t) - lr).abs() < 1e-12;
        assert!(near(1, 0.75) && near(3, 1.0) && near(4, 0.1) && near(8, 0.01) && near(99, 0.01));
        let poly = LrSchedule { decay: Decay::Poly { power: 2.0 }, ..steps };
        assert_eq!((poly.lr(6), poly.lr(10)), (0.25, 0.0));
    }
}
