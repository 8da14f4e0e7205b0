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
    assert!(drawn.iter().all(|p| (0.74..1.35).contains(&(p.crop.width() as f64 / p.crop.height() as f64))));
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
