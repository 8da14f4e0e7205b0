//! Sets of photos as they lie on disks: names, bytes on demand, classes, boxes. One file for each form of set.
//!
//! | file | what it reads |
//! |---|---|
//! | [`open`](Photos::open) | tells the forms apart, by a table |
//! | `folder`, `list` | folders, folders of classes; csv lists |
//! | `stl10`, `cifar10` | records in binary files (`records`) |
//! | `coco`, `voc` | JSON of instances (`instances`; `loose`: values as people write them), an XML a photo |
//! | `numbered` | masks whose pixels are object numbers, a PNG a photo (`grid`) |
//! | `labels`, `cityscapes` | label maps, whose pixels are numbers of `classes` |
//! | `bundled` | the photos in the program |
//!
//! A reader begins with an empty set, `Photos::at(place, fence)`, and fills it with items (a photo's name, where it is, labels,
//! `object`s); `warn` and `account` say what was left out, `refused` why a set can't be used. One odd entry never costs the set.
//!
//! What they share besides: [`Source`], the fence around a set; `mask`, the objects' masks as they are written; `shelf`, where the
//! photos of a list lie; `tally`, what was left out and how much may be; `part` and `endings`, the words people use for parts and photos.

mod bundled;
mod cifar10;
mod cityscapes;
mod classes;
mod coco;
mod endings;
mod folder;
mod grid;
mod instances;
mod labels;
mod list;
mod loose;
mod mask;
mod numbered;
mod object;
mod open;
mod part;
mod photos;
mod records;
mod shelf;
mod source;
mod stl10;
pub(super) mod tally;
mod voc;

pub use classes::{IGNORED, PixelClass, PixelClasses};
pub use labels::{LabelMap, Labels};
pub use mask::Mask;
pub use object::LabelledBox;
pub use open::{has_objects, labelled_split, multi_label_split, train_folder};
pub use part::Split;
pub use photos::Photos;
pub use source::Source;
