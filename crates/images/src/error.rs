//! What can go wrong while an image is built or opened, told so that a user can act on it.

use std::io;
use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{program} is missing: install the package {package}")]
    MissingProgram { program: String, package: &'static str },
    #[error("{program} failed ({status}): {said}")]
    Failed { program: String, status: String, said: String },
    #[error("images are built from packages of Debian or Ubuntu on x86_64; this is {found}")]
    UnsupportedHost { found: String },
    #[error("packages are missing; install them: apt-get install {packages}")]
    MissingPackages { packages: String },
    #[error("this image is built as root: its files keep their owners")]
    NeedsRoot,
    #[error("this host's apt knows no mirror of Debian: name one with --mirror")]
    NoMirror,
    #[error("the package lists lack {wanted}: run `apt-get update` and try again")]
    NoPackage { wanted: String },
    #[error("the package file {file} does not have the digest that the package lists state")]
    BadPackage { file: String },
    #[error("{wanted} is in none of the packages of the image")]
    Missing { wanted: String },
    #[error("{what}: {why}")]
    Malformed { what: String, why: String },
    #[error("there is no image {name}: build it with `nube image build {name}`")]
    NoImage { name: String },
    #[error("the guest agent {path} is not there: {hint}")]
    NoGuest { path: PathBuf, hint: &'static str },
    #[error("this is no image that can be imported: {why}")]
    NotAnImage { why: String },
    #[error("the file is not the one that was meant: its SHA-256 is {found}, not {wanted}")]
    WrongDigest { wanted: String, found: String },
    #[error("cannot download {url}: {why}")]
    Download { url: String, why: String },
    #[error(
        "{name:?} is no name for an image: up to 128 letters, digits and \"-_.\", the first a letter or digit; choose one with --name"
    )]
    BadName { name: String },
    #[error("{name} is the name of an image that Nube builds; choose another with --name")]
    NameTaken { name: String },
    #[error("{folder} has less than 1 GiB left; free some room or choose another cache")]
    NoRoom { folder: PathBuf },
    #[error("it was given up")]
    Unwanted,
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Adds the path to an I/O error.
pub(crate) trait At<T> {
    fn at(self, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.as_ref().to_owned(), source })
    }
}
