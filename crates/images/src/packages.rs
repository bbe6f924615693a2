//! Packages of the host's distribution: fetched into the cache by apt, checked, unpacked into a folder. Never installed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{At, Error, Result};
use crate::exec::{Program, program};
use crate::manifest::{Architecture, Package};
use crate::progress::Progress;

/// Which distribution the packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    Debian,
    Ubuntu,
}

impl Distribution {
    /// The host's own, from `/etc/os-release`; derivatives count as what they derive from.
    pub fn of_host() -> Result<Distribution> {
        let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let architecture = std::env::consts::ARCH;
        Distribution::parse(&text).filter(|_| architecture == "x86_64").ok_or_else(|| {
            Error::UnsupportedHost {
                found: format!(
                    "{} on {architecture}",
                    field(&text, "PRETTY_NAME").unwrap_or("an unknown system")
                ),
            }
        })
    }

    fn parse(os_release: &str) -> Option<Distribution> {
        let names = ["ID", "ID_LIKE"].map(|name| field(os_release, name).unwrap_or_default());
        let mut names = names.iter().flat_map(|names| names.split(' '));
        // The own name comes first, and Ubuntu is also "like" Debian.
        names.find_map(|name| match name {
            "ubuntu" => Some(Distribution::Ubuntu),
            "debian" => Some(Distribution::Debian),
            _ => None,
        })
    }

    /// The package that depends on the current kernel for virtual machines.
    pub fn kernel(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Distribution::Debian, Architecture::X86_64) => "linux-image-cloud-amd64",
            (Distribution::Debian, Architecture::Arm64) => "linux-image-cloud-arm64",
            (Distribution::Ubuntu, _) => "linux-image-virtual",
        }
    }
}

fn field<'a>(os_release: &'a str, name: &str) -> Option<&'a str> {
    os_release.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"')))
}

/// A package file as the package lists describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    file: String,
    bytes: u64,
    sha256: String,
}

impl Source {
    pub fn package(&self) -> Package {
        Package { file: self.file.clone(), sha256: self.sha256.clone() }
    }
}

/// The package lists that packages are found in.
pub struct Lists {
    /// What apt is told of them.
    options: Vec<String>,
}

impl Lists {
    /// The host's own.
    pub fn of_host() -> Lists {
        Lists { options: Vec::new() }
    }

    /// Those of another architecture, from the host's own sources, kept below `folder` and brought up to date. The host's
    /// package lists and its dpkg know nothing of it.
    pub fn of_architecture(architecture: Architecture, folder: &Path) -> Result<Lists> {
        let name = match architecture {
            Architecture::X86_64 => "amd64",
            Architecture::Arm64 => "arm64",
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).at(&part)?;
        }
        let status = folder.join("status");
        File::create(&status).at(&status)?;
        let settings = [
            format!("APT::Architecture={name}"),
            format!("APT::Architectures::={name}"),
            format!("Dir::State::lists={}", folder.join("lists").display()),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        let options = settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect();
        let lists = Lists { options };
        // A source without this architecture is no failure, and what is wanted may be in another: `find` tells.
        let _ = lists.apt("apt-get").args(["-q", "update"]).run();
        Ok(lists)
    }

    fn apt(&self, name: &'static str) -> Program {
        program(name).args(&self.options)
    }
}

/// The packages with these names, without what they depend on.
pub fn find(lists: &Lists, names: &BTreeSet<String>) -> Result<Vec<Source>> {
    let output = lists.apt("apt-get").args(["download", "--print-uris"]).args(names).run().map_err(
        |error| match error {
            Error::Failed { said, .. } => Error::NoPackage { wanted: said },
            other => other,
        },
    )?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut sources: Vec<Source> = text.lines().filter_map(parse_uri).collect();
    sources.sort_by(|one, other| one.file.cmp(&other.file));
    match names.iter().find(|name| !sources.iter().any(|source| source.name == **name)) {
        Some(wanted) => Err(Error::NoPackage { wanted: wanted.clone() }),
        None => Ok(sources),
    }
}

/// One line of apt: address in quotes, file name, size, digest.
fn parse_uri(line: &str) -> Option<Source> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    let file = words.next()?.to_owned();
    let bytes = words.next()?.parse().ok()?;
    let sha256 = words.next()?.strip_prefix("SHA256:")?.to_owned();
    Some(Source { name: file.split('_').next()?.to_owned(), file, bytes, sha256 })
}

/// Names of what these packages depend on, themselves included.
pub fn with_dependencies(lists: &Lists, names: &[&str]) -> Result<BTreeSet<String>> {
    let output = lists
        .apt("apt-cache")
        .args([
            "depends",
            "--recurse",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
        ])
        .args(names)
        .run()
        .map_err(|_| Error::NoPackage { wanted: names.join(" ") })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let real = |line: &&str| !line.starts_with([' ', '|', '<']) && !line.is_empty() && !line.contains(':');
    Ok(text.lines().filter(real).map(str::to_owned).collect())
}

/// Brings the packages into `folder`; those that are there already are only checked.
pub fn fetch(
    lists: &Lists,
    sources: &[Source],
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).at(folder)?;
    let wanted: Vec<&Source> = sources.iter().filter(|source| !is_good(source, folder)).collect();
    let total = wanted.iter().map(|source| source.bytes).sum();
    if !wanted.is_empty() {
        progress.begin("download packages", Some(total));
        for source in &wanted {
            let _ = fs::remove_file(folder.join(&source.file));
        }
        let names = wanted.iter().map(|source| &source.name);
        // As the user who runs us: apt's own sandbox user could not write here.
        let mut download = lists
            .apt("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
            .args(names)
            .folder(folder)
            .start()?;
        while !download.poll()? {
            let size =
                |source: &&Source| fs::metadata(folder.join(&source.file)).map_or(0, |data| data.len());
            progress.advance(wanted.iter().map(size).sum());
            sleep(Duration::from_millis(100));
        }
        progress.advance(total);
        progress.end();
    }
    match sources.iter().find(|source| !is_good(source, folder)) {
        Some(bad) => Err(Error::BadPackage { file: bad.file.clone() }),
        None => Ok(sources.iter().map(|source| folder.join(&source.file)).collect()),
    }
}

fn is_good(source: &Source, folder: &Path) -> bool {
    let Ok(mut file) = File::open(folder.join(&source.file)) else { return false };
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).is_ok_and(|bytes| bytes == source.bytes)
        && hex(&hash.finalize()) == source.sha256
}

/// Unpacks package files over each other into `folder`.
pub fn unpack(files: &[PathBuf], folder: &Path, progress: &dyn Progress) -> Result<()> {
    let size = |file: &PathBuf| fs::metadata(file).map_or(0, |data| data.len());
    progress.begin("unpack packages", Some(files.iter().map(size).sum()));
    let mut done = 0;
    for file in files {
        program("dpkg-deb").arg("-x").arg(file).arg(folder).run()?;
        done += size(file);
        progress.advance(done);
    }
    progress.end();
    Ok(())
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[nibble as usize] as char;
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_count_as_what_they_derive_from() {
        assert_eq!(Distribution::parse("NAME=x\nID=debian\n"), Some(Distribution::Debian));
        assert_eq!(Distribution::parse("ID=ubuntu\nID_LIKE=debian\n"), Some(Distribution::Ubuntu));
        assert_eq!(Distribution::parse("ID=mint\nID_LIKE=\"ubuntu debian\"\n"), Some(Distribution::Ubuntu));
        assert_eq!(Distribution::parse("ID=fedora\n"), None);
    }

    #[test]
    fn a_line_of_apt_names_file_size_and_digest() {
        let line = "'http://mirror/pool/main/b/busybox/busybox-static_1.35_amd64.deb' busybox-static_1%3a1.35_amd64.deb 928188 SHA256:ab12";
        let source = parse_uri(line).unwrap();
        assert_eq!(
            (source.name.as_str(), source.bytes, source.sha256.as_str()),
            ("busybox-static", 928_188, "ab12")
        );
        assert_eq!(parse_uri("Reading package lists..."), None);
    }
}
