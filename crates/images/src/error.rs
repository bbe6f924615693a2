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
