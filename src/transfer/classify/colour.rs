//! The baseline that knows nothing but colour: what an encoder has to beat.
//!
//! ```
//! # use vista::transfer::classify::colour::histogram;
//! let bins = histogram(&[0, 0, 0, 255, 255, 255]); // a black and a white pixel
//! assert_eq!((bins[0], bins[511]), (0.5, 0.5));
//! ```

/// Bins per channel.
const BINS: usize = 8;

/// Length of a histogram.
pub const WIDTH: usize = BINS * BINS * BINS;

/// Colour histogram of RGB pixels: 8 x 8 x 8 bins, summing to 1.
///
/// Classified by [`super::Knn`] it is the baseline beside every learned encoder.
pub fn histogram(rgb: &[u8]) -> Vec<f32> {
    let mut counts = vec![0u32; WIDTH];
    let bin = |v: u8| usize::from(v) * BINS / 256;
    for pixel in rgb.chunks_exact(3) {
        counts[(bin(pixel[0]) * BINS + bin(pixel[1])) * BINS + bin(pixel[2])] += 1;
    }
    let pixels = (rgb.len() / 3).max(1) as f32;
    counts.into_iter().map(|count| count as f32 / pixels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_pixel_once() {
        let bins = histogram(&[0, 0, 0, 31, 31, 31, 255, 0, 0, 255, 255, 255]);
        assert_eq!((bins[0], bins[7 * 64], bins[511]), (0.5, 0.25, 0.25));
        assert_eq!(bins.iter().sum::<f32>(), 1.0);
        assert_eq!(histogram(&[]), [0.0; WIDTH]);
    }
}
