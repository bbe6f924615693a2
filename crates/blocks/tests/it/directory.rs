//! Objects as files: what a full disk, leftovers and strange names do.

use crate::world::*;
use blocks::{Directory, Error, Memory, ObjectError, Objects, Put};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

pub fn conform(objects: &dyn Objects) {
    assert_eq!(objects.get("a/b").unwrap(), None);
    assert_eq!(objects.put_if_absent("a/b", b"one").unwrap(), Put::Written);
    assert_eq!(objects.put_if_absent("a/b", b"two").unwrap(), Put::Exists);
    assert_eq!(objects.get("a/b").unwrap().unwrap(), b"one");
    objects.replace("a/b", b"three").unwrap();
    objects.replace("a/c", b"").unwrap();
    let head = objects.head("a/b", 2).unwrap().unwrap();
    assert_eq!((head.bytes.as_slice(), head.size), (b"th".as_slice(), 5));
    assert_eq!(objects.head("a/d", 2).unwrap(), None);
    objects.put_if_absent("ab/c", b"").unwrap();
    let list = |prefix: &str| {
        let mut keys = Vec::new();
        objects.list(prefix, &mut |key| keys.push(key.to_owned())).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(list("a/"), ["a/b", "a/c"]);
    assert_eq!(list(""), ["a/b", "a/c", "ab/c"]);
    assert!(list("nothing/").is_empty());
    objects.delete(&["a/b".into(), "a/nothing".into(), "no/thing".into()]).unwrap();
    assert_eq!(list("a/"), ["a/c"]);
}

#[test]
fn backends_keep_the_same_promises() {
    conform(&Memory::default());
    let directory = tempfile::tempdir().unwrap();
    conform(&Directory::open(directory.path()).unwrap());
    // Again, by another process as it were.
    assert_eq!(Directory::open(directory.path()).unwrap().get("a/c").unwrap().unwrap(), b"");
}

#[test]
fn names_lead_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Directory::open(directory.path()).unwrap();
    for name in ["", "/etc/passwd", "a/../../b", "a//b", "a/", ".a", "a/.b", "A", "a b", "a\0"] {
        assert!(matches!(objects.get(name), Err(ObjectError::Name(_))), "{name}");
        assert!(matches!(objects.put_if_absent(name, b""), Err(ObjectError::Name(_))), "{name}");
    }
}

#[test]
fn leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Directory::open(directory.path()).unwrap();
    let dead = directory.path().join("tmp/123-4");
    fs::write(&dead, "half").unwrap();
    let living = directory.path().join("tmp/124-4");
    let file = fs::File::create(&living).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let _second = Directory::open(directory.path()).unwrap();
    assert!(!dead.exists() && living.exists());
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("format"), "nube blocks 2\n").unwrap();
    assert!(matches!(Directory::open(directory.path()), Err(ObjectError::Format(_))));
}

/// Runs the test of this name, alone, in a mount namespace where `dir` is a file system of so many KiB.
fn on_a_small_disk(test: &str, kib: u32) {
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={kib}k tmpfs \"$DISK\" && exec \"$0\" --exact {test} --ignored --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("DISK", directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    on_a_small_disk("directory::on_a_full_disk", 6 << 10);
}

#[test]
#[ignore = "run by the test above, on a disk of 6 MiB"]
fn on_a_full_disk() {
    let path = std::env::var("DISK").unwrap();
    let path = Path::new(&path);
    let store = store(Directory::open(path).unwrap());
    let domain = domain(0);
    let disk = Disk::from([(0, 1), (1, 2)]);
    write(&store, &domain, 1, None, 100, &disk);
    let session = store.begin(begin(2, Some(1), 100), Arc::clone(&domain)).unwrap();
    // These do not compress.
    let noise = |index: u64| {
        let mut dice = crate::Dice(index);
        (0..blocks::BLOCK_SIZE / 8).flat_map(|_| dice.roll().to_le_bytes()).collect::<Vec<u8>>()
    };
    let full = (0..100).find_map(|index| session.put_block(index, &noise(index)).err().map(|e| (index, e)));
    let (reached, error) = full.expect("the disk is too large");
    assert!(error.is_full(), "{error}");
    assert!(reached > 2);
    assert_eq!(fs::read_dir(path.join("tmp")).unwrap().count(), 0, "no half object is left");
    assert_eq!(read(&open(&store, &domain, 1).unwrap()).unwrap(), disk);
    assert!(matches!(open(&store, &domain, 2), Err(Error::NoSnapshot(_))));
    assert!(store.fsck(blocks::fsck::Depth::Full).unwrap().is_clean());
    // Room is made by giving up what could not be finished.
    session.abort().unwrap();
    let collected = store.collect().unwrap();
    assert_eq!(collected.blocks, reached);
    write(&store, &domain, 3, Some(1), 100, &Disk::from([(5, 5)]));
    assert_eq!(read(&open(&store, &domain, 3).unwrap()).unwrap(), changed(&disk, &Disk::from([(5, 5)])));
}
