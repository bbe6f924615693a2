//! Debian 12 as an EC2 image: the distribution's packages as they are, its cloud-init with the Ec2 data source, user
//! `admin`. What Nube adds are a few files of configuration ([`FILES`]), links to volumes by EC2's device names, and the
//! presets of AWS clients ([`crate::endpoint`]).
//!
//! The disk boots by firmware (GRUB, BIOS and UEFI) and by the kernel and initial RAM disk beside it, which saves an
//! emulated processor GRUB, an initramfs and a quarter of a minute.
//!
//! Built as root by `mmdebstrap`, whose mounts are in a namespace of its own. Beyond what the crate's documentation
//! names, it needs `mmdebstrap`, `sfdisk` (fdisk), `mkfs.vfat` (dosfstools), `mcopy` and `mmd` (mtools), on Ubuntu also
//! debian-archive-keyring; [`build`] names what is missing. `apt-helper` (apt) asks the archive for its state first: while
//! that stays the same, so does the image. Unlike nano's, a rebuild of the same packages has another digest.

mod disk;
mod mirror;

pub use mirror::Mirror;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::endpoint::SYSTEMD_FILES;
use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::finish::{
    Content, convert, digest, folder, initrd, read_guest, recipe, replace, write_file, write_manifest,
};
use crate::kernel::Kernel;
use crate::manifest::{Architecture, Boot, DISK, INITRD, KERNEL, Manifest, Package, Published};
use crate::progress::{Progress, step};
use crate::{cache, cpio};

/// The image's name in the cache.
pub const NAME: &str = "debian-12";
const RELEASE: &str = "bookworm";
/// Debian's own account on AWS, which owns its AMIs.
const OWNER: &str = "136693071363";
const MIN_MEMORY_MIB: u32 = 256;

const COMMAND_LINE: &str = "root=/dev/vda1 console=ttyS0 quiet net.ifnames=0";
/// As nano's; and an emulated processor claims more than is worth a driver: the modules for its virtualization and its
/// cipher instructions take seconds to load.
const COMMAND_LINE_EMULATED: &str = "mitigations=off nokaslr tsc=reliable no_timer_check audit=0 lsm= nowatchdog \
    cryptomgr.notests rcupdate.rcu_expedited=1 i8042.noaux i8042.nokbd 8250.nr_uarts=1 \
    modprobe.blacklist=kvm,kvm_amd,kvm_intel,powernow_k8,acpi_cpufreq,aesni_intel,ghash_clmulni_intel,\
    sha512_ssse3,sha256_ssse3,sha1_ssse3,crct10dif_pclmul,crc32_pclmul,crc32c_intel,polyval_clmulni,cryptd";

/// What the instance has beside the essential packages and what these depend on.
const PACKAGES: [&str; 38] = [
    "apt-utils",
    "bash-completion",
    "bind9-host",
    "busybox",
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "ethtool",
    "fdisk",
    "gdisk",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "grub2-common",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "isc-dhcp-client",
    "kmod",
    "less",
    "linux-image-cloud-amd64",
    "locales",
    "nano",
    "netbase",
    "openssh-client",
    "openssh-server",
    "procps",
    "psmisc",
    "python3",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "vim-tiny",
    "wget",
];

/// What Nube puts into it. `@ROOT@` and its like stand for the disk's identities.
const FILES: [(&str, u32, &str); 14] = [
    ("boot/grub/grub.cfg", 0o644, include_str!("files/grub.cfg")),
    ("etc/cloud/cloud.cfg.d/10_ec2.cfg", 0o644, include_str!("files/cloud.cfg")),
    ("etc/cloud/ds-identify.cfg", 0o644, "datasource: Ec2\n"),
    ("etc/default/grub.d/10-nube.cfg", 0o644, include_str!("files/grub-default.cfg")),
    ("etc/default/locale", 0o644, "LANG=C.UTF-8\n"),
    ("etc/fstab", 0o644, include_str!("files/fstab")),
    (
        "etc/systemd/network/10-cloud-init-eth0.network.d/10-ec2.conf",
        0o644,
        include_str!("files/network.conf"),
    ),
    ("etc/systemd/timesyncd.conf.d/10-ec2.conf", 0o644, include_str!("files/timesyncd.conf")),
    ("usr/lib/nube/adopt-network", 0o755, include_str!("files/adopt-network")),
    ("usr/lib/nube/name-volume", 0o755, include_str!("files/name-volume")),
    ("usr/lib/nube/template-warm", 0o755, include_str!("files/template-warm")),
    ("usr/lib/systemd/system/nube-guest.service", 0o644, include_str!("files/nube-guest.service")),
    ("usr/lib/systemd/system/nube-volume@.service", 0o644, include_str!("files/volume@.service")),
    ("usr/lib/udev/rules.d/90-nube-volumes.rules", 0o644, include_str!("files/volumes.rules")),
];
/// The agent that makes a template of a boot and an instance of a template; one of systemd's generators by another name.
const GUEST: &str = "usr/lib/nube/nube-guest";
const CUSTOMIZE: &str = include_str!("files/customize.sh");
const GRUB_EARLY: &str = include_str!("files/grub-early.cfg");

/// A change of the builder is a change of the image.
const BUILDER: [&str; 3] = [include_str!("mod.rs"), include_str!("disk.rs"), include_str!("../finish.rs")];

/// Programs and the packages that they come from.
const PROGRAMS: [(&str, &str); 7] = [
    ("mmdebstrap", "mmdebstrap"),
    ("sfdisk", "fdisk"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
    ("xz", "xz-utils"),
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Builds the image from this mirror into `cache/debian-12`, with this static `nube-guest` in its initial RAM disk, unless
/// the image there was built of the archive as it is now.
pub fn build(cache: &Path, mirror: &Mirror, guest: &Path, progress: &dyn Progress) -> Result<Manifest> {
    ready()?;
    let guest = read_guest(guest)?;
    fs::create_dir_all(cache).at(cache)?;
    let work = tempfile::Builder::new().prefix(".debian-").tempdir_in(cache).at(cache)?;
    let archive = step(progress, "ask the archive", || Archive::ask(mirror, work.path()))?;
    let files = FILES
        .iter()
        .chain(&SYSTEMD_FILES)
        .flat_map(|(path, _, content)| [path.as_bytes(), content.as_bytes()]);
    let recipe = recipe(
        BUILDER
            .iter()
            .chain([&CUSTOMIZE, &GRUB_EARLY])
            .map(|source| source.as_bytes())
            .chain(files)
            .chain([&*guest])
            .chain(archive.releases.iter().map(String::as_bytes)),
    );
    if let Ok(present) = cache::open(cache, NAME)
        && present.manifest.recipe == recipe
    {
        return Ok(present.manifest);
    }

    // mmdebstrap's children, which are not root, walk through it.
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).at(work.path())?;
    let root = work.path().join("root");
    step(progress, "install Debian's packages", || install(mirror, &guest, &root, work.path()))?;
    let packages = packages(&work.path().join("packages"))?;

    let result = folder(work.path(), "image")?;
    step(progress, "prepare the kernel", || {
        let kernel = Kernel::open(&root)?;
        write_file(&result.join(KERNEL), &kernel.image)?;
        write_file(&result.join(INITRD), &cpio::render(&initrd(&kernel, &guest)?))
    })?;
    let raw = work.path().join("disk.raw");
    step(progress, "make the disk", || disk::write(&root, work.path(), &raw))?;
    let (kernel, initrd) = (result.join(KERNEL), result.join(INITRD));
    let digest =
        digest(&[Content::Sparse(&raw), Content::Whole(&kernel), Content::Whole(&initrd)], progress)?;
    step(progress, "convert the disk", || convert(&raw, &result.join(DISK)))?;

    let manifest = Manifest {
        name: NAME.to_owned(),
        description: format!("Debian 12 ({})", archive.version),
        architecture: Architecture::X86_64,
        digest,
        recipe,
        disk_bytes: disk::BYTES,
        min_disk_gib: (disk::BYTES >> 30) as u32,
        min_memory_mib: MIN_MEMORY_MIB,
        root_device_name: "/dev/xvda".to_owned(),
        default_user: "admin".to_owned(),
        boot: Boot::DirectKernel {
            command_line: COMMAND_LINE.to_owned(),
            command_line_emulated: COMMAND_LINE_EMULATED.to_owned(),
        },
        resumable: true,
        forkable: false,
        published: Some(Published {
            name: format!("debian-12-amd64-{}", archive.version),
            owner: OWNER.to_owned(),
        }),
        packages,
    };
    write_manifest(&manifest, &result)?;
    File::open(result.join(DISK)).and_then(|disk| disk.sync_all()).at(&result)?;
    replace(cache, NAME, &result, work.path())?;
    Ok(manifest)
}

/// Says at once what this host lacks, rather than after minutes.
fn ready() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(Error::UnsupportedHost { found: std::env::consts::ARCH.to_owned() });
    }
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let there = |name: &str| folders.iter().any(|folder| Path::new(folder).join(name).exists());
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if !Path::new(KEYRING).exists() {
        missing.push("debian-archive-keyring");
    }
    if !missing.is_empty() {
        return Err(Error::MissingPackages { packages: missing.join(" ") });
    }
    if fs::metadata("/proc/self").at("/proc/self")?.uid() != 0 {
        return Err(Error::NeedsRoot);
    }
    Ok(())
}

/// The archive at one moment.
struct Archive {
    /// The signed descriptions of its suites.
    releases: Vec<String>,
    /// When the latest of them was made, as Debian's AMIs are named: `20250519-2117`.
    version: String,
}

impl Archive {
    fn ask(mirror: &Mirror, scratch: &Path) -> Result<Archive> {
        let mut releases = Vec::new();
        for (site, suite) in mirror.archives(RELEASE) {
            let file = scratch.join(format!("{suite}.release"));
            program("/usr/lib/apt/apt-helper")
                .args(["-o", "APT::Sandbox::User=root", "download-file"])
                .arg(format!("{site}/dists/{suite}/InRelease"))
                .arg(&file)
                .run()?;
            releases.push(fs::read_to_string(&file).at(&file)?);
        }
        let version =
            releases.iter().filter_map(|release| version(release)).max().ok_or_else(|| Error::Malformed {
                what: "the archive's description".to_owned(),
                why: "it has no date".to_owned(),
            })?;
        Ok(Archive { releases, version })
    }
}

/// `Date: Sat, 21 Nov 2026 20:12:34 UTC` as `20261121-2012`.
fn version(release: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = release.lines().find_map(|line| line.strip_prefix("Date: "))?;
    let mut words = date.split_whitespace().skip(1);
    let day: u32 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? + 1;
    let year: u32 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':');
    let (hour, minute): (u32, u32) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    Some(format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}"))
}

/// Makes the root folder; `customize.sh` leaves the boot loader and the list of packages in `work`.
fn install(mirror: &Mirror, guest: &[u8], root: &Path, work: &Path) -> Result<()> {
    let overlay = |path: &str, mode: u32, content: &[u8]| {
        let target = work.join("overlay").join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).at(parent)?;
        }
        write_file(&target, content)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).at(&target)
    };
    for (path, mode, content) in FILES.into_iter().chain(SYSTEMD_FILES) {
        overlay(path, mode, disk::identify(content).as_bytes())?;
    }
    overlay(GUEST, 0o755, guest)?;
    write_file(&work.join("grub-early.cfg"), disk::identify(GRUB_EARLY).as_bytes())?;
    let script = work.join("customize.sh");
    write_file(&script, CUSTOMIZE.as_bytes())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).at(&script)?;

    let exclude = |what: &str| format!("--dpkgopt=path-exclude={what}");
    program("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--components=main"])
        .args(["--aptopt=Acquire::Languages \"none\"", "--architectures=amd64"])
        .args(
            ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*"].map(exclude),
        )
        .arg("--dpkgopt=path-include=/usr/share/doc/*/copyright")
        .arg("--dpkgopt=path-include=/usr/share/locale/locale.alias")
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(format!("--customize-hook={}", script.display()))
        .arg(RELEASE)
        .arg(root)
        .args(
            mirror
                .archives(RELEASE)
                .map(|(site, suite)| format!("deb [signed-by={KEYRING}] {site} {suite} main")),
        )
        .run()
        .map(drop)
}

/// Reads what `apt-cache show` says of the packages.
fn packages(path: &PathBuf) -> Result<Vec<Package>> {
    let text = fs::read_to_string(path).at(path)?;
    let mut packages: Vec<Package> = text.split("\n\n").filter_map(package).collect();
    packages.sort_by(|one, other| one.file.cmp(&other.file));
    packages.dedup();
    Ok(packages)
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let file = field("Filename")?.rsplit('/').next()?.to_owned();
    Some(Package { file, sha256: field("SHA256")?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_date_becomes_the_images_version() {
        assert_eq!(
            version("Origin: Debian\nDate: Sat, 01 Nov 2025 09:05:34 UTC\n").unwrap(),
            "20251101-0905"
        );
        assert_eq!(version("Origin: Debian\n"), None);
    }

    #[test]
    fn packages_are_known_by_file_and_digest() {
        let stanza =
            "Package: bash\nVersion: 5.2\nFilename: pool/main/b/bash/bash_5.2_amd64.deb\nSHA256: ab12";
        assert_eq!(
            package(stanza).unwrap(),
            Package { file: "bash_5.2_amd64.deb".to_owned(), sha256: "ab12".to_owned() }
        );
        assert_eq!(package(""), None);
    }

    #[test]
    fn no_file_is_left_with_a_placeholder() {
        for (path, _, content) in FILES {
            let identified = disk::identify(content);
            // `=@/…` is systemd's way to name a program otherwise than by its path.
            let mut values = identified.split("=@").skip(1);
            assert!(!values.any(|value| value.starts_with(|c: char| c.is_ascii_uppercase())), "{path}");
        }
    }
}
