//! Photos and files as they are in the wild, thousands of damaged ones: no panic, no hang, bounded memory, nothing
//! outside the folders that were named.
//!
//! `VISTA_FUZZ=100000 cargo test --release --test wild` sets the number of inputs of each test.

mod damage;
mod links;
mod memory;
mod objects;
mod parsers;
mod photos;
#[path = "../helpers/sets.rs"]
mod sets;
mod strangers;
mod values;

/// Inputs of a test: `VISTA_FUZZ`, or so many.
fn count(usual: u32) -> u32 {
    std::env::var("VISTA_FUZZ").map_or(usual, |text| text.parse().expect("VISTA_FUZZ is a number"))
}
