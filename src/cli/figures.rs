//! `vista figures`.

use super::judged::{embedding, extend, warn, warn_of_undecodable, watched};
use super::paths::{Files, Input, Mark, Output, absolute, marked};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::files::{self, identity};
use crate::photos::{Album, Photos, Source};
use crate::pretrain::ResNetEncoder;
use crate::pretrain::{Config, album, checkpoint, judge_photos, pretraining_photos, starting_encoder};
use crate::run::History;
use crate::show::figures::{BATCH, Drawing, Figure, PNG_MARK, Sampler, Study, curves, png, svg};
use crate::transfer::classify::precise_statistics;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Draw what a checkpoint's encoder sees: scores, neighbours, purity, maps of photos, and its run's curves.
///
/// fig3_scores.svg: histograms of g1 . Qg and z1 . Qz for one photo (MLS, Fig. 3), by the encoder as its run started
/// and as the checkpoint holds it. The queue holds keys of other photos, embedded by that same encoder.
///
/// fig4_neighbours.png: crops of query photos (red) and their four nearest keys (yellow) on the original photos (MLS,
/// Fig. 4): 5 random rows of the queries, then the worst one, marked by its text.
///
/// purity.svg: the share of the k nearest keys that share a label with their query, where labels are known.
///
/// feature_maps.png: photos, and the first three principal components of the last map over all of their cells as red,
/// green and blue, before any training and as the checkpoint holds it: what the encoder tells apart without a label. Colours
/// mean the same in every photo of a column, not across columns; the share of the variance that they show is below. Both
/// encoders are in evaluation mode, the untrained one with batch norm's statistics of up to 1,024 of the photos.
///
/// curves.svg: loss with its terms, kNN accuracy, signs of a collapse and speed over views, from the run's log.jsonl.
///
/// Beside each lies a .json with all its numbers. Batch norm takes the statistics of batches of 64 views, as in
/// training, in all but the maps.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run's folder, or a checkpoint of `vista pretrain`.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    checkpoint: Input,
    /// Folder of photos or csv list (its labels are used, photos without any left out); the run's own photos if absent.
    #[arg(long, value_name = "PHOTOS")]
    data: Option<Input>,
    /// Photos whose labels are known: folder with `train/CLASS/` and `test/CLASS/` (train is taken), folder with
    /// `CLASS/`, or csv list; if absent the photos themselves if they have labels, or the run's own.
    #[arg(long, value_name = "DIR")]
    labelled: Option<Input>,
    /// Follow links and lists that lead out of these folders.
    #[arg(long)]
    follow_links: bool,
    /// The run's log; `log.jsonl` beside the checkpoint if absent.
    #[arg(long, value_name = "FILE")]
    log: Option<Input>,
    /// Folder for the figures; `figures` beside the checkpoint if absent.
    #[arg(long, value_name = "DIR")]
    out: Option<Output>,
    /// Query photos of which Fig. 4 shows 5 and the worst.
    #[arg(long, default_value_t = 60, value_name = "N")]
    queries: usize,
    /// Photos in feature_maps.png, evenly spread over all of them; 0 for no such picture.
    #[arg(long, default_value_t = 6, value_name = "N")]
    maps: usize,
    /// Keys in the queue, one of each photo; the run's `method.queue` if absent (4096 where it has none), never more than there are photos.
    #[arg(long, value_name = "D")]
    slots: Option<usize>,
    /// Seed of photos, crops and rows; the run's own if absent: then the crops are those of its first epoch.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// The figures' names with the endings of their drawings.
const DRAWINGS: [[&str; 2]; 5] = [
    ["fig3_scores", "svg"],
    ["fig4_neighbours", "png"],
    ["purity", "svg"],
    ["feature_maps", "png"],
    ["curves", "svg"],
];
/// LIMIT: photos in one picture of maps.
const MOST_MAPS: usize = 64;
/// What stands at the beginning of the SVGs.
const SVG_MARK: &str = "<!-- vista figures -->";

pub(super) fn files(args: &Args) -> Files {
    let of = |[name, ending]: [&str; 2]| {
        let mark = if ending == "png" { PNG_MARK } else { SVG_MARK };
        [
            (format!("{name}.json"), Mark::Command("figures".into())),
            (format!("{name}.{ending}"), Mark::Words(mark)),
        ]
    };
    Files::default().folder("--out", &args.folder(), DRAWINGS.into_iter().flat_map(of))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    if args.maps > MOST_MAPS {
        return Err(Error::input("too many photos", "--maps", format!("give at most {MOST_MAPS}")));
    }
    if args.queries == 0 || args.slots.is_some_and(|slots| slots < 2) {
        return Err(Error::input("too few", "--queries or --slots", "give at least 1 query and 2 slots"));
    }
    let device = Device::open(&args.device)?;
    let (after, config) = checkpoint::load(&args.checkpoint, &device)?;
    let before = starting_encoder(&config, &device)?;
    let beside = args.checkpoint.parent().unwrap_or(Path::new(""));
    let log = args.log.as_ref().map_or_else(|| beside.join("log.jsonl"), |log| log.to_path_buf());
    let history = if args.log.is_some() || log.exists() { Some(History::read(&log)?) } else { None };
    let (photos, labelled) = args.photos(&config)?;
    [Some(&photos), labelled.as_ref()].into_iter().flatten().for_each(warn);
    let out = args.folder();
    std::fs::create_dir_all(&out).map_err(|e| Error::io(&out, e))?;

    let (seed, encoders) = (args.seed.unwrap_or(config.seed), [&before, &after]);
    let photos = album(&config, photos)?;
    let sampler = |album| Sampler { album, views: &config.views, seed, device: &device };
    let study = |album| args.study(&sampler(album), encoders, &config);
    let main = study(&photos)?;
    let labelled = labelled.map(|photos| album(&config, photos)).transpose()?;
    let mut saved =
        vec![save(&out, &main.scores()?, &photos)?, save(&out, &main.neighbours(args.queries)?, &photos)?];
    let k = config.whole("k").unwrap_or(20);
    let judged = labelled.as_ref().unwrap_or(&photos);
    let purity = match &labelled {
        None => main.purity(k)?,
        Some(album) => study(album)?.purity(k)?,
    };
    let maps = match args.maps {
        0 => None,
        count => Some(maps(&sampler(&photos), count, &after, &config)?),
    };
    warn_of_undecodable([&photos].into_iter().chain(&labelled));
    match purity {
        Some(figure) => saved.push(save(&out, &figure, judged)?),
        None => println!("no purity.svg: no labels are known; give --labelled DIR"),
    }
    if let Some(figure) = maps {
        saved.push(save(&out, &figure, &photos)?);
    }
    match history.as_ref().and_then(curves) {
        Some(figure) => saved.push(save(&out, &figure, &photos)?),
        None => println!("no curves.svg: {} is not there or holds no step; give --log FILE", log.display()),
    }
    Ok(json!({ "figures": saved }))
}

impl Args {
    fn folder(&self) -> PathBuf {
        let beside = || self.checkpoint.with_file_name("figures");
        self.out.as_ref().map_or_else(beside, |out| out.to_path_buf())
    }

    /// The photos of the figures, and others for purity if the labels that are known are not theirs.
    fn photos(&self, config: &Config) -> Result<(Photos, Option<Photos>)> {
        let mut config = config.clone();
        if let Some(data) = &self.data {
            (config.data.photos, config.data.labelled) = (Some(data.to_path_buf()), None);
        }
        config.data.follow_links = self.follow_links; // not as the checkpoint says, which may be a stranger's
        let photos = pretraining_photos(&config)?;
        let (labelled, place) = match (&self.labelled, &config.data.labelled) {
            (Some(path), _) => {
                let source = Source::from(&**path).follow_links(config.data.follow_links);
                let inner = if path.join("train").is_dir() { path.join("train") } else { path.to_path_buf() };
                (Some(Photos::known(source)?), Some(inner))
            }
            (None, own) => {
                let known = (0..photos.len()).any(|id| !photos.labels(id).is_empty());
                let judges = if known { None } else { judge_photos(&config)? };
                (judges.map(|[train, _]| train), own.as_ref().map(|own| own.join("train")))
            }
        };
        match (labelled, &config.data.photos, place) {
            (Some(labelled), Some(data), Some(place)) if identity(data) == identity(&place) => {
                Ok((labelled, None))
            }
            (labelled, ..) => Ok((photos, labelled)),
        }
    }

    /// A key of each of D photos; queries of the same photos: of all if any has a label, else as many as needed.
    /// Of photos that partly have labels the unlabelled ones are left out: they say nothing about purity.
    fn study<'a>(
        &self,
        sampler: &Sampler<'a>,
        encoders: [&ResNetEncoder; 2],
        config: &Config,
    ) -> Result<Study<'a>> {
        let labelled = |id: usize| !sampler.album.photos().labels(id).is_empty();
        let count = sampler.album.photos().len();
        let any = (0..count).any(labelled);
        let wanted = |id: usize| !any || labelled(id);
        let slots = self.slots.or(config.whole("queue")).unwrap_or(4096).max(2);
        let slots = slots.min((0..count).filter(|&id| wanted(id)).count());
        let queries = if any { slots } else { self.queries.max(BATCH).min(slots) };
        let (all, mut done, mut heard) = (2 * slots + queries, 0, embedding());
        let mut progress = |views: usize| {
            done += views;
            heard(done, all);
        };
        let photos = sampler.photos(slots, &wanted, &mut progress)?;
        Study::new(sampler, encoders, &photos, queries, &mut progress)
    }
}

/// The maps of some photos by an encoder and by the same one before any training.
fn maps(sampler: &Sampler, count: usize, trained: &ResNetEncoder, config: &Config) -> Result<Figure> {
    let untrained = config.encoder(sampler.device)?;
    precise_statistics(&untrained.backbone, sampler.album, sampler.views, sampler.device)?;
    let (ids, mut done) = (sampler.spread(count)?, 0);
    watched(2 * ids.len(), "maps", |heard| {
        let mut more = |n: usize| {
            done += n;
            heard(done);
        };
        sampler.feature_maps(&ids, [&untrained.backbone, &trained.backbone], &mut more)
    })
}

/// Writes the drawing and its numbers, with what was left out of its photos, and says so.
fn save(out: &Path, figure: &Figure, album: &Album) -> Result<Value> {
    let mut json = json!({ "command": "figures" });
    extend(&mut json, figure.json.clone());
    json["warnings"] = album.all_left_out().into();
    let (ending, drawing) = match &figure.drawing {
        Drawing::Charts(panels, columns) => ("svg", marked(&svg(panels, *columns), SVG_MARK).into_bytes()),
        Drawing::Picture(rgb) => ("png", png(rgb)?),
    };
    let [numbers, path] = ["json", ending].map(|ending| out.join(format!("{}.{ending}", figure.name)));
    files::replace(&numbers, format!("{json:#}").as_bytes())?;
    files::replace(&path, &drawing)?;
    println!("{}\n    {}", path.display(), figure.summary);
    Ok(json!({ "drawing": absolute(&path), "numbers": absolute(&numbers), "summary": figure.summary }))
}
