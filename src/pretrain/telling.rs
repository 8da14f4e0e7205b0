//! What a run says on its way: photos that could not be used, numbers that are not finite, weights and views to look at.

use super::config::OnNan;
use super::step::StepReport;
use super::trainer::Trainer;
use crate::engine::nn::Module;
use crate::error::{Error, Result};
use crate::photos;
use crate::run::{Log, Progress, ReplacedRecord, SkippedRecord};
use crate::topic::Topic;

/// Steps in a row that may be skipped because a number was not finite.
const MAX_SKIPPED: u64 = 3;
impl Trainer {
    /// Tells of photos that could not be decoded.
    pub(super) fn note_replaced(
        &mut self,
        views: &photos::Batch,
        log: &mut Log,
        progress: &Progress,
    ) -> Result<()> {
        for replaced in &views.replaced {
            if self.state.broken.insert(replaced.name.clone()) {
                progress.say(&format!("{}: cannot be used ({})", replaced.name, replaced.reason));
            }
            let (photo, reason, by) = (replaced.name.clone(), replaced.reason.clone(), replaced.by.clone());
            log.write(&ReplacedRecord { kind: "replaced", photo, reason, by })?;
        }
        Ok(())
    }

    /// A step whose loss or gradient is not finite, and which has changed nothing: skipped, or the end of the run.
    pub(super) fn not_finite(
        &mut self,
        report: &StepReport,
        views: &photos::Batch,
        log: &mut Log,
        progress: &Progress,
    ) -> Result<()> {
        self.state.skipped += 1;
        let name = |&id: &u64| self.album.photos().name(id as usize).to_string();
        let photos: Vec<String> = views.ids.iter().map(name).collect();
        let (step, loss, gradient_norm) = (self.state.step, report.loss, report.gradient_norm);
        log.write(&SkippedRecord::new(step, loss, gradient_norm, photos.clone()))?;
        let what = format!("step {step}: the loss is {loss}, the gradient's norm {gradient_norm}");
        if self.config.train.on_nan == OnNan::Skip && self.state.skipped <= MAX_SKIPPED {
            progress.say(&format!("warning: {what}: skipped, nothing has moved"));
            return Ok(());
        }
        progress.end();
        let last = self.folder.checkpoint();
        let from = if last.exists() { last.display().to_string() } else { "none yet".into() };
        let skipped = match self.config.train.on_nan {
            OnNan::Skip => format!(" ({MAX_SKIPPED} steps before it were skipped)"),
            OnNan::Stop => String::new(),
        };
        let shown = photos.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        Err(Error::Run(format!(
            "{what}{skipped}: lower optimizer.lr, or look at the batch's {} photos ({shown}, .. all in {}); last sound \
             checkpoint: {from}",
            photos.len(),
            log.path().display()
        ))
        .see(Topic::Train))
    }

    /// Weights as histograms and the first views of a batch as a picture, for TensorBoard.
    pub(super) fn show(&self, views: &photos::Batch, log: &mut Log) -> Result<()> {
        let step = self.state.step;
        for param in self.learner.trained().iter().filter(|param| param.shape().len() > 1) {
            log.events.histogram(step, param.name(), &param.get().to_vec()?);
        }
        let view = &self.config.views;
        let (side, count) = (view.size, views.ids.len().min(8));
        let mut picture = vec![0; side * count * side * 3];
        for (i, pixel) in views.images[..count * side * side * 3].chunks(3).enumerate() {
            let (image, y, x) = (i / (side * side), i / side % side, i % side);
            let at = 3 * (y * side * count + image * side + x);
            for c in 0..3 {
                picture[at + c] = (255.0 * (pixel[c] * view.std[c] + view.mean[c])) as u8;
            }
        }
        log.events.image(step, "views", [side, side * count], picture);
        Ok(())
    }
}
