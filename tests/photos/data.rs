//! Photos, albums and loaders on real files: lists, broken photos, determinism, resuming.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vista::Error;
use vista::photos::views::{CropBox, Detail, ViewConfig};
use vista::photos::{Album, AlbumOptions, Batch, Loader, LoaderOptions, Photos, Position, Split};
use vista::rng::KeyedRng;

/// Writes a small photo whose pixels depend on `seed`; the format follows the extension.
fn write_photo(path: &Path, seed: u64, width: u32, height: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut rng = KeyedRng::new("test photo", seed, [0; 3]);
    let [r, g, b] = [0; 3].map(|_: u8| rng.below(256) as u32);
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(r + 5 * x) as u8, (g + 7 * y) as u8, (b + x * y) as u8])
    })
    .save(path)
    .unwrap();
}

fn folder_of(n: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..n {
        write_photo(&folder.path().join(format!("{i:03}.png")), i, 20 + i as u32 % 7, 16);
    }
    folder
}

fn album(folder: &Path) -> Arc<Album> {
    Arc::new(Album::new(Photos::folder(folder).unwrap(), AlbumOptions::default()))
}

fn options(batch: usize, views: usize) -> LoaderOptions {
    LoaderOptions { threads: 2, ..LoaderOptions::new(batch, vec![ViewConfig::moco_v2(8); views], 5) }
}

fn batches(folder: &Path, options: LoaderOptions) -> Vec<Batch> {
    Loader::new(album(folder), options).unwrap().map(|batch| batch.unwrap()).collect()
}

fn assert_same(a: &[Batch], b: &[Batch]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((a.position, a.next), (b.position, b.next));
        assert_eq!(
            (&a.ids, &a.data.crops, &a.data.flips, &a.replaced),
            (&b.ids, &b.data.crops, &b.data.flips, &b.replaced)
        );
        assert!(a.data.images.iter().zip(&b.data.images).all(|(x, y)| x.to_bits() == y.to_bits()));
    }
}

#[track_caller]
fn assert_input_error<T>(result: Result<T, Error>, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n') && words.iter().all(|w| message.contains(w)), "{message}");
}

#[test]
fn a_folder_is_walked_to_its_bottom_in_a_fixed_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.png", "a/z.JPG", "a/b/c.jpeg", "a.PNG", ".hidden.png", "._a.jpg"] {
        write_photo(&folder.path().join(name), 1, 4, 4);
    }
    fs::write(folder.path().join("notes.txt"), "no photo").unwrap();
    let photos = Photos::folder(folder.path()).unwrap();
    let names: Vec<&str> = (0..photos.len()).map(|i| photos.name(i)).collect();
    assert_eq!(names, ["a.PNG", "a/b/c.jpeg", "a/z.JPG", "b.png"]);
}

#[test]
#[cfg(unix)]
fn a_link_back_to_a_parent_is_not_followed_for_ever() {
    let folder = folder_of(3);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    assert_eq!(Photos::folder(folder.path()).unwrap().len(), 3);
}

#[test]
fn photos_of_every_format_are_found_by_their_endings_in_any_case() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "TIFF", "JPG", "WebP"] {
        write_photo(&folder.path().join("photo.jpg"), 1, 9, 7);
        let path = folder.path().join(format!("{ending}.{ending}"));
        match ending.to_ascii_lowercase().starts_with('j') {
            true => fs::rename(folder.path().join("photo.jpg"), path).unwrap(),
            false => write_photo(&path, 1, 9, 7),
        }
    }
    fs::rename(folder.path().join("photo.jpg"), folder.path().join("photo.heic")).unwrap();
    let photos = Photos::folder(folder.path()).unwrap();
    assert_eq!(photos.len(), 12);
    assert!((0..12).all(|id| photos.decode(id).unwrap().width == 9));
}

#[test]
fn a_photo_that_lacks_only_its_end_marker_is_read_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.jpg");
    write_photo(&path, 1, 40, 30);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    let album = album(folder.path());
    assert!(album.photo(0).is_ok() && album.broken().is_empty());
    let missing = "its end marker is missing, all its pixels are there";
    assert_eq!(album.mended(), [("cut.jpg".to_string(), missing)]);
}

#[test]
fn folders_without_photos_are_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    assert_input_error(Photos::folder(folder.path()), &["no photo", &folder.path().display().to_string()]);
    assert_input_error(Photos::folder(folder.path().join("gone")), &["no such", "gone"]);
    let file = folder.path().join("file.png");
    write_photo(&file, 0, 2, 2);
    assert_input_error(Photos::folder(&file), &["not a folder", "file.png"]);
    assert_input_error(Photos::labelled(folder.path()), &["file.png", "outside any class folder"]);
}

#[test]
fn class_folders_give_labels() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dog/1.png", "cat/deep/2.png", "cat/1.png", "cat-like/1.png"] {
        write_photo(&folder.path().join(name), 1, 4, 4);
    }
    let photos = Photos::labelled(folder.path()).unwrap();
    assert_eq!(photos.classes(), ["cat", "cat-like", "dog"]);
    let labels: Vec<_> = (0..4).map(|i| (photos.name(i), photos.label(i).unwrap())).collect();
    assert_eq!(labels, [("cat-like/1.png", 1), ("cat/1.png", 0), ("cat/deep/2.png", 0), ("dog/1.png", 2)]);
}

#[test]
fn csv_lists_find_their_columns_photos_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["images/a.png", "images/b.png", "images/c.png"] {
        write_photo(&folder.path().join(name), 1, 4, 4);
    }
    let list = folder.path().join("list.csv");
    fs::write(
        &list,
        "source,file,split,labels\nx,a.png,train,sky;tree\nx,b.png,test,\ny,c.png,test, sea ; sky \n",
    )
    .unwrap();
    let test = Photos::csv(&list, None, Some("test")).unwrap();
    assert_eq!(test.classes(), ["sea", "sky", "tree"]); // of the whole list
    assert_eq!((test.len(), test.labels(0), test.labels(1)), (2, &[][..], &[0, 1][..]));
    assert_eq!((test.name(1), test.label(1), test.decode(1).unwrap().width), ("c.png", None, 4));
    assert_eq!(Photos::csv(&list, None, None).unwrap().len(), 3);
    assert_input_error(Photos::csv(&list, None, Some("val")), &["val", "test, train"]);
    assert_input_error(Photos::csv(&list, Some(Path::new("/nowhere")), None), &["a.png", "not there"]);
    fs::write(&list, "a.png,sky,train\nb.png,sea,test\n").unwrap(); // no headings
    let train = Photos::csv(&list, Some(&folder.path().join("images")), Some("train")).unwrap();
    assert_eq!((train.len(), train.label(0), train.classes().len()), (1, Some(1), 2));
    fs::write(&list, "file,labels\n").unwrap();
    assert_input_error(Photos::csv(&list, None, None), &["empty list"]);
    assert_input_error(Photos::csv(folder.path().join("no.csv"), None, None), &["no such file", "no.csv"]);
}

#[test]
fn the_bundled_photos_are_there_and_decode() {
    let photos = Photos::bundled_pretrain();
    assert_eq!(photos.len(), 573);
    let (train, test) = (Photos::bundled_labelled(Split::Train), Photos::bundled_labelled(Split::Test));
    assert_eq!((train.len(), test.len()), (149, 66));
    assert_eq!(train.classes(), ["bird", "fish", "landmark", "mammal", "tool", "windmill"]);
    assert_eq!(train.classes(), test.classes());
    for class in 0..6 {
        assert!(
            (0..66).any(|i| test.label(i) == Some(class)) && (0..149).any(|i| train.label(i) == Some(class))
        );
    }
    for (photos, step) in [(photos, 29), (train, 11), (test, 7)] {
        for i in (0..photos.len()).step_by(step) {
            let image = photos.decode(i).unwrap();
            assert!(image.width.min(image.height) >= 32, "{}", photos.name(i));
        }
    }
}

#[test]
fn batches_are_the_same_for_one_and_four_threads() {
    let folder = folder_of(23);
    fs::write(folder.path().join("011.png"), "text").unwrap();
    let with =
        |threads| batches(folder.path(), LoaderOptions { threads, end_epoch: Some(3), ..options(4, 3) });
    let one = with(1);
    assert_eq!(one.len(), 15);
    assert_same(&one, &with(4));
}

#[test]
fn views_of_several_sizes_lie_view_by_view_and_are_the_ones_drawn_alone() {
    let folder = folder_of(9);
    let sizes = [8, 8, 5];
    let views: Vec<ViewConfig> = sizes.map(ViewConfig::moco_v2).to_vec();
    let of = |views: Vec<ViewConfig>| {
        let options = LoaderOptions { end_epoch: Some(1), ..LoaderOptions::new(4, views, 5) };
        batches(folder.path(), options)
    };
    let mixed = of(views.clone());
    let (large, small) = (of(vec![views[0].clone(); 3]), of(vec![views[2].clone(); 3]));
    for ((mixed, large), small) in mixed.iter().zip(&large).zip(&small) {
        assert_eq!(mixed.data.images.len(), 4 * 3 * (64 + 64 + 25));
        let (first, last) = mixed.data.images.split_at(4 * 3 * 128);
        assert_eq!(first, &large.data.images[..first.len()], "views 0 and 1");
        assert_eq!(last, &small.data.images[2 * last.len()..], "view 2 at another size");
        assert_eq!((&mixed.data.crops, &mixed.data.flips), (&large.data.crops, &large.data.flips));
    }
}

#[test]
fn a_cache_of_any_size_changes_nothing() {
    let folder = folder_of(12);
    let with = |cache_bytes| {
        let album = Album::new(
            Photos::folder(folder.path()).unwrap(),
            AlbumOptions { cache_bytes, ..AlbumOptions::default() },
        );
        let album = Arc::new(album);
        let options = LoaderOptions { end_epoch: Some(2), ..options(4, 2) };
        let made: Vec<Batch> = Loader::new(album.clone(), options).unwrap().map(|b| b.unwrap()).collect();
        assert!(album.used_bytes() <= cache_bytes);
        made
    };
    assert_same(&with(0), &with(1 << 20));
    assert_same(&with(0), &with(5000));
}

#[test]
fn an_epoch_shows_every_photo_once_in_its_own_order() {
    let folder = folder_of(10);
    let made =
        batches(folder.path(), LoaderOptions { end_epoch: Some(2), drop_last: false, ..options(4, 1) });
    let epochs: Vec<Vec<u64>> =
        made.chunks(3).map(|e| e.iter().flat_map(|b| b.ids.clone()).collect()).collect();
    assert_ne!(epochs[0], epochs[1]);
    for mut ids in epochs {
        ids.sort_unstable();
        assert_eq!(ids, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(made[2].data.images.len(), 2 * 8 * 8 * 3);
    let dropped = batches(folder.path(), LoaderOptions { end_epoch: Some(1), ..options(4, 1) });
    assert_eq!(dropped.len(), 2);
    assert_same(&dropped[..1], &made[..1]);
}

#[test]
fn a_loader_goes_on_from_any_batch() {
    let folder = folder_of(11);
    for drop_last in [true, false] {
        let all = batches(folder.path(), LoaderOptions { end_epoch: Some(3), drop_last, ..options(3, 2) });
        for i in [0, 2, 3, 5] {
            let options =
                LoaderOptions { start: all[i].next, end_epoch: Some(3), drop_last, ..options(3, 2) };
            assert_same(&batches(folder.path(), options), &all[i + 1..]);
        }
    }
}

#[test]
fn views_of_different_configurations_and_epochs_differ() {
    let folder = folder_of(4);
    let mut two = LoaderOptions { end_epoch: Some(2), ..options(4, 2) };
    two.recipe[1] = ViewConfig { flip_p: 1.0, crop_scale: [1.0, 1.0], ..ViewConfig::simclr(8) };
    let made = batches(folder.path(), two.clone());
    for batch in &made {
        assert!((0..4).all(|i| batch.data.flips[4 + i]));
    }
    let crops_of = |batch: &Batch, id| batch.data.crops[batch.ids.iter().position(|&i| i == id).unwrap()];
    assert!((0..4).any(|id| crops_of(&made[0], id) != crops_of(&made[1], id)));
    two.recipe.clear();
    assert_input_error(
        Loader::new(album(folder.path()), two).map(|_| ()),
        &["at least one image and one view"],
    );
}

#[test]
fn broken_photos_are_replaced_counted_and_named() {
    let folder = folder_of(12);
    fs::write(folder.path().join("text.jpg"), "this is not a photo").unwrap();
    write_photo(&folder.path().join("cut.jpg"), 1, 40, 40);
    let whole = fs::read(folder.path().join("cut.jpg")).unwrap();
    fs::write(folder.path().join("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    write_photo(&folder.path().join("dot.png"), 2, 1, 1);
    let photos = Photos::folder(folder.path()).unwrap();
    assert_eq!((photos.len(), photos.name(12), photos.name(14)), (15, "cut.jpg", "text.jpg"));
    let lenient = LoaderOptions { end_epoch: Some(2), max_broken: 0.2, ..options(5, 2) };
    let mut loader = Loader::new(album(folder.path()), lenient.clone()).unwrap();
    let made: Vec<Batch> = loader.by_ref().map(|b| b.unwrap()).collect();
    assert_eq!(loader.broken().iter().collect::<Vec<_>>(), ["cut.jpg", "text.jpg"]);
    assert!(made.iter().all(|b| b.ids.iter().all(|&id| id != 12 && id != 14)));
    let shown: Vec<_> = made.iter().flat_map(|b| &b.replaced).filter(|r| r.by.is_some()).collect();
    assert_eq!(shown.len(), 4); // two photos in each of two epochs
    assert!(shown.iter().any(|r| r.name == "cut.jpg" && r.reason == "truncated JPEG"));
    assert!(shown.iter().any(|r| r.name == "text.jpg" && r.reason == "a text, not a photo"));

    let strict = LoaderOptions { max_broken: 0.01, ..lenient }; // one of fifteen may be broken, two may not
    let last = Loader::new(album(folder.path()), strict.clone()).unwrap().last().unwrap();
    assert_input_error(last, &["2 of 15 photos", ".jpg"]);
    fs::remove_file(folder.path().join("text.jpg")).unwrap();
    assert!(Loader::new(album(folder.path()), strict).unwrap().all(|b| b.is_ok()));
}

#[test]
fn a_folder_of_broken_photos_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..5 {
        fs::write(folder.path().join(format!("{i}.jpg")), "text").unwrap();
    }
    let album = album(folder.path());
    let mut loader = Loader::new(album.clone(), LoaderOptions { max_broken: 1.0, ..options(2, 2) }).unwrap();
    assert_input_error(loader.next().unwrap(), &["can't be decoded", "a text, not a photo"]);
    assert!(loader.next().is_none());
    assert_input_error(album.center_views(&[0, 1], &ViewConfig::moco_v2(8)), &["no photo can be decoded"]);
}

#[test]
fn a_batch_larger_than_the_set_is_one_clear_line() {
    let folder = folder_of(3);
    assert_input_error(
        Loader::new(album(folder.path()), options(4, 2)).map(|_| ()),
        &["3 photos", "batch of 4"],
    );
    assert_input_error(Loader::new(album(folder.path()), options(0, 2)).map(|_| ()), &["at least one image"]);
}

#[test]
fn crop_boxes_are_in_the_pixels_of_the_photo_itself() {
    let folder = tempfile::tempdir().unwrap();
    write_photo(&folder.path().join("large.png"), 1, 400, 200);
    let photos = Photos::folder(folder.path()).unwrap();
    let shrunk = AlbumOptions { shrink_to: Some(50), ..AlbumOptions::default() };
    let album = Arc::new(Album::new(photos, shrunk));
    let photo = album.photo(0).unwrap();
    assert_eq!((photo.image.width, photo.image.height, photo.width, photo.height), (100, 50, 400, 200));
    assert_eq!(photo.original_box(CropBox::whole(&photo.image)), CropBox::at(0, 0, 400, 200));
    let loader = Loader::new(album, LoaderOptions { end_epoch: Some(30), ..options(1, 2) }).unwrap();
    let crops: Vec<CropBox> = loader.flat_map(|batch| batch.unwrap().data.crops).collect();
    assert!(crops.iter().all(|c| c.x0 < c.x1 && c.x1 <= 400 && c.y0 < c.y1 && c.y1 <= 200));
    assert!(crops.iter().any(|c| c.x1 > 300) && crops.iter().any(|c| c.height() > 150));
}

#[test]
fn center_views_leave_broken_photos_out() {
    let folder = folder_of(5);
    fs::write(folder.path().join("002.png"), "text").unwrap();
    let album = album(folder.path());
    let (views, ids) = album.center_views(&[4, 2, 0], &ViewConfig::moco_v2(8)).unwrap();
    assert_eq!((ids, views.len()), (vec![4, 0], 2 * 8 * 8 * 3));
    assert_eq!(album.broken(), [("002.png".to_string(), "a text, not a photo".to_string())]);
}

#[test]
fn dropping_an_endless_loader_ends_it_at_once() {
    let folder = folder_of(8);
    let mut loader = Loader::new(album(folder.path()), LoaderOptions { ahead: 1, ..options(2, 2) }).unwrap();
    let batch = loader.next().unwrap().unwrap();
    assert_eq!(batch.position, Position { epoch: 0, batch: 0 });
    loader.recycle(batch);
    assert_eq!(loader.next().unwrap().unwrap().data.images.len(), 2 * 2 * 8 * 8 * 3);
    let start = Instant::now();
    drop(loader);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn view_configurations_read_from_toml_and_are_checked() {
    let config: ViewConfig = toml::from_str("size = 32\ncrop_scale = [0.08, 1.0]").unwrap();
    assert_eq!(config, ViewConfig { crop_scale: [0.08, 1.0], ..ViewConfig::moco_v2(32) });
    assert!(toml::from_str::<ViewConfig>("crop_scal = [0.08, 1.0]").is_err());
    assert_eq!(
        toml::from_str::<ViewConfig>(&toml::to_string(&ViewConfig::simclr(96)).unwrap()).unwrap(),
        ViewConfig::simclr(96)
    );
    assert_input_error(ViewConfig { hue: 0.7, ..config.clone() }.check(), &["invalid hue", "0.5"]);
    assert_input_error(ViewConfig { size: 0, ..config }.check(), &["invalid size"]);
}

#[test]
fn batches_are_the_same_from_memory_from_a_folder_and_decoded_each_time() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for i in 0..6 {
        write_photo(&folder.path().join(format!("{i}.jpg")), i, 301 - 20 * i as u32, 203);
    }
    let detail = Detail::of(&[ViewConfig::moco_v2(8)]);
    let album = |cache_bytes, detail, shrink_to| {
        let options = AlbumOptions { cache_bytes, detail, shrink_to };
        Album::new(Photos::folder(folder.path()).unwrap(), options)
    };
    let made = |album: Album| -> Vec<Batch> {
        let options = LoaderOptions { end_epoch: Some(3), ..options(2, 2) };
        Loader::new(Arc::new(album), options).unwrap().map(|batch| batch.unwrap()).collect()
    };
    for shrink_to in [None, Some(20)] {
        let each_time = made(album(0, detail, shrink_to));
        assert_same(&each_time, &made(album(1 << 30, detail, shrink_to)));
        assert_same(&each_time, &made(album(0, detail, shrink_to).cached_in(cache.path()).unwrap()));
        assert_same(&each_time, &made(album(9000, detail, shrink_to).cached_in(cache.path()).unwrap()));
    }
    // A JPEG that is decoded smaller knows its own size, and its views are near those of all its pixels.
    let photo = album(0, detail, None).photo(0).unwrap();
    assert_eq!((photo.width, photo.height, photo.image.width, photo.image.height), (301, 203, 76, 51));
    assert_eq!(photo.original_box(CropBox::whole(&photo.image)), CropBox::at(0, 0, 301, 203));
    let shrunk = album(0, detail, Some(20)).photo(0).unwrap();
    assert_eq!((shrunk.width, shrunk.image.width, shrunk.image.height), (301, 30, 20));
    let views = |detail| album(0, detail, None).center_views(&[0, 1, 2], &ViewConfig::moco_v2(8)).unwrap().0;
    let pairs = views(detail).into_iter().zip(views(None));
    let mean = pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / (3.0 * 192.0);
    assert!(mean > 0.0 && mean < 0.1, "{mean}");
}
