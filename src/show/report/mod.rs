//! A run to look at: one page that needs no network, with its curves, its photos in the learned space, and how to repeat
//! it.
//!
//! ```text
//! RunFacts   config.toml + log.jsonl     -> headline, curves, warnings, the command to repeat it     run.rs, judged.rs, repeat.rs
//! keep_found what a detector found, for its page: precision and recall, the worst photos            detector.rs
//! keep_segmented what a segmenter said, for its page: classes, which are taken for which, the worst photos   segmenter.rs
//! gallery()  the encoder + the photos    -> thumbnails, crops, neighbours, figures, maps             gallery.rs
//! worst()    objects and detections   -> photos with what is there beside what was found, the worst first       detected.rs
//! page()     both as JSON in assets/     -> report.html                                              page.rs
//! serve      the page while the run goes on, on loopback                                             serve.rs
//! ```
//!
//! The page's own code is in `assets/`: `page.html`, `style.css`, `charts.js`, `photos.js`.
//!
//! ```
//! # use vista::{pretrain::Config, show::report::command};
//! let config = Config::preset("demo")?.with("method.tau=0.1")?;
//! assert_eq!(command(&config, "runs/again"), "vista pretrain --set method.tau=0.1 --out runs/again");
//! # Ok::<(), vista::Error>(())
//! ```

mod detected;
mod detector;
mod facts;
mod gallery;
mod judged;
mod page;
mod picture;
mod repeat;
mod run;
mod segmenter;
mod serve;

pub use detected::worst;
pub use detector::{keep_found, write_found};
pub use facts::RunFacts;
pub use gallery::{gallery, missing};
pub(crate) use page::{MARK, has_photos};
pub use page::{page, write};
pub use repeat::command;
pub use segmenter::keep_segmented;
pub use serve::{Live, listen, serve};
