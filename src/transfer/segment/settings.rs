//! A segmenter's configuration as what a run is set up by.

use super::config::{SegmentConfig, SegmentData};
use super::presets::pspnet;
use super::start::blank;
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::error::Result;
use crate::run::{Kind, SEGMENTERS, Settings};
use std::path::{Path, PathBuf};

impl Settings for SegmentConfig {
    const KIND: &'static Kind = &SEGMENTERS;

    fn kept(text: &str, place: &str) -> Result<SegmentConfig> {
        let config = pspnet().merged(text, place)?;
        config.check()?;
        Ok(config)
    }

    fn commented(&self) -> String {
        self.told()
    }

    fn full(&self) -> SegmentConfig {
        let mut full = self.clone();
        full.init = Some("encoder.safetensors".into());
        full.init_prefix = Some("backbone.".into());
        let SegmentData { photos, labels, test_photos, test_labels, classes, .. } = &mut full.data;
        [photos, labels, test_photos, test_labels, classes]
            .into_iter()
            .for_each(|path| *path = Some("a path".into()));
        full
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let SegmentData { photos, labels, test_photos, test_labels, classes, .. } = &mut self.data;
        [&mut self.init, photos, labels, test_photos, test_labels, classes].into_iter().flatten().collect()
    }

    fn elements(&self) -> Result<u64> {
        // Two classes at least.
        let net = blank(self, 2, &Device::plan())?;
        Ok(net.state().iter().map(|param| param.shape().elements() as u64).sum())
    }

    fn photos(&self) -> [Option<&Path>; 2] {
        [self.data.photos.as_deref(), self.data.test_photos.as_deref()]
    }
}
