use super::*;
use crate::photos::{Album, AlbumOptions, Photos};
use crate::rng::KeyedRng;
use tempfile::TempDir;

/// A folder of photos, and an empty one.
fn folders(photos: u64) -> [TempDir; 2] {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for seed in 0..photos {
        let mut rng = KeyedRng::new("cached", seed, [0; 3]);
        let image =
            image::RgbImage::from_fn(37 + seed as u32, 21, |_, _| image::Rgb([rng.below(256) as u8; 3]));
        image.save(from.path().join(format!("{seed}.png"))).unwrap();
    }
    [from, to]
}

fn album(from: &TempDir, options: AlbumOptions) -> Album {
    Album::new(Photos::folder(from.path()).unwrap(), options)
}

fn cached(from: &TempDir, to: &TempDir) -> Album {
    album(from, AlbumOptions { cache_bytes: 0, ..AlbumOptions::default() }).cached_in(to.path()).unwrap()
}

fn images(album: &Album) -> Vec<Result<Rgb, String>> {
    (0..album.photos().len()).map(|id| album.photo(id).map(|photo| photo.image.clone())).collect()
}

/// The files of photos in the cache.
fn files(to: &TempDir) -> Vec<PathBuf> {
    let inside = |folder: &Path| fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let shards =
        inside(&to.path().join(FOLDER)).into_iter().filter(|path| path.is_dir() && !path.ends_with(PART));
    shards.flat_map(|shard| inside(&shard)).collect()
}

#[test]
fn a_photo_is_decoded_once_and_anew_when_its_file_has_changed() {
    let [from, to] = folders(3);
    let plain = images(&album(&from, AlbumOptions::default()));
    assert_eq!(images(&cached(&from, &to)), plain);
    assert_eq!(files(&to).len(), 3);
    // With the same length and time, what is in the file is not looked at again.
    let path = from.path().join("1.png");
    let there = fs::metadata(&path).unwrap();
    fs::write(&path, vec![b'x'; there.len() as usize]).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(there.modified().unwrap()).unwrap();
    assert_eq!(images(&cached(&from, &to)), plain);
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    let changed = images(&cached(&from, &to));
    assert!(changed[1].is_err() && changed[0] == plain[0] && changed[2] == plain[2]);
}

#[test]
fn photos_that_are_scaled_down_differently_are_kept_apart_with_their_own_sizes() {
    let [from, to] = folders(1);
    for shrink_to in [None, Some(12), Some(7), None, Some(12)] {
        let options = AlbumOptions { cache_bytes: 0, shrink_to, ..AlbumOptions::default() };
        let photo = album(&from, options).cached_in(to.path()).unwrap().photo(0).unwrap();
        assert_eq!((photo.width, photo.height, photo.image.height), (37, 21, shrink_to.unwrap_or(21)));
    }
    assert_eq!(files(&to).len(), 3);
}

#[test]
fn a_damaged_file_is_made_anew() {
    let [from, to] = folders(1);
    let plain = images(&cached(&from, &to));
    let path = files(&to).remove(0);
    let whole = fs::read(&path).unwrap();
    let flipped =
        |at: usize| whole.iter().enumerate().map(|(i, &b)| if i == at { b ^ 4 } else { b }).collect();
    let ends = [0, 5, HEAD - 1, HEAD + 3, whole.len() - 1].map(|end| whole[..end].to_vec());
    let flips = [0, 9, 13, 30, HEAD + 1, whole.len() - 1].map(flipped);
    for damaged in ends.into_iter().chain(flips).chain([[&whole[..], b"x"].concat()]) {
        fs::write(&path, &damaged).unwrap();
        let album = cached(&from, &to);
        assert_eq!(images(&album), plain);
        assert_eq!((fs::read(&path).unwrap(), album.news()), (whole.clone(), vec![]));
    }
}

#[test]
fn albums_that_fill_one_folder_at_once_agree_and_leave_no_parts() {
    let [from, to] = folders(12);
    let plain = images(&album(&from, AlbumOptions::default()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..3).for_each(|_| assert_eq!(images(&cached(&from, &to)), plain)));
        }
    });
    assert_eq!(files(&to).len(), 12);
    assert_eq!(fs::read_dir(to.path().join(FOLDER).join(PART)).unwrap().count(), 0);
}

#[test]
fn what_a_killed_process_left_goes_and_what_another_writes_stays() {
    let [from, to] = folders(1);
    let parts = to.path().join(FOLDER).join(PART);
    fs::create_dir_all(&parts).unwrap();
    fs::write(to.path().join(FOLDER).join(MARK), MARK_TEXT).unwrap();
    let [old, new] = ["1-0", "2-0"].map(|name| parts.join(name));
    fs::write(&new, "half").unwrap();
    File::create(&old).unwrap().set_modified(SystemTime::now() - 2 * STALE).unwrap();
    assert!(images(&cached(&from, &to))[0].is_ok());
    assert!(new.exists() && !old.exists());
}

#[test]
fn a_folder_that_is_not_ours_is_refused_and_left_alone() {
    let [from, to] = folders(1);
    let refused = |given: &Path| {
        let error = album(&from, AlbumOptions::default()).cached_in(given).unwrap_err().to_string();
        assert!(error.contains("choose another data.cache_dir") && !error.contains('\n'), "{error}");
    };
    let users = to.path().join(FOLDER).join("mine.txt");
    fs::create_dir(to.path().join(FOLDER)).unwrap();
    fs::write(&users, "mine").unwrap();
    refused(to.path());
    refused(&users);
    assert_eq!(fs::read_dir(to.path().join(FOLDER)).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(users).unwrap(), "mine");
}

#[test]
fn a_folder_that_cannot_be_written_is_one_line_and_photos_come_all_the_same() {
    let [from, to] = folders(3);
    let plain = images(&album(&from, AlbumOptions::default()));
    fs::create_dir(to.path().join(FOLDER)).unwrap();
    fs::write(to.path().join(FOLDER).join(MARK), MARK_TEXT).unwrap();
    fs::write(to.path().join(FOLDER).join(PART), "in the way").unwrap();
    let album = cached(&from, &to);
    assert_eq!(images(&album), plain);
    let news = album.news();
    assert!(news.len() == 1 && news[0].contains("no more is written") && !news[0].contains('\n'), "{news:?}");
    assert_eq!((images(&album), album.news()), (plain, vec![]));
}

#[test]
fn a_cache_among_the_photos_is_no_part_of_them() {
    let [from, _] = folders(2);
    let inner = from.path().join("cache");
    let album = album(&from, AlbumOptions::default()).cached_in(&inner).unwrap();
    assert!(images(&album).iter().all(Result::is_ok) && inner.join(FOLDER).join(MARK).exists());
    let again = Photos::folder(from.path()).unwrap();
    assert_eq!((again.len(), again.warnings()), (2, &[][..]));
}

#[test]
fn the_plan_counts_the_bytes_of_all_photos_and_what_is_there() {
    let [from, to] = folders(40);
    let plan = cached(&from, &to).plan().unwrap();
    assert!(plan.contains("for 40 photos") && !plan.contains("% of them there"), "{plan}");
    let plan = cached(&from, &to).plan().unwrap(); // of the 16 that were looked at
    assert!(plan.contains(", 100 % of them there"), "{plan}");
    assert_eq!(album(&from, AlbumOptions::default()).plan(), None);
}
