use super::*;

/// Tags in order, closed as opened; panics on what is no XML.
fn tags(text: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for part in text.split('<').skip(1) {
        let (tag, rest) = part.split_once('>').expect("a tag ends");
        assert!(!rest.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").contains('&'), "{rest}");
        let name = tag.trim_start_matches('/').split_whitespace().next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed as opened");
        } else if !tag.ends_with('/') && !tag.starts_with('!') && !tag.starts_with('?') {
            open.push(name.to_string());
        }
        all.push(name.trim_end_matches('/').to_string());
    }
    assert!(open.is_empty(), "{open:?} stay open");
    all
}

fn panel(mark: Mark, points: Vec<(f64, f64)>) -> Panel {
    let series = vec![Series::new("a < b & c", mark, points)];
    Panel { title: "5 > 4".into(), x: "x & y".into(), y: "z".into(), series, ..Panel::default() }
}

#[test]
fn an_svg_is_well_formed_whatever_the_names_and_holds_every_bar_and_dot() {
    let bars = panel(Mark::Bars { width: 1.0 }, (0..7).map(|i| (f64::from(i), f64::from(i))).collect());
    let dots = panel(Mark::Dots { spread: vec![0.1, 0.0] }, vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]);
    let text = svg(&[bars, dots], 2);
    tags(&text);
    assert_eq!(text.matches("<circle").count(), 2, "one for each finite point");
    assert_eq!(text.matches("<rect").count(), 7 + 3, "bars, two frames, the page");
    assert!(text.contains("<title>a &lt; b &amp; c 2 ± 0.1\nx &amp; y 1</title>"), "{text}");
    assert!(text.contains("width=\"1040\""));
}

#[test]
fn a_chart_of_nothing_one_point_or_infinite_values_is_still_a_chart() {
    for points in [vec![], vec![(3.0, 3.0)], vec![(1.0, f64::INFINITY)]] {
        for mark in [
            Mark::Line,
            Mark::Smoothed { window: 3 },
            Mark::Dashed,
            Mark::Bars { width: 0.1 },
            Mark::Dots { spread: vec![] },
        ] {
            tags(&svg(&[panel(mark, points.clone())], 1));
        }
    }
    tags(&svg(&[], 1));
}

#[test]
fn ticks_are_written_where_they_are_asked_for() {
    let mut dots = panel(Mark::Dots { spread: vec![2.0] }, vec![(1.0, 5.0)]);
    dots.ticks = Some(vec![(0.0, "none".into()), (9.0, "many".into())]);
    assert!(svg(&[dots], 1).contains("many"));
}

#[test]
fn a_card_says_its_course_and_leaves_title_and_legend_to_its_page() {
    let line =
        Series::new("top-1", Mark::Line, (0..9).map(|i| (f64::from(i), 0.05 * f64::from(i))).collect());
    let card = Panel {
        title: "kNN".into(),
        x: "views".into(),
        y: "photos".into(),
        unit: Unit::Percent,
        levels: vec![Level { at: 0.3, name: "floor <".into(), warns: false }],
        series: vec![line],
        ..Panel::default()
    }
    .card();
    tags(&card);
    assert!(card.contains("aria-label=\"kNN: top-1 from 0.0 % to 40.0 %\""), "{card}");
    assert!(card.contains("<title>top-1 15.0 %\nviews 3</title>") && !card.contains(">kNN<"), "{card}");
    for axis in [">views</text>", ">photos</text>", ">floor &lt;</text>", ">20 %</text>"] {
        assert!(card.contains(axis), "{axis}: {card}");
    }
    assert_eq!(card.matches("<circle").count(), 9, "one to read at each point");
}

#[test]
fn a_smoothed_line_is_drawn_pale_as_it_is_and_strong_as_its_means() {
    let points = (0..50).map(|i| (f64::from(i), f64::from(i % 2))).collect();
    let card = panel(Mark::Smoothed { window: 9 }, points).card();
    tags(&card);
    let lines: Vec<&str> = card.split("class=\"series").nth(1).expect("a series").split("<path").collect();
    assert_eq!(lines.len(), 3, "two lines");
    assert!(lines[0].contains("stroke-opacity") && lines[1] != lines[2]);
}
