//! `vista embed`.

use super::judged::{Chosen, Opened, warn, warn_of_undecodable};
use super::paths::{Files, Input, Mark, Output, absolute};
use crate::engine::nn::fingerprint;
use crate::error::{Error, Result};
use crate::photos::views::Detail;
use crate::photos::{Album, AlbumOptions, Photos, Source};
use crate::transfer::classify::FeatureTable;
use serde_json::{Value, json};

/// Keys of a file of features: what tells by which encoder and at which size of views they were made.
pub(super) const FINGERPRINT: &str = "fingerprint";
pub(super) const IMAGE_SIZE: &str = "image_size";

/// Photos that are embedded.
#[derive(Debug, clap::Args)]
pub(super) struct PhotoArgs {
    /// Folder of photos (nested; JPEG, PNG, WebP, GIF, BMP, TIFF), csv list, or folder of STL-10, CIFAR-10, Pascal VOC or COCO; the built-in
    /// photos if absent.
    #[arg(value_name = "PHOTOS")]
    pub(super) photos: Option<Input>,
    /// Follow links that lead out of the folder of photos.
    #[arg(long)]
    follow_links: bool,
}

impl PhotoArgs {
    /// The photos, decoded as finely as some views need them.
    pub(super) fn album(&self, detail: Option<Detail>) -> Result<Album> {
        let photos = match &self.photos {
            None => Photos::bundled_pretrain(),
            Some(path) => Photos::open(Source::from(&**path).follow_links(self.follow_links), None)?,
        };
        warn(&photos);
        // Each photo is seen once.
        Ok(Album::new(photos, AlbumOptions { cache_bytes: 0, shrink_to: None, detail }))
    }
}

/// Write the features of photos to a file: pooled backbone features of the middle of each photo.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    photos: PhotoArgs,
    #[command(flatten)]
    chosen: Chosen,
    /// File to write: `.safetensors` (`features` [N, C] and the photos' names as a JSON list in the metadata) or `.csv`.
    #[arg(long, value_name = "FILE")]
    out: Output,
    /// Keep the normalised views too (`views` [N, side, side, 3]), to repeat the features with another library.
    #[arg(long)]
    views: bool,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    let mark = if args.is_list()? { "file,f0" } else { "\"features\":{" };
    Ok(Files::default().file("--out", Some(&args.out), Mark::Words(mark)))
}

impl Args {
    fn is_list(&self) -> Result<bool> {
        let place = || self.out.display().to_string();
        match self.out.extension().and_then(|e| e.to_str()) {
            Some("csv") if self.views => {
                Err(Error::input("views do not fit into a list", place(), "write .safetensors"))
            }
            Some("csv") => Ok(true),
            Some("safetensors") => Ok(false),
            _ => Err(Error::input("neither .safetensors nor .csv", place(), "name the file so")),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let is_list = args.is_list()?;
    let opened = args.chosen.open()?;
    let album = args.photos.album(opened.config.detail())?;
    let (table, kept) = table(&opened, &album)?;
    let place = args.photos.photos.as_deref().map_or_else(|| album.photos().place().into(), absolute);
    if is_list {
        table.write_csv(&args.out)?;
    } else {
        let pixels = args.views.then(|| album.center_views(&kept, &opened.views)).transpose()?;
        let facts = [
            ("warnings".to_string(), serde_json::json!(album.all_left_out()).to_string()),
            ("photos".to_string(), place.clone()),
            ("checkpoint".to_string(), absolute(&args.chosen.checkpoint)),
            (FINGERPRINT.to_string(), fingerprint(&opened.encoder.backbone)?),
            (IMAGE_SIZE.to_string(), opened.views.size.to_string()),
        ];
        let views = pixels.as_ref().map(|(pixels, _)| (pixels.as_slice(), opened.views.size));
        table.write_safetensors(&args.out, &facts, views)?;
    }
    println!("features {} photos x {} in {}", table.names.len(), table.width, args.out.display());
    Ok(json!({
        "file": absolute(&args.out),
        "photos": place,
        "count": table.names.len(),
        "features": table.width,
        "warnings": album.all_left_out(),
    }))
}

/// Features of all photos, and the ids of those that could be decoded; the others are named.
pub(super) fn table(opened: &Opened, album: &Album) -> Result<(FeatureTable, Vec<usize>)> {
    let found = opened.embed(&opened.encoder.backbone, album, "features of photos")?;
    warn_of_undecodable([album]);
    if !found.values.iter().all(|v| v.is_finite()) {
        return Err(Error::Run("a feature is not finite: the encoder has diverged, use another".into()));
    }
    let names = found.kept.iter().map(|&id| album.photos().name(id).to_string()).collect();
    let width = opened.config.resnet().features();
    Ok((FeatureTable { names, values: found.values, width }, found.kept))
}
