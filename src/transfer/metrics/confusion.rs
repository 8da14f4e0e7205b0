//! Label maps against predicted ones: intersection over union and accuracy, of a whole set at once.
//!
//! ```
//! # use vista::transfer::metrics::Confusion;
//! let mut confusion = Confusion::new(2, 255);
//! confusion.add(&[0, 0, 1, 1], &[0, 1, 1, 255])?; // predicted, labelled: the last pixel has no label
//! assert_eq!(confusion.iou(), [Some(0.5), Some(0.5)]);
//! assert_eq!((confusion.miou(), confusion.aacc()), (0.5, 2.0 / 3.0));
//! # Ok::<(), vista::Error>(())
//! ```

use super::ap::mean_of_known;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many pixels of each class were taken for each class, over all images that were added.
///
/// Pixels whose label is ignored are left out of everything, of what was predicted too. Figures are shares from 0 to 1.
///
/// | figure | of |
/// |---|---|
/// | IoU of a class | pixels both labelled and predicted so, over pixels that are one or the other |
/// | accuracy of a class | the same over pixels labelled so |
/// | mIoU, mAcc | their means over the classes, a class that does not occur counted as 0 |
/// | aAcc | pixels predicted right, over all |
///
/// # Source
/// Long et al. 2015 (FCN), Sec. 5; what counts as 0: PSPNet's code. Other code leaves absent classes out: [`Confusion::miou_present`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    ignore: u8,
    /// `[classes, classes]`: label, prediction.
    counts: Vec<u64>,
}

impl Confusion {
    /// Of no image yet.
    pub fn new(classes: usize, ignore: u8) -> Confusion {
        Confusion { classes, ignore, counts: vec![0; classes * classes] }
    }

    /// Of counts that are known: a row for each class that is labelled, in it those predicted.
    ///
    /// # Panics
    /// If there are not as many columns as rows.
    pub fn of(counts: &[Vec<u64>], ignore: u8) -> Confusion {
        assert!(counts.iter().all(|row| row.len() == counts.len()), "as many columns as rows");
        Confusion { classes: counts.len(), ignore, counts: counts.concat() }
    }

    /// These pixels and those of another, of the same classes.
    pub fn and(&self, other: &Confusion) -> Confusion {
        let counts = self.counts.iter().zip(&other.counts).map(|(a, b)| a + b).collect();
        Confusion { counts, ..*self }
    }

    /// Adds the pixels of one or more images.
    ///
    /// # Errors
    /// [`Error::Input`] if there are not as many predictions as labels, or one that counts names no class; nothing is added then.
    pub fn add(&mut self, predicted: &[u8], labels: &[u8]) -> Result<()> {
        let refused = |what: String, to_do: &str| Err(Error::input(what, "label maps", to_do));
        if predicted.len() != labels.len() {
            let what = format!("{} predictions for {} labels", predicted.len(), labels.len());
            return refused(what, "give both at the size of the label map");
        }
        let counted = || predicted.iter().zip(labels).filter(|(_, label)| **label != self.ignore);
        let named = |class: u8| usize::from(class) < self.classes;
        if let Some((p, l)) = counted().find(|(p, l)| !named(**p) || !named(**l)) {
            let what = format!("a pixel of class {l} taken for class {p}, of {} classes", self.classes);
            return refused(what, "number the classes from 0, and map other labels to the ignored one");
        }
        let mut counts = std::mem::take(&mut self.counts);
        counted().for_each(|(&p, &l)| counts[usize::from(l) * self.classes + usize::from(p)] += 1);
        self.counts = counts;
        Ok(())
    }

    /// Pixels of a class that were taken for another, or for itself.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        self.counts[label * self.classes + predicted]
    }

    /// Of each class, the pixels labelled and predicted so.
    pub fn intersections(&self) -> Vec<u64> {
        (0..self.classes).map(|c| self.count(c, c)).collect()
    }

    /// Of each class, the pixels labelled so.
    pub fn labelled(&self) -> Vec<u64> {
        (0..self.classes).map(|l| (0..self.classes).map(|p| self.count(l, p)).sum()).collect()
    }

    /// Of each class, the pixels labelled or predicted so.
    pub fn unions(&self) -> Vec<u64> {
        let predicted = |p| (0..self.classes).map(|l| self.count(l, p)).sum::<u64>();
        let labelled = self.labelled();
        (0..self.classes).map(|c| labelled[c] + predicted(c) - self.count(c, c)).collect()
    }

    /// Of each class; `None` where it is neither labelled nor predicted anywhere.
    pub fn iou(&self) -> Vec<Option<f64>> {
        self.shares(&self.unions())
    }

    /// Of each class; `None` where no pixel is labelled so.
    pub fn accuracies(&self) -> Vec<Option<f64>> {
        self.shares(&self.labelled())
    }

    fn shares(&self, of: &[u64]) -> Vec<Option<f64>> {
        let each = self.intersections().into_iter().zip(of);
        each.map(|(hits, &all)| (all > 0).then(|| hits as f64 / all as f64)).collect()
    }

    /// Mean IoU over all classes, 0 for absent ones.
    pub fn miou(&self) -> f64 {
        self.mean(&self.iou())
    }

    /// Mean IoU over the classes that are labelled or predicted somewhere.
    pub fn miou_present(&self) -> f64 {
        mean_of_known(&self.iou())
    }

    /// Mean accuracy over all classes, 0 for absent ones.
    pub fn macc(&self) -> f64 {
        self.mean(&self.accuracies())
    }

    fn mean(&self, shares: &[Option<f64>]) -> f64 {
        // Of nothing the sum of floats is -0.
        (0.0 + shares.iter().flatten().sum::<f64>()) / self.classes.max(1) as f64
    }

    /// Share of all pixels that were predicted right; 0 of none.
    pub fn aacc(&self) -> f64 {
        self.intersections().iter().sum::<u64>() as f64 / self.counts.iter().sum::<u64>().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_set_not_means_of_its_images() {
        let mut confusion = Confusion::new(3, 255);
        confusion.add(&[0, 0, 0, 0], &[0, 0, 0, 1]).expect("valid");
        confusion.add(&[1], &[1]).expect("valid");
        assert_eq!(confusion.iou(), [Some(0.75), Some(0.5), None]);
        assert_eq!(confusion.accuracies(), [Some(1.0), Some(0.5), None]);
        assert_eq!((confusion.miou(), confusion.miou_present()), (1.25 / 3.0, 0.625));
        assert_eq!((confusion.macc(), confusion.aacc()), (0.5, 0.8));
        assert_eq!(Confusion::new(3, 255).aacc(), 0.0);
    }

    #[test]
    fn what_names_no_class_is_refused_and_nothing_is_added() {
        let mut confusion = Confusion::new(2, 255);
        assert!(confusion.add(&[0, 1], &[0]).is_err());
        let error = confusion.add(&[0, 0], &[0, 7]).expect_err("class 7").to_string();
        assert!(error.contains("class 7"), "{error}");
        assert!(confusion.add(&[2], &[0]).is_err());
        confusion.add(&[9], &[255]).expect("a pixel that does not count");
        assert_eq!(confusion, Confusion::new(2, 255));
    }
}
