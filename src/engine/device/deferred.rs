//! Small jobs of one kind that wait for each other, so that one dispatch does several of them.

use super::Gpu;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::sync::Mutex;

/// One job: how to record several of its kind, what it reads and what it writes.
pub(crate) struct Job {
    /// Records up to `most` pairs of what is read and what is written as one dispatch.
    pub record: fn(&Gpu, &[[Tensor; 2]]) -> Result<()>,
    /// Jobs that one dispatch can do.
    pub most: usize,
    /// What is read and what is written.
    pub tensors: [Tensor; 2],
}

/// Jobs that are not recorded yet. They keep their tensors, whose memory no one else gets before they have run.
#[derive(Default)]
pub(super) struct Deferred(Mutex<Vec<Job>>);

impl Deferred {
    /// Adds a job; returns those that are due: as many as one dispatch can do.
    pub fn add(&self, job: Job) -> Vec<Job> {
        let mut jobs = self.0.lock().expect("deferred lock");
        let most = job.most;
        jobs.push(job);
        if jobs.len() < most { Vec::new() } else { std::mem::take(&mut *jobs) }
    }

    /// The jobs that are due because `needs` is true of what one of them writes: all of them, or none.
    pub fn due(&self, needs: impl Fn(&Tensor) -> bool) -> Vec<Job> {
        let mut jobs = self.0.lock().expect("deferred lock");
        let due = jobs.iter().any(|job| needs(&job.tensors[1]));
        if due { std::mem::take(&mut *jobs) } else { Vec::new() }
    }
}
