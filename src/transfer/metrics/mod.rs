//! Figures of merit: predictions and labels in, numbers out. Host values; nothing here knows an encoder or a photo.
//!
//! | file | figure |
//! |---|---|
//! | [`accuracy`](mod@accuracy) | share predicted right: plain, mean over classes, among the k largest; its standard error |
//! | [`ap`] | average precision of a ranking, and its mean over classes |
//! | [`confusion`] | label maps: IoU and accuracy of classes and their means |
//! | [`detection`] | average precision of objects that were found, by COCO's and by VOC's rules |
//!
//! **The test.** Golden cases of scikit-learn, of the VOC kit and of pycocotools in `tests/conformance`.
//!
//! ```
//! # use vista::transfer::metrics::{accuracy, standard_error};
//! let top1 = accuracy(&[0, 1, 1, 1], &[0, 1, 1, 0]);
//! assert_eq!(top1, 0.75);
//! assert!(standard_error(top1, 4) > 0.2); // of four photos next to nothing can be said
//! ```

pub mod accuracy;
pub mod ap;
pub mod confusion;
pub mod detection;

pub use accuracy::{accuracy, balanced_accuracy, class_accuracies, standard_error, top_k_accuracy};
pub use ap::{ApKind, average_precision, mean_of_known};
pub use confusion::Confusion;
