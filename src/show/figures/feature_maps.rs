//! What an encoder tells apart inside a photo: the first principal components of its last map, as colours.

use super::glyphs::PLAIN;
use super::mosaic::BLACK;
use super::sample::{Sampler, gone};
use super::study::{Drawing, Figure};
use crate::engine::autograd::Tape;
use crate::engine::nn::{Mode, ResNet};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result, counted};
use crate::photos::Rgb;
use crate::photos::views::{CropBox, normalize, resized_crop};
use crate::transfer::classify::components;
use serde_json::{Value, json};

/// Cells along a photo's shorter side: enough that what fills a quarter of it has a shape.
const CELLS: usize = 16;
/// Cells along its longer side at most; a longer strip has fewer along the shorter one.
const LONGEST: usize = 4 * CELLS;
/// Components: red, green and blue.
const COLOURS: usize = 3;
/// Of all cells, the share beyond either end of a component's range: a few odd cells, as at the photos' corners, would else take it.
const TAIL: f64 = 0.02;
/// Pixels of a cell in the picture.
const CELL: usize = 12;
/// Space between photos, and around the picture.
const GAP: usize = 12;
/// A line of text with the space below it.
const TEXT: usize = PLAIN.height() + 6;

/// A photo as the encoders read it.
struct Fed {
    id: usize,
    image: Rgb,
    /// Columns and rows of its map.
    size: [usize; 2],
    /// Its first cell among those of all photos.
    first: usize,
}

/// The maps of all photos by one encoder, as components.
struct Painted {
    name: &'static str,
    /// `[cells, 3]`, photo after photo, row after row.
    scores: Vec<f64>,
    /// What each component holds of the variance over all cells.
    shares: Vec<f64>,
    /// The scores that are 0 and 255 of each colour.
    ends: Vec<[f64; 2]>,
}

impl Sampler<'_> {
    /// Up to `count` photos that can be decoded, evenly spread over the album: the first of each of `count` equal parts.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub fn spread(&self, count: usize) -> Result<Vec<usize>> {
        let all = self.album.photos().len();
        let count = count.min(all);
        let part = |i: usize| i * all / count..(i + 1) * all / count;
        let sound = |i: usize| part(i).find(|&id| self.album.photo(id).is_ok());
        let found: Vec<usize> = (0..count).filter_map(sound).collect();
        if found.is_empty() { Err(self.album.nothing_decodable()) } else { Ok(found) }
    }

    /// The last maps C5 of whole photos by an untrained and a trained encoder of one architecture, in evaluation mode: the first three
    /// principal components over the cells of all photos as red, green and blue, each from its 2nd to its 98th percentile.
    ///
    /// Photos are resized, not cut, to sides that are multiples of the map's stride, with 16 cells along the shorter one. Each encoder
    /// has components of its own, so colours mean the same in every photo of a column, but not across columns. A component without
    /// variance is even: 128. `progress` hears of each map.
    ///
    /// # Errors
    /// [`Error::Input`] if a photo can't be decoded; [`Error::Run`] if a map is not finite; the device's.
    /// # Source
    /// Oquab et al. 2023, *DINOv2*, Fig. 1, of a network without attention and without its removal of the background.
    pub fn feature_maps(
        &self,
        photos: &[usize],
        [untrained, trained]: [&ResNet; 2],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Figure> {
        let net = trained.config();
        let fed = self.fed(photos, net.stride())?;
        let mut painted = |name, backbone: &ResNet| {
            Ok(Painted::new(name, &self.maps(backbone, &fed, progress)?, net.features()))
        };
        let columns = [painted("untrained", untrained)?, painted("trained", trained)?];
        let (channels, count) = (net.features(), counted(photos.len(), "photo", "photos"));
        let caption = format!(
            "The first three principal components of the last map of {} ({channels} channels, a cell each {} pixels) over all cells of \
             {count}, as red, green and blue, each from its 2nd to its 98th percentile; before any training, with batch norm's statistics \
             of photos, and as the checkpoint holds it. Each encoder has components of its own: colours mean the same in every photo of \
             a column, not across columns",
            net.architecture,
            net.stride(),
        );
        let title = [
            format!(
                "Last map of {} ({channels} channels): three principal components as red, green, blue",
                net.architecture
            ),
            "Colours compare within a column, not across: each encoder has components of its own".into(),
        ];
        let [before, after] = columns.each_ref().map(|column| 100.0 * column.explained());
        let mut all = json!({
            "caption": caption,
            "photos": self.album.photos().place(),
            "channels": channels,
            "stride": net.stride(),
            "rows": fed.iter().map(|photo| self.row(photo, &columns)).collect::<Vec<_>>(),
        });
        columns.iter().for_each(|column| all[column.name] = column.facts());
        Ok(Figure {
            name: "feature_maps",
            drawing: Drawing::Picture(page(&title, &fed, &columns)),
            json: all,
            summary: format!(
                "{count}, {channels} channels: three components hold {before:.0} % of the variance untrained, {after:.0} % trained"
            ),
        })
    }

    /// The photos at the size at which they are read.
    fn fed(&self, photos: &[usize], stride: usize) -> Result<Vec<Fed>> {
        let (album, mut first) = (self.album.photos(), 0);
        let feed = |&id: &usize| {
            let photo = album.decode(id).map_err(|why| gone(album, id, why))?;
            let size = cells([photo.width, photo.height]);
            let [width, height] = size.map(|side| side * stride);
            let image = resized_crop(&photo, CropBox::whole(&photo), width, height);
            first += size[0] * size[1];
            Ok(Fed { id, image, size, first: first - size[0] * size[1] })
        };
        photos.iter().map(feed).collect()
    }

    /// The last map of each photo, `[cells, C]`, one at a time: each has a shape of its own.
    fn maps(&self, backbone: &ResNet, photos: &[Fed], progress: &mut dyn FnMut(usize)) -> Result<Vec<f32>> {
        let mut maps = Vec::new();
        for Fed { image, .. } in photos {
            let mut pixels = vec![0.0; image.data.len()];
            normalize(image, self.views.mean, self.views.std, &mut pixels);
            let images = Tensor::new(self.device, [1, image.height, image.width, 3], &pixels)?;
            let tape = Tape::inert(self.device);
            maps.extend(backbone.map(&tape.constant(images), Mode::Eval)?.value().to_vec()?);
            progress(1);
        }
        if maps.iter().all(|v| v.is_finite()) {
            return Ok(maps);
        }
        Err(Error::Run("a map is not finite: training diverged, lower optimizer.lr".into()))
    }

    /// A photo in the json.
    fn row(&self, photo: &Fed, columns: &[Painted; 2]) -> Value {
        let mut row = json!({
            "photo": self.album.photos().name(photo.id),
            "pixels": [photo.image.width, photo.image.height],
            "cells": photo.size,
        });
        for column in columns {
            row[column.name] = column.scores(photo).iter().map(|&v| json!(v as f32)).collect();
        }
        row
    }
}

/// Columns and rows of the map of a photo of a width and a height.
fn cells(size: [usize; 2]) -> [usize; 2] {
    let [width, height] = size.map(|side| side.max(1) as f64);
    let scale = (CELLS as f64 / width.min(height)).min(LONGEST as f64 / width.max(height));
    [width, height].map(|side| ((side * scale).round() as usize).max(1))
}

impl Painted {
    fn new(name: &'static str, maps: &[f32], width: usize) -> Painted {
        let (scores, shares) = components(maps, width, COLOURS);
        let end = |colour: usize| {
            let mut sorted: Vec<f64> = scores.iter().skip(colour).step_by(COLOURS).copied().collect();
            sorted.sort_by(f64::total_cmp);
            [TAIL, 1.0 - TAIL].map(|share| percentile(&sorted, share))
        };
        let ends = (0..COLOURS).map(end).collect();
        Painted { name, scores, shares, ends }
    }

    /// `[cells, 3]` of one photo.
    fn scores(&self, photo: &Fed) -> &[f64] {
        &self.scores[photo.first * COLOURS..][..photo.size[0] * photo.size[1] * COLOURS]
    }

    /// One photo's map as colours, a pixel a cell.
    fn colours(&self, photo: &Fed) -> Rgb {
        let [width, height] = photo.size;
        let byte = |(i, &score): (usize, &f64)| {
            let [low, high] = self.ends[i % COLOURS];
            let share = if high > low { (score - low) / (high - low) } else { 0.5 };
            (255.0 * share.clamp(0.0, 1.0)).round() as u8
        };
        Rgb { width, height, data: self.scores(photo).iter().enumerate().map(byte).collect() }
    }

    /// What the components hold of the variance together, 0 to 1.
    fn explained(&self) -> f64 {
        self.shares.iter().sum()
    }

    /// The same in words.
    fn said(&self) -> String {
        let each: Vec<String> = self.shares.iter().map(|share| format!("{:.0}", 100.0 * share)).collect();
        format!("{:.0} % of the variance ({})", 100.0 * self.explained(), each.join(", "))
    }

    fn facts(&self) -> Value {
        json!({ "variance": self.explained(), "of_components": self.shares, "ends": self.ends })
    }
}

/// The value below which a share of sorted values lies, between two of them by a straight line; 0 of none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * sorted.len().saturating_sub(1) as f64;
    let value = |i: usize| sorted.get(i).or(sorted.last()).copied().unwrap_or(0.0);
    let low = value(at as usize);
    low + (value(at as usize + 1) - low) * at.fract()
}

/// A row for each photo: the photo, then its map by each encoder.
fn page(title: &[String], photos: &[Fed], columns: &[Painted; 2]) -> Rgb {
    let heads = ["photo", columns[0].name, columns[1].name];
    let feet = [String::new(), columns[0].said(), columns[1].said()];
    let widest = photos.iter().map(|photo| photo.size[0] * CELL).max().unwrap_or(0);
    let column = feet.iter().map(|foot| PLAIN.width(foot)).fold(widest, usize::max) + GAP;
    let lines = title.iter().map(|line| PLAIN.width(line)).max().unwrap_or(0) + GAP;
    let width = GAP + lines.max(heads.len() * column);
    let rows: usize = photos.iter().map(|photo| photo.size[1] * CELL + GAP).sum();
    let height = GAP + (title.len() + 2) * TEXT + rows + GAP;
    let mut image = Rgb { width, height, data: vec![255; width * height * 3].into() };
    for (i, line) in title.iter().enumerate() {
        PLAIN.write(&mut image, GAP, GAP + i * TEXT, line, BLACK);
    }
    let mut top = GAP + title.len() * TEXT;
    let write = |image: &mut Rgb, top: usize, texts: [&str; 3]| {
        for (i, text) in texts.into_iter().enumerate() {
            PLAIN.write(image, GAP + i * column, top, text, BLACK);
        }
    };
    write(&mut image, top, heads);
    top += TEXT;
    for photo in photos {
        let [width, height] = photo.size.map(|side| side * CELL);
        let shown = resized_crop(&photo.image, CropBox::whole(&photo.image), width, height);
        let maps = columns.each_ref().map(|column| enlarged(&column.colours(photo)));
        for (i, part) in std::iter::once(&shown).chain(&maps).enumerate() {
            lay(&mut image, part, [GAP + i * column, top]);
        }
        top += height + GAP;
    }
    write(&mut image, top, feet.each_ref().map(String::as_str));
    image
}

/// A square for each pixel.
fn enlarged(map: &Rgb) -> Rgb {
    let mut image = Rgb::new(map.width * CELL, map.height * CELL);
    for (i, pixel) in map.data.as_chunks::<3>().0.iter().enumerate() {
        let [x, y] = [i % map.width, i / map.width].map(|at| at * CELL);
        (0..CELL * CELL).for_each(|i| image.put(x + i % CELL, y + i / CELL, *pixel));
    }
    image
}

/// Copies a picture into another.
fn lay(image: &mut Rgb, part: &Rgb, [x, y]: [usize; 2]) {
    for (i, pixel) in part.data.as_chunks::<3>().0.iter().enumerate() {
        image.put(x + i % part.width, y + i / part.width, *pixel);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/feature_maps.rs"]
mod tests;
