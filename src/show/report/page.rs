//! The page: a template filled with what a run's folder and its photos say.

use super::facts::RunFacts;
use super::gallery::{gallery, missing};
use super::run::{charts, different_sets, names};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::files;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What stands at the beginning of every page.
pub(crate) const MARK: &str = " - Vista</title>";
const PAGE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPTS: [&str; 2] = [include_str!("assets/charts.js"), include_str!("assets/photos.js")];

/// The page of one run, or of several that are compared, as HTML, with the photos of [`gallery`] or what is [`missing`]. A `live` page asks its server for news; the number is the version of its photos.
pub fn page(runs: &[RunFacts], gallery: &Value, live: Option<u64>) -> String {
    let names = names(runs);
    let title = names.join(", ");
    let data = json!({
        "vista": env!("CARGO_PKG_VERSION"),
        "runs": runs.iter().map(|run| &run.json).collect::<Vec<_>>(),
        "names": names,
        "apart": different_sets(runs),
        "charts": charts(runs),
        "gallery": gallery,
        "live": live,
    });
    // Text of a run can't end the element that holds it.
    let data = data.to_string().replace("</", "<\\/");
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let parts = [("TITLE", title.as_str()), ("STYLE", STYLE), ("SCRIPT", &SCRIPTS.concat()), ("DATA", &data)];
    let mut page = String::with_capacity(PAGE.len() + data.len() + 100_000);
    let mut rest = PAGE;
    // Each part once, in the template's order: what was filled in is not looked at again.
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("the template closes what it opens");
        page += before;
        page += parts.iter().find(|part| part.0 == name).expect("the template names known parts").1;
        rest = after;
    }
    page + rest
}

/// Writes `report.html` into a run's folder: curves, and `photos` of its photos by its checkpoint (0 for none). If the
/// photos can't be shown the page says why, unless there is one with photos: that stays. `progress` hears of how much of the work
/// on photos is done, and of how much.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) or [`Error::Io`](crate::Error::Io) if the folder holds no run or can't be written.
pub fn write(
    folder: &(impl AsRef<Path> + ?Sized),
    photos: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<PathBuf> {
    let folder = folder.as_ref();
    let run = RunFacts::read(folder)?;
    let gallery = match photos {
        0 => missing("This page was made without photos."),
        _ => {
            gallery(folder, photos, device, progress).unwrap_or_else(|e| missing(format!("No photos: {e}.")))
        }
    };
    let path = folder.join("report.html");
    // What can't be made again is not replaced by less.
    if gallery.get("missing").is_some() && has_photos(&path) {
        let what = "the page that is there has photos, and a new one would have none";
        let advice = "it stays; `vista report --photos 0` makes one without";
        return Err(Error::input(what, path.display().to_string(), advice));
    }
    files::replace(&path, page(&[run], &gallery, None).as_bytes())?;
    Ok(path)
}

/// Whether a file is a page with photos.
pub(crate) fn has_photos(page: &Path) -> bool {
    std::fs::read(page).is_ok_and(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.contains(r#""gallery":{"#) && !text.contains(r#""gallery":{"missing":"#)
    })
}
