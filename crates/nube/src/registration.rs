//! The images of a host become AMIs of a cloud.
//!
//! The host's cache may change under a cloud's feet: an image is built anew, another is deleted. So a cloud keeps what
//! its AMIs stand for in its own directory, by digest, as hard links where the filesystem allows; the AMI's id follows
//! from the digest, so a new build is a new AMI and the same build is the same AMI in every cloud.

use crate::cloud_files::{CloudDir, ROOT_ACCOUNT};
use crate::ssh::USER_TAG;
use anyhow::{Context as _, Result};
use control::cloud::Mode;
use control::{Cloud, Txn};
use images::{Boot, Image as CachedImage};
use model::host::Firmware;
use model::record::Tags;
use model::record::image::{BootMode, Image, ImageDevice, Registration, Traits};
use model::{AccountId, GiB, ImageId, Region};
use plan::public_image;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Takes the images of the host's cache into the cloud's directory.
pub fn adopt(dir: &CloudDir, cache: &Path) -> Result<()> {
    fs::create_dir_all(dir.images())?;
    for image in images::cache::list(cache)? {
        let target = dir.images().join(folder_name(&image.manifest.digest));
        if target.exists() {
            continue;
        }
        let partial = dir.images().join(format!(".{}", folder_name(&image.manifest.digest)));
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir(&partial)?;
        for entry in fs::read_dir(&image.folder)? {
            let entry = entry?;
            let to = partial.join(entry.file_name());
            // On another filesystem a link is not possible: then it is a copy.
            if fs::hard_link(entry.path(), &to).is_err() {
                copy(&entry.path(), &to)
                    .with_context(|| format!("cannot copy {}", entry.path().display()))?;
            }
        }
        fs::File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &target)?;
    }
    Ok(())
}

/// On the disk before its folder gets its name: a folder that is there is taken for whole.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// `sha256:…` as a folder's name.
fn folder_name(digest: &str) -> String {
    digest.rsplit(':').next().unwrap_or(digest).chars().take(32).collect()
}

/// Registers what the cloud's directory holds in every region, owned by the operator and public.
pub async fn register(cloud: &Arc<Cloud>, dir: &CloudDir) -> Result<()> {
    let records = records(cloud, dir)?;
    let written = cloud.transact(Mode::Shared, |txn| {
        put(txn, &records);
        Ok(())
    });
    written.await.map_err(|error| anyhow::anyhow!("cannot register the host's images: {error}"))
}

/// What the cloud's directory holds, for every region.
pub fn records(cloud: &Cloud, dir: &CloudDir) -> Result<Vec<(Region, Image)>> {
    let images = images::cache::list(&dir.images())?;
    let regions = cloud.settings.regions.iter().map(|settings| &settings.region);
    let records = regions
        .flat_map(|region| images.iter().map(move |image| (region.clone(), record(cloud, region, image))));
    Ok(records.collect())
}

/// Those that are not registered yet, in one transaction for all.
pub fn put(txn: &mut Txn<'_>, records: &[(Region, Image)]) {
    for (region, image) in records {
        // What is listed only, as one of AWS's, has no disk yet.
        if txn.get::<Image>(region, &image.image).is_none_or(|known| known.host_image.is_none()) {
            txn.put(region, image.clone());
        }
    }
}

/// An image under the name of one of AWS's public images takes that one's place, id and all.
fn record(cloud: &Cloud, region: &Region, cached: &CachedImage) -> Image {
    let own = own_record(cloud, region, cached);
    let public = public_image::by_short_name(region, &cached.manifest.name);
    let Some(public) = public.filter(|public| public.architecture == own.architecture) else { return own };
    // What the disk at hand boots by counts; a disk that boots by BIOS may well be one that could do both.
    let boot_mode = match (own.traits.boot_mode, public.traits.boot_mode) {
        (None | Some(BootMode::LegacyBios), Some(BootMode::UefiPreferred)) => Some(BootMode::UefiPreferred),
        (own, _) => own,
    };
    Image {
        traits: Traits { boot_mode, ..public.traits },
        host_image: own.host_image,
        digest: own.digest,
        direct_kernel: own.direct_kernel,
        min_memory_mib: own.min_memory_mib,
        devices: own.devices,
        root_device: own.root_device,
        default_user: own.default_user,
        tags: own.tags,
        ..public
    }
}

fn own_record(cloud: &Cloud, region: &Region, cached: &CachedImage) -> Image {
    let manifest = &cached.manifest;
    let digest = manifest.digest.rsplit(':').next().unwrap_or_default();
    let (direct_kernel, boot_mode) = match manifest.boot {
        Boot::DirectKernel { .. } => (true, None),
        Boot::Firmware { firmware: Firmware::LegacyBios } => (false, Some(BootMode::LegacyBios)),
        Boot::Firmware { firmware: Firmware::Uefi } => (false, Some(BootMode::Uefi)),
    };
    let published = manifest.published.as_ref().and_then(|published| {
        // What bears another publisher's name is found by filters upon that publisher, not among the operator's.
        Some((AccountId::parse(&published.owner)?, None, published.name.clone()))
    });
    let (owner, owner_alias, name) = published.unwrap_or_else(|| {
        let name = format!("nube/{}-{}", manifest.name, &digest[..digest.len().min(12)]);
        (ROOT_ACCOUNT, Some("amazon".into()), name)
    });
    Image {
        image: image_id(region, digest),
        owner,
        owner_alias,
        name,
        description: Some(manifest.description.clone()),
        architecture: manifest.architecture,
        root_device: manifest.root_device_name.clone(),
        devices: vec![root_device(&manifest.root_device_name, GiB(manifest.min_disk_gib))],
        host_image: Some(folder_name(&manifest.digest)),
        digest: Some(digest.to_owned()),
        direct_kernel,
        public: true,
        min_memory_mib: manifest.min_memory_mib,
        default_user: Some(manifest.default_user.clone()),
        created_at: cloud.clock.now(),
        traits: Traits { boot_mode, ..Traits::default() },
        registration: Registration::default(),
        tags: Tags::from([(USER_TAG.to_owned(), manifest.default_user.clone())]),
    }
}

fn root_device(device: &str, size: GiB) -> ImageDevice {
    ImageDevice {
        device: device.to_owned(),
        size,
        snapshot: None,
        delete_on_termination: true,
        volume_type: "gp3".into(),
        iops: None,
        throughput: None,
        encryption: None,
    }
}

/// The same image has the same id in every cloud, and another one in every region, as on AWS.
fn image_id(region: &Region, digest: &str) -> ImageId {
    let hash = Sha256::digest(format!("{region}/{digest}"));
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash[..16]);
    public_image::own_id(u128::from_be_bytes(bits))
}
