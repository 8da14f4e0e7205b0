//! Queries and keys of one set of photos, before and after training, and the figures that they give.

use super::chart::{Mark, Panel, Series};
use super::histogram::{BINS, Histogram, Moments, Scores, score_panels};
use super::mosaic::{BLACK, GREEN, RED, Tile, YELLOW, mosaic};
use super::sample::{BATCH, Sample, Sampler, gone};
use crate::engine::device::Device;
use crate::error::Result;
use crate::photos::{Album, Rgb};
use crate::pretrain::ResNetEncoder;
use crate::rng::KeyedRng;
use crate::transfer::classify::{
    Neighbour, Points, PurityCurves, chance, mean_similarity, nearest, purity, scores, share_a_label, worst,
};
use serde_json::{Value, json};

/// Random rows of Fig. 4.
const ROWS: usize = 5;
/// Neighbours in Fig. 4.
const SHOWN: usize = 4;
/// The longest neighbourhood of the purity curve.
const LONGEST: usize = 64;
/// The two encoders of a study.
const STAGES: [&str; 2] = ["before", "after"];

/// What is drawn.
#[derive(Clone, Debug)]
pub enum Drawing {
    /// Charts, so many side by side.
    Charts(Vec<Panel>, usize),
    /// Pixels.
    Picture(Rgb),
}

/// A figure with its numbers.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its files, without extension.
    pub name: &'static str,
    /// The drawing.
    pub drawing: Drawing,
    /// Caption and all numbers.
    pub json: Value,
    /// The main numbers for a person.
    pub summary: String,
}

/// The rows of Fig. 4.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The queries, random ones and then the worst, each with its nearest keys.
    pub rows: Vec<(usize, Vec<Neighbour>)>,
    /// What there is to see.
    pub caption: String,
    /// Whether every query has a label.
    labels: bool,
}

/// Queries and keys of one set of photos, embedded before and after training.
#[derive(Debug)]
pub struct Study<'a> {
    album: &'a Album,
    seed: u64,
    device: &'a Device,
    queries: Sample,
    keys: Sample,
}

impl<'a> Study<'a> {
    /// Embeds the key view of each of `photos` and the query view of the first `queries` of them, by the encoder as it
    /// was `before` training and as it is `after`. `progress` hears of each batch.
    ///
    /// # Errors
    /// As [`Sampler::embed`].
    pub fn new(
        sampler: &Sampler<'a>,
        encoders: [&ResNetEncoder; 2],
        photos: &[usize],
        queries: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Study<'a>> {
        let keys = sampler.embed(&encoders, photos, 1, progress)?;
        let queries = sampler.embed(&encoders, &photos[..queries.min(photos.len())], 0, progress)?;
        let &Sampler { album, seed, device, .. } = sampler;
        Ok(Study { album, seed, device, queries, keys })
    }

    /// The queries and the keys: crops of the photos, embedded before (0) and after (1).
    pub fn samples(&self) -> [&Sample; 2] {
        [&self.queries, &self.keys]
    }

    /// Fig. 3: the distributions of g1 . Q_g and z1 . Q_z for the first photo, before and after. The queue holds keys
    /// of other photos by the same encoder, never the random start, and not the photo's own key.
    ///
    /// # Errors
    /// The device's.
    /// # Source
    /// MLS, Fig. 3.
    pub fn scores(&self) -> Result<Figure> {
        let photo = self.name(self.queries.photos[0]);
        let against = |stage: usize, projected: bool| {
            let [queries, keys] = self.samples().map(|s| s.points(stage, projected));
            scores(self.device, 0, &queries, &keys)
        };
        let of_stage = |stage: usize| {
            let (backbone, projector) = (against(stage, false)?, against(stage, true)?);
            Ok(Scores { stage: STAGES[stage], backbone, projector })
        };
        let stages = [of_stage(0)?, of_stage(1)?];
        let kind = |values: &[f32]| json!({"moments": Moments::of(values), "histogram": Histogram::new(values, BINS), "values": values});
        let of = |s: &Scores| json!({"backbone": kind(&s.backbone), "projector": kind(&s.projector)});
        let caption = format!(
            "Cosines of one crop of {photo} with keys of other photos, before and after training; the queue holds \
             keys by the same encoder, never the random start, and not the photo's own key"
        );
        let numbers = json!({"photo": photo, "before": of(&stages[0]), "after": of(&stages[1])});
        let said = stages.iter().map(|s| {
            let [g, z] = s.kinds().map(|(_, values)| Moments::of(values));
            format!("{} g {:.3} ± {:.4}, z {:.3} ± {:.4}", s.stage, g.mean, g.std, z.mean, z.std)
        });
        Ok(Figure {
            name: "fig3_scores",
            drawing: Drawing::Charts(score_panels(&stages), 2),
            json: self.with_facts(&caption, numbers),
            summary: format!("{photo}: {}", said.collect::<Vec<_>>().join("; ")),
        })
    }

    /// Of the first `count` queries 5 drawn by the seed, then the worst, each with its four nearest keys by g1 . Q_g after
    /// training. Which is the worst: see [`worst`].
    ///
    /// # Errors
    /// The device's.
    pub fn rows(&self, count: usize) -> Result<Rows> {
        let all = self.queries.points(1, false);
        let count = count.min(all.photos.len());
        let queries =
            Points { values: &all.values[..count * all.width], photos: &all.photos[..count], ..all };
        let mut found = nearest(self.device, &queries, &self.keys.points(1, false), SHOWN)?;
        let labels = queries.photos.iter().all(|&photo| !self.labels(photo).is_empty());
        let related = self.related(&self.queries, &self.keys);
        let worst = worst(&found, labels.then_some(&related)).unwrap_or(0);
        let order = KeyedRng::new("rows", self.seed, [0; 3]).permutation(count);
        let random = order.into_iter().filter(|&query| query != worst).take(ROWS);
        let rows: Vec<_> =
            random.chain([worst]).map(|query| (query, std::mem::take(&mut found[query]))).collect();
        let (green, rule) = match labels {
            true => (
                ", green where they share a label",
                "lowest share of shared labels, then the lowest mean cosine",
            ),
            false => ("", "lowest mean cosine"),
        };
        let caption = format!(
            "Query crops (red) and their {SHOWN} nearest keys by g1 . Qg (yellow) on the original photos, with their \
             cosines{green}; {} random of {count} queries, then the worst: that with the {rule} (the paper chose it \
             by hand)",
            rows.len() - 1,
        );
        Ok(Rows { rows, caption, labels })
    }

    /// Fig. 4: [`Study::rows`] as rectangles on the whole photos.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a photo can no longer be decoded; the device's.
    /// # Source
    /// MLS, Fig. 4; its authors chose the worst query by hand.
    pub fn neighbours(&self, count: usize) -> Result<Figure> {
        let Rows { rows: found, caption, labels } = self.rows(count)?;
        let related = self.related(&self.queries, &self.keys);
        let (mut tiles, mut rows) = (Vec::new(), Vec::new());
        let last = found.len() - 1;
        for (i, (query, near)) in found.into_iter().enumerate() {
            let is_worst = i == last;
            let text = if is_worst { "worst" } else { "" };
            let mut row = vec![self.tile(&self.queries, query, RED, text.into(), BLACK)?];
            let mut facts = self.entry(&self.queries, query);
            facts["worst"] = json!(is_worst);
            facts["mean_similarity"] = json!(mean_similarity(&near));
            let mut keys = Vec::new();
            for n in near {
                let shared = labels && related(query, n.key);
                let ink = if shared { GREEN } else { BLACK };
                row.push(self.tile(&self.keys, n.key, YELLOW, format!("{:.3}", n.similarity), ink)?);
                let mut key = self.entry(&self.keys, n.key);
                key["similarity"] = json!(n.similarity);
                if labels {
                    key["shares_a_label"] = json!(shared);
                }
                keys.push(key);
            }
            facts["neighbours"] = json!(keys);
            tiles.push(row);
            rows.push(facts);
        }
        let queries = count.min(self.queries.photos.len());
        Ok(Figure {
            name: "fig4_neighbours",
            drawing: Drawing::Picture(mosaic(&tiles)),
            json: self.with_facts(&caption, json!({"queries": queries, "rows": rows})),
            summary: caption,
        })
    }

    /// Purity of the 1 to 64 nearest keys before, after and by chance, with `k` pointed out. Photos without labels are
    /// left out, as queries and as keys; `None` if there are fewer than two with labels.
    ///
    /// # Errors
    /// The device's.
    pub fn purity(&self, k: usize) -> Result<Option<Figure>> {
        let labelled = |sample: &Sample| sample.only(&|photo| !self.labels(photo).is_empty());
        let [queries, keys] = [labelled(&self.queries), labelled(&self.keys)];
        if queries.photos.is_empty() || keys.photos.len() < 2 {
            return Ok(None);
        }
        let related = self.related(&queries, &keys);
        let curve = |stage: usize| {
            let [queries, keys] = [&queries, &keys].map(|s| s.points(stage, false));
            Ok(purity(&nearest(self.device, &queries, &keys, LONGEST)?, &related))
        };
        let chance = chance(&queries.photos, &keys.photos, &related);
        let curves = PurityCurves { before: curve(0)?, after: curve(1)?, chance };
        let caption = "Share of the k nearest keys by g1 . Qg (the pseudo-positives of MLS) that share a label with \
                       their query, and of keys taken blindly; photos without labels are left out";
        let at = |curve: &[f64]| curve.get(k.saturating_sub(1)).copied();
        let numbers = json!({
            "queries": queries.photos.len(),
            "labelled_keys": keys.photos.len(),
            "k": k,
            "at_k": {"before": at(&curves.before), "after": at(&curves.after)},
            "curves": curves,
        });
        let said = |curve: &[f64]| at(curve).map_or("-".to_string(), |p| format!("{p:.3}"));
        let (count, place) = (queries.photos.len(), self.album.photos().place());
        let (before, after) = (said(&curves.before), said(&curves.after));
        let points = |curve: &[f64]| curve.iter().enumerate().map(|(i, &p)| ((i + 1) as f64, p)).collect();
        let end = curves.after.len().max(2) as f64;
        let ticks = [1, 5, 10, 20, 30, 40, 50, 64].into_iter().filter(|&k| f64::from(k) <= end);
        let panel = Panel {
            title: format!("purity at k = {k}: before {before}, after {after}"),
            x: "k nearest keys by g1 . Qg".into(),
            y: "share a label with the query".into(),
            ticks: Some(ticks.map(|k| (f64::from(k), k.to_string())).collect()),
            series: vec![
                Series::new("before", Mark::Line, points(&curves.before)),
                Series::new("after", Mark::Line, points(&curves.after)),
                Series::new("chance", Mark::Dashed, vec![(1.0, chance), (end, chance)]),
            ],
            ..Panel::default()
        };
        Ok(Some(Figure {
            name: "purity",
            drawing: Drawing::Charts(vec![panel], 1),
            json: self.with_facts(caption, numbers),
            summary: format!(
                "{count} photos of {place}, k {k}: {before} before, {after} after, {chance:.3} by chance"
            ),
        }))
    }

    fn labels(&self, photo: usize) -> &[usize] {
        self.album.photos().labels(photo)
    }

    fn name(&self, photo: usize) -> &str {
        self.album.photos().name(photo)
    }

    /// Whether a query and a key share a label.
    fn related(&self, queries: &Sample, keys: &Sample) -> impl Fn(usize, usize) -> bool {
        move |query, key| share_a_label(self.labels(queries.photos[query]), self.labels(keys.photos[key]))
    }

    /// The facts that belong in every figure's json, then its own numbers.
    fn with_facts(&self, caption: &str, numbers: Value) -> Value {
        let mut all = json!({
            "caption": caption,
            "photos": self.album.photos().place(),
            "keys": self.keys.photos.len(),
            "seed": self.seed,
            "batch_norm": format!("statistics of batches of {} views", BATCH.min(self.keys.photos.len())),
        });
        if let (Value::Object(all), Value::Object(numbers)) = (&mut all, numbers) {
            all.extend(numbers);
        }
        all
    }

    /// A crop on its whole photo.
    fn tile(&self, sample: &Sample, row: usize, color: [u8; 3], text: String, ink: [u8; 3]) -> Result<Tile> {
        let id = sample.photos[row];
        let photos = self.album.photos();
        let photo = photos.decode(id).map_err(|why| gone(photos, id, why))?;
        Ok(Tile::new(&photo, sample.crops[row], color, text, ink))
    }

    /// A crop in the json.
    fn entry(&self, sample: &Sample, row: usize) -> Value {
        let (id, crop) = (sample.photos[row], sample.crops[row]);
        let classes = self.album.photos().classes();
        let labels: Vec<&String> = self.labels(id).iter().filter_map(|&label| classes.get(label)).collect();
        let area = [crop.x0, crop.y0, crop.x1, crop.y1];
        json!({"photo": self.name(id), "crop": area, "flip": sample.flips[row], "labels": labels})
    }
}
