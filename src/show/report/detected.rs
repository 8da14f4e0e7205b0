//! What a detector found beside what is there, the worst photos first.

use super::picture::jpeg;
use crate::error::{Error, Result};
use crate::photos::{Rgb, Rle};
use crate::show::figures::{Drawn, detections as draw, escaped};
use crate::transfer::metrics::detection::{Detection, PhotoErrors, Truth, errors};

/// Detections of a lower score are not shown, for a detector has many of them.
const LEAST: f64 = 0.5;
/// Quality of the pictures.
const QUALITY: u8 = 80;

/// The worst `count` photos as a piece of a page: what is there on the left, what was found on the right, and what is wrong below. A photo is the
/// worse the more objects were missed, at 1 each, and the more sure its wrong detections are, at their scores ([`errors()`]);
/// detections of a score below .5 are left out, and so are photos without an error.
///
/// `photo` gives a photo's name and its pixels, at the size that boxes and masks are in; one that gives an error is passed over for the next.
///
/// # Errors
/// [`Error::Run`] for a picture that can't be written.
pub fn worst(
    truths: &[Truth],
    detections: &[Detection],
    classes: &[String],
    count: usize,
    photo: &mut dyn FnMut(usize) -> Result<(String, Rgb)>,
) -> Result<String> {
    let mut shown = String::new();
    let mut left = count;
    for errors in errors(truths, detections, LEAST).into_iter().filter(|errors| errors.cost > 0.0) {
        if left == 0 {
            break;
        }
        if let Ok((name, image)) = photo(errors.photo) {
            shown += &figure(truths, detections, classes, &errors, &name, &image)?;
            left -= 1;
        }
    }
    if shown.is_empty() {
        return Ok("<p>No photo with an error.</p>\n".into());
    }
    Ok(format!(
        "<p>What is there and what was found with a score of {LEAST} or more, the worst photos first: 1 for each object that was \
         missed, and the score of each detection that is wrong.</p>\n{shown}"
    ))
}

fn figure(
    truths: &[Truth],
    detections: &[Detection],
    classes: &[String],
    errors: &PhotoErrors,
    name: &str,
    image: &Rgb,
) -> Result<String> {
    let class = |class: usize| classes.get(class).map_or("?", String::as_str);
    let marked = |known: usize, bad: bool, word: &str| match bad {
        true => format!("{} {word}", class(known)),
        false => class(known).to_string(),
    };
    // Another size, as of a photo that was replaced, is drawn as a box alone.
    let bitmap = |mask: &Option<Rle>| {
        let fits = mask.as_ref().filter(|mask| mask.size == [image.height, image.width]);
        fits.map(Rle::bitmap)
    };
    let there = truths.iter().enumerate().filter(|(_, truth)| truth.photo == errors.photo);
    let there = there.map(|(i, truth)| Drawn {
        rect: truth.rect,
        class: truth.class,
        name: marked(truth.class, errors.missed.contains(&i), "missed"),
        score: None,
        mask: bitmap(&truth.mask),
    });
    let found = detections.iter().enumerate();
    let found = found.filter(|(i, _)| errors.right.contains(i) || errors.wrong.contains(i));
    let found = found.map(|(i, found)| Drawn {
        rect: found.rect,
        class: found.class,
        name: marked(found.class, errors.wrong.contains(&i), "wrong"),
        score: Some(found.score),
        mask: bitmap(&found.mask),
    });
    let picture = |objects: Vec<Drawn>, what: &str| {
        let bytes = jpeg(&draw(image, &objects), QUALITY).map_err(Error::Run)?;
        Ok(format!(
            r#"<img style="width:49%" alt="{what}" title="{what}" src="data:image/jpeg;base64,{bytes}">"#
        ))
    };
    let said = |places: &[usize], of: &dyn Fn(usize) -> usize, what: &str| {
        let names: Vec<&str> = places.iter().map(|&i| class(of(i))).collect();
        if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
    };
    let caption = format!(
        "{name}{}{}",
        said(&errors.missed, &|i| truths[i].class, "missed"),
        said(&errors.wrong, &|i| detections[i].class, "wrong")
    );
    Ok(format!(
        "<figure>{} {}<figcaption>{}</figcaption></figure>\n",
        picture(there.collect(), "what is there")?,
        picture(found.collect(), "what was found")?,
        escaped(&caption)
    ))
}

#[cfg(test)]
#[path = "../../../tests/unit/show/report/detected.rs"]
mod tests;
