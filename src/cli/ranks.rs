//! The processes that a launcher such as `mpirun` starts together: who speaks, and how they end.

use crate::engine::exchange::{Alone, Exchange};
use crate::error::{Error, Result};
use crate::print;
use crate::topic::Topic;
use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static ALL: RefCell<Rc<dyn Exchange>> = RefCell::new(Rc::new(Alone));
}

/// What launchers tell a process of how many it is one.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"];
/// Commands that several processes share.
const SHARED: [&str; 3] = ["pretrain", "segment", "devices"];

/// All processes that train together, as this one sees them.
pub(super) fn all() -> Rc<dyn Exchange> {
    ALL.with_borrow(Rc::clone)
}

/// Joins the others, where a launcher has started this process: the first speaks for all. Nothing else runs yet.
///
/// # Errors
/// [`Error::Input`] for a program that was built without MPI; MPI's.
pub(super) fn join() -> Result<()> {
    let launched = SIZES.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    let Some(ranks) = launched.filter(|&ranks: &usize| ranks > 1) else { return Ok(()) };
    let joined = joined(ranks)?;
    if joined.rank() > 0 {
        print::be_silent();
    }
    ALL.set(joined);
    Ok(())
}

#[cfg(feature = "mpi")]
fn joined(_: usize) -> Result<Rc<dyn Exchange>> {
    Ok(Rc::new(crate::engine::exchange::Mpi::start()?))
}

#[cfg(not(feature = "mpi"))]
fn joined(ranks: usize) -> Result<Rc<dyn Exchange>> {
    let what = format!("{ranks} processes were started, and this program was built for one");
    let advice = "build it with `cargo install --path . --features mpi`, or start it by itself";
    Err(Error::input(what, "vista", advice).see(Topic::Ranks))
}

/// Refuses a command that processes can't share.
///
/// # Errors
/// [`Error::Input`] naming those that they can.
pub(super) fn expect_shared(command: &str) -> Result<()> {
    if all().ranks() == 1 || SHARED.contains(&command) {
        return Ok(());
    }
    let what = format!("{} processes were started", all().ranks());
    let advice = format!("start it by itself; of the commands {} are for several", SHARED.join(", "));
    Err(Error::input(what, format!("vista {command}"), advice).see(Topic::Ranks))
}

/// Ends together with the others: an error of any of them is one of all, which the first tells.
pub(super) fn leave(result: Result<()>) -> Result<()> {
    let failure = result.as_ref().err().map(Error::to_string);
    let of_others = all().close(failure.as_deref());
    result.and(of_others)
}
