//! What a set of photos is like, before anything is learned from it: what settings are chosen by.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use crate::photos::read::Photos;

/// Photos that are decoded to learn their size.
const SAMPLE: usize = 64;
/// Bytes of files that are compared.
const READ: u64 = 256 << 20;

/// What a set of photos is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// How many there are.
    pub photos: usize,
    /// How many of them have the bytes of one before them; of a large set more may.
    pub copies: usize,
    /// Short and long side in pixels of a usual one: the medians of some that were looked at. Zeros if none can be decoded.
    pub size: [usize; 2],
}

impl Survey {
    /// Looks at a set: a sample of the photos is decoded, and files of the same length are read, up to 256 MiB, to compare them.
    pub fn of(photos: &Photos) -> Survey {
        Survey { photos: photos.len(), copies: copies(photos), size: usual_size(photos) }
    }
}

fn usual_size(photos: &Photos) -> [usize; 2] {
    let n = photos.len().min(SAMPLE);
    let size = |i: usize| photos.read(i * photos.len() / n, &|_| 8).ok().map(|read| read.size);
    let sizes: Vec<[usize; 2]> = (0..n).into_par_iter().filter_map(size).collect();
    let median = |side: fn(&[usize; 2]) -> usize| {
        let mut sides: Vec<usize> = sizes.iter().map(side).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 2).copied().unwrap_or_default()
    };
    [median(|[width, height]| *width.min(height)), median(|[width, height]| *width.max(height))]
}

/// Only files that are as long as another can be its copy: few of a folder's photos have to be read.
fn copies(photos: &Photos) -> usize {
    let mut by_length: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for id in 0..photos.len() {
        if let Some(length) = photos.bytes(id) {
            by_length.entry(length).or_default().push(id);
        }
    }
    let copies_among = |ids: &Vec<usize>| {
        let sums: Vec<u32> = ids.iter().filter_map(|&id| photos.checksum(id)).collect();
        sums.len() - sums.iter().collect::<HashSet<_>>().len()
    };
    let mut room = READ;
    by_length.retain(|length, ids| {
        let bytes = length * ids.len() as u64;
        let is_read = ids.len() > 1 && bytes <= room;
        room -= if is_read { bytes } else { 0 };
        is_read
    });
    by_length.par_iter().map(|(_, ids)| copies_among(ids)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photos::Split;

    #[test]
    fn copies_are_told_by_their_bytes_and_the_usual_size_is_the_median() {
        let folder = tempfile::tempdir().expect("a folder");
        let save = |name: &str, [width, height]: [u32; 2], shade: u8| {
            let image = image::RgbImage::from_pixel(width, height, image::Rgb([shade; 3]));
            image.save(folder.path().join(name)).expect("saved");
        };
        save("a.bmp", [30, 20], 1); // as long as b, of other pixels
        save("b.bmp", [30, 20], 2);
        save("c.bmp", [30, 20], 2);
        save("d.bmp", [50, 90], 2);
        save("e.bmp", [50, 90], 2);
        std::fs::write(folder.path().join("f.bmp"), "no photo").expect("written");
        let photos = Photos::folder(folder.path()).expect("photos");
        assert_eq!(Survey::of(&photos), Survey { photos: 6, copies: 2, size: [20, 30] });
    }

    #[test]
    fn photos_that_are_no_files_of_their_own_are_not_compared() {
        let bundled = Survey::of(&Photos::bundled_labelled(Split::Test));
        assert_eq!(bundled.copies, 0);
        assert!(bundled.photos > 0 && bundled.size[0] > 0 && bundled.size[0] <= bundled.size[1]);
    }
}
