//! Linear support vector machines by Newton's method, many at once: their passes over the images are matrix products.
//!
//! A machine of scores `s = X w` has the gradient `g = w - C X^T (2 b y max(0, 1 - y s))` and the generalised Hessian
//! `H = I + 2 C X^T diag(b [y s < 1]) X`, where b is 1, or the positive weight for positives, and 0 for an image left out.
//! `H p = -g` is solved by conjugate gradients, one product with X and one with X^T an iteration, and w moves along p to the
//! lowest point. Machines don't wait for each other: each brings to a round of two products what it needs next, so the
//! products stay wide to the end.
//!
//! **Why so.** The smallest eigenvalue of H is at least 1, so `|w - optimum| <= |g|`: the gradient that training ends at bounds
//! the error of the weights, whatever the solver did before.

use super::svm::{CostPath, Rows, Svm, SvmLoss, Trained, add_scaled, dot};
use crate::engine::device::vector::vectorised;
use crate::engine::ops::matmul::twin::matmul;
use crate::error::Result;
use rayon::prelude::*;

/// Machines in a round; later ones take the places of those that are done. Each holds `2 N + 6 width` numbers, and the
/// products another `2 N + 2 width`.
const AT_ONCE: usize = 64;

/// A Newton system is solved to this share of its gradient: enough that a few steps end a fit, and no iteration is spent on a
/// set of violated margins that the step will change.
const SOLVED: f64 = 0.02;

impl Svm {
    /// Trains a machine for each cost of each path, each from where the last one ended; `heard` gets them as they come, from
    /// any thread.
    ///
    /// Of the squared hinge a fit ends when `|g| <= tolerance |w|`, or after `max_passes` rounds; the bits are the same with any
    /// number of threads. The hinge, which has no second derivative, goes the same paths by [`Svm::fit`].
    ///
    /// # Errors
    /// Those of `heard`.
    /// # Source
    /// Keerthi and DeCoste, "A modified finite Newton method for fast solution of large scale linear SVMs", 2005.
    pub fn fit_paths(&self, rows: &Rows, paths: &[CostPath], heard: Heard) -> Result<()> {
        if self.loss == SvmLoss::SquaredHinge {
            return by_newton(self, rows, paths, heard);
        }
        paths.par_iter().enumerate().try_for_each(|(number, path)| {
            let images: Vec<usize> = (0..path.signs.len()).filter(|&i| path.signs[i] != 0).collect();
            let positive: Vec<bool> = images.iter().map(|&i| path.signs[i] > 0).collect();
            let mut start: Option<Vec<f64>> = None;
            path.costs.iter().enumerate().try_for_each(|(at, &cost)| {
                let fit = self.fit(rows, &images, &positive, cost, start.as_deref());
                heard(Trained { path: number, cost: at, w: &fit.w, scores: &rows.scores(&fit.w) })?;
                start = Some(fit.alpha);
                Ok(())
            })
        })
    }
}

/// What hears of each machine.
type Heard<'a> = &'a (dyn Fn(Trained) -> Result<()> + Sync);

fn by_newton(svm: &Svm, rows: &Rows, paths: &[CostPath], heard: Heard) -> Result<()> {
    let (width, count) = (rows.width, rows.values.len() / rows.width);
    let mut waiting = paths.iter().enumerate();
    let mut machines: Vec<Machine> = Vec::new();
    let (mut directions, mut along, mut pulls, mut products) = (vec![], vec![], vec![], vec![]);
    loop {
        machines.retain(|m| m.at < m.path.costs.len());
        let free = AT_ONCE - machines.len();
        machines.extend(waiting.by_ref().take(free).map(|(number, path)| Machine::new(number, path, width)));
        if machines.is_empty() {
            return Ok(());
        }
        // Those at a gradient take part in the second product only.
        machines.sort_by_key(|m| m.system.is_none());
        directions.clear();
        machines.iter().filter_map(|m| m.system.as_ref()).for_each(|s| directions.extend(&s.direction));
        let solving = directions.len() / width;
        along.resize(machines.len() * count, 0.0);
        pulls.resize(machines.len() * count, 0.0);
        products.resize(machines.len() * width, 0.0);
        let scores = &mut along[..solving * count];
        matmul(false, true, solving, count, width, &directions, &rows.values, None, scores);
        let each = along.par_chunks(count).zip(pulls.par_chunks_mut(count));
        machines.par_iter().zip(each).for_each(|(machine, (along, pulls))| {
            vectorised(
                #[inline(always)]
                || machine.pulls(svm, along, pulls),
            );
        });
        matmul(false, false, machines.len(), width, count, &pulls, &rows.values, None, &mut products);
        let each = along.par_chunks(count).zip(products.par_chunks(width));
        machines.par_iter_mut().zip(each).try_for_each(|(machine, (along, product))| {
            vectorised(
                #[inline(always)]
                || machine.advance(svm, along, product, heard),
            )
        })?;
    }
}

/// A machine on its way through the costs.
struct Machine<'a> {
    number: usize,
    path: &'a CostPath,
    /// The cost that it is trained for.
    at: usize,
    /// Rounds spent on it.
    passes: usize,
    w: Vec<f64>,
    /// `X w`, `[N]`.
    scores: Vec<f64>,
    /// What is being solved; at a gradient nothing is.
    system: Option<System>,
}

/// `H p = -g`, half solved.
struct System {
    /// p so far.
    step: Vec<f64>,
    /// `X p`, `[N]`.
    step_scores: Vec<f64>,
    /// `-g - H p`.
    residual: Vec<f64>,
    direction: Vec<f64>,
    /// `|residual|^2`.
    square: f64,
    /// It is solved when the residual is no longer than this.
    enough: f64,
}

impl<'a> Machine<'a> {
    fn new(number: usize, path: &'a CostPath, width: usize) -> Machine<'a> {
        let scores = vec![0.0; path.signs.len()];
        Machine { number, path, at: 0, passes: 0, w: vec![0.0; width], scores, system: None }
    }

    /// How each image pulls: `2 C b X d` along a direction d, `2 b y slack` at a gradient; 0 where the margin is kept.
    #[inline(always)]
    fn pulls(&self, svm: &Svm, along: &[f64], pulls: &mut [f64]) {
        let (cost, solving) = (self.path.costs.get(self.at).copied().unwrap_or(0.0), self.system.is_some());
        let images = self.path.signs.iter().zip(&self.scores).zip(along);
        for (pull, ((&sign, score), along)) in pulls.iter_mut().zip(images) {
            let (y, slack) = (f64::from(sign), 1.0 - f64::from(sign) * score);
            let of_slack = if solving { cost * along } else { y * slack };
            *pull = if slack > 0.0 { 2.0 * weight(svm, sign) * of_slack } else { 0.0 };
        }
    }

    /// Takes in a round: `along` is `X d`, `product` is `X^T pulls`.
    #[inline(always)]
    fn advance(&mut self, svm: &Svm, along: &[f64], product: &[f64], heard: Heard) -> Result<()> {
        self.passes += 1;
        let out_of_time = self.passes >= svm.max_passes;
        if let Some(mut system) = self.system.take() {
            if system.iterate(along, product) || out_of_time {
                let length = self.lowest(svm, &system);
                add_scaled(&mut self.w, length, &system.step);
                add_scaled(&mut self.scores, length, &system.step_scores);
            } else {
                self.system = Some(system);
            }
            return Ok(());
        }
        // The gradient of a larger cost takes no other product: only its factor differs.
        while let Some(&cost) = self.path.costs.get(self.at) {
            let descent: Vec<f64> = product.iter().zip(&self.w).map(|(pull, w)| cost * pull - w).collect();
            let (square, reach) = (dot(&descent, &descent), svm.tolerance * dot(&self.w, &self.w).sqrt());
            if square.sqrt() > reach && self.passes < svm.max_passes {
                self.system = Some(System {
                    step: vec![0.0; self.w.len()],
                    step_scores: vec![0.0; self.scores.len()],
                    direction: descent.clone(),
                    residual: descent,
                    square,
                    enough: (SOLVED * square.sqrt()).max(0.5 * reach),
                });
                return Ok(());
            }
            heard(Trained { path: self.number, cost: self.at, w: &self.w, scores: &self.scores })?;
            self.at += 1;
            self.passes = 0;
        }
        Ok(())
    }

    /// How far along a step the objective is lowest: where its slope, which rises in straight pieces, is 0.
    #[inline(always)]
    fn lowest(&self, svm: &Svm, system: &System) -> f64 {
        let flat = 1e-9 * self.slope(svm, system, 0.0).0.abs();
        let (mut low, mut high, mut t) = (0.0, f64::INFINITY, 1.0);
        // Newton's method between bounds; a few pieces away at most.
        for _ in 0..50 {
            let (slope, curvature) = self.slope(svm, system, t);
            if slope.abs() <= flat {
                break;
            }
            *(if slope > 0.0 { &mut high } else { &mut low }) = t;
            let next = t - slope / curvature;
            let halved = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * t };
            t = if next > low && next < high { next } else { halved };
        }
        t
    }

    /// Slope and curvature of the objective at length t of a step.
    #[inline(always)]
    fn slope(&self, svm: &Svm, system: &System, t: f64) -> (f64, f64) {
        let cost = 2.0 * self.path.costs[self.at];
        let square = dot(&system.step, &system.step);
        let (mut slope, mut curvature) = (dot(&self.w, &system.step) + t * square, square);
        let scores = self.scores.iter().zip(&system.step_scores);
        for (&sign, (score, step)) in self.path.signs.iter().zip(scores) {
            let (y, b) = (f64::from(sign), weight(svm, sign));
            let slack = 1.0 - y * (score + t * step);
            let pull = if slack > 0.0 { cost * b * step } else { 0.0 };
            slope -= pull * y * slack;
            curvature += pull * step;
        }
        (slope, curvature)
    }
}

impl System {
    /// An iteration of conjugate gradients, given `X d` and `X^T pulls = (H - I) d`; whether it is solved.
    #[inline(always)]
    fn iterate(&mut self, along: &[f64], product: &[f64]) -> bool {
        let direction = &self.direction;
        let length = self.square / (dot(direction, direction) + dot(direction, product));
        add_scaled(&mut self.step, length, direction);
        add_scaled(&mut self.step_scores, length, along);
        add_scaled(&mut self.residual, -length, direction);
        add_scaled(&mut self.residual, -length, product);
        let square = dot(&self.residual, &self.residual);
        let kept = square / self.square;
        for (d, r) in self.direction.iter_mut().zip(&self.residual) {
            *d = r + kept * *d;
        }
        self.square = square;
        square.sqrt() <= self.enough
    }
}

/// How much an image counts.
#[inline(always)]
fn weight(svm: &Svm, sign: i8) -> f64 {
    if sign > 0 { svm.positive_weight } else { -f64::from(sign) }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/newton.rs"]
mod tests;
