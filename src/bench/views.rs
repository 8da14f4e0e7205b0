//! MoCo-v2's views from the bytes of a JPEG: decoding, cropping, colours, blur, normalising.

use super::workload::Workload;
use crate::error::{Error, Result};
use crate::photos::views::{Detail, ViewConfig, ViewMaker, ViewParams};
use crate::photos::{Photos, decode_scaled};
use crate::rng::KeyedRng;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;

/// Views of one run, so that chance (blur, crop) evens out.
const VIEWS: u64 = 32;

/// One bundled photo at `width` x `height` as a JPEG of quality 90; each run makes 32 views of `size` pixels on one
/// thread, each from the JPEG's bytes, decoded as finely as such views need it, the same 32 in every run.
pub(super) fn prepare(width: usize, height: usize, size: usize) -> Result<Workload> {
    let bytes = jpeg(width as u32, height as u32)?;
    let config = ViewConfig::moco_v2(size);
    let mut maker = ViewMaker::new(config.clone())?;
    let mut view = vec![0.0; maker.len()];
    let scale = Detail::of(std::slice::from_ref(&config)).map_or(1, |detail| detail.scale([width, height]));
    let mut workload = Workload::new(0, move || {
        for number in 0..VIEWS {
            let photo = decode_scaled(&bytes, scale).map_err(Error::Run)?;
            let mut rng = KeyedRng::new("bench", 0, [0, 0, number]);
            let params = ViewParams::draw(&config, photo.width, photo.height, &mut rng);
            maker.make(&photo, &params, &mut view);
        }
        std::hint::black_box(&view);
        Ok(())
    });
    workload.views = VIEWS;
    Ok(workload)
}

fn jpeg(width: u32, height: u32) -> Result<Vec<u8>> {
    let photo = Photos::bundled_pretrain().decode(0).map_err(Error::Run)?;
    let photo = image::RgbImage::from_raw(photo.width as u32, photo.height as u32, photo.data.into())
        .expect("a photo has 3 bytes for each pixel");
    let photo = image::imageops::resize(&photo, width, height, FilterType::CatmullRom);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&photo).map_err(|e| {
        Error::input("no JPEG has this size", format!("{width}x{height}"), format!("choose another ({e})"))
    })?;
    Ok(bytes)
}
