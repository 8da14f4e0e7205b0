//! How much of its time a training waits for photos, and what to do about it.

use crate::photos::{Album, LoaderOptions};
use std::collections::VecDeque;
use std::time::Duration;

/// Steps that are looked at together: one alone is chance.
const STEPS: usize = 20;
/// A share of the time that is worth a word.
const HIGH: f64 = 0.2;

/// The last steps of a run: for how long each waited for its views, and how long it took with that.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Whether the first step is over, which waits for the loader to begin.
    begun: bool,
    last: VecDeque<[Duration; 2]>,
    told: bool,
}

impl Waiting {
    /// Takes in a step.
    pub(super) fn add(&mut self, waited: Duration, took: Duration) {
        if std::mem::replace(&mut self.begun, true) {
            self.last.push_back([waited, took]);
        }
        if self.last.len() > STEPS {
            self.last.pop_front();
        }
    }

    /// The share of the last steps' time.
    pub(super) fn share(&self) -> f64 {
        let sum = |which: usize| self.last.iter().map(|step| step[which]).sum::<Duration>().as_secs_f64();
        if self.last.is_empty() { 0.0 } else { sum(0) / sum(1).max(f64::MIN_POSITIVE) }
    }

    /// What to do where it is high, once in a run.
    pub(super) fn hint<R>(&mut self, album: &Album, loader: &LoaderOptions<R>) -> Option<String> {
        if self.told || self.last.len() < STEPS || self.share() <= HIGH {
            return None;
        }
        self.told = true;
        let (options, processors) =
            (album.options(), std::thread::available_parallelism().map_or(1, usize::from));
        let threads = (1..processors).contains(&loader.threads);
        let threads =
            threads.then(|| format!("raise data.threads ({} of {processors} processors)", loader.threads));
        let cache = (!album.is_cached()).then(|| "keep them decoded on a disk (data.cache_dir)".to_string());
        let shrink =
            options.shrink_to.is_none().then(|| "scale photos down once (data.shrink_to)".to_string());
        let advice: Vec<String> = threads.into_iter().chain(cache).chain(shrink).collect();
        let advice = match advice.is_empty() {
            true => "the disk or the processors are too slow for more".to_string(),
            false => advice.join(", or "),
        };
        let share = 100.0 * self.share();
        Some(format!("{share:.0} % of the last {STEPS} steps' time went by waiting for photos: {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photos::{AlbumOptions, Photos};

    #[test]
    fn a_run_that_waits_much_is_told_once_what_to_do() {
        let album = |options: AlbumOptions| Album::new(Photos::from_bytes(Vec::new(), Vec::new()), options);
        let loader = LoaderOptions { threads: 0, ..LoaderOptions::new(1, (), 0) };
        let second = Duration::from_secs(1);
        let mut waiting = Waiting::default();
        waiting.add(9 * second, 10 * second); // the first does not count
        assert_eq!(waiting.share(), 0.0);
        (0..STEPS).for_each(|_| waiting.add(second, 10 * second));
        assert!((waiting.share() - 0.1).abs() < 1e-9);
        assert_eq!(waiting.hint(&album(AlbumOptions::default()), &loader), None);
        (0..STEPS).for_each(|_| waiting.add(3 * second, 10 * second));
        let hint = waiting.hint(&album(AlbumOptions::default()), &loader).expect("a hint");
        assert!(hint.starts_with("30 % of the last 20 steps' time went by waiting for photos: "), "{hint}");
        assert!(
            hint.contains("data.cache_dir")
                && hint.contains("data.shrink_to")
                && !hint.contains("data.threads"),
            "{hint}"
        );
        assert_eq!(waiting.hint(&album(AlbumOptions::default()), &loader), None);
    }
}
