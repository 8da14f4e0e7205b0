//! How well a segmenter tells the classes of pixels apart, and the floor that needs no network.

use super::config::SegmentConfig;
use super::data::LabelledAlbum;
use super::model::Segmenter;
use super::predict::segment;
use crate::engine::exchange::Exchange;
use crate::error::{Error, Result, counted};
use crate::photos::{IGNORED, LabelMap, PixelClass};
use crate::transfer::metrics::Confusion;
use serde::{Deserialize, Serialize};

/// How well the pixels of some photos were classified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentScores {
    /// Photos that were judged on.
    pub photos: usize,
    /// Mean over classes of intersection over union.
    pub miou: f64,
    /// Mean over classes of the share of their pixels that was found.
    pub macc: f64,
    /// Share of the labelled pixels that was classified rightly.
    pub aacc: f64,
}

impl SegmentScores {
    fn of(confusion: &Confusion, photos: usize) -> SegmentScores {
        SegmentScores { photos, miou: confusion.miou(), macc: confusion.macc(), aacc: confusion.aacc() }
    }
}

impl std::fmt::Display for SegmentScores {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let SegmentScores { photos, miou, macc, aacc } = self;
        let photos = counted(*photos, "photo", "photos");
        write!(f, "mIoU {miou:.3}  mAcc {macc:.3}  aAcc {aacc:.3}  ({photos})")
    }
}

/// A photo with what was said of its pixels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segmented {
    /// The photo, by its number in the album.
    pub photo: usize,
    /// Share of its labelled pixels that was classified rightly.
    pub right: f64,
    /// What was said.
    pub map: LabelMap,
}

/// What a segmenter said of some photos, and how good that is.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Pixels of each class that were taken for each class.
    pub confusion: Confusion,
    /// The same in short.
    pub scores: SegmentScores,
    /// The photos of which least was right, the worst first.
    pub worst: Vec<Segmented>,
    /// Photos that could not be judged on, and why; those that can't be decoded the album knows.
    pub left_out: Vec<String>,
}

impl Judged {
    /// What all ranks said, from what each did.
    pub(super) fn of_all(self, exchange: &dyn Exchange) -> Result<Judged> {
        if exchange.ranks() == 1 {
            return Ok(self);
        }
        let bad = |e| Error::Run(format!("ranks: {e}"));
        let own = (&self.confusion, self.scores.photos, &self.worst, &self.left_out);
        let mut all = Judged { worst: Vec::new(), left_out: Vec::new(), ..self.clone() };
        let mut photos = 0;
        for (rank, told) in exchange.tell(&serde_json::to_vec(&own).map_err(bad)?)?.iter().enumerate() {
            let (confusion, of, worst, left_out): (Confusion, usize, Vec<Segmented>, Vec<String>) =
                serde_json::from_slice(told).map_err(bad)?;
            all.confusion = if rank == 0 { confusion } else { all.confusion.and(&confusion) };
            photos += of;
            all.worst.extend(worst);
            all.left_out.extend(left_out);
        }
        all.worst.sort_by(|a, b| a.right.total_cmp(&b.right));
        all.worst.truncate(WORST);
        all.scores = SegmentScores::of(&all.confusion, photos);
        Ok(all)
    }
}

/// Who hears how many photos are done, of how many, and says whether to go on.
pub type Heard<'a> = dyn FnMut(usize, usize) -> bool + 'a;

/// Who takes what was said of a photo.
pub type Taken<'a> = dyn FnMut(usize, &LabelMap) -> Result<()> + 'a;

/// Photos that are kept with what was said of them.
pub const WORST: usize = 20;

/// Classifies the pixels of some photos and compares them with their label maps; `taken` is given each.
///
/// # Errors
/// The device's; [`Error::Interrupted`] if `heard` ended the work; those of `taken`.
pub fn judge(
    net: &Segmenter,
    config: &SegmentConfig,
    test: &LabelledAlbum,
    ids: &[usize],
    heard: &mut Heard,
    taken: &mut Taken,
) -> Result<Judged> {
    let mut confusion = Confusion::new(net.config.classes, IGNORED);
    let (mut worst, mut left_out, mut photos) = (Vec::<Segmented>::new(), Vec::new(), 0);
    for (i, &id) in ids.iter().enumerate() {
        if let Ok(photo) = test.album.photo(id) {
            let map = segment(net, config, &photo.image)?;
            match known(test, id, map.size) {
                Err(why) => {
                    left_out.push(format!("{} is not judged on: {why}", test.album.photos().name(id)))
                }
                Ok(labels) => {
                    taken(id, &map)?;
                    confusion.add(&map.classes, &labels.classes)?;
                    photos += 1;
                    worst.push(Segmented { photo: id, right: right(&map, &labels), map });
                    worst.sort_by(|a, b| a.right.total_cmp(&b.right));
                    worst.truncate(WORST);
                }
            }
        }
        if !heard(i + 1, ids.len()) {
            return Err(Error::Interrupted(format!("interrupted at photo {} of {}", i + 1, ids.len())));
        }
    }
    let scores = SegmentScores::of(&confusion, photos);
    Ok(Judged { confusion, scores, worst, left_out })
}

impl Judged {
    /// Refuses a judgement on nothing.
    ///
    /// # Errors
    /// [`Error::Input`] if no photo could be judged on, or none of their pixels has a label.
    pub fn expect_some(&self, test: &LabelledAlbum) -> Result<()> {
        let what = match (self.scores.photos, self.confusion.labelled().iter().sum::<u64>()) {
            (0, _) => "no photo could be judged on",
            (_, 0) => "no pixel of the photos to be judged on has a label",
            _ => return Ok(()),
        };
        let why = test.album.left_out().into_iter().chain(self.left_out.iter().cloned()).next();
        let why = why.map_or(String::new(), |why| format!(", such as {why}"));
        let place = test.album.photos().place();
        Err(Error::input(format!("{what}{why}"), place, "give photos with label maps that fit them"))
    }
}

/// The label map of a photo of this size.
fn known(set: &LabelledAlbum, id: usize, size: [usize; 2]) -> Result<LabelMap, String> {
    let objects = set.album.photos().objects_in(id, size)?;
    set.labels.map(id, size, objects)
}

/// The share of a photo's labelled pixels that was classified rightly; 1 of none.
fn right(map: &LabelMap, labels: &LabelMap) -> f64 {
    let pairs = map.classes.iter().zip(&labels.classes).filter(|(_, label)| **label != IGNORED);
    let (right, all) = pairs.fold((0, 0), |(right, all), (p, l)| (right + u64::from(p == l), all + 1));
    if all == 0 { 1.0 } else { right as f64 / all as f64 }
}

/// LIMIT: of a side of the grid on which positions are counted.
const GRID: usize = 512;

/// The floor: at each position of a photo the class that is there most often in photos to learn from.
///
/// Positions are those of a grid as large as the first label map (at most 512 along a side); label maps of other sizes are looked up at the
/// nearest.
///
/// # Errors
/// [`Error::Input`] if no label map can be used; [`Error::Interrupted`] if `heard` ended the work.
pub fn floor(train: &LabelledAlbum, test: &LabelledAlbum, heard: &mut Heard) -> Result<Confusion> {
    let classes = train.labels.classes().len();
    let (of, all) = (train.album.photos().len(), train.album.photos().len() + test.album.photos().len());
    let mut grid: Option<([usize; 2], Vec<u32>)> = None;
    let mut go_on = |done: usize| match heard(done, all) {
        true => Ok(()),
        false => Err(Error::Interrupted(format!("interrupted at photo {done} of {all}"))),
    };
    for id in 0..of {
        if let Some(map) = decoded(train, id) {
            let (size, counts) = grid.get_or_insert_with(|| {
                let size = map.size.map(|side| side.min(GRID));
                (size, vec![0; size[0] * size[1] * classes])
            });
            for (at, class) in looked_up(&map, *size).enumerate().filter(|(_, class)| *class != IGNORED) {
                counts[at * classes + usize::from(class)] += 1;
            }
        }
        go_on(id + 1)?;
    }
    let Some((size, counts)) = grid else {
        let what = "no photo to learn from has a label map that fits it";
        return Err(Error::input(what, train.album.photos().place(), "give photos with label maps"));
    };
    let most = |counts: &[u32]| {
        let best =
            counts.iter().enumerate().max_by_key(|(class, count)| (**count, std::cmp::Reverse(*class)));
        best.map_or(0, |(class, _)| class as u8)
    };
    let said = LabelMap { size, classes: counts.chunks(classes).map(most).collect() };
    let mut confusion = Confusion::new(classes, IGNORED);
    for id in 0..test.album.photos().len() {
        if let Some(map) = decoded(test, id) {
            let predicted: Vec<u8> = looked_up(&said, map.size).collect();
            confusion.add(&predicted, &map.classes)?;
        }
        go_on(of + id + 1)?;
    }
    Ok(confusion)
}

/// The label map of a photo, if both can be used.
fn decoded(set: &LabelledAlbum, id: usize) -> Option<LabelMap> {
    let photo = set.album.photo(id).ok()?;
    known(set, id, [photo.height, photo.width]).ok()
}

/// A label map at another size: of each pixel the nearest.
fn looked_up(map: &LabelMap, [height, width]: [usize; 2]) -> impl Iterator<Item = u8> + '_ {
    let [rows, columns] = map.size;
    let from = |i: usize, n: usize, of: usize| (2 * i + 1) * of / (2 * n);
    (0..height).flat_map(move |y| {
        let row = from(y, height, rows) * columns;
        (0..width).map(move |x| map.classes[row + from(x, width, columns)])
    })
}

/// Indices of classes as the numbers that their set has for them.
pub fn own_numbers(classes: &[PixelClass], map: &LabelMap) -> Vec<u8> {
    let own = |&class: &u8| classes.get(usize::from(class)).map_or(IGNORED, |class| class.id);
    map.classes.iter().map(own).collect()
}
