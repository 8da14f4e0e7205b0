//! `vista search`.

use super::embed::{album, table};
use super::judged::{Chosen, check_folder_of};
use crate::data::{Album, AlbumOptions, Photos, decode};
use crate::error::{Error, Result};
use crate::eval::FeatureTable;
use crate::eval::figures::{BLACK, Neighbour, RED, Tile, YELLOW, mosaic};
use crate::views::CropBox;
use std::path::{Path, PathBuf};

/// Find the photos that are nearest to one photo by the cosine of their features.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The photos to search, as for `vista embed`; the built-in photos if absent.
    #[arg(value_name = "PHOTOS")]
    photos: Option<PathBuf>,
    /// The photo whose neighbours are wanted.
    #[arg(long, value_name = "FILE")]
    photo: PathBuf,
    #[command(flatten)]
    chosen: Chosen,
    /// Features that `vista embed` wrote of the photos by this checkpoint, so that they need not be embedded again.
    #[arg(long, value_name = "FILE", conflicts_with = "photos")]
    features: Option<PathBuf>,
    /// Neighbours.
    #[arg(short, default_value_t = 5)]
    k: usize,
    /// PNG of the photo (red) and its neighbours.
    #[arg(long, value_name = "FILE", conflicts_with = "features")]
    picture: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    args.picture.as_deref().map_or(Ok(()), |path| check_folder_of(path, "--picture"))?;
    let bytes = std::fs::read(&args.photo).map_err(|e| Error::io(&args.photo, e))?;
    let name = args.photo.display().to_string();
    let query = decode(&bytes)
        .map_err(|why| Error::input(why, name.as_str(), "give a photo that a viewer can open"))?;
    let opened = args.chosen.open()?;
    let one = Photos::from_bytes(vec![(name.clone(), bytes, Vec::new())], Vec::new());
    let (of_query, _) = table(&opened, &Album::new(one, AlbumOptions::default()))?;
    let (all, photos) = match &args.features {
        Some(path) => (FeatureTable::read(path)?, None),
        None => {
            let album = album(args.photos.as_ref())?;
            let (all, kept) = table(&opened, &album)?;
            (all, Some((album, kept)))
        }
    };
    // The photo is not its own neighbour where it lies among the others.
    let itself = args.photo.canonicalize().ok();
    let folder = args.photos.as_deref().unwrap_or(Path::new(""));
    let own = itself.and_then(|own| {
        all.names.iter().position(|name| folder.join(name).canonicalize().is_ok_and(|path| path == own))
    });
    let found = all.nearest(&of_query.values, own, args.k)?;
    println!("cosine  photo");
    for Neighbour { key, similarity } in &found {
        println!("{similarity:6.3}  {}", all.names[*key]);
    }
    let (Some(path), Some((album, kept))) = (&args.picture, photos) else { return Ok(()) };
    let mut row = vec![Tile {
        crop: CropBox::whole(&query),
        photo: query,
        color: RED,
        text: String::new(),
        ink: BLACK,
    }];
    for Neighbour { key, similarity } in found {
        let id = kept[key];
        let photo = album.photos().decode(id).map_err(|why| {
            Error::input(why, album.photos().name(id), "leave the photos as they are meanwhile")
        })?;
        let (crop, text) = (CropBox::whole(&photo), format!("{similarity:.3}"));
        row.push(Tile { photo, crop, color: YELLOW, text, ink: BLACK });
    }
    let picture = mosaic(&[row]);
    let (width, height) = (picture.width as u32, picture.height as u32);
    image::save_buffer(path, &picture.data, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::io(path, std::io::Error::other(e)))?;
    println!("picture {}", path.display());
    Ok(())
}
