//! What a configuration describes: the encoder, the objective of an epoch, the views of an image, the optimiser.

use super::config::{
    Config, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName, SmallViews, Stabilization,
};
use crate::engine::device::Device;
use crate::engine::nn::ResNetConfig;
use crate::engine::optim::{AdamConfig, LarsConfig, OptimConfig, Optimizer, SgdConfig};
use crate::error::Result;
use crate::photos::views::ViewConfig;
use crate::pretrain::encoder::{HeadsConfig, ResNetEncoder};
use crate::pretrain::objective::{Byol, DenseCl, KeyViews, Mls, Moco, Objective, S2r2, SimClr, SwAv};
use rand::{SeedableRng, rngs::StdRng};

impl Config {
    /// The encoder's backbone.
    pub fn resnet(&self) -> ResNetConfig {
        let ModelConfig { backbone: architecture, width, stem, zero_init, .. } = self.model;
        ResNetConfig { architecture, width, stem, zero_init }
    }

    /// A freshly initialised encoder of this configuration: its parameters are drawn by the seed.
    ///
    /// # Errors
    /// The device's.
    pub fn encoder(&self, device: &Device) -> Result<ResNetEncoder> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        ResNetEncoder::new(device, &mut rng, &self.resnet(), &self.heads())
    }

    /// The heads of the (query) encoder.
    pub fn heads(&self) -> HeadsConfig {
        let ModelConfig { projection, hidden, projector_norm: batch_norm, .. } = self.model;
        let method = self.objective.name;
        HeadsConfig {
            hidden,
            projection,
            batch_norm,
            predictor: method == Method::Byol,
            prototypes: if method == Method::Swav { self.model.prototypes } else { 0 },
            dense: method == Method::Densecl,
            grid: self.model.dense_grid,
        }
    }

    /// The objective of an epoch.
    pub fn objective(&self, epoch: u64) -> Box<dyn Objective> {
        let ObjectiveConfig { name, tau, k, lambda, dictionaries, term, normalizer, .. } = self.objective;
        match name {
            Method::Mls => {
                let [nce_weight, lambda] = self.objective.mls_weights(epoch);
                Box::new(Mls { tau, k, nce_weight, lambda, dictionaries, term, normalizer })
            }
            Method::Moco => Box::new(Moco { tau }),
            Method::S2r2 => Box::new(S2r2 { tau }),
            Method::Simclr => Box::new(SimClr { tau }),
            Method::Swav => Box::new(SwAv {
                tau,
                eps: self.objective.sinkhorn_eps,
                iterations: self.objective.sinkhorn_iterations,
                queue: self.objective.queue > 0,
            }),
            Method::Byol => Box::new(Byol),
            Method::Densecl => Box::new(DenseCl { tau, lambda }),
        }
    }

    /// How each view of an image is drawn, in order.
    pub fn image_views(&self) -> Vec<ViewConfig> {
        let small = self.small_views.filter(|_| self.objective.name == Method::Swav);
        let mut views = vec![self.views.clone(); self.views_per_image() - small.map_or(0, |s| s.count)];
        if let (Some(second), Some(view)) = (&self.second_view, views.get_mut(1)) {
            *view = second.clone();
        }
        if let Some(SmallViews { count, size, crop_scale }) = small {
            views.extend(vec![ViewConfig { size, crop_scale, ..self.views.clone() }; count]);
        }
        views
    }

    /// Views of each image in a step, key views included.
    pub fn views_per_image(&self) -> usize {
        if matches!(self.objective.name, Method::S2r2 | Method::Swav) { self.train.views } else { 2 }
    }

    /// Rows of a query pass that are normalised together or in groups: all views that one encoder sees.
    pub(super) fn query_rows(&self) -> usize {
        let second = self.objective(0).needs().keys == KeyViews::Second;
        let small = self.small_views.filter(|_| self.objective.name == Method::Swav).map_or(0, |s| s.count);
        self.train.batch * if second { 1 } else { self.views_per_image() - small }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Box<dyn Optimizer> {
        let OptimizerConfig { name, momentum, weight_decay, trust, exclude_1d, .. } = self.optimizer;
        let config = match name {
            OptimizerName::Sgd => OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }),
            OptimizerName::Adam => OptimConfig::Adam(AdamConfig { weight_decay, ..AdamConfig::default() }),
            OptimizerName::Lars => OptimConfig::Lars(LarsConfig {
                momentum,
                weight_decay,
                trust,
                exclude_1d,
                ..LarsConfig::default()
            }),
        };
        config.build()
    }
}

impl ObjectiveConfig {
    /// Weights of `L_nce` and `L_ml` in an epoch (MLS, Sec. 3.3).
    fn mls_weights(&self, epoch: u64) -> [f32; 2] {
        match self.stabilization {
            Stabilization::Combined => [1.0, self.lambda],
            Stabilization::Warmup if epoch < self.warmup_epochs => [1.0, 0.0],
            Stabilization::Warmup | Stabilization::None => [0.0, self.lambda],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stabilisation_decides_which_terms_an_epoch_has() {
        let weights = |stabilization: &str, epoch| {
            let config = Config::preset("mls-coco-r50-400ep").expect("preset");
            let config = config.with(&format!("objective.stabilization={stabilization}")).expect("set");
            config.with("objective.warmup_epochs=3").expect("set").objective.mls_weights(epoch)
        };
        assert_eq!([weights("combined", 0), weights("combined", 9)], [[1.0, 0.5]; 2]);
        assert_eq!([weights("warmup", 2), weights("warmup", 3)], [[1.0, 0.0], [0.0, 0.5]]);
        assert_eq!([weights("none", 0), weights("none", 9)], [[0.0, 0.5]; 2]);
    }

    #[test]
    fn views_are_those_that_a_method_wants_in_the_order_of_its_sizes() {
        let sizes = |preset: &str| -> Vec<usize> {
            Config::preset(preset).expect("preset").image_views().iter().map(|view| view.size).collect()
        };
        assert_eq!(sizes("mls-coco-r50-400ep"), [224; 2]);
        assert_eq!(sizes("s2r2-stl10-r18"), [96; 20]);
        assert_eq!(sizes("swav-stl10-r18"), [[96; 2].as_slice(), &[48; 6]].concat());
        let byol = Config::preset("byol-coco-r50-400ep").expect("preset");
        let views = byol.image_views();
        assert_eq!(
            [views[0].blur_p, views[1].blur_p, views[0].solarize_p, views[1].solarize_p],
            [1.0, 0.1, 0.0, 0.2]
        );
        let changed = byol.with("second_view.blur_p=0.3").expect("set").image_views();
        assert_eq!((changed[1].blur_p, changed[1].solarize_p), (0.3, 0.2));
    }

    #[test]
    fn swav_of_the_paper_is_as_published_and_that_of_short_runs_leaves_its_value_of_collapse() {
        for name in ["swav-stl10-r18", "swav-coco-train-r18", "swav-coco-val-r18"] {
            let paper = Config::preset(name).expect("preset");
            assert_eq!((paper.objective.sinkhorn_eps, paper.objective.tau), (0.05, 0.1), "{name}");
            assert_eq!((paper.optimizer.name, paper.optimizer.lr), (OptimizerName::Lars, 1.0), "{name}");
            assert_eq!((paper.model.prototypes, paper.objective.frozen_steps), (512, 313), "{name}");
            assert!(format!("{:?}", paper.optimizer()).contains("exclude_1d: false"), "{name}");
        }
        let byol = Config::preset("byol-coco-r50-400ep").expect("preset");
        assert!(format!("{:?}", byol.optimizer()).contains("exclude_1d: true"));
        let short = Config::preset("demo").expect("preset").with_method("swav").expect("method");
        short.check().expect("valid");
        assert_eq!((short.objective.sinkhorn_eps, short.objective.tau), (0.01, 0.1));
        assert_eq!((short.optimizer.name, short.optimizer.lr), (OptimizerName::Adam, 1e-3));
        assert_eq!(short.image_views().iter().map(|v| v.size).collect::<Vec<_>>(), [32, 32, 16, 16, 16, 16]);
        assert_eq!(short.model.prototypes, 64);
        assert!(short.objective.frozen_steps > 1_000_000, "prototypes stay all through");
        let again = Config::preset("demo").expect("preset").merged(&short.to_toml(), "test").expect("parsed");
        assert_eq!(short, again);
    }
}
