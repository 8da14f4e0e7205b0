//! A detector's configuration as what a run is set up by.

use super::config::{DetectConfig, DetectData};
use super::presets::fpn;
use super::start::blank;
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::error::Result;
use crate::run::{DETECTORS, Kind, Settings};
use std::path::{Path, PathBuf};

impl Settings for DetectConfig {
    const KIND: &'static Kind = &DETECTORS;

    fn kept(text: &str, place: &str) -> Result<DetectConfig> {
        let config = fpn().merged(text, place)?;
        config.check()?;
        Ok(config)
    }

    fn commented(&self) -> String {
        self.told()
    }

    fn full(&self) -> DetectConfig {
        let mut full = self.clone();
        full.init = Some("encoder.safetensors".into());
        full.init_prefix = Some("backbone.".into());
        let DetectData { photos, annotations, test, test_photos, .. } = &mut full.data;
        [photos, annotations, test, test_photos].into_iter().for_each(|path| *path = Some("a path".into()));
        full
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let DetectData { photos, annotations, test, test_photos, .. } = &mut self.data;
        [&mut self.init, photos, annotations, test, test_photos].into_iter().flatten().collect()
    }

    fn elements(&self) -> Result<u64> {
        // One class at least.
        let net = blank(self, 1, &Device::plan())?;
        Ok(net.state().iter().map(|param| param.shape().elements() as u64).sum())
    }

    fn photos(&self) -> [Option<&Path>; 2] {
        [self.data.photos.as_deref(), self.data.test.as_deref()]
    }
}
