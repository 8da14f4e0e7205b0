use super::*;
use crate::Device;

fn read(path: &Path) -> Result<Archive> {
    Archive::of(fs::read(path).expect("bytes"), path)
}

fn entries(value: f32) -> Vec<Entry> {
    let tensor = Tensor::full(&Device::cpu(), [3, 2], value).expect("tensor");
    let integers = Content::Integers(vec![-1, 1 << 40]);
    vec![
        Entry { name: "a".into(), content: Content::Full(tensor) },
        Entry { name: "ids".into(), content: integers },
    ]
}

#[test]
fn any_flipped_bit_is_noticed_and_any_cut() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.safetensors");
    let texts = HashMap::from([("note".to_string(), "\"checksum\":\"deadbeef\"".to_string())]);
    write(&path, &entries(1.5), texts).expect("written");
    read(&path).expect("sound");
    let whole = fs::read(&path).expect("bytes");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).expect("damaged");
        assert!(read(&path).is_err(), "byte {at}");
        fs::write(&path, &whole[..at]).expect("cut");
        assert!(read(&path).is_err(), "cut at {at}");
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.safetensors");
    write(&path, &entries(1.0), HashMap::new()).expect("written");
    let before = fs::read(&path).expect("bytes");
    fs::create_dir(part_of(&path)).expect("in the way");
    let message = write(&path, &entries(2.0), HashMap::new()).unwrap_err().to_string();
    assert!(message.contains(".x.safetensors.part"), "{message}");
    assert_eq!(fs::read(&path).expect("bytes"), before);
}
