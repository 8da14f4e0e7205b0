//! Boxes, anchors, suppression: what a detector does on the host.

use super::case::{Array, GoldenCase, Outputs};
use vista::engine::ops::Over;
use vista::photos::Bitmap;
use vista::transfer::detect::{
    BoxTargets, Cell, Chosen, Found, Level, Match, Matcher, Rect, decode, encode, grouped_nms, iou, level_of,
    mask_loss as loss_of_masks, mask_targets as targets, nms as suppressed, objectness_loss,
    paste_mask as paste, proposals, smooth_l1 as distances,
};
use vista::{Device, Result, Tensor};

pub fn floats(array: &Array) -> Vec<f32> {
    array.values.iter().map(|&v| v as f32).collect()
}

pub fn rects(array: &Array) -> Vec<Rect> {
    floats(array).as_chunks::<4>().0.to_vec()
}

pub fn wholes(array: &Array) -> Vec<usize> {
    array.values.iter().map(|&v| v as usize).collect()
}

fn numbers(values: impl IntoIterator<Item = usize>) -> Vec<f64> {
    values.into_iter().map(|v| v as f64).collect()
}

fn flat(rects: &[Rect]) -> Vec<f64> {
    rects.iter().flatten().map(|&v| f64::from(v)).collect()
}

fn list(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn weights(case: &GoldenCase) -> [f32; 4] {
    list(&case.attrs["weights"]).try_into().expect("four weights")
}

fn size(value: &serde_json::Value) -> [usize; 2] {
    [0, 1].map(|i| value[i].as_u64().expect("a size") as usize)
}

fn only(name: &str, values: Vec<f64>) -> Outputs {
    Outputs::from([(format!("out.{name}"), values)])
}

/// The shapes of each level's anchors.
pub fn cells(case: &GoldenCase) -> Vec<Cell> {
    assert_eq!(case.number("offset"), 0.0, "anchors are centred at multiples of the stride");
    let ratios = list(&case.attrs["ratios"]);
    let cell = |(i, stride): (usize, &serde_json::Value)| {
        let stride = stride.as_u64().expect("a stride") as usize;
        Cell { stride, sizes: list(&case.attrs["sizes"][i]), ratios: ratios.clone() }
    };
    case.attrs["strides"].as_array().expect("strides").iter().enumerate().map(cell).collect()
}

/// The anchors of each level.
fn levels(case: &GoldenCase) -> Vec<Vec<Rect>> {
    let grids = case.attrs["grids"].as_array().expect("grids");
    cells(case).iter().zip(grids).map(|(cell, grid)| cell.over(size(grid))).collect()
}

pub fn anchors(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let level = |(i, level): (usize, Vec<Rect>)| (format!("out.anchors.{i}"), flat(&level));
    Ok(levels(case).into_iter().enumerate().map(level).collect())
}

pub fn anchor_match(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let thresholds: Vec<f64> = list(&case.attrs["thresholds"]).iter().map(|&v| f64::from(v)).collect();
    let (background, object) = (thresholds[0], thresholds[thresholds.len() - 1]);
    let matcher = Matcher { background, object, low_quality: case.flag("allow_low_quality_matches") };
    let (matches, stand_for) = matcher.matches(&rects(case.array("in.boxes")), &rects(case.array("in.gt")));
    let label = |of: &Match| match of {
        Match::Object(_) => 1.0,
        Match::Background => 0.0,
        Match::Ignored => -1.0,
    };
    let labels = stand_for.iter().map(label).collect();
    Ok([("out.matches".into(), numbers(matches)), ("out.labels".into(), labels)].into())
}

pub fn box_encode(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let pairs = rects(case.array("in.boxes")).into_iter().zip(rects(case.array("in.targets")));
    let deltas: Vec<Rect> = pairs.map(|(from, target)| encode(&from, &target, weights(case))).collect();
    Ok(only("deltas", flat(&deltas)))
}

pub fn box_decode(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let (boxes, deltas) = (rects(case.array("in.boxes")), rects(case.array("in.deltas")));
    let each = deltas.len() / boxes.len();
    let decoded: Vec<Rect> =
        deltas.iter().enumerate().map(|(i, d)| decode(&boxes[i / each], d, weights(case))).collect();
    Ok(only("boxes", flat(&decoded)))
}

pub fn box_iou(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let (a, b) = (rects(case.array("in.a")), rects(case.array("in.b")));
    Ok(only("iou", a.iter().flat_map(|a| b.iter().map(|b| iou(a, b))).collect()))
}

pub fn nms(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let (boxes, scores) = (rects(case.array("in.boxes")), floats(case.array("in.scores")));
    let threshold = case.number("threshold") as f32;
    let keep = match case.find("in.groups") {
        Some(groups) => grouped_nms(&boxes, &scores, &wholes(groups), threshold),
        None => suppressed(&boxes, &scores, threshold),
    };
    Ok(only("keep", numbers(keep)))
}

pub fn fpn_level_assignment(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let canonical = (case.number("canonical_size"), case.number("canonical_level"));
    let range = [case.whole("min_level"), case.whole("max_level")];
    let level = |rect| level_of(rect, canonical, range);
    Ok(only("level", numbers(rects(case.array("in.boxes")).iter().map(level))))
}

/// `[A width, h, w]` of one image as `[h w A, width]`, the anchors' order.
fn by_anchor(array: &Array, image: usize) -> Vec<f32> {
    let [_, channels, h, w] = array.shape[..] else { panic!("four dimensions") };
    let values = &array.values[image * channels * h * w..];
    let cells = (0..h * w).flat_map(|cell| (0..channels).map(move |channel| (cell, channel)));
    cells.map(|(cell, channel)| values[channel * h * w + cell] as f32).collect()
}

pub fn rpn_proposals(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let anchors = levels(case);
    let chosen = Chosen {
        before: case.whole("pre_nms_topk"),
        after: case.whole("post_nms_topk"),
        overlap: case.number("nms_threshold") as f32,
        least_side: case.number("min_size") as f32,
    };
    let mut outputs = Outputs::new();
    for (image, of) in case.attrs["image_sizes"].as_array().expect("sizes").iter().enumerate() {
        let said: Vec<[Vec<f32>; 2]> = (0..anchors.len())
            .map(|i| ["logits", "deltas"].map(|name| by_anchor(case.array(&format!("in.{name}.{i}")), image)))
            .collect();
        let levels: Vec<Level> = anchors
            .iter()
            .zip(&said)
            .map(|(anchors, [logits, deltas])| Level { anchors, logits, deltas: deltas.as_chunks::<4>().0 })
            .collect();
        let (boxes, scores): (Vec<Rect>, Vec<f32>) =
            proposals(&levels, size(of), &chosen).into_iter().unzip();
        outputs.insert(format!("out.boxes.{image}"), flat(&boxes));
        outputs.insert(format!("out.scores.{image}"), scores.into_iter().map(f64::from).collect());
    }
    Ok(outputs)
}

pub fn fast_rcnn_inference(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let found = Found {
        score: case.number("score_threshold") as f32,
        overlap: case.number("nms_threshold") as f32,
        most: case.whole("top"),
        weights: weights(case),
    };
    let [scores, deltas] = ["in.scores", "in.deltas"].map(|name| floats(case.array(name)));
    let proposals = rects(case.array("in.proposals"));
    let found = found.detections(&proposals, &scores, &deltas, size(&case.attrs["image_size"]));
    let boxes: Vec<Rect> = found.iter().map(|d| d.rect).collect();
    Ok([
        ("out.boxes".into(), flat(&boxes)),
        ("out.scores".into(), found.iter().map(|d| f64::from(d.score)).collect()),
        ("out.classes".into(), numbers(found.iter().map(|d| d.class))),
        ("out.proposal".into(), numbers(found.iter().map(|d| d.proposal))),
    ]
    .into())
}

pub fn smooth_l1(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (beta, divisor) = (case.number("beta") as f32, case.number("normalizer") as f32);
    let targets = case.input("target", device);
    case.differentiate(device, &["x"], |_, x| {
        Ok(vec![("loss", distances(&x[0], &targets, beta)?.sum(Over::All)?.scale(1.0 / divisor)?)])
    })
}

fn tensor(device: &Device, shape: &[usize], values: impl IntoIterator<Item = f64>) -> Tensor {
    Tensor::from_f64(device, shape.to_vec(), &values.into_iter().collect::<Vec<_>>()).expect("a tensor")
}

pub fn rpn_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (anchors, matched) = (rects(case.array("in.anchors")), rects(case.array("in.matched")));
    let labels = case.array("in.labels");
    let divisor = (case.whole("batch_size_per_image") * labels.shape[0]) as f32;
    let is = |label: f64| labels.values.iter().map(move |&l| f64::from(u8::from(l == label)));
    let [objects, sampled] = [
        tensor(device, &labels.shape, is(1.0)),
        tensor(device, &labels.shape, labels.values.iter().map(|&l| f64::from(u8::from(l >= 0.0)))),
    ];
    let shape = [labels.shape[0], labels.shape[1], 4];
    let deltas = matched.iter().enumerate().flat_map(|(i, object)| {
        let of_object = labels.values[i] == 1.0;
        if of_object { encode(&anchors[i % anchors.len()], object, [1.0; 4]) } else { [0.0; 4] }
            .map(f64::from)
    });
    let targets = BoxTargets {
        deltas: tensor(device, &shape, deltas),
        counts: tensor(device, &shape, is(1.0).flat_map(|v| [v; 4])),
    };
    let beta = case.number("beta") as f32;
    case.differentiate(device, &["logits", "deltas"], |_, x| {
        let of_class = objectness_loss(&x[0], &objects, &sampled, divisor)?;
        let of_box = targets.loss(&x[1], beta, divisor)?;
        let total = of_class.add(&of_box)?;
        Ok(vec![("loss", total), ("loss_cls", of_class), ("loss_loc", of_box)])
    })
}

pub fn fast_rcnn_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let [proposals, objects] = ["in.proposals", "in.gt_boxes"].map(|name| rects(case.array(name)));
    let classes = wholes(case.array("in.gt_classes"));
    let deltas = case.array("in.deltas");
    let targets =
        BoxTargets::of_classes(device, &proposals, &objects, &classes, deltas.shape[1] / 4, weights(case))?;
    let labels = case.input("gt_classes", device);
    let beta = case.number("beta") as f32;
    case.differentiate(device, &["scores", "deltas"], |_, x| {
        let of_class = x[0].cross_entropy(&labels)?;
        let of_box = targets.loss(&x[1], beta, proposals.len() as f32)?;
        let total = of_class.add(&of_box)?;
        Ok(vec![("loss", total), ("loss_cls", of_class), ("loss_box", of_box)])
    })
}

pub fn mask_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (logits, targets) = (case.array("in.logits"), case.array("in.targets"));
    let &[objects, classes, m, _] = &logits.shape[..] else { panic!("four dimensions") };
    let of = wholes(case.array("in.classes"));
    let row = |(object, class): (usize, &usize)| (object * classes + class * usize::from(classes > 1)) as f64;
    let rows = tensor(device, &[objects], of.iter().enumerate().map(row));
    let targets = tensor(device, &[objects, m * m], targets.values.iter().copied());
    let tape = vista::engine::autograd::Tape::new(device);
    // The file's layout: one row for each pair of an object and a class.
    let x = tape.leaf(tensor(device, &[objects * classes, m * m], logits.values.iter().copied()));
    let loss = loss_of_masks(&x, &rows, &targets)?;
    let grads = loss.backward()?;
    let dx = grads.of(&x).expect("the loss depends on the logits").to_f64()?;
    Ok([("out.loss".into(), loss.value().to_f64()?), ("grad_in.logits".into(), dx)].into())
}

pub fn mask_targets(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let masks = case.array("in.masks");
    let &[count, height, width] = &masks.shape[..] else { panic!("three dimensions") };
    let (pixels, boxes) = (floats(masks), rects(case.array("in.boxes")));
    let mut all = Vec::new();
    for i in 0..count {
        let own = &pixels[i * height * width..][..height * width];
        let object = Bitmap { size: [height, width], pixels: own.iter().map(|&p| p as u8).collect() };
        all.extend(targets(&object, &boxes[i..=i], case.whole("size"))?.into_iter().map(f64::from));
    }
    Ok(only("targets", all))
}

pub fn paste_mask(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let probabilities = case.array("in.probs");
    let side = probabilities.shape[1];
    let (values, boxes) = (floats(probabilities), rects(case.array("in.boxes")));
    let size = [case.whole("height"), case.whole("width")];
    let threshold = case.number("threshold") as f32;
    let pasted = values
        .chunks(side * side)
        .zip(&boxes)
        .flat_map(|(p, over)| paste(p, side, over, size, threshold).pixels);
    Ok(only("masks", pasted.map(f64::from).collect()))
}
