//! Volumes as qcow2 files in one directory, `<volume>.qcow2`, each an overlay on an image of the host's cache or empty.
//!
//! Invariants: a file under a volume's final name is whole (made under another name, flushed, then renamed), and is never
//! made again; a size only grows. A volume's image stays as it was when the volume was made, whatever becomes of the cache:
//! `bases/<image>-<digest>/` holds the image's files (hard links, or copies on another file system), kernel included, and an
//! overlay stands on the disk in there and on nothing else, unless its machine was resumed from a memory template: then it stands on
//! that template's disk, kept the same way in `bases/<template>/`, which stands on the image's. `templates/` is
//! [`super::vmm`]'s. A base that no volume and no template stands on goes when the driver opens. A file belongs to root unless a machine
//! holds it: [`super::vmm`] changes the owner. A crash leaves at most a `.tmp` file, which the next opening removes.
//! Growing a volume that a machine holds is refused (QEMU's lock on the file says so): the machine grows it ([`super::vmm`]).
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes.html>

use super::exec;
use super::vmm::image;
use crate::host::{Block, HostError, Result};
use model::host::{SnapshotDesired, SnapshotPhase, VolumeDesired};
use model::{CloudTag, SnapshotId, VolumeId};
use plan::machine::qcow2;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const BASES: &str = "bases";
/// Where the templates of this cloud lie, below the volumes.
pub(super) const TEMPLATES: &str = "templates";
const DISK: &str = "disk.qcow2";

#[derive(Debug, Clone)]
pub struct LinuxBlockConfig {
    pub cloud: CloudTag,
    /// Where the volumes lie.
    pub state_dir: PathBuf,
    /// The host's image cache: `<image>/disk.qcow2`.
    pub images_dir: PathBuf,
}

#[derive(Debug)]
pub struct LinuxBlock {
    config: LinuxBlockConfig,
    /// One `qemu-img` at a time for each volume would do; one at all is simpler and they take milliseconds.
    making: tokio::sync::Mutex<()>,
}

impl LinuxBlock {
    pub fn open(config: LinuxBlockConfig) -> Result<Self> {
        let failed = |what: &str, e: io::Error| {
            HostError::transient(format!("{what} {}", config.state_dir.display())).caused_by(e)
        };
        super::vmm::private_directory(&config.state_dir).map_err(|e| failed("making", e))?;
        for entry in fs::read_dir(&config.state_dir).map_err(|e| failed("reading", e))? {
            let path = entry.map_err(|e| failed("reading", e))?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                remove_if_there(&path).map_err(|e| failed("tidying", e))?;
            }
        }
        let block = Self { config, making: tokio::sync::Mutex::new(()) };
        block
            .drop_unused_bases()
            .map_err(|e| HostError::transient("tidying the volumes' images").caused_by(e))?;
        Ok(block)
    }

    fn drop_unused_bases(&self) -> io::Result<()> {
        let bases = self.config.state_dir.join(BASES);
        if !bases.exists() {
            return Ok(());
        }
        let mut disks = Vec::new();
        for entry in fs::read_dir(&self.config.state_dir)? {
            disks.push(entry?.path());
        }
        for entry in fs::read_dir(self.config.state_dir.join(TEMPLATES)).into_iter().flatten() {
            disks.extend(Some(entry?.path().join(DISK)).filter(|disk| disk.exists()));
        }
        let mut used = BTreeSet::new();
        while let Some(path) = disks.pop() {
            if path.extension().is_some_and(|e| e == "qcow2")
                && let Some(below) = header(&path)?.backing_file.map(PathBuf::from)
                && used.insert(below.clone())
                && below.starts_with(&bases.canonicalize()?)
                && below.exists()
            {
                disks.push(below);
            }
        }
        for entry in fs::read_dir(bases)? {
            let base = entry?.path();
            if !used.contains(&base.join(DISK)) {
                fs::remove_dir_all(&base)?;
            }
        }
        Ok(())
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.config.state_dir.join(format!("{volume}.qcow2"))
    }

    /// Removes every volume of this cloud from the host.
    pub async fn purge(&self) -> Result<()> {
        for volume in self.volumes().await? {
            self.remove_volume(volume).await?;
        }
        match fs::remove_dir_all(&self.config.state_dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(HostError::transient("removing the volumes' directory").caused_by(e))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, wanted: &VolumeDesired, path: &Path) -> Result<()> {
        let volume = wanted.volume;
        let tmp = self.config.state_dir.join(format!("{volume}.tmp"));
        let size = wanted.size.bytes();
        let mut below = None;
        if let Some(image) = &wanted.image {
            let base = base(&self.config, image)?;
            let held = header(&base).map_err(|e| {
                HostError::permanent(format!("the image {image} cannot be read")).caused_by(e)
            })?;
            if held.size > size {
                return Err(HostError::permanent(format!(
                    "{volume} is to be {} GiB, but its image {image} holds {} bytes",
                    wanted.size.0, held.size
                )));
            }
            below = Some(base);
        }
        let made = write_overlay(&tmp, path, size, below.as_deref())
            .map_err(|e| HostError::transient(format!("making {volume}")).caused_by(e));
        if made.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        made
    }

    async fn grow(&self, wanted: &VolumeDesired, path: &Path) -> Result<()> {
        let volume = wanted.volume;
        let held = header(path)
            .map_err(|e| HostError::transient(format!("{volume} cannot be read")).caused_by(e))?;
        if held.size >= wanted.size.bytes() {
            return Ok(());
        }
        // qemu-img opens the backing files too, with root's rights: only images of ours.
        backing_chain(path)?;
        let size = wanted.size.bytes().to_string();
        let args = ["resize", "-q", "-f", "qcow2", &path.to_string_lossy(), &size].map(str::to_owned);
        qemu_img(&args).await.map_err(|e| HostError::transient(format!("growing {volume}")).caused_by(e))?;
        File::open(path)
            .and_then(|f| f.sync_all())
            .map_err(|e| HostError::transient(format!("growing {volume}")).caused_by(e))
    }
}

/// The disk that volumes of this image stand on, kept from the cache.
pub(super) fn base(config: &LinuxBlockConfig, name: &str) -> Result<PathBuf> {
    if !image::plain_name(name) {
        return Err(HostError::permanent(format!("\"{name}\" is no image's name")));
    }
    let cached = config.images_dir.join(name);
    let manifest = image::manifest(&cached).map_err(|e| {
        HostError::permanent(format!("the image {name} is not in this host's cache")).caused_by(e)
    })?;
    let digest: String = manifest.digest.chars().filter(char::is_ascii_alphanumeric).collect();
    let failed = |e: io::Error| HostError::transient(format!("keeping the image {name}")).caused_by(e);
    let bases = config.state_dir.join(BASES);
    super::vmm::private_directory(&bases).map_err(failed)?;
    let bases = bases.canonicalize().map_err(failed)?;
    let base = bases.join(format!("{name}-{digest}"));
    if base.exists() {
        return Ok(base.join(DISK));
    }
    let tmp = bases.join(format!("{name}.tmp"));
    let kept = keep(&cached, &tmp).and_then(|()| {
        if image::manifest(&tmp)?.digest != image::manifest(&cached)?.digest {
            return Err(io::Error::other("it was replaced meanwhile"));
        }
        fs::rename(&tmp, &base)?;
        sync_directory(&bases)
    });
    if kept.is_err() {
        let _ = fs::remove_dir_all(&tmp);
    }
    kept.map_err(failed)?;
    Ok(base.join(DISK))
}

/// Makes an empty qcow2 file, by way of `tmp`.
fn write_overlay(tmp: &Path, path: &Path, size: u64, below: Option<&Path>) -> io::Result<()> {
    let below = below.map(|below| below.to_str().ok_or(io::ErrorKind::InvalidFilename)).transpose()?;
    let file = qcow2::empty(size, below).map_err(io::Error::other)?;
    fs::write(tmp, file)?;
    publish(tmp, path)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Puts an empty overlay in the place of a disk that nobody has written to.
pub(super) fn stand_on(disk: &Path, size: u64, below: &Path) -> io::Result<()> {
    let tmp = disk.with_extension("tmp");
    let below = below.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let file = qcow2::empty(size, Some(below)).map_err(io::Error::other)?;
    // Whichever of the two a crash leaves is as good as the other.
    fs::write(&tmp, file).and_then(|()| publish(&tmp, disk)).inspect_err(|_| {
        let _ = fs::remove_file(&tmp);
    })
}

/// The size of a disk that still is as it was made, in bytes; none when somebody has written to it, or may have.
pub(super) fn untouched(disk: &Path) -> io::Result<Option<u64>> {
    let held = header(disk)?;
    let Ok(made) = qcow2::empty(held.size, held.backing_file.as_deref()) else { return Ok(None) };
    if File::open(disk)?.metadata()?.len() != made.len() as u64 {
        return Ok(None);
    }
    Ok((fs::read(disk)? == made).then_some(held.size))
}

/// The disk of a template as volumes stand on it: it stays for as long as they do.
pub(super) fn base_of_template(volumes: &Path, key: &str, disk: &Path) -> io::Result<PathBuf> {
    let bases = volumes.join(BASES).canonicalize()?;
    let base = bases.join(key);
    let kept = base.join(DISK);
    if !kept.exists() {
        match fs::create_dir(&base) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        match fs::hard_link(disk, &kept) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        sync_directory(&base)?;
        sync_directory(&bases)?;
    }
    Ok(kept)
}

impl Block for LinuxBlock {
    async fn ensure_volume(&self, volume: &VolumeDesired) -> Result<PathBuf> {
        let path = self.path(volume.volume);
        let _one = self.making.lock().await;
        if path.exists() {
            self.grow(volume, &path).await?;
        } else {
            self.create(volume, &path)?;
        }
        Ok(path)
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<()> {
        let _one = self.making.lock().await;
        let path = self.path(volume);
        empty(&path)
            .and_then(|()| remove_if_there(&path))
            .and_then(|()| sync_directory(&self.config.state_dir))
            .map_err(|e| HostError::transient(format!("removing {volume}")).caused_by(e))
    }

    async fn volumes(&self) -> Result<Vec<VolumeId>> {
        let failed = |e: io::Error| HostError::transient("listing the volumes").caused_by(e);
        let mut volumes = Vec::new();
        for entry in fs::read_dir(&self.config.state_dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let id =
                name.to_str().and_then(|n| n.strip_suffix(".qcow2")).and_then(|n| VolumeId::parse(n).ok());
            volumes.extend(id);
        }
        volumes.sort();
        Ok(volumes)
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        Ok(Vec::new())
    }

    async fn is_captured(&self, _: SnapshotId) -> Result<bool> {
        Ok(false)
    }

    async fn freeze(&self, _: &[(SnapshotId, VolumeId)]) -> Result<()> {
        Err(HostError::transient("this host cannot take snapshots yet"))
    }

    async fn captured(&self, _: &[SnapshotId]) -> Result<()> {
        Err(HostError::transient("this host cannot take snapshots yet"))
    }

    async fn store_snapshot(&self, _: &SnapshotDesired) -> Result<SnapshotPhase> {
        Err(HostError::transient("this host cannot take snapshots yet"))
    }

    async fn remove_snapshot(&self, _: SnapshotId) -> Result<Option<VolumeId>> {
        Ok(None)
    }

    async fn trim(&self, _: VolumeId) -> Result<()> {
        Ok(())
    }
}

async fn qemu_img(args: &[String]) -> Result<()> {
    let output = exec::run("qemu-img", args, b"").await?;
    if output.success() {
        return Ok(());
    }
    Err(HostError::transient(format!("qemu-img {}: {}", args[0], output.complaint())))
}

/// Reads the header of a qcow2 file.
pub(super) fn header(path: &Path) -> io::Result<qcow2::Header> {
    let mut bytes = Vec::with_capacity(qcow2::HEADER_BYTES);
    File::open(path)?.take(qcow2::HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    qcow2::parse(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The files under a volume, from its image down, as its headers name them. A process that was taken over by its guest
/// may have written the volume's header, so a name that leads out of the volumes' bases is refused.
pub(super) fn backing_chain(path: &Path) -> Result<Vec<PathBuf>> {
    const LONGEST: usize = 16;
    let broken = |path: &Path, e: io::Error| {
        HostError::permanent(format!("{} cannot be read", path.display())).caused_by(e)
    };
    let mut chain = Vec::new();
    let mut next = header(path).map_err(|e| broken(path, e))?.backing_file;
    while let Some(name) = next {
        let bases = path.with_file_name(BASES).canonicalize().map_err(|e| broken(path, e))?;
        let below = PathBuf::from(&name);
        if below.canonicalize().ok().as_ref() != Some(&below)
            || !below.starts_with(&bases)
            || chain.len() == LONGEST
        {
            return Err(HostError::permanent(format!(
                "{} stands on {name}, which is no image of this host",
                path.display()
            )));
        }
        next = header(&below).map_err(|e| broken(&below, e))?.backing_file;
        chain.push(below);
    }
    Ok(chain)
}

/// Makes a directory with an image's files, so that they stay when the cache changes.
fn keep(image: &Path, into: &Path) -> io::Result<()> {
    match fs::remove_dir_all(into) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir(into)?;
    for entry in fs::read_dir(image)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let to = into.join(entry.file_name());
        match fs::hard_link(entry.path(), &to) {
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(entry.path(), &to)?;
                File::open(&to)?.sync_all()?;
            }
            linked => linked?,
        }
    }
    sync_directory(into)
}

/// Gives a finished file its name, so that a crash at any moment leaves the whole file or what was there before.
fn publish(tmp: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(tmp, fs::Permissions::from_mode(0o600))?;
    File::open(tmp)?.sync_all()?;
    fs::rename(tmp, path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Frees what a file takes. A machine that had the disk from its start on sees the file in its sandbox until it ends, and
/// would keep its room taken.
fn empty(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) if file.metadata()?.nlink() == 1 => file.set_len(0),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
