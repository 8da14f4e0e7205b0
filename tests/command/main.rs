//! The program as a person uses it.

mod cli;
mod events;
mod figures;
mod interop;
mod judging;
mod moving;
mod outputs;
#[path = "../helpers/program.rs"]
mod program;
mod report;
mod signals;
mod worth;
