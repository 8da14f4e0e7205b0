//! Ranks that are processes, on one machine or many, which tell each other things by MPI.
//!
//! A round is two messages between each pair at most: how long a part is, and the part with it if it is short; then the long ones. A
//! rank that fails says so in place of its part: all others learn it in that round, and end with it.

use super::{Exchange, share};
use crate::error::{Error, Result};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The processes that a launcher such as `mpirun` has started.
pub struct Mpi {
    /// Ends MPI when it is dropped.
    universe: RefCell<Option<Universe>>,
    world: SimpleCommunicator,
    /// Where each rank runs.
    seats: Vec<Seat>,
    /// Whether a rank has failed: nothing can be told any more.
    ended: Cell<bool>,
    /// From when on a process may be gone.
    closing: Arc<AtomicBool>,
}

/// Where a rank runs.
#[derive(Clone, Debug, PartialEq)]
struct Seat {
    /// The machine, and the container on it: where process numbers mean the same.
    machine: String,
    process: u32,
}

/// A part up to this many bytes goes with its length.
const SHORT: usize = 1 << 14;
/// The most bytes of one message: MPI counts in 32 bits.
const PIECE: usize = 1 << 30;
/// The bit of a length that says that the rank has failed.
const FAILED: u64 = 1 << 63;
/// How long a wait keeps the processor before it sleeps: ranks may share one.
const AWAKE: Duration = Duration::from_micros(500);
const NAP: Duration = Duration::from_micros(50);
/// How often one looks after the others.
const WATCH: Duration = Duration::from_millis(100);

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Mpi(rank {} of {})", self.rank(), self.ranks())
    }
}

impl Mpi {
    /// Starts MPI in a process that a launcher has started, before any other thread. Without an order of the user's each rank keeps
    /// to its share of the machine's processors.
    ///
    /// # Errors
    /// [`Error::Run`] if MPI runs already; as [`Exchange::swap`].
    pub fn start() -> Result<Mpi> {
        let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
            return Err(Error::Run("MPI runs already in this process".into()));
        };
        let world = universe.world();
        let universe = RefCell::new(Some(universe));
        let (ended, closing) = (Cell::new(false), Arc::default());
        let mut mpi = Mpi { universe, world, seats: Vec::new(), ended, closing };
        let own = Seat::own();
        let all = mpi.tell(format!("{} {}", own.process, own.machine).as_bytes())?;
        let seats = all.iter().map(|text| {
            let text = String::from_utf8_lossy(text);
            let (process, machine) = text.split_once(' ')?;
            Some(Seat { machine: machine.into(), process: process.parse().ok()? })
        });
        let seats: Option<Vec<_>> = seats.collect();
        mpi.seats = seats.ok_or_else(|| Error::Run("MPI: ranks of different versions of vista".into()))?;
        let (local, locals) = mpi.local();
        spread(local, locals);
        mpi.watch();
        Ok(mpi)
    }

    /// Looks from now on whether the other processes on this machine are alive: where one was killed the run can't go on, and no
    /// message says so. The first of those that are left tells it.
    fn watch(&self) {
        let (own, closing) = (self.seats[self.rank()].clone(), self.closing.clone());
        let here = self.seats.iter().cloned().enumerate().filter(|(_, seat)| seat.machine == own.machine);
        let here: Vec<(usize, Seat)> = here.collect();
        let look = move || {
            while !closing.load(Ordering::SeqCst) {
                std::thread::sleep(WATCH);
                let is_gone = |seat: &Seat| seat.process != own.process && !is_alive(seat.process);
                let Some((rank, seat)) = here.iter().find(|(_, seat)| is_gone(seat)) else { continue };
                if closing.load(Ordering::SeqCst) {
                    return;
                }
                let first = here.iter().find(|(_, seat)| !is_gone(seat));
                if first.is_some_and(|(_, first)| *first == own) {
                    crate::print::urgent(format_args!(
                        "error: rank {rank} (process {}) was ended from outside, by a signal or for want of memory, and all end \
                         with it: go on from the last checkpoint with --resume\n",
                        seat.process
                    ));
                }
                // SAFETY: ends the process at once; what is being written goes under another name until it is whole.
                unsafe { libc::_exit(1) }
            }
        };
        // Where no thread can be started the launcher still ends the others.
        let _ = std::thread::Builder::new().name("ranks".into()).spawn(look);
    }

    /// One round: what each rank has for this one, or what the first of those that failed says.
    fn round(&self, parts: &[&[u8]], has_failed: bool) -> Result<Vec<Vec<u8>>> {
        let (own, ranks) = (self.rank(), self.ranks());
        let flag = if has_failed { FAILED } else { 0 };
        let heads: Vec<Vec<u8>> = parts
            .iter()
            .map(|part| {
                let with = if part.len() > SHORT { &[] } else { *part };
                [&(part.len() as u64 | flag).to_ne_bytes(), with].concat()
            })
            .collect();
        let mut got: Vec<Vec<u8>> = (0..ranks).map(|_| vec![0; 8 + SHORT]).collect();
        let others = |rank: &usize| *rank != own;
        scope(|scope| {
            let mut requests = Vec::new();
            for (rank, head) in got.iter_mut().enumerate().filter(|(rank, _)| others(rank)) {
                let from = self.world.process_at_rank(rank as i32);
                requests.push(from.immediate_receive_into(scope, &mut head[..]));
            }
            let mut sent = Vec::new();
            for rank in (0..ranks).filter(others) {
                let to = self.world.process_at_rank(rank as i32);
                sent.push(to.immediate_send(scope, &heads[rank][..]));
            }
            wait(requests);
            wait(sent);
        });
        got[own][..8].copy_from_slice(&heads[own][..8]);
        let head = |of: &[u8]| u64::from_ne_bytes(of[..8].try_into().expect("eight bytes"));
        let lengths: Vec<u64> = got.iter().map(|got| head(got)).collect();
        let failed = lengths.iter().position(|length| length & FAILED != 0);
        // Where one has failed only the failed still speak.
        let speaks = |rank: usize| failed.is_none() || lengths[rank] & FAILED != 0;
        for (rank, got) in got.iter_mut().enumerate() {
            let length = (lengths[rank] & !FAILED) as usize;
            if rank == own {
                *got = parts[own].to_vec();
            } else if length > SHORT {
                *got = vec![0; if speaks(rank) { length } else { 0 }];
            } else {
                *got = got[8..8 + length].to_vec();
            }
        }
        scope(|scope| {
            let mut requests = Vec::new();
            for (rank, got) in got.iter_mut().enumerate() {
                if rank != own && got.len() > SHORT {
                    let from = self.world.process_at_rank(rank as i32);
                    let pieces = got.chunks_mut(PIECE);
                    requests.extend(pieces.map(|piece| from.immediate_receive_into(scope, piece)));
                }
            }
            let mut sent = Vec::new();
            for rank in (0..ranks).filter(others) {
                if speaks(own) && parts[rank].len() > SHORT {
                    let to = self.world.process_at_rank(rank as i32);
                    sent.extend(parts[rank].chunks(PIECE).map(|piece| to.immediate_send(scope, piece)));
                }
            }
            wait(requests);
            wait(sent);
        });
        match failed {
            None => Ok(got),
            Some(rank) => {
                self.ended.set(true);
                Err(Error::Run(format!("rank {rank}: {}", String::from_utf8_lossy(&got[rank]))))
            }
        }
    }
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn ranks(&self) -> usize {
        self.world.size() as usize
    }

    fn local(&self) -> (usize, usize) {
        let here = |rank: &usize| self.seats[*rank].machine == self.seats[self.rank()].machine;
        ((0..self.rank()).filter(here).count(), (0..self.ranks()).filter(here).count())
    }

    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        match self.ended.get() {
            true => Err(Error::Run("another rank has failed".into())),
            false => self.round(parts, false),
        }
    }

    fn close(&self, failure: Option<&str>) -> Result<()> {
        let last = match self.ended.get() {
            true => Ok(()), // all know already
            false => {
                let words = failure.unwrap_or_default().as_bytes();
                self.round(&vec![words; self.ranks()], failure.is_some()).map(drop)
            }
        };
        self.closing.store(true, Ordering::SeqCst);
        self.universe.take();
        last
    }
}

/// Waits until all that was begun is done, and leaves the processor to others meanwhile.
fn wait<'a, D: ?Sized, S: Scope<'a>>(mut requests: Vec<Request<'a, D, S>>) {
    let began = Instant::now();
    loop {
        requests = requests.into_iter().filter_map(|request| request.test().err()).collect();
        if requests.is_empty() {
            return;
        }
        if began.elapsed() < AWAKE { std::thread::yield_now() } else { std::thread::sleep(NAP) }
    }
}

impl Seat {
    fn own() -> Seat {
        let host = sysinfo::System::host_name().unwrap_or_default();
        // Containers of one name on one machine number their processes each for itself.
        let container = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Seat { machine: format!("{host} {}", container.display()), process: std::process::id() }
    }
}

/// Whether there is a process of this number.
fn is_alive(process: u32) -> bool {
    // SAFETY: signal 0 is none; it only asks.
    let asked = unsafe { libc::kill(process as libc::pid_t, 0) };
    asked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Keeps this process, and all threads that it starts from now on, to its share of the machine's processors: Open MPI gives each of
/// two ranks a single one, and each of more a whole socket, unless it is told how. An order of the user's stays.
#[cfg(target_os = "linux")]
fn spread(local: usize, locals: usize) {
    let by_mpirun = std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some();
    if !by_mpirun || std::env::var_os("OMPI_MCA_hwloc_base_binding_policy").is_some() {
        return;
    }
    // SAFETY: a set of processors is plain bits, and the calls read or write no more than its size.
    unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        (0..8 * size).for_each(|i| libc::CPU_SET(i, &mut all));
        // The system takes away those that are not for this process.
        if libc::sched_setaffinity(0, size, &all) != 0 || libc::sched_getaffinity(0, size, &mut all) != 0 {
            return;
        }
        let granted: Vec<usize> = (0..8 * size).filter(|&i| libc::CPU_ISSET(i, &all)).collect();
        let own = share(granted.len(), local, locals);
        // More ranks than processors share them.
        let own = if own.is_empty() { local % granted.len()..local % granted.len() + 1 } else { own };
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        granted[own].iter().for_each(|&i| libc::CPU_SET(i, &mut set));
        libc::sched_setaffinity(0, size, &set);
    }
}

#[cfg(not(target_os = "linux"))]
fn spread(_: usize, _: usize) {}
