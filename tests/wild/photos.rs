//! Damaged photos: each decodes or gives a reason in one line, soon and in little memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::ImageFormat;
use safetensors::SafeTensors;
use vista::photos::views::ViewConfig;
use vista::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos, decode};
use vista::rng::KeyedRng;

use crate::count;
use crate::damage::{black_png, chunk, chunks, damaged, lie, photo, sound};
use crate::memory::{ALLOWED, alone, ends, peak};

/// Decodes within limits: the bytes that it took, or the reason if there is no picture.
#[track_caller]
fn tried(bytes: &[u8], what: &str) -> Result<usize, String> {
    let start = Instant::now();
    let (result, used) = peak(|| decode(bytes));
    let (length, seconds) = (bytes.len(), start.elapsed());
    assert!(used < length + ALLOWED, "{what}: {used} bytes for a file of {length}");
    assert!(seconds < Duration::from_secs(20), "{what}: {seconds:?}");
    match result {
        Ok(image) => assert_eq!(image.data.len(), 3 * image.width * image.height),
        Err(why) => {
            assert!(!why.is_empty() && !why.contains('\n'), "{what}: {why:?}");
            return Err(why);
        }
    }
    Ok(used)
}

#[test]
fn damaged_photos_decode_or_give_a_reason_in_little_memory() {
    alone(|| {
        let (sound, n) = (sound(), count(2000));
        for (i, bytes) in sound.iter().enumerate() {
            tried(bytes, &format!("sound photo {i}")).unwrap();
        }
        let (mut reasons, mut most) = (BTreeMap::<String, u32>::new(), 0);
        for i in 0..n {
            let bytes = damaged(&sound, &mut KeyedRng::new("damage", 7, [i.into(), 0, 0]));
            let outcome = tried(&bytes, &format!("damaged photo {i}"));
            most = most.max(*outcome.as_ref().unwrap_or(&0));
            let outcome = outcome.err().unwrap_or("decoded".into());
            *reasons.entry(outcome.chars().filter(|c| !c.is_ascii_digit()).collect()).or_default() += 1;
        }
        println!("{n} damaged photos, at most {most} bytes to decode one: {reasons:#?}");
        assert!(reasons.len() > 10, "the damage has few kinds");
    });
}

#[test]
fn headers_that_promise_more_than_the_file_can_hold_are_refused_unread() {
    alone(|| {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp] {
            for size in [[2049, 2049], [4096, 4096], [11_000, 11_000], [65_535, 2000], [1, 65_535]] {
                let mut bytes = photo(64, 48, format);
                lie(&mut bytes, size);
                let result = tried(&bytes, &format!("{format:?} of {size:?}"));
                assert!(size[0] * size[1] <= 1 << 22 || result.is_err(), "{size:?}");
            }
        }
        let why = tried(&black_png(3000, 3000), "a black picture").unwrap_err();
        assert!(why.contains("3000 x 3000 pixels in") && why.contains("no photo is that small"), "{why}");
        tried(&black_png(2000, 2000), "a smaller black picture").unwrap();
        // What a file is large enough for is read.
        let large = photo(3000, 2000, ImageFormat::Jpeg);
        assert_eq!(decode(&large).unwrap().width, 3000);
    });
}

/// A PNG with a chunk put behind its header.
fn with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let at = chunks(png)[0].end + 4;
    [&png[..at], &chunk(kind, data), &png[at..]].concat()
}

#[test]
fn bombs_in_side_chunks_do_not_go_off() {
    alone(|| {
        // 256 MiB of zeros, packed.
        let bomb = black_png(1 << 14, 1 << 14);
        let packed: Vec<u8> = chunks(&bomb)
            .into_iter()
            .filter(|c| bomb[c.clone()].starts_with(b"IDAT"))
            .flat_map(|c| bomb[c.start + 4..c.end].to_vec())
            .collect();
        assert!(packed.len() < 1 << 22);
        let png = photo(48, 32, ImageFormat::Png);
        let named = |name: &str| [name.as_bytes(), &[0, 0], &packed].concat();
        for (kind, data) in [
            (b"iCCP", named("profile")),
            (b"zTXt", named("Comment")),
            (b"iTXt", [b"Comment\0\x01\0\0\0".as_slice(), &packed].concat()),
            (b"eXIf", packed.clone()),
        ] {
            let bytes = with_chunk(&png, kind, &data);
            let _ = tried(&bytes, &String::from_utf8_lossy(kind));
        }
        let whole = with_chunk(&png, b"tEXt", &[b'x'; 1000]);
        tried(&whole, "a text").unwrap();
    });
}

#[test]
fn no_room_is_made_for_what_a_directory_or_a_chunk_only_claims() {
    alone(|| {
        let file = SafeTensors::deserialize(include_bytes!("../pixels/variants.safetensors")).unwrap();
        let mut webp = file.tensor("webp/turned").unwrap().data().to_vec();
        let exif = webp.windows(4).position(|w| w == b"EXIF").unwrap();
        webp[exif + 4..exif + 8].copy_from_slice(&(400_u32 << 20).to_le_bytes());
        tried(&webp, "a WebP").unwrap();
        let mut tiff = file.tensor("tiff/rgb/raw").unwrap().data().to_vec();
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
        tiff[directory + 4] = 2; // a text
        tiff[directory + 6..directory + 10].copy_from_slice(&(200_u32 << 20).to_le_bytes());
        let why = tried(&tiff, "a TIFF").unwrap_err();
        assert!(why.contains("promises more than the file holds"), "{why}");
    });
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    alone(|| {
        // A scan of a baseline photo may come again; one of a progressive photo may not.
        for (bytes, why) in [
            (photo(48, 32, ImageFormat::Jpeg), "more than 100 scans"),
            (include_bytes!("../fixtures/progressive.jpg").to_vec(), "coded data make no sense"),
        ] {
            let last = bytes.windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap();
            let (head, scan) = bytes.split_at(last);
            let scan = &scan[..scan.len() - 2];
            let with = |scans: usize| [head, &scan.repeat(scans), &[0xFF, 0xD9]].concat();
            tried(&with(1), "one last scan").unwrap();
            let refused = tried(&with(50_000), "scans").unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    });
}

/// A folder of damaged photos and of what else is named like one.
fn wild_folder(folder: &Path, n: u32) {
    let sound = sound();
    for i in 0..n {
        let bytes = damaged(&sound, &mut KeyedRng::new("damage", 8, [i.into(), 0, 0]));
        fs::write(folder.join(format!("{i:06}.jpg")), bytes).unwrap();
    }
    fs::create_dir_all(folder.join("folder.jpg/empty.png")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::{ffi::OsStrExt, fs::symlink};
        symlink("nowhere", folder.join("broken.jpg")).unwrap();
        symlink("round.jpg", folder.join("round.jpg")).unwrap();
        symlink("/dev/zero", folder.join("zero.jpg")).unwrap();
        crate::links::pipe(&folder.join("pipe.jpg"));
        fs::write(folder.join(std::ffi::OsStr::from_bytes(b"caf\xE9\n.jpg")), &sound[0]).unwrap();
    }
}

/// Bytes that an epoch takes at most, images shown, and photos found broken.
fn epoch(folder: &Path) -> (usize, usize, Vec<String>) {
    let photos = Photos::folder(folder).unwrap();
    let album =
        Arc::new(Album::new(photos, AlbumOptions { cache_bytes: 64 << 20, ..AlbumOptions::default() }));
    let views = vec![ViewConfig::moco_v2(128); 2];
    let options = LoaderOptions {
        threads: 2,
        end_epoch: Some(1),
        max_broken: 1.0,
        drop_last: false,
        ..LoaderOptions::new(64, views, 3)
    };
    let mut shown = 0;
    let (broken, used) = peak(|| {
        let mut loader = Loader::new(album, options).unwrap();
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            shown += batch.ids.len();
            loader.recycle(batch);
        }
        loader.broken().iter().cloned().collect()
    });
    (used, shown, broken)
}

#[test]
fn a_folder_of_damaged_photos_is_read_to_its_end_in_less_than_twice_the_memory() {
    alone(|| {
        let n = count(640);
        let (tidy, wild) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = photo(320, 240, ImageFormat::Jpeg);
        (0..640).for_each(|i| fs::write(tidy.path().join(format!("{i:06}.jpg")), &whole).unwrap());
        wild_folder(wild.path(), n);
        let (usual, shown, _) = epoch(tidy.path());
        assert_eq!(shown, 640);
        let folder = wild.path().to_path_buf();
        let (used, shown, broken) = ends(600, move || epoch(&folder));
        assert!(shown >= n as usize);
        assert!(used < 2 * usual, "{used} bytes, of sound photos {usual}");
        for name in ["broken.jpg", "round.jpg", "pipe.jpg"].iter().filter(|_| cfg!(unix)) {
            assert!(broken.iter().any(|b| b == name), "{name}");
        }
        println!("{shown} shown, {} broken; {used} bytes, of sound photos {usual}", broken.len());
    });
}

#[test]
fn a_pipe_named_like_a_photo_is_not_waited_for() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        wild_folder(folder.path(), 0);
        let photos = Photos::folder(folder.path()).unwrap();
        let (names, reasons): (Vec<String>, Vec<String>) = ends(20, move || {
            let reason = |id| photos.decode(id).err().unwrap_or_default();
            (0..photos.len()).map(|id| (photos.name(id).to_string(), reason(id))).unzip()
        });
        let reason = |name: &str| &*reasons[names.iter().position(|n| n == name).unwrap()];
        if cfg!(unix) {
            assert_eq!(reason("pipe.jpg"), "not a file");
            assert!(reason("broken.jpg").contains("No such file"), "{}", reason("broken.jpg"));
            assert!(!reason("round.jpg").is_empty() && !names.iter().any(|n| n == "zero.jpg"));
            assert_eq!(names.iter().filter(|n| n.starts_with("caf")).count(), 1);
        }
    });
}
