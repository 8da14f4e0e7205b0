//! The numbers that make one view, drawn before any pixel is touched.

use crate::photos::views::config::ViewConfig;
use crate::photos::views::geometry::CropBox;
use crate::rng::KeyedRng;

/// One adjustment of colour and its factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// See [`adjust_brightness`](crate::photos::views::adjust_brightness).
    Brightness(f64),
    /// See [`adjust_contrast`](crate::photos::views::adjust_contrast).
    Contrast(f64),
    /// See [`adjust_saturation`](crate::photos::views::adjust_saturation).
    Saturation(f64),
    /// See [`adjust_hue`](crate::photos::views::adjust_hue).
    Hue(f64),
}

/// All that is random in one view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewParams {
    /// What is cut out of the photo.
    pub crop: CropBox,
    /// The adjustments of colour, in the order in which they are made.
    pub jitter: Option<[Adjustment; 4]>,
    /// Whether the view is grey.
    pub gray: bool,
    /// Standard deviation of the blur in pixels.
    pub blur: Option<f64>,
    /// Whether the view is solarised.
    pub solarize: bool,
    /// Whether the view is mirrored.
    pub flip: bool,
}

impl ViewParams {
    /// Draws the parameters of a view of a `width` x `height` photo.
    ///
    /// Every view takes the same count of numbers from `rng` whatever is chosen, apart from the crop's tries.
    pub fn draw(config: &ViewConfig, width: usize, height: usize, rng: &mut KeyedRng) -> ViewParams {
        let crop = draw_crop(config, width, height, rng);
        let jittered = rng.chance(config.jitter_p);
        let mut factor = |strength: f64| rng.uniform((1.0 - strength).max(0.0), 1.0 + strength);
        let mut jitter = [
            Adjustment::Brightness(factor(config.brightness)),
            Adjustment::Contrast(factor(config.contrast)),
            Adjustment::Saturation(factor(config.saturation)),
            Adjustment::Hue(rng.uniform(-config.hue, config.hue)),
        ];
        rng.shuffle(&mut jitter);
        let gray = rng.chance(config.gray_p);
        let blurred = rng.chance(config.blur_p);
        let sigma = rng.uniform(config.blur_sigma[0], config.blur_sigma[1]);
        let flip = rng.chance(config.flip_p);
        let solarize = rng.chance(config.solarize_p);
        let (jitter, blur) = (jittered.then_some(jitter), blurred.then_some(sigma));
        ViewParams { crop, jitter, gray, blur, solarize, flip }
    }
}

/// A crop of random area and shape: ten tries, then the largest centred crop of an allowed shape.
///
/// # Source
/// torchvision, `RandomResizedCrop.get_params`.
fn draw_crop(config: &ViewConfig, width: usize, height: usize, rng: &mut KeyedRng) -> CropBox {
    let (w, h) = (width as f64, height as f64);
    let [low, high] = config.crop_ratio;
    for _ in 0..10 {
        let area = w * h * rng.uniform(config.crop_scale[0], config.crop_scale[1]);
        let ratio = rng.uniform(low.ln(), high.ln()).exp();
        let crop_w = (area * ratio).sqrt().round_ties_even() as usize;
        let crop_h = (area / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&crop_w) && (1..=height).contains(&crop_h) {
            let y = rng.below((height - crop_h + 1) as u64) as usize;
            let x = rng.below((width - crop_w + 1) as u64) as usize;
            return CropBox::at(x, y, crop_w, crop_h);
        }
    }
    let (crop_w, crop_h) = if w / h < low {
        (width, ((w / low).round_ties_even() as usize).clamp(1, height))
    } else if w / h > high {
        (((h * high).round_ties_even() as usize).clamp(1, width), height)
    } else {
        (width, height)
    };
    CropBox::at((width - crop_w) / 2, (height - crop_h) / 2, crop_w, crop_h)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(config: &ViewConfig, width: usize, height: usize, n: u64) -> Vec<ViewParams> {
        (0..n)
            .map(|i| ViewParams::draw(config, width, height, &mut KeyedRng::new("view", 0, [0, i, 0])))
            .collect()
    }

    #[test]
    fn crops_stay_inside_photos_of_any_shape() {
        for (width, height) in [(1, 1), (2, 1), (1, 500), (500, 1), (3, 700), (96, 96), (500, 375)] {
            for config in [ViewConfig::moco_v2(32), ViewConfig::simclr(32)] {
                for params in draws(&config, width, height, 200) {
                    let CropBox { x0, y0, x1, y1 } = params.crop;
                    assert!(x0 < x1 && x1 <= width && y0 < y1 && y1 <= height, "{:?}", params.crop);
                }
            }
        }
    }

    #[test]
    fn crops_have_the_area_and_shape_asked_for() {
        let n = 4000;
        let drawn = draws(&ViewConfig::moco_v2(32), 400, 400, n);
        let areas: Vec<f64> =
            drawn.iter().map(|p| (p.crop.width() * p.crop.height()) as f64 / 160_000.0).collect();
        assert!(areas.iter().all(|a| (0.195..=1.0).contains(a)));
        // Areas above 3/4 fit in a square for a share of the shapes only, -ln(area) / ln(4/3): the mean is not 0.6.
        let mean = areas.iter().sum::<f64>() / n as f64;
        assert!((mean - 0.539).abs() < 0.012, "{mean}");
        assert!(
            drawn.iter().all(|p| (0.74..1.35).contains(&(p.crop.width() as f64 / p.crop.height() as f64)))
        );
    }

    #[test]
    fn frequencies_follow_their_probabilities() {
        let n = 4000;
        let drawn = draws(&ViewConfig::simclr(32), 96, 96, n);
        let share = |f: &dyn Fn(&ViewParams) -> bool| drawn.iter().filter(|p| f(p)).count() as f64 / n as f64;
        assert!((share(&|p| p.flip) - 0.5).abs() < 0.03);
        assert!((share(&|p| p.gray) - 0.2).abs() < 0.03);
        assert!((share(&|p| p.blur.is_some()) - 0.5).abs() < 0.03);
        assert_eq!(share(&|p| p.solarize), 0.0);
        assert!((share(&|p| p.jitter.is_some()) - 0.8).abs() < 0.03);
        let hue_first = share(&|p| p.jitter.is_some_and(|j| matches!(j[0], Adjustment::Hue(_))));
        assert!((hue_first - 0.2).abs() < 0.03);
        assert!(drawn.iter().filter_map(|p| p.blur).all(|sigma| (0.1..2.0).contains(&sigma)));
        for adjustment in drawn.iter().filter_map(|p| p.jitter).flatten() {
            match adjustment {
                Adjustment::Hue(shift) => assert!((-0.2..=0.2).contains(&shift)),
                Adjustment::Brightness(f) | Adjustment::Contrast(f) | Adjustment::Saturation(f) => {
                    assert!((0.2 - 1e-12..=1.8).contains(&f))
                }
            }
        }
    }

    #[test]
    fn a_strip_falls_back_to_its_centre() {
        let params = draws(&ViewConfig { crop_scale: [1.0, 1.0], ..ViewConfig::moco_v2(32) }, 1000, 30, 1);
        assert_eq!(params[0].crop, CropBox { x0: 480, y0: 0, x1: 520, y1: 30 });
    }
}
