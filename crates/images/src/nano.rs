//! The nano image: a whole EC2 guest in a few megabytes that boots in seconds, even on an emulated processor.
//!
//! In it: the distribution's kernel for virtual machines, BusyBox, Bash (user data asks for it), Dropbear with `scp` and
//! `sftp`, and `nube-guest` as init, agent and `sudo`. Log in as `ec2-user` or `root` with the key of the launch.
//!
//! Root also logs in, because BusyBox has no sudo and playbooks know both ways; there are no passwords.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::error::{At, Error, Result};
use crate::finish::{
    Content, convert, digest, folder, initrd, read_guest, recipe, replace, write_file, write_manifest,
};
use crate::kernel::Kernel;
use crate::manifest::{Architecture, Boot, DISK, INITRD, Image, KERNEL, Manifest, Package};
use crate::packages::{self, Distribution, Lists};
use crate::progress::{Progress, step};
use crate::tree::Tree;
use crate::{cache, cpio, ext4};

/// The image's name in the cache.
pub const fn name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "nano",
        Architecture::Arm64 => "nano-arm64",
    }
}

const DISK_BYTES: u64 = 128 << 20;
const MIN_DISK_GIB: u32 = 1;
const MIN_MEMORY_MIB: u32 = 64;
const USER: &str = "ec2-user";
const USER_ID: u32 = 1000;

const fn command_line(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "root=/dev/vda console=ttyS0 quiet panic=-1 net.ifnames=0",
        Architecture::Arm64 => "root=/dev/vda console=ttyAMA0 quiet panic=-1 net.ifnames=0",
    }
}

/// Besides what speeds up any boot: no self tests of ciphers, no security modules, no probes for a keyboard, a mouse and
/// more serial ports; together a quarter of the processor time of a boot.
const fn command_line_emulated(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => {
            "mitigations=off nokaslr tsc=reliable no_timer_check audit=0 lsm= nowatchdog cryptomgr.notests \
             rcupdate.rcu_expedited=1 i8042.noaux i8042.nokbd 8250.nr_uarts=1"
        }
        Architecture::Arm64 => {
            "mitigations=off nokaslr audit=0 lsm= nowatchdog cryptomgr.notests rcupdate.rcu_expedited=1"
        }
    }
}

/// Programs that must be there, each with the name of its package.
const PROGRAMS: [&str; 6] = ["bash", "dropbear", "dropbearkey", "dbclient", "scp", "sftp-server"];
const USERLAND: [&str; 5] =
    ["bash", "busybox-static", "dropbear-bin", "openssh-client", "openssh-sftp-server"];

/// Commands of BusyBox that the guest agent does instead.
const OURS: [&str; 7] = ["init", "linuxrc", "poweroff", "reboot", "halt", "shutdown", "sudo"];

/// A change of the builder is a change of the image.
const BUILDER: [&str; 8] = [
    include_str!("endpoint/mod.rs"),
    include_str!("nano.rs"),
    include_str!("finish.rs"),
    include_str!("ext4.rs"),
    include_str!("cpio.rs"),
    include_str!("kernel.rs"),
    include_str!("tree.rs"),
    include_str!("elf.rs"),
];

/// Builds the image into the cache with this static `nube-guest` (see the crate `guest` for how to build one), unless
/// the image there was built of the very same things. Packages are kept in `cache/.packages`, package lists of another
/// architecture than the host's in `cache/.lists-…`.
pub fn build(
    cache: &Path,
    architecture: Architecture,
    guest: &Path,
    progress: &dyn Progress,
) -> Result<Manifest> {
    let distribution = Distribution::of_host()?;
    let path = guest;
    let guest = read_guest(path)?;
    if Elf::parse(&guest)?.architecture() != Some(architecture) {
        return Err(Error::NoGuest {
            path: path.to_owned(),
            hint: "it is of another architecture than the image",
        });
    }
    let lists = match architecture {
        Architecture::X86_64 => Lists::of_host(),
        Architecture::Arm64 => step(progress, "update package lists", || {
            Lists::of_architecture(architecture, &cache.join(".lists-arm64"))
        })?,
    };
    let sources = step(progress, "find packages", || {
        packages::find(&lists, &wanted(&lists, distribution, architecture)?)
    })?;
    let packages: Vec<Package> = sources.iter().map(packages::Source::package).collect();
    let recipe = recipe(
        BUILDER
            .iter()
            .map(|source| source.as_bytes())
            .chain([&*guest])
            .chain(packages.iter().map(|package| package.sha256.as_bytes())),
    );
    let name = name(architecture);
    if let Ok(present) = cache::open(cache, name)
        && present.manifest.recipe == recipe
    {
        return Ok(present.manifest);
    }
    let files = packages::fetch(&lists, &sources, &cache.join(".packages"), progress)?;
    let work = tempfile::Builder::new().prefix(".nano-").tempdir_in(cache).at(cache)?;
    let root = folder(work.path(), "packages")?;
    packages::unpack(&files, &root, progress)?;

    let result = folder(work.path(), "image")?;
    step(progress, "prepare the kernel", || {
        let kernel = Kernel::open(&root)?;
        write_file(&result.join(KERNEL), &kernel.image)?;
        write_file(&result.join(INITRD), &cpio::render(&initrd(&kernel, &guest)?))
    })?;
    let raw = work.path().join("disk.raw");
    step(progress, "make the root filesystem", || {
        ext4::write(
            &root_tree(&root, architecture, &guest)?,
            &raw,
            DISK_BYTES,
            &folder(work.path(), "scratch")?,
        )
    })?;
    let (kernel, initrd) = (result.join(KERNEL), result.join(INITRD));
    let digest = digest(&[Content::Whole(&raw), Content::Whole(&kernel), Content::Whole(&initrd)], progress)?;
    step(progress, "convert the disk", || convert(&raw, &result.join(DISK)))?;

    let manifest = Manifest {
        name: name.to_owned(),
        description: "Nube nano: BusyBox, Bash and Dropbear on the distribution's cloud kernel".to_owned(),
        architecture,
        digest,
        recipe,
        disk_bytes: DISK_BYTES,
        min_disk_gib: MIN_DISK_GIB,
        root_device_name: "/dev/xvda".to_owned(),
        default_user: USER.to_owned(),
        boot: Boot::DirectKernel {
            command_line: command_line(architecture).to_owned(),
            command_line_emulated: command_line_emulated(architecture).to_owned(),
        },
        min_memory_mib: MIN_MEMORY_MIB,
        resumable: true,
        forkable: true,
        published: None,
        packages,
    };
    write_manifest(&manifest, &result)?;
    File::open(result.join(DISK)).and_then(|disk| disk.sync_all()).at(&result)?;
    replace(cache, name, &result, work.path())?;
    Ok(manifest)
}

/// The image in the cache.
pub fn open(cache: &Path, architecture: Architecture) -> Result<Image> {
    cache::open(cache, name(architecture))
}

fn wanted(lists: &Lists, distribution: Distribution, architecture: Architecture) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = USERLAND.map(str::to_owned).into();
    // Libraries only: what else they depend on is for an installed system.
    let libraries = packages::with_dependencies(lists, &["bash", "dropbear-bin", "libc6"])?;
    names.extend(libraries.into_iter().filter(|name| name.starts_with("lib") || name.starts_with("zlib")));
    let is_kernel = |name: &String| {
        ["linux-image-", "linux-modules-"].iter().any(|kind| {
            name.strip_prefix(kind)
                .is_some_and(|version| version.starts_with(|char: char| char.is_ascii_digit()))
        })
    };
    let before = names.len();
    let kernel = distribution.kernel(architecture);
    names.extend(packages::with_dependencies(lists, &[kernel])?.into_iter().filter(is_kernel));
    if names.len() == before {
        return Err(Error::NoPackage { wanted: kernel.to_owned() });
    }
    Ok(names)
}

fn root_tree(packages: &Path, architecture: Architecture, guest: &[u8]) -> Result<Tree> {
    let mut tree = Tree::default();
    for (path, mode, owner) in [
        ("boot", 0o755, 0),
        ("dev", 0o755, 0),
        ("home/ec2-user", 0o700, USER_ID),
        ("media", 0o755, 0),
        ("mnt", 0o755, 0),
        ("opt", 0o755, 0),
        ("proc", 0o555, 0),
        ("root", 0o700, 0),
        ("run", 0o755, 0),
        ("srv", 0o755, 0),
        ("sys", 0o555, 0),
        ("tmp", 0o1777, 0),
        ("usr/local/bin", 0o755, 0),
        ("var/lib/nube", 0o755, 0),
        ("var/log", 0o755, 0),
        ("var/tmp", 0o1777, 0),
    ] {
        tree.folder(path, mode, owner);
    }
    // One folder for programs under all their customary names.
    for (path, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("usr/sbin", "bin"),
        ("var/run", "../run"),
        ("etc/mtab", "../proc/self/mounts"),
    ] {
        tree.link(path, target);
    }
    for name in OURS.iter().filter(|name| **name != "sudo" && **name != "linuxrc") {
        tree.link(&format!("usr/bin/{name}"), "nube-guest");
    }
    tree.file("usr/bin/nube-guest", 0o755, guest);
    tree.file("usr/bin/sudo", 0o4755, guest);
    add_programs(&mut tree, packages, triplet(architecture))?;
    add_busybox(&mut tree, packages, triplet(architecture))?;
    add_configuration(&mut tree);
    Ok(tree)
}

fn add_busybox(tree: &mut Tree, packages: &Path, triplet: &str) -> Result<()> {
    let path = find(packages, triplet, "busybox")?;
    let program = fs::read(&path).at(&path)?;
    for name in applets(&program)?.into_iter().filter(|name| !OURS.contains(name)) {
        let link = format!("usr/bin/{name}");
        if !tree.contains(&link) {
            tree.link(&link, "busybox");
        }
    }
    tree.file("usr/bin/busybox", 0o755, program);
    Ok(())
}

/// The commands of a BusyBox: a table of names in the program, which may be of an architecture that cannot be asked here.
fn applets(busybox: &[u8]) -> Result<Vec<&str>> {
    // The table is sorted, and no other text has these two first.
    const BEGINNING: &[u8] = b"\0[\0[[\0";
    let lacking = || Error::Missing { wanted: "the list of BusyBox's commands".to_owned() };
    let at = busybox.windows(BEGINNING.len()).position(|window| window == BEGINNING).ok_or_else(lacking)?;
    let names = busybox[at + 1..].split(|byte| *byte == 0).take_while(|name| !name.is_empty());
    names.map(|name| std::str::from_utf8(name).map_err(|_| lacking())).collect()
}

fn add_programs(tree: &mut Tree, packages: &Path, triplet: &str) -> Result<()> {
    let mut libraries: VecDeque<String> = VecDeque::new();
    for name in PROGRAMS {
        let path = find(packages, triplet, name)?;
        let bytes = fs::read(&path).at(&path)?;
        let elf = Elf::parse(&bytes)?;
        libraries.extend(elf.needed().into_iter().map(str::to_owned));
        if let Some(loader) = elf.interpreter() {
            let file = loader.rsplit('/').next().unwrap_or(loader);
            let library = find(packages, triplet, file)?;
            tree.file(&format!("usr{loader}"), 0o755, fs::read(&library).at(&library)?);
        }
        tree.file(&format!("usr/bin/{name}"), 0o755, bytes);
    }
    while let Some(name) = libraries.pop_front() {
        let target = format!("usr/lib/{triplet}/{name}");
        if tree.contains(&target) || name.starts_with("ld-linux") {
            continue;
        }
        let path = find(packages, triplet, &name)?;
        let bytes = fs::read(&path).at(&path)?;
        libraries.extend(Elf::parse(&bytes)?.needed().into_iter().map(str::to_owned));
        tree.file(&target, 0o644, bytes);
    }
    // Where Dropbear looks for it, and a client under its usual name.
    tree.link("usr/lib/sftp-server", "../bin/sftp-server");
    tree.link("usr/bin/ssh", "dbclient");
    Ok(())
}

/// Where the distribution keeps the libraries of an architecture.
const fn triplet(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64-linux-gnu",
        Architecture::Arm64 => "aarch64-linux-gnu",
    }
}

/// A program or library wherever this release of the distribution puts it.
fn find(packages: &Path, triplet: &str, name: &str) -> Result<PathBuf> {
    let libraries = format!("lib/{triplet}");
    let folders = ["bin", "sbin", &libraries, "lib/openssh", "lib"];
    let mut candidates = folders
        .iter()
        .flat_map(|folder| [packages.join("usr").join(folder).join(name), packages.join(folder).join(name)]);
    candidates.find(|path| path.is_file()).ok_or_else(|| Error::Missing { wanted: name.to_owned() })
}

fn add_configuration(tree: &mut Tree) {
    for (path, mode, content) in [
        (
            "etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nec2-user:x:1000:1000:EC2 user:/home/ec2-user:/bin/sh\n",
        ),
        (
            "etc/group",
            0o644,
            "root:x:0:\ntty:x:5:\ndisk:x:6:\nwheel:x:10:ec2-user\nutmp:x:43:\nnogroup:x:65534:\nec2-user:x:1000:\n",
        ),
        ("etc/shadow", 0o600, "root:*:20000::::::\nnobody:*:20000::::::\nec2-user:*:20000::::::\n"),
        ("etc/shells", 0o644, "/bin/sh\n/bin/ash\n/bin/bash\n"),
        ("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
        (
            "etc/profile",
            0o644,
            "export PATH=/usr/local/bin:/usr/bin\n[ \"$(id -u)\" = 0 ] && mark='#' || mark='$'\nexport PS1=\"\\u@\\h:\\w$mark \"\nunset mark\nfor file in /etc/profile.d/*.sh; do . $file; done\nunset file\n",
        ),
        (
            "etc/os-release",
            0o644,
            "NAME=\"Nube nano\"\nID=nube-nano\nID_LIKE=debian\nPRETTY_NAME=\"Nube nano\"\n",
        ),
        ("etc/fstab", 0o644, "/dev/vda / ext4 defaults,noatime 0 1\n"),
        ("etc/protocols", 0o644, "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n"),
        (
            "etc/services",
            0o644,
            "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nntp 123/udp\nhttps 443/tcp\n",
        ),
    ] {
        tree.file(path, mode, content);
    }
    tree.file("etc/profile.d/nube-endpoint.sh", 0o644, crate::endpoint::PROFILE_LINE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_busybox_are_read_from_its_table() {
        let program = b"\x7fELF\0BusyBox v1\0[\0[[\0acpid\0zcat\0\0rest";
        assert_eq!(applets(program).unwrap(), ["[", "[[", "acpid", "zcat"]);
        assert!(applets(b"\x7fELF").is_err());
    }
}
