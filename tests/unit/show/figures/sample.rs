use super::*;
use crate::photos::{AlbumOptions, Loader, LoaderOptions};
use crate::pretrain::Config;
use std::sync::Arc;

fn encoder(device: &Device) -> ResNetEncoder {
    let settings = ["seed=1", "model.width=4", "method.projection=8"];
    let demo = Config::preset("demo").expect("preset");
    let config = settings.iter().fold(demo, |config, setting| config.with(setting).expect("set"));
    config.encoder(device).expect("encoder")
}

#[test]
fn crops_are_those_of_the_loaders_first_epoch_and_rows_are_of_length_one() {
    let album = Arc::new(Album::new(Photos::bundled_pretrain().take(70), AlbumOptions::default()));
    let (device, views) = (Device::cpu(), ViewConfig::moco_v2(16));
    let sampler = Sampler { album: &album, views: &views, seed: 3, device: &device };
    let photos = sampler.photos(70, &|_| true, &mut |_| {}).expect("photos");
    let mut done = 0;
    let sample = sampler.embed(&[&encoder(&device)], &photos, 1, &mut |n| done += n).expect("sample");
    assert_eq!((done, &sample.photos), (70, &photos));
    let options = LoaderOptions::new(70, vec![views.clone(); 2], 3);
    let batch = Loader::new(album.clone(), options).expect("loader").next().expect("one").expect("batch");
    for (i, id) in batch.ids.iter().enumerate() {
        let row = photos.iter().position(|p| *p as u64 == *id).expect("every photo");
        assert_eq!(
            (sample.crops[row], sample.flips[row]),
            (batch.data.crops[70 + i], batch.data.flips[70 + i])
        );
    }
    let [g, z] = &sample.embedded[0];
    assert_eq!((g.width, z.width, z.values.len()), (32, 8, 560));
    for row in g.values.chunks(32).chain(z.values.chunks(8)) {
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}

#[test]
fn the_last_batch_is_filled_up_with_earlier_photos() {
    let album = Album::new(Photos::bundled_pretrain().take(66), AlbumOptions::default());
    let (device, views) = (Device::cpu(), ViewConfig::moco_v2(16));
    let sampler = Sampler { album: &album, views: &views, seed: 0, device: &device };
    let photos = sampler.photos(66, &|_| true, &mut |_| {}).expect("photos");
    let encoder = encoder(&device);
    let all = sampler.embed(&[&encoder], &photos, 0, &mut |_| {}).expect("sample");
    let last = sampler.embed(&[&encoder], &photos[2..], 0, &mut |_| {}).expect("sample");
    let [all, last] = [all, last].map(|sample| sample.points(0, false).values.to_vec());
    assert_eq!(all[64 * 32..], last[62 * 32..]);
    assert_eq!(all.len(), 66 * 32);
    let message = sampler.photos(66, &|id| id == 3, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("at least two"), "{message}");
}
