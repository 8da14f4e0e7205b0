//! Whole pretraining runs.

#[path = "../helpers/config.rs"]
mod config;
mod memory;
#[path = "../helpers/program.rs"]
mod program;
mod ranks;
mod resume;
mod training;
mod trajectory;
