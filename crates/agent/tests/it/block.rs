//! Volumes.

use crate::guest;
use crate::vmm_rig::{Scratch, volume};
use agent::host::linux::block::{Filling, LinuxBlock, LinuxBlockConfig};
use agent::host::{Block, Fault};
use model::GiB;
use model::host::VolumeDesired;
use std::path::Path;

fn block(scratch: &Scratch) -> LinuxBlock {
    LinuxBlock::open(LinuxBlockConfig {
        cloud: scratch.cloud.clone(),
        state_dir: scratch.path.join("volumes"),
        images_dir: guest::images().to_owned(),
        snapshots_dir: scratch.path.join("snapshots"),
        blocks: blocks::Place::Directory,
        filling: Filling::First,
    })
    .unwrap()
}

fn size_of(path: &Path) -> u64 {
    let info = guest::run("qemu-img", &["info", "--output=json", path.to_str().unwrap()], Path::new("/"));
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    info["virtual-size"].as_u64().unwrap()
}

#[tokio::test]
async fn a_volume_is_made_once_and_only_grows() {
    let scratch = Scratch::new();
    let block = block(&scratch);
    let wanted = |size| VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(size),
        image: Some("idle".into()),
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&wanted(1), None).await.unwrap();
    assert_eq!(size_of(&path), 1 << 30);
    // Nothing leaked, nothing miscounted: the file is what qemu-img itself would make.
    guest::run("qemu-img", &["check", path.to_str().unwrap()], Path::new("/"));
    guest::run("qemu-io", &["-c", "write -P 7 0 4k", path.to_str().unwrap()], Path::new("/"));
    assert_eq!(block.ensure_volume(&wanted(2), None).await.unwrap(), path);
    assert_eq!(size_of(&path), 2 << 30);
    block.ensure_volume(&wanted(1), None).await.unwrap();
    assert_eq!(size_of(&path), 2 << 30);
    let read = guest::run("qemu-io", &["-c", "read -P 7 0 4k", path.to_str().unwrap()], Path::new("/"));
    assert!(!read.contains("verification failed"), "{read}");
    assert_eq!(block.volumes().await.unwrap(), [volume(1)]);
    block.remove_volume(volume(1)).await.unwrap();
    block.remove_volume(volume(1)).await.unwrap();
    assert!(block.volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_volume_outlives_its_image_in_the_cache() {
    let scratch = Scratch::new();
    let images = scratch.path.join("images");
    let image = images.join("passing");
    std::fs::create_dir_all(&image).unwrap();
    std::fs::write(
        image.join("manifest.json"),
        r#"{"name":"passing","digest":"sha256:1","boot":{"mode":"firmware","firmware":"legacy-bios"}}"#,
    )
    .unwrap();
    guest::run("qemu-img", &["create", "-q", "-f", "qcow2", "disk.qcow2", "1M"], &image);
    guest::run("qemu-io", &["-c", "write -P 9 0 4k", "disk.qcow2"], &image);
    let config = LinuxBlockConfig {
        cloud: scratch.cloud.clone(),
        state_dir: scratch.path.join("volumes"),
        images_dir: images.clone(),
        snapshots_dir: scratch.path.join("snapshots"),
        blocks: blocks::Place::Directory,
        filling: Filling::First,
    };
    let block = LinuxBlock::open(config.clone()).unwrap();
    let wanted = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(1),
        image: Some("passing".into()),
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&wanted, None).await.unwrap();
    std::fs::remove_dir_all(&image).unwrap();
    let block = LinuxBlock::open(config.clone()).unwrap();
    assert_eq!(block.ensure_volume(&wanted, None).await.unwrap(), path);
    let read = guest::run("qemu-io", &["-c", "read -P 9 0 4k", path.to_str().unwrap()], Path::new("/"));
    assert!(!read.contains("verification failed"), "{read}");
    block.remove_volume(volume(1)).await.unwrap();
    LinuxBlock::open(config).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path.join("volumes/bases")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_made_says_whether_trying_again_helps() {
    let scratch = Scratch::new();
    let block = block(&scratch);
    for image in ["no-such-image", "../volumes", "/etc"] {
        let wanted = VolumeDesired {
            shared: false,
            fork: None,
            volume: volume(1),
            size: GiB(1),
            image: Some(image.into()),
            snapshot: None,
            limits: None,
            data_key: None,
        };
        assert_eq!(block.ensure_volume(&wanted, None).await.unwrap_err().fault, Fault::Permanent, "{image}");
    }
    assert!(block.volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_volume() {
    let scratch = Scratch::new();
    let state = scratch.path.join("volumes");
    let _mount = Scratch::memory(&state, 128 << 10);
    let block = block(&scratch);
    let wanted = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(100),
        image: None,
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let error = block.ensure_volume(&wanted, None).await.unwrap_err();
    assert_eq!(error.fault, Fault::Transient, "{error}");
    let files = std::fs::read_dir(&state).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 0);
    assert!(block.volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_header_that_leads_out_of_the_images_is_refused() {
    let scratch = Scratch::new();
    let block = block(&scratch);
    let wanted = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(1),
        image: Some("idle".into()),
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&wanted, None).await.unwrap();
    let elsewhere = scratch.path.join("secret.qcow2");
    guest::run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", elsewhere.to_str().unwrap(), "1G"],
        Path::new("/"),
    );
    let name = elsewhere.to_str().unwrap();
    guest::run(
        "qemu-img",
        &["rebase", "-u", "-F", "qcow2", "-b", name, path.to_str().unwrap()],
        Path::new("/"),
    );
    let error = block.ensure_volume(&VolumeDesired { size: GiB(2), ..wanted }, None).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{error}");
}
