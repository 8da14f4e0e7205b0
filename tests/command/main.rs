//! The program as a person uses it.

mod choice;
mod cli;
mod detect;
mod detect_export;
mod detect_ways;
mod documented;
mod events;
mod figures;
mod interop;
mod judging;
mod moving;
mod outputs;
#[path = "../helpers/program.rs"]
mod program;
mod provenance;
#[cfg(feature = "mpi")]
mod ranks;
mod report;
mod segment;
#[path = "../helpers/sets.rs"]
mod sets;
mod signals;
mod threads;
mod worth;
