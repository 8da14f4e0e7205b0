use super::*;

const HERE: [f64; 4] = [2.0, 2.0, 20.0, 20.0];

fn found(photo: usize, class: usize, score: f64) -> Detection {
    Detection { photo, class, rect: HERE, score, mask: None }
}

fn page(count: usize, lost: usize) -> String {
    let truths: Vec<Truth> = (0..4).map(|photo| Truth::new(photo, 0, HERE)).collect();
    // Photo 0 is right, 1 missed, 2 wrong and missed, of 3 a doubtful one is wrong.
    let detections = [found(0, 0, 0.9), found(2, 1, 0.8), found(3, 0, 0.6), found(3, 1, 0.1)];
    let classes = ["cat <b>".to_string(), "dog".to_string()];
    let mut photo = |photo: usize| match photo == lost {
        true => Err(Error::Run("gone".into())),
        false => Ok((format!("{photo}.jpg"), Rgb::new(32, 24))),
    };
    worst(&truths, &detections, &classes, count, &mut photo).unwrap()
}

#[test]
fn the_worst_photos_come_first_and_those_without_an_error_not_at_all() {
    let captions = |page: &str| -> Vec<String> {
        page.split("<figcaption>")
            .skip(1)
            .map(|part| part.split("</figcaption>").next().unwrap().into())
            .collect()
    };
    let all = page(9, 9);
    assert_eq!(captions(&all), ["2.jpg; missed: cat &lt;b&gt;; wrong: dog", "1.jpg; missed: cat &lt;b&gt;"]);
    assert_eq!(all.matches("src=\"data:image/jpeg;base64,/9j/").count(), 4);
    assert_eq!(captions(&page(1, 9)).len(), 1);
    // A photo that is gone makes room for the next.
    assert_eq!(captions(&page(1, 2)), ["1.jpg; missed: cat &lt;b&gt;"]);
}

#[test]
fn no_error_is_said() {
    let text = worst(&[], &[found(0, 0, 0.2)], &[], 3, &mut |_| unreachable!()).unwrap();
    assert_eq!(text, "<p>No photo with an error.</p>\n");
}
