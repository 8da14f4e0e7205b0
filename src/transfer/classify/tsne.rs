//! Photos on a plane: t-SNE with the exact gradient.

use crate::engine::device::vector::vectorised;
use rayon::prelude::*;

/// Steps of gradient descent.
const STEPS: usize = 1000;
/// In so many of them attraction is exaggerated, so that groups find each other, and the momentum is low.
const EARLY: usize = 250;
/// How much it is exaggerated.
const EXAGGERATION: f32 = 12.0;
/// Points whose repulsion is computed side by side.
const LANES: usize = 16;

/// t-SNE on a plane of rows `[N, width]`, `[N, 2]`, from their first two columns, so that the same rows give the same
/// picture, with any number of threads. `None` for fewer than ten rows, or rows that are all the same.
///
/// The gradient is `dy_i = sum_j (p_ij - q_ij) (y_i - y_j) / (1 + |y_i - y_j|^2)`: attraction between the `3 u` nearest rows of
/// each, where u is the perplexity, 30 or a third of the rows, and repulsion between all pairs, none approximated: `N^2` of
/// them in a step, some 10^9 a second and core. The learning rate is 200, or N / 12 where that is more.
///
/// # Source
/// van der Maaten and Hinton, "Visualizing data using t-SNE", 2008; the neighbours and the constants from van der Maaten,
/// "Accelerating t-SNE using tree-based algorithms", 2014; the rate for many rows from Belkina et al., "Automated optimized
/// parameters for t-distributed stochastic neighbor embedding", 2019.
pub fn tsne(values: &[f32], width: usize) -> Option<Vec<f32>> {
    let rows: Vec<&[f32]> = values.chunks(width.max(1)).collect();
    let spread = rows.iter().skip(1).any(|row| row != &rows[0]);
    if rows.len() < 10 || width < 2 || !spread || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let perplexity = 30.0f64.min(((rows.len() - 1) / 3 - 1) as f64);
    let attraction = Attraction::of(&rows, perplexity);
    let std = (rows.iter().map(|row| row[0] * row[0]).sum::<f32>() / rows.len() as f32).sqrt().max(1e-12);
    let mut plane = [0, 1].map(|c| Axis::new(rows.iter().map(|row| 1e-4 * row[c] / std).collect()));
    let rate = (rows.len() as f32 / EXAGGERATION).max(200.0);
    for step in 0..STEPS {
        let (exaggeration, momentum) = if step < EARLY { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let [x, y] = plane.each_ref().map(|axis| &axis.at[..]);
        let forces: Vec<Forces> = (0..rows.len())
            .into_par_iter()
            .with_min_len(16)
            .map(|i| {
                vectorised(
                    #[inline(always)]
                    || Forces::on(i, x, y, &attraction),
                )
            })
            .collect();
        // ORDER: summed by one thread; a row's own term is 1.
        let normaliser = forces.iter().map(|f| f64::from(f.similarity) - 1.0).sum::<f64>() as f32;
        for (c, axis) in plane.iter_mut().enumerate() {
            let slope = |f: &Forces| exaggeration * f.attraction[c] - f.repulsion[c] / normaliser;
            axis.descend(forces.iter().map(slope), rate, momentum);
        }
    }
    let [x, y] = plane.map(|axis| axis.at);
    let plane: Vec<f32> = x.into_iter().zip(y).flat_map(|(x, y)| [x, y]).collect();
    plane.iter().all(|v| v.is_finite()).then_some(plane)
}

/// Joint probabilities of near rows, those of row i at `starts[i]..starts[i + 1]`.
struct Attraction {
    starts: Vec<usize>,
    /// The other row, and `p_ij`; all sum to 1.
    pairs: Vec<(usize, f32)>,
}

impl Attraction {
    fn of(rows: &[&[f32]], perplexity: f64) -> Attraction {
        let (n, count) = (rows.len(), ((3.0 * perplexity) as usize).min(rows.len() - 1));
        let of_row = |i: usize| -> Vec<(usize, usize, f64)> {
            let mut others: Vec<(f32, usize)> = vectorised(
                #[inline(always)]
                || (0..n).map(|j| (square_distance(rows[i], rows[j]), j)).collect(),
            );
            others.swap_remove(i);
            // Of equally near rows the first is nearer.
            others.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            others.truncate(count);
            others.sort_unstable_by_key(|&(_, j)| j);
            let squares: Vec<f64> = others.iter().map(|&(square, _)| f64::from(square)).collect();
            let p = conditional(&squares, perplexity);
            others.iter().zip(p).map(|(&(_, j), p)| (i, j, p / (2 * n) as f64)).collect()
        };
        let directed: Vec<Vec<(usize, usize, f64)>> = (0..n).into_par_iter().map(of_row).collect();
        let mut all: Vec<(usize, usize, f64)> = directed.concat();
        all.extend(directed.concat().into_iter().map(|(i, j, p)| (j, i, p)));
        all.sort_by_key(|&(i, j, _)| (i, j));
        let (mut starts, mut pairs) = (Vec::with_capacity(n + 1), Vec::with_capacity(all.len()));
        for pair in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            starts.resize(pair[0].0 + 1, pairs.len());
            pairs.push((pair[0].1, pair.iter().map(|(.., p)| p).sum::<f64>() as f32));
        }
        starts.resize(n + 1, pairs.len());
        Attraction { starts, pairs }
    }
}

#[inline(always)]
fn square_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// `p_j = exp(-beta d_j) / sum_k exp(-beta d_k)`, with the beta at which their entropy is that of so many equal ones.
fn conditional(squares: &[f64], perplexity: f64) -> Vec<f64> {
    let nearest = squares.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = squares.iter().sum::<f64>() / squares.len() as f64 - nearest;
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0 / mean.max(1e-30));
    let mut p = vec![0.0; squares.len()];
    for _ in 0..100 {
        let mut sum = 0.0;
        for (p, square) in p.iter_mut().zip(squares) {
            *p = (-beta * (square - nearest)).exp();
            sum += *p;
        }
        p.iter_mut().for_each(|p| *p /= sum);
        let entropy: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        if (entropy - perplexity.ln()).abs() < 1e-6 {
            break;
        }
        // Equal distances have one entropy, whatever beta is.
        *(if entropy > perplexity.ln() { &mut low } else { &mut high }) = beta;
        beta = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * beta };
    }
    p
}

/// What moves a point.
struct Forces {
    /// `sum_j p_ij (y_i - y_j) / (1 + |y_i - y_j|^2)`.
    attraction: [f32; 2],
    /// `sum_j (y_i - y_j) / (1 + |y_i - y_j|^2)^2`.
    repulsion: [f32; 2],
    /// `sum_j 1 / (1 + |y_i - y_j|^2)`, the point itself among them.
    similarity: f32,
}

impl Forces {
    #[inline(always)]
    fn on(i: usize, x: &[f32], y: &[f32], attraction: &Attraction) -> Forces {
        let at = (x[i], y[i]);
        let mut pull = [0.0; 2];
        for &(j, p) in &attraction.pairs[attraction.starts[i]..attraction.starts[i + 1]] {
            let (dx, dy, q) = pair(at, (x[j], y[j]));
            pull[0] += p * q * dx;
            pull[1] += p * q * dy;
        }
        let (x_lanes, x_rest) = x.as_chunks::<LANES>();
        let (y_lanes, y_rest) = y.as_chunks::<LANES>();
        let mut sums = [[0.0f32; LANES]; 3];
        for (x, y) in x_lanes.iter().zip(y_lanes) {
            for lane in 0..LANES {
                let (dx, dy, q) = pair(at, (x[lane], y[lane]));
                sums[0][lane] += q * q * dx;
                sums[1][lane] += q * q * dy;
                sums[2][lane] += q;
            }
        }
        let mut totals = sums.map(|lanes| lanes.iter().sum::<f32>());
        for (&x, &y) in x_rest.iter().zip(y_rest) {
            let (dx, dy, q) = pair(at, (x, y));
            totals[0] += q * q * dx;
            totals[1] += q * q * dy;
            totals[2] += q;
        }
        let [rx, ry, similarity] = totals;
        Forces { attraction: pull, repulsion: [rx, ry], similarity }
    }
}

/// The difference of two points along both axes, and their similarity.
#[inline(always)]
fn pair(a: (f32, f32), b: (f32, f32)) -> (f32, f32, f32) {
    let (dx, dy) = (a.0 - b.0, a.1 - b.1);
    (dx, dy, 1.0 / (1.0 + dx * dx + dy * dy))
}

/// One coordinate of all points, on its way down.
struct Axis {
    at: Vec<f32>,
    speed: Vec<f32>,
    /// Factors of each point's learning rate: they grow while it keeps its direction and shrink when it turns.
    gain: Vec<f32>,
}

impl Axis {
    fn new(at: Vec<f32>) -> Axis {
        let (speed, gain) = (vec![0.0; at.len()], vec![1.0; at.len()]);
        Axis { at, speed, gain }
    }

    /// A step against the slopes, then back to mean 0.
    fn descend(&mut self, slopes: impl Iterator<Item = f32>, rate: f32, momentum: f32) {
        let state = self.at.iter_mut().zip(&mut self.speed).zip(&mut self.gain);
        for (((at, speed), gain), slope) in state.zip(slopes) {
            let kept = (slope > 0.0) != (*speed > 0.0);
            *gain = if kept { *gain + 0.2 } else { (*gain * 0.8).max(0.01) };
            *speed = momentum * *speed - rate * *gain * slope;
            *at += *speed;
        }
        let mean = self.at.iter().map(|&v| f64::from(v)).sum::<f64>() / self.at.len() as f64;
        self.at.iter_mut().for_each(|v| *v -= mean as f32);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/tsne.rs"]
mod tests;
