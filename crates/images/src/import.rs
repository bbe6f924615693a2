//! Cloud images of others: a qcow2, raw, vmdk, VHD or VHDX disk, packed or not, from a file or by HTTP, into the cache.
//!
//! Nothing is trusted: neither the file's name nor what a server says of it. The format is read from the first bytes
//! ([`format`]); a disk that refers to other files (a backing file, an external data file, a parent, extents) is refused,
//! because `qemu-img` would read those as whoever imports. What is converted is our own copy, so nobody changes it
//! between the check and the use, and `qemu-img` runs under limits and is told the driver and that there is no backing
//! file. What the disk boots by, and on which architecture, is read from its partition table and EFI system partition
//! ([`boot`]).
//!
//! Invariants: the image appears in the cache whole or not at all; an image of the same file is not made again; an image
//! that Nube builds is never replaced by one that is imported.
//!
//! Needs `qemu-img` (qemu-utils), `prlimit` (util-linux), and `xz`, `gzip` or `zstd` for files packed so.
//! AWS: <https://docs.aws.amazon.com/vm-import/latest/userguide/vmimport-image-import.html>. Differs: there, an import
//! changes the guest (drivers, boot loader); here the disk stays as it is, as with `import-snapshot`.

mod boot;
mod convert;
pub mod disk;
mod fetch;
mod format;
pub mod ova;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use self::format::Format;
use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::finish::{folder, recipe, replace, write_manifest};
use crate::manifest::{Architecture, Boot, DISK, Manifest};
use crate::progress::{Progress, step};
use crate::{cache, debian, nano};

/// The largest disk: that of EC2's largest volume.
const MOST_BYTES: u64 = 16 << 40;
/// What an import leaves free on the cache's file system: machines run there too.
const ROOM_TO_LEAVE: u64 = 1 << 30;
/// No distribution that boots by firmware starts in less.
const MIN_MEMORY_MIB: u32 = 256;
/// As recipes of imported images begin.
const IMPORTED: &str = "import:";

/// What to import, and what is known of it.
#[derive(Debug, Clone)]
pub struct Order {
    pub source: Source,
    /// Hex digits of the SHA-256 of the file as it is published, packed or not.
    pub sha256: Option<String>,
    /// The name in the cache; none: the file's.
    pub name: Option<String>,
    /// None: what the disk boots on.
    pub architecture: Option<Architecture>,
    /// Whom to log in as; none: as the name suggests.
    pub user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Url(String),
}

impl Source {
    pub fn parse(text: &str) -> Source {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
        if is_url { Source::Url(text.to_owned()) } else { Source::File(text.into()) }
    }

    /// The last part of the path, without what the address has behind it.
    fn file_name(&self) -> String {
        let text = match self {
            Source::File(path) => path.to_string_lossy().into_owned(),
            Source::Url(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        };
        text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Brings the disk into the cache.
pub fn import(cache: &Path, order: &Order, progress: &dyn Progress) -> Result<Manifest> {
    let name = match &order.name {
        Some(name) => name.clone(),
        None => name_of(&order.source.file_name()),
    };
    check_name(&name)?;
    let wanted = order.sha256.as_deref().map(parse_sha256).transpose()?;
    let present = cache::open(cache, &name).ok();
    if present.as_ref().is_some_and(|present| !present.manifest.recipe.starts_with(IMPORTED)) {
        return Err(Error::NameTaken { name });
    }
    let same = |digest: &str| {
        let present = present.as_ref().map(|present| &present.manifest)?;
        let same = present.recipe == format!("{IMPORTED}sha256:{digest}")
            && order.architecture.is_none_or(|architecture| architecture == present.architecture)
            && order.user.as_ref().is_none_or(|user| *user == present.default_user);
        same.then(|| present.clone())
    };
    if let Some(present) = wanted.as_deref().and_then(same) {
        return Ok(present);
    }

    fs::create_dir_all(cache).at(cache)?;
    let work = tempfile::Builder::new().prefix(".import-").tempdir_in(cache).at(cache)?;
    let copy = work.path().join("source");
    let digest = fetch::fetch(&order.source, &copy, progress)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
        return Err(Error::WrongDigest { wanted, found: digest });
    }
    if let Some(present) = same(&digest) {
        return Ok(present);
    }

    let disk = match format::packing(&head(&copy)?) {
        None => copy,
        Some(packing) => {
            let unpacked = work.path().join("unpacked");
            fetch::unpack(packing, &copy, &unpacked, progress)?;
            fs::remove_file(&copy).at(&copy)?;
            unpacked
        }
    };
    let (format, size) = judge(&disk)?;
    let result = folder(work.path(), "image")?;
    let converted = result.join(DISK);
    convert::to("qcow2", format, &disk, &converted, size, progress)?;
    let looking = || boot::inspect_qcow2(&converted, size, work.path());
    let found = step(progress, "see what it boots by", looking)?;
    let (architecture, firmware) = boot::decide(found, order.architecture)?;

    let about =
        [name.as_bytes(), digest.as_bytes(), architecture.as_str().as_bytes(), firmware.as_str().as_bytes()];
    let manifest = Manifest {
        description: format!("Imported from {}", order.source.file_name()),
        architecture,
        // The same file is the same image in every cloud, whichever version of qemu-img converted it.
        digest: recipe(about),
        recipe: format!("{IMPORTED}sha256:{digest}"),
        disk_bytes: size,
        min_disk_gib: size.div_ceil(1 << 30).max(1) as u32,
        min_memory_mib: MIN_MEMORY_MIB,
        root_device_name: "/dev/xvda".to_owned(),
        default_user: order.user.clone().unwrap_or_else(|| user_of(&name).to_owned()),
        boot: Boot::Firmware { firmware },
        resumable: false,
        forkable: false,
        published: None,
        packages: Vec::new(),
        name,
    };
    write_manifest(&manifest, &result)?;
    File::open(&converted).and_then(|disk| disk.sync_all()).at(&converted)?;
    replace(cache, &manifest.name, &result, work.path())?;
    Ok(manifest)
}

/// The format and the size of a disk in a file that nobody else changes.
fn judge(disk: &Path) -> Result<(Format, u64)> {
    let (format, size) = format::of_file(&File::open(disk).at(disk)?)?;
    let size = match (format, size) {
        (Format::Raw | Format::Qcow2 | Format::Vmdk, Some(size)) => size,
        // What a machine sees of it follows from more than its size.
        _ => convert::size(format, disk)?,
    };
    if size > MOST_BYTES {
        let why = format!("its disk of {} GiB is larger than any volume", size >> 30);
        return Err(Error::NotAnImage { why });
    }
    convert::check(format, disk)?;
    Ok((format, size))
}

/// As much of a file's beginning as tells what it is.
fn head(path: &Path) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(format::HEAD_BYTES).read_to_end(&mut head)).at(path)?;
    Ok(head)
}

fn check_name(name: &str) -> Result<()> {
    let plain = (1..=128).contains(&name.len())
        && name.starts_with(|char: char| char.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !plain {
        return Err(Error::BadName { name: name.to_owned() });
    }
    let ours = [nano::name(Architecture::X86_64), nano::name(Architecture::Arm64), debian::NAME];
    if ours.contains(&name) {
        return Err(Error::NameTaken { name: name.to_owned() });
    }
    Ok(())
}

/// A text as a name that a folder may have.
fn plain(name: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '-' };
    name.chars().map(plain).collect()
}

/// A file's name without the endings that say how it is packed.
fn name_of(file: &str) -> String {
    let mut name = file;
    while let Some((rest, ending)) = name.rsplit_once('.') {
        let known = ["qcow2", "img", "raw", "vmdk", "xz", "gz", "zst", "disk"];
        if rest.is_empty() || !known.contains(&ending.to_ascii_lowercase().as_str()) {
            break;
        }
        name = rest;
    }
    plain(name).chars().take(64).collect()
}

/// The user that the distributions' own cloud images have.
fn user_of(name: &str) -> &'static str {
    const USERS: [(&str, &str); 9] = [
        ("debian", "admin"),
        ("ubuntu", "ubuntu"),
        ("fedora", "fedora"),
        ("rocky", "rocky"),
        ("almalinux", "ec2-user"),
        ("centos", "cloud-user"),
        ("alpine", "alpine"),
        ("arch", "arch"),
        ("noble-server", "ubuntu"),
    ];
    let name = name.to_ascii_lowercase();
    USERS.iter().find(|(begin, _)| name.starts_with(begin)).map_or("ec2-user", |(_, user)| user)
}

fn parse_sha256(text: &str) -> Result<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err(Error::Malformed { what: text.to_owned(), why: "a SHA-256 has 64 hex digits".to_owned() })
}

/// Is there still room where this file lies?
pub fn room_at(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(folder).map_err(std::io::Error::from).at(folder)?;
    if free.f_bavail.saturating_mul(free.f_frsize) < ROOM_TO_LEAVE {
        return Err(Error::NoRoom { folder: folder.to_owned() });
    }
    Ok(())
}

/// `qemu-img` as a program that reads what others wrote: limited, so that a disk made to exhaust it ends it instead of
/// the host.
fn qemu_img(most_written: u64) -> crate::exec::Program {
    const MEMORY: u64 = 4 << 30;
    const PROCESSOR_SECONDS: u64 = 2 * 3600;
    program("prlimit")
        .arg(format!("--as={MEMORY}"))
        .arg(format!("--cpu={PROCESSOR_SECONDS}"))
        .arg(format!("--fsize={most_written}"))
        .args(["--nofile=256", "--core=0", "qemu-img"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_files_are_told_apart() {
        assert!(matches!(Source::parse("HTTPS://example.com/a.img"), Source::Url(_)));
        assert!(matches!(Source::parse("./http/a.img"), Source::File(_)));
        let name = |text: &str| name_of(&Source::parse(text).file_name());
        assert_eq!(
            name("https://example.com/x/debian-12-genericcloud-amd64.qcow2?a=/b.c"),
            "debian-12-genericcloud-amd64"
        );
        assert_eq!(name("/tmp/Fedora Cloud.x86_64.raw.xz"), "Fedora-Cloud.x86_64");
    }

    #[test]
    fn names_cannot_leave_the_cache_or_take_what_is_built_here() {
        for bad in ["", ".x", "-x", "a/b", "a b", "..", &"x".repeat(129)] {
            assert!(matches!(check_name(bad), Err(Error::BadName { .. })), "{bad:?}");
        }
        for ours in ["nano", "nano-arm64", "debian-12"] {
            assert!(matches!(check_name(ours), Err(Error::NameTaken { .. })), "{ours}");
        }
        assert!(check_name("debian-12-genericcloud_amd64.2").is_ok());
    }

    #[test]
    fn a_digest_is_64_hex_digits_however_it_is_written() {
        let digits = "AB".repeat(32);
        assert_eq!(parse_sha256(&format!("sha256:{digits}")).unwrap(), "ab".repeat(32));
        assert!(parse_sha256("abc").is_err());
        assert!(parse_sha256(&"zz".repeat(32)).is_err());
    }

    #[test]
    fn users_follow_from_the_names_of_the_distributions() {
        assert_eq!(user_of("ubuntu-24.04-server-cloudimg-amd64"), "ubuntu");
        assert_eq!(user_of("Rocky-9-GenericCloud"), "rocky");
        assert_eq!(user_of("al2023-kvm"), "ec2-user");
    }
}
