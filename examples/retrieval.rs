//! Retrieval over a folder: the photos that are nearest to a photo, by an encoder's features.
//!
//! `cargo run --release --example retrieval -- FOLDER CHECKPOINT`; without arguments the bundled photos and an untrained
//! encoder, whose neighbours share little but colours.

use std::path::PathBuf;
use vista::prelude::*;
use vista::pretrain::checkpoint;

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let device = Device::open("auto")?;
    let photos = match args.first() {
        Some(folder) => Photos::open(folder, None)?,
        None => Photos::bundled_pretrain().take(100),
    };
    let (encoder, config) = match args.get(1) {
        Some(path) => checkpoint::load(path, &device)?,
        None => {
            let config = Config::preset("demo")?;
            (config.encoder(&device)?, config)
        }
    };
    let album = Album::new(photos, AlbumOptions::default());
    let all: Vec<usize> = (0..album.photos().len()).collect();
    let embedded = embed(&encoder.backbone, &album, &all, &config.views, &device, &mut |_| {})?;
    let width = config.resnet().features();
    println!("{} photos, {width} features each", embedded.kept.len());

    let rows: Vec<&[f32]> = embedded.values.chunks(width).collect();
    let norm = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    for query in (0..rows.len()).step_by(rows.len().div_ceil(5)) {
        let mut near: Vec<(f32, usize)> = (0..rows.len())
            .filter(|&other| other != query)
            .map(|other| {
                let dot: f32 = rows[query].iter().zip(rows[other]).map(|(a, b)| a * b).sum();
                (dot / (norm(rows[query]) * norm(rows[other])), other)
            })
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("{}", album.photos().name(embedded.kept[query]));
        for (cosine, other) in &near[..3.min(near.len())] {
            println!("  {cosine:.3}  {}", album.photos().name(embedded.kept[*other]));
        }
    }
    Ok(())
}
