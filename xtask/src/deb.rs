//! `cargo xtask deb`: a Debian package, by dpkg-deb, which every Debian has.
//!
//! Everything lies where Debian's policy wants it: programs, the service, its defaults, manual pages, completions of three
//! shells, documentation.

use crate::{build, packages, run};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const MAINTAINER: &str = "The Nube authors <nube@localhost.localdomain>";
/// Only what builds: the package brings the program.
const BUILD_ONLY: [&str; 2] = ["gcc", "libc6-dev"];
/// What is useful and not needed.
const RECOMMENDED: [&str; 1] = ["openssh-client"];

/// How small the package shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Small,
    /// For a test, which unpacks it at once.
    Quick,
}

/// Builds the release, or the development build, and packs it. Returns the package.
pub fn run(dev: bool) -> Result<PathBuf> {
    packages::ensure(packages::CLOUD)?;
    let nube = if dev { build::nube_for_tests()? } else { build::nube()? };
    let guest = build::guest()?;
    let package = pack(&nube, &guest, if dev { Size::Quick } else { Size::Small })?;
    run::say(format_args!("{} (install: apt install {})", package.display(), package.display()));
    Ok(package)
}

/// Packs these programs.
pub fn pack(nube: &Path, guest: &Path, size: Size) -> Result<PathBuf> {
    run::say("Packing");
    let folder = std::path::absolute(run::target().join("debian"))?;
    let tree = folder.join("tree");
    match fs::remove_dir_all(&tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("cannot clear {}: {error}", tree.display())
        }
        _ => {}
    }
    let put = Tree(tree.clone());
    put.copy(nube, "usr/bin/nube", 0o755)?;
    put.copy(guest, "usr/lib/nube/nube-guest", 0o755)?;
    put.copy(Path::new("packaging/nube.service"), "usr/lib/systemd/system/nube.service", 0o644)?;
    put.copy(Path::new("packaging/debian/nube.default"), "etc/default/nube", 0o644)?;
    put.copy(Path::new("packaging/debian/copyright"), "usr/share/doc/nube/copyright", 0o644)?;
    put.write("usr/share/doc/nube/changelog", &changelog()?, 0o644)?;
    for page in run::output("git", &["ls-files", "docs/*.md", "README.md"])?.lines() {
        put.copy(Path::new(page), &format!("usr/share/doc/nube/{page}"), 0o644)?;
    }
    let program = nube.display().to_string();
    for (shell, at) in [
        ("bash", "usr/share/bash-completion/completions/nube"),
        ("zsh", "usr/share/zsh/vendor-completions/_nube"),
        ("fish", "usr/share/fish/vendor_completions.d/nube.fish"),
    ] {
        put.write(at, &run::output(&program, &["completions", shell])?, 0o644)?;
    }
    let manual = tree.join("usr/share/man/man1");
    run::output(&program, &["man", "--to", &manual.display().to_string()])?;
    for page in fs::read_dir(&manual)?.chain(fs::read_dir(tree.join("usr/share/doc/nube"))?) {
        let page = page?.path();
        let zipped = page.extension().is_some_and(|kind| kind == "1") || page.ends_with("changelog");
        if zipped {
            run::program("gzip", &[Path::new("-9n"), &page])?;
        }
    }
    put.write("DEBIAN/control", &control(nube, &tree)?, 0o644)?;
    put.write("DEBIAN/conffiles", "/etc/default/nube\n", 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let from = Path::new("packaging/debian").join(script);
        put.copy(&from, &format!("DEBIAN/{script}"), 0o755)?;
    }
    put.write("DEBIAN/md5sums", &sums(&tree)?, 0o644)?;
    let package = folder.join(format!("nube_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture()?));
    let compression = match size {
        Size::Small => "-Zxz",
        Size::Quick => "-Znone",
    };
    let (from, to) = (tree.display().to_string(), package.display().to_string());
    run::output("dpkg-deb", &["--root-owner-group", compression, "--build", &from, &to])?;
    Ok(package)
}

fn control(nube: &Path, tree: &Path) -> Result<String> {
    let mut depends = vec![format!("libc6 (>= {})", glibc(&fs::read(nube)?)?), "libgcc-s1".to_owned()];
    let needed =
        packages::CLOUD.iter().filter(|name| !BUILD_ONLY.contains(name) && !RECOMMENDED.contains(name));
    depends.extend(needed.map(|name| (*name).to_owned()));
    let kilobytes = run::output("du", &["-sk", "--apparent-size", &tree.display().to_string()])?;
    let kilobytes = kilobytes.split_whitespace().next().context("du says a number")?;
    Ok(format!(
        "Package: nube\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nInstalled-Size: {kilobytes}\n\
         Depends: {}\nRecommends: {}\nSuggests: awscli, mmdebstrap, charon-systemd, strongswan-swanctl, libcharon-extra-plugins\nSection: admin\nPriority: optional\n\
         Description: EC2-compatible cloud on your own machine\n \
         Serves the AWS APIs for compute and turns each accepted request into something\n \
         real: a QEMU virtual machine, a VPC enforced by the kernel, a volume on disk.\n \
         AWS CLI, boto3, Terraform and Ansible work with it unchanged.\n",
        env!("CARGO_PKG_VERSION"),
        architecture()?,
        depends.join(", "),
        RECOMMENDED.join(", "),
    ))
}

fn architecture() -> Result<String> {
    Ok(run::output("dpkg", &["--print-architecture"])?.trim().to_owned())
}

fn changelog() -> Result<String> {
    let date = run::output("git", &["log", "-1", "--format=%cD"])?;
    Ok(format!(
        "nube ({}) unstable; urgency=medium\n\n  * Built from its source.\n\n -- {MAINTAINER}  {}\n",
        env!("CARGO_PKG_VERSION"),
        date.trim()
    ))
}

fn sums(tree: &Path) -> Result<String> {
    let find = "cd \"$1\" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\\0' | sort -z | xargs -0 md5sum";
    run::output("sh", &["-c", find, "sh", &tree.display().to_string()])
}

/// The oldest C library that a program runs with: the newest version that its symbols name, or that knows packed relocations.
fn glibc(program: &[u8]) -> Result<String> {
    const NAME: &[u8] = b"GLIBC_2.";
    const PACKED: &[u8] = b"GLIBC_ABI_DT_RELR";
    let minors =
        program.windows(NAME.len() + 3).filter(|window| window.starts_with(NAME)).filter_map(|window| {
            let digits: String = window[NAME.len()..]
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse::<u32>().ok()
        });
    let packed = program.windows(PACKED.len()).any(|window| window == PACKED).then_some(36);
    let newest = minors.chain(packed).max().context("the program names no version of the C library")?;
    Ok(format!("2.{newest}"))
}

/// A folder that a package is made of.
struct Tree(PathBuf);

impl Tree {
    fn path(&self, at: &str, mode: u32, fill: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
        let path = self.0.join(at);
        let make = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
            fill(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        make().with_context(|| format!("cannot write {}", path.display()))
    }

    fn copy(&self, from: &Path, at: &str, mode: u32) -> Result<()> {
        self.path(at, mode, |path| fs::copy(from, path).map(drop))
            .with_context(|| format!("from {}", from.display()))
    }

    fn write(&self, at: &str, text: &str, mode: u32) -> Result<()> {
        self.path(at, mode, |path| fs::write(path, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides_upon_the_c_library() {
        assert_eq!(glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0").unwrap(), "2.34");
        assert!(glibc(b"static").is_err());
    }
}
