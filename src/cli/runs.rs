//! What the commands share that train in a folder: its files, flags for a configuration, how a run goes on, and how it ends.

use super::paths::{Files, Input, Mark};
use crate::error::{Error, Result};
use crate::files;
use crate::photos::Album;
use crate::run::settings::{MAX_TEXT, merged, with};
use crate::run::{Found, Settings, Summary, without_head};
use crate::show::report;
use std::path::{Component, Path};

/// Flags of a training on an encoder, whatever it trains.
#[derive(Debug, clap::Args)]
pub(super) struct TrainFlags {
    /// TOML file with keys to replace.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<Input>,
    /// Replace one key, as in `--set optimizer.lr=0.01`; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// Follow links and lists that lead out of the data's folders.
    #[arg(long)]
    pub(super) follow_links: bool,
    /// Start from the encoder in this file or in a run's folder: a checkpoint, or weights of torchvision, timm, MoCo or DenseCL as
    /// safetensors. It decides the backbone.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    pub(super) init: Option<Input>,
    /// What stands before the names of the encoder in that file, where it holds several.
    #[arg(long)]
    prefix: Option<String>,
    /// `resnet18`, `resnet34` or `resnet50`, of a network that starts from random parameters.
    #[arg(long, conflicts_with = "init")]
    backbone: Option<String>,
    /// Photos in a batch.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Steps.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Stop after so many minutes of training.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Most memory of all tensors: a run that needs more is refused before it starts; what is free if absent.
    #[arg(long, value_name = "MIB")]
    memory_limit: Option<usize>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long)]
    pub(super) device: Option<String>,
    /// Seed of everything random.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// A flag as a line of TOML, and as it was given.
pub(super) type Change = Option<(String, String)>;

/// The change of a flag whose value is a text.
pub(super) fn text(flag: &str, key: &str, value: Option<String>) -> Change {
    value.map(|v| (format!("{key} = {}", toml::Value::String(v.clone())), format!("--{flag} {v}")))
}

/// The change of a flag whose value is a path.
pub(super) fn path(flag: &str, key: &str, value: &Option<Input>) -> Change {
    text(flag, key, value.as_ref().map(|p| p.to_string_lossy().into_owned()))
}

fn number(flag: &str, key: &str, value: Option<impl std::fmt::Debug>) -> Change {
    value.map(|v| (format!("{key} = {v:?}"), format!("--{flag} {v:?}")))
}

impl TrainFlags {
    /// A configuration with the file's keys replaced, without what it then `forgets`, with a command's own changes and these flags, then the
    /// encoder's kind, then settings; `model` is the table that has the backbone.
    pub(super) fn applied<C: Settings>(
        &self,
        config: C,
        model: &str,
        forgets: Option<impl Fn(&mut C)>,
        own: impl IntoIterator<Item = Change>,
        like_init: impl FnOnce(C) -> Result<C>,
    ) -> Result<C> {
        let shared = [
            path("init", "init", &self.init),
            text("prefix", "init_prefix", self.prefix.clone()),
            text("backbone", &format!("{model}.backbone"), self.backbone.clone()),
            text("device", "device", self.device.clone()),
            number("batch", "train.batch", self.batch),
            number("steps", "train.steps", self.steps),
            number("minutes", "train.minutes", self.minutes),
            number("memory-limit", "train.memory_limit_mib", self.memory_limit),
            number("seed", "seed", self.seed),
            self.follow_links.then(|| ("data.follow_links = true".into(), "--follow-links".into())),
        ];
        let mut config = self.with_file(config)?;
        forgets.into_iter().for_each(|forget| forget(&mut config));
        for (line, place) in own.into_iter().chain(shared).flatten() {
            config = merged(&config, &line, &place)?;
        }
        if self.init.is_some() {
            config = like_init(config)?;
        }
        let config = self.settings.iter().try_fold(config, |config, setting| with(&config, setting))?;
        Ok(config.absolute())
    }

    fn with_file<C: Settings>(&self, config: C) -> Result<C> {
        let Some(path) = &self.config else { return Ok(config) };
        let text = files::read_text(path, MAX_TEXT as u64)?;
        merged(&config, &text, &path.display().to_string())
    }
}

/// Refuses to write pictures among other files.
pub(super) fn expect_empty(flag: &str, folder: &Path) -> Result<()> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let advice = format!("name an empty folder, or one that is not there, by {flag}");
        return Err(Error::input("there are files in it", folder.display().to_string(), advice));
    }
    Ok(())
}

/// Writes a picture of a photo into a folder, under the photo's name where that stays in the folder, else under the end of it behind the
/// photo's number. A JPEG's ending goes behind that of the photo, a PNG's in its place; where another photo's picture is there, the name
/// begins with the photo's number.
pub(super) fn write_picture(
    folder: &Path,
    album: &Album,
    id: usize,
    ending: &str,
    bytes: &[u8],
) -> Result<()> {
    let name = album.photos().name(id);
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let last = Path::new(name).file_name().map_or_else(|| "photo".into(), |last| last.to_string_lossy());
    let name = if inside { name.to_string() } else { format!("{id}-{last}") };
    let whole = folder.join(if name.ends_with(ending) { name.clone() } else { format!("{name}{ending}") });
    let short = folder.join(&name).with_extension(ending.trim_start_matches('.'));
    // The last can't be another's: no photo's own name has this number before all of it.
    let numbered = folder.join(format!("{id}-{}{ending}", name.replace(['/', '\\'], "-")));
    let names = if ending == ".jpg" { vec![whole] } else { vec![short, whole] };
    let path = names.into_iter().find(|path| !path.exists()).unwrap_or(numbered);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    files::replace(&path, bytes)
}

/// What a run writes into its folder, and how it knows its own. That a run is there which must stay is told by itself.
pub(super) fn files_of<C: Settings>() -> Vec<(&'static str, Mark)> {
    vec![
        ("config.toml", Mark::Contents(is_resolved::<C>)),
        ("log.jsonl", Mark::Words("{\"kind\":\"")),
        ("report.html", Mark::Words(report::MARK)),
        ("lock", Mark::Contents(<[u8]>::is_empty)),
        ("checkpoint.safetensors", Mark::Any),
        ("previous.safetensors", Mark::Any),
        ("best.safetensors", Mark::Any),
        ("next.safetensors", Mark::Any),
        ("kept.tmp", Mark::Any),
        (".next.safetensors.part", Mark::Any),
    ]
}

/// Whether a file is a whole configuration as this program writes it, without a comment or anything else of a person.
fn is_resolved<C: Settings>(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    C::kept(text, "config.toml").is_ok_and(|config| config.commented() == without_head(text))
}

/// The files of a run in `--out`, with some more that its command writes there.
pub(super) fn files<C: Settings>(
    out: &Path,
    [resume, overwrite]: [bool; 2],
    more: impl IntoIterator<Item = (&'static str, Mark)>,
) -> Files {
    let mut own = files_of::<C>();
    own.extend(more);
    if resume || overwrite {
        own.iter_mut().for_each(|(_, mark)| *mark = Mark::Any);
    }
    // A run may go on with the configuration in its folder after a change of it: nothing of that is lost.
    if resume && std::fs::read(out.join("config.toml")).is_ok_and(|text| is_resolved::<C>(&text)) {
        own.retain(|(name, _)| *name != "config.toml");
    }
    let mut files = Files::default().folder("--out", out, own);
    files.remedy = ", or replace it by --overwrite";
    files
}

/// What the run in `--out` goes on from, and the configuration with which it does: `over` that of the checkpoint.
pub(super) fn resumed<C: Settings>(
    out: &Path,
    quiet: bool,
    over: impl FnOnce(&C) -> Result<C>,
) -> Result<(Found<C>, C)> {
    let Some(found) = Found::<C>::newest(out)? else {
        let advice = "give the --out of a run that has saved a checkpoint, or start one without --resume";
        return Err(Error::input("no run to go on with", out.display().to_string(), advice));
    };
    found.skipped.iter().for_each(|broken| eprintln!("warning: skipped {broken}"));
    let config = over(found.config())?;
    found.edited(&config).iter().for_each(|edits| eprintln!("warning: {edits}"));
    if !quiet {
        println!("resume   step {} of {}", found.step(), found.path().display());
    }
    Ok((found, config))
}

/// The end of a run that was asked to stop when it was done already.
pub(super) fn expect_time<S>(summary: &Summary<S>) -> Result<()> {
    if !super::signals::stop_at_once() {
        return Ok(());
    }
    let saved = summary.checkpoint.display();
    Err(Error::Interrupted(format!("interrupted after the last step: all is saved in {saved}")))
}
