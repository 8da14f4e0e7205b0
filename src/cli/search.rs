//! `vista search`.

use super::embed::{FINGERPRINT, IMAGE_SIZE, PhotoArgs, table};
use super::judged::{Chosen, Opened};
use super::paths::{Files, Input, Mark, Output, absolute};
use crate::engine::nn::fingerprint;
use crate::error::{Error, Result};
use crate::files;
use crate::photos::views::CropBox;
use crate::photos::{Album, AlbumOptions, Photos, Rgb, decode};
use crate::show::figures::{BLACK, PNG_MARK, RED, Tile, YELLOW, gone, mosaic, png};
use crate::transfer::classify::{FeatureTable, Neighbour};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Find the photos that are nearest to one photo by the cosine of their features.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    searched: PhotoArgs,
    /// The photo whose neighbours are wanted.
    #[arg(long, value_name = "FILE")]
    photo: Input,
    #[command(flatten)]
    chosen: Chosen,
    /// Features that `vista embed` wrote of the photos by this checkpoint, so that they need not be embedded again. The photos
    /// themselves are needed for a picture alone.
    #[arg(long, value_name = "FILE")]
    features: Option<Input>,
    /// Neighbours.
    #[arg(short, default_value_t = 5)]
    k: usize,
    /// PNG of the photo (red) and its neighbours.
    #[arg(long, value_name = "FILE")]
    picture: Option<Output>,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    let Some(picture) = &args.picture else { return Ok(Files::default()) };
    if picture.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("png")) {
        return Err(Error::input("not .png", picture.display().to_string(), "name the picture so"));
    }
    Ok(Files::default().file("--picture", Some(picture), Mark::Words(PNG_MARK)))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let bytes = std::fs::read(&args.photo).map_err(|e| Error::io(&args.photo, e))?;
    let name = args.photo.display().to_string();
    let query = decode(&bytes)
        .map_err(|why| Error::input(why, name.as_str(), "give a photo that a viewer can open"))?;
    let opened = args.chosen.open()?;
    let one = Photos::from_bytes(vec![(name.clone(), bytes, Vec::new())], Vec::new());
    let options = AlbumOptions { detail: opened.config.detail(), ..AlbumOptions::default() };
    let (of_query, _) = table(&opened, &Album::new(one, options))?;
    let (all, photos) = match &args.features {
        Some(path) => {
            let all = of_same_encoder(path, &opened)?;
            let shown = args.picture.is_some() || args.searched.photos.is_some();
            let photos = shown.then(|| args.photos_of(&all, &opened)).transpose()?;
            (all, photos)
        }
        None => {
            let album = args.searched.album(opened.config.detail())?;
            let (all, kept) = table(&opened, &album)?;
            (all, Some((album, kept)))
        }
    };
    // The photo is not its own neighbour where it lies among the others.
    let itself = args.photo.canonicalize().ok();
    let folder = args.searched.photos.as_deref().unwrap_or(Path::new(""));
    let own = itself.and_then(|own| {
        all.names.iter().position(|name| folder.join(name).canonicalize().is_ok_and(|path| path == own))
    });
    let found = all.nearest(&of_query.values, own, args.k)?;
    println!("cosine  photo");
    for Neighbour { key, similarity } in &found {
        println!("{similarity:6.3}  {}", all.names[*key]);
    }
    let neighbour = |n: &Neighbour| json!({ "photo": all.names[n.key], "cosine": n.similarity });
    let facts = json!({
        "photo": absolute(&args.photo),
        "photos": args.searched.photos.as_deref().map(absolute),
        "neighbours": found.iter().map(neighbour).collect::<Vec<_>>(),
        "picture": args.picture.as_deref().map(absolute),
    });
    let (Some(path), Some((album, kept))) = (&args.picture, photos) else { return Ok(facts) };
    let tile = |photo: Rgb, color, text| Tile::new(&photo, CropBox::whole(&photo), color, text, BLACK);
    let mut row = vec![tile(query, RED, String::new())];
    for Neighbour { key, similarity } in found {
        let (photos, id) = (album.photos(), kept[key]);
        let photo = photos.decode(id).map_err(|why| gone(photos, id, why))?;
        row.push(tile(photo, YELLOW, format!("{similarity:.3}")));
    }
    let picture = mosaic(&[row]);
    files::replace(path, &png(&picture)?)?;
    println!("picture {}", path.display());
    Ok(facts)
}

impl Args {
    /// The photos of some features, and the id of each row's.
    fn photos_of(&self, table: &FeatureTable, opened: &Opened) -> Result<(Album, Vec<usize>)> {
        let album = self.searched.album(opened.config.detail())?;
        let photos = album.photos();
        let ids: HashMap<&str, usize> = (0..photos.len()).map(|id| (photos.name(id), id)).collect();
        let id = |name: &String| {
            ids.get(name.as_str()).copied().ok_or_else(|| {
                let advice =
                    "give the photos that the features are of, or write these again by `vista embed`";
                Error::input(format!("photo {name} of the features is not there"), photos.place(), advice)
            })
        };
        let kept = table.names.iter().map(id).collect::<Result<_>>()?;
        Ok((album, kept))
    }
}

/// Features of a file, which must be of this encoder and of views of this size: cosines between others mean nothing.
fn of_same_encoder(path: &Path, opened: &Opened) -> Result<FeatureTable> {
    let (table, facts) = FeatureTable::read(path)?;
    let fact = |key: &str| facts.get(key).map_or("unknown", String::as_str);
    let (ours, size) = (fingerprint(&opened.encoder.backbone)?, opened.views.size.to_string());
    let (what, advice) = if fact(FINGERPRINT) != ours {
        let what = format!("features by weights {}, the checkpoint's are {ours}", fact(FINGERPRINT));
        (what, "write them again by `vista embed` with this checkpoint, or give theirs".to_string())
    } else if fact(IMAGE_SIZE) != size {
        let what = format!("features of views of {} pixels, not {size}", fact(IMAGE_SIZE));
        (what, format!("give --image-size {}, or write them again by `vista embed`", fact(IMAGE_SIZE)))
    } else {
        return Ok(table);
    };
    Err(Error::input(what, path.display().to_string(), advice))
}
