//! Learning-rate schedules: pure functions of the step.

use std::f64::consts::PI;

/// A cosine from `base_lr` down to `final_lr`, after a linear warm-up.
///
/// ```text
/// t < warmup   start + (base - start) t / warmup
/// otherwise    final + (base - final) / 2 (1 + cos(pi (t - warmup) / (total - warmup)))
/// ```
///
/// Step 0 has `start_lr`, step `warmup` has `base_lr`; `final_lr` is what step `total` would have.
///
/// # Source
/// Loshchilov and Hutter 2017, Eq. 5, without restarts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineSchedule {
    /// After the warm-up.
    pub base_lr: f64,
    /// At the end.
    pub final_lr: f64,
    /// At the start of the warm-up.
    pub start_lr: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
}

impl CosineSchedule {
    /// The learning rate of step `t`, from 0; `final_lr` past the end.
    pub fn lr(&self, t: u64) -> f64 {
        if t < self.warmup {
            return self.start_lr + (self.base_lr - self.start_lr) * t as f64 / self.warmup as f64;
        }
        if t >= self.total {
            return self.final_lr;
        }
        let progress = (t - self.warmup) as f64 / (self.total - self.warmup) as f64;
        self.final_lr + (self.base_lr - self.final_lr) / 2.0 * (1.0 + (PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_to_the_base_falls_by_half_midway_and_ends_at_the_final_rate() {
        let cosine = CosineSchedule { base_lr: 1.0, final_lr: 0.2, start_lr: 0.1, warmup: 9, total: 29 };
        assert_eq!(cosine.lr(0), 0.1);
        assert!((cosine.lr(3) - 0.4).abs() < 1e-12);
        assert_eq!(cosine.lr(9), 1.0);
        assert!((cosine.lr(19) - 0.6).abs() < 1e-12);
        assert!(cosine.lr(28) > 0.2 && cosine.lr(29) == 0.2 && cosine.lr(1000) == 0.2);
    }

    #[test]
    fn a_run_that_is_all_warm_up_never_divides_by_zero() {
        let cosine = CosineSchedule { base_lr: 1.0, final_lr: 0.0, start_lr: 0.0, warmup: 5, total: 5 };
        assert!((0..10).all(|t| cosine.lr(t).is_finite()));
    }
}
