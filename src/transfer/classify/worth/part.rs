//! Parts of labelled photos, and what tells one set from another.

use super::super::supervised::LabelledAlbums;
use crate::photos::{Album, Photos};
use crate::rng::KeyedRng;
use crate::run::PhotoSet;
use std::sync::Arc;

/// Photos of each class that a share of the training photos has: the nearest whole number, at least 1 (0 of a class without any).
pub(super) fn of_share(albums: &LabelledAlbums, share: f64) -> Vec<usize> {
    let whole = by_class(albums.train.photos());
    whole.iter().map(|ids| ((share * ids.len() as f64).round() as usize).max(1).min(ids.len())).collect()
}

/// A share of the training photos, drawn by the seed, their numbers in order; and the albums that hold them. Of the same seed a
/// smaller share is within a larger.
pub(super) fn part(albums: &LabelledAlbums, share: f64, seed: u64) -> (Vec<usize>, LabelledAlbums) {
    let photos = albums.train.photos();
    let mut ids = Vec::new();
    for (class, (mut of_class, count)) in
        by_class(photos).into_iter().zip(of_share(albums, share)).enumerate()
    {
        KeyedRng::new("part", seed, [class as u64, 0, 0]).shuffle(&mut of_class);
        ids.extend(&of_class[..count]);
    }
    ids.sort_unstable();
    if ids.len() == photos.len() {
        return (ids, albums.clone()); // what is decoded stays so
    }
    let train = Album::new(photos.only(&ids), albums.train.options().clone());
    (ids, LabelledAlbums { train: Arc::new(train), test: albums.test.clone() })
}

/// Numbers of the photos of each class.
fn by_class(photos: &Photos) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); photos.classes().len()];
    for id in 0..photos.len() {
        photos.label(id).into_iter().for_each(|class| classes[class].push(id));
    }
    classes
}

/// What tells labelled photos from others: the CRC-32 of both parts' digests ([`PhotoSet`]) and classes, in hexadecimal.
pub(super) fn digest(albums: &LabelledAlbums) -> String {
    let mut sum = crc32fast::Hasher::new();
    for photos in albums.both().map(Album::photos) {
        let PhotoSet { count, digest } = PhotoSet::of(photos);
        sum.update(format!("{count} {digest} {:?}\n", photos.classes()).as_bytes());
        (0..count).for_each(|id| sum.update(format!("{:?}\n", photos.labels(id)).as_bytes()));
    }
    format!("{:08x}", sum.finalize())
}
