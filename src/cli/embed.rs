//! `vista embed`.

use super::judged::{Chosen, Opened, check_folder_of, embed_all};
use crate::data::{Album, AlbumOptions, Photos};
use crate::error::{Error, Result};
use crate::eval::FeatureTable;
use std::path::PathBuf;

/// Write the features of photos to a file: pooled backbone features of the middle of each photo.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of photos (nested; JPEG, PNG, WebP, GIF, BMP, TIFF), csv list, or folder of STL-10, CIFAR-10, Pascal VOC or COCO; the built-in
    /// photos if absent.
    #[arg(value_name = "PHOTOS")]
    photos: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
    /// File to write: `.safetensors` (`features` [N, C] and the photos' names as a JSON list in the metadata) or `.csv`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Keep the normalised views too (`views` [N, side, side, 3]), to repeat the features with another library.
    #[arg(long)]
    views: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let place = || args.out.display().to_string();
    let is_list = match args.out.extension().and_then(|e| e.to_str()) {
        Some("csv") => true,
        Some("safetensors") => false,
        _ => return Err(Error::input("neither .safetensors nor .csv", place(), "name the file so")),
    };
    if is_list && args.views {
        return Err(Error::input("views do not fit into a list", place(), "write .safetensors"));
    }
    check_folder_of(&args.out, "--out")?;
    let album = album(args.photos.as_ref())?;
    let opened = args.chosen.open()?;
    let (table, kept) = table(&opened, &album)?;
    if is_list {
        table.write_csv(&args.out)?;
    } else {
        let pixels = args.views.then(|| album.center_views(&kept, &opened.views)).transpose()?;
        let facts = [
            ("photos".to_string(), album.photos().place().to_string()),
            ("checkpoint".to_string(), args.chosen.checkpoint.display().to_string()),
            ("image_size".to_string(), opened.views.size.to_string()),
        ];
        let views = pixels.as_ref().map(|(pixels, _)| (pixels.as_slice(), opened.views.size));
        table.write_safetensors(&args.out, &facts, views)?;
    }
    println!("features {} photos x {} in {}", table.names.len(), table.width, args.out.display());
    Ok(())
}

/// The photos at a path, or the built-in ones.
pub(super) fn album(photos: Option<&PathBuf>) -> Result<Album> {
    let photos = photos.map_or_else(|| Ok(Photos::bundled_pretrain()), |path| Photos::open(path, None))?;
    // Each photo is seen once.
    Ok(Album::new(photos, AlbumOptions { cache_bytes: 0, shrink_to: None }))
}

/// Features of all photos, and the ids of those that could be decoded; the others are named.
pub(super) fn table(opened: &Opened, album: &Album) -> Result<(FeatureTable, Vec<usize>)> {
    let found = embed_all(&opened.encoder.backbone, album, &opened.views, &opened.device, "photos")?;
    for (name, why) in album.broken() {
        eprintln!("warning: {name}: left out ({why})");
    }
    for (name, what) in album.mended() {
        eprintln!("warning: {name}: read, but {what}");
    }
    if !found.values.iter().all(|v| v.is_finite()) {
        return Err(Error::Run("a feature is not finite: the encoder has diverged, use another".into()));
    }
    let names = found.kept.iter().map(|&id| album.photos().name(id).to_string()).collect();
    let width = opened.config.resnet().features();
    Ok((FeatureTable { names, values: found.values, width }, found.kept))
}
