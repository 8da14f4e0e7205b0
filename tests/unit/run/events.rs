use super::*;

/// The events of a file whose checksums all hold.
fn read(bytes: &[u8]) -> Vec<Event> {
    let (mut events, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (length, after) = rest.split_at(8);
        assert_eq!(after[..4], masked(length));
        let size = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let event = &after[4..][..size];
        assert_eq!(after[4 + size..][..4], masked(event));
        events.push(Event::decode(event).expect("an event"));
        rest = &after[8 + size..];
    }
    events
}

#[test]
fn records_become_scalars_and_weights_histograms() {
    let folder = tempfile::tempdir().expect("folder");
    let mut events = Events::open(folder.path(), 7, None).expect("opened");
    events.scalars(
        &serde_json::json!({"kind": "step", "step": 8, "loss": 1.5, "terms": {"nce": 2.0}, "photo": "x"}),
    );
    events.histogram(8, "conv1.weight", &[-1.0, 0.0, 0.0, 2.0, f32::NAN]);
    events.image(8, "views", [1, 2], vec![0, 128, 255, 9, 9, 9]);
    let file = std::fs::read_dir(folder.path()).expect("folder").next().expect("a file").expect("an entry");
    let events = read(&std::fs::read(file.path()).expect("bytes"));
    assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
    assert_eq!((events[1].step, events[1].session.as_ref().map(|s| s.status)), (8, Some(1)));
    let values = |i: usize| &events[i].summary.as_ref().expect("a summary").values;
    let scalars: Vec<_> = values(2).iter().map(|v| (v.tag.as_str(), v.simple_value)).collect();
    assert_eq!(scalars, [("step/loss", Some(1.5)), ("step/terms/nce", Some(2.0))]);
    let histogram = values(3)[0].histogram.as_ref().expect("a histogram");
    assert_eq!((histogram.num, histogram.sum, histogram.sum_squares), (4.0, 1.0, 5.0));
    assert_eq!((histogram.min, histogram.max, histogram.bucket.iter().sum::<f64>()), (-1.0, 2.0, 4.0));
    let image = values(4)[0].image.as_ref().expect("an image");
    assert_eq!((image.height, image.width, &image.encoded[1..4]), (1, 2, &b"PNG"[..]));
}

#[test]
fn files_are_cut_back_to_where_they_were_and_the_new_one_is_the_last_even_if_the_clock_was_put_back() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str| folder.path().join(name);
    let [kept, last, after] =
        ["1000000000", "9999999998", "9999999999"].map(|s| format!("{PREFIX}{s}.000000007{SUFFIX}"));
    for name in [&kept, &last, &after] {
        fs::write(file(name), "0123456789").expect("written");
    }
    let end = EventsEnd { file: last.clone(), bytes: 4 };
    let mut events = Events::open(folder.path(), 3, Some(&end)).expect("opened");
    let new = events.finish().expect("written").file;
    assert_eq!(names(folder.path()), [kept.clone(), last.clone(), new.clone()]);
    assert_eq!(fs::read(file(&kept)).expect("bytes").len(), 10);
    assert_eq!(fs::read(file(&last)).expect("bytes"), b"0123");
    // A run in place of another leaves none of its files, but those of other programs.
    fs::write(file("events.out.tfevents.1.host"), "0").expect("written");
    let mut events = Events::open(folder.path(), 0, None).expect("opened");
    assert_eq!(names(folder.path()), [events.finish().expect("written").file]);
    assert!(file("events.out.tfevents.1.host").exists() && !file(&new).exists());
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283); // RFC 3720, B.4, and the catalogue of CRCs
}
