//! Readers, decoders and loaders of photos.

mod data;
mod formats;
mod found;
mod found_coco;
mod labels;
mod objects;
#[path = "../pixels/mod.rs"]
mod pixels;
#[path = "../helpers/sets.rs"]
mod sets;
