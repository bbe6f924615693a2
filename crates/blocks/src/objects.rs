//! Where objects lie: names to bytes, whole or not at all.
//!
//! Promises that every backend keeps, and on which the store's proofs stand:
//! - a put is durable when it has returned, and nobody ever sees a part of one;
//! - an object that was there before a listing began, and is not deleted meanwhile, is listed;
//! - an error leaves open whether the call worked; calling again is right.
//!
//! Backends: [`Directory`], [`S3`] and [`Memory`].

mod directory;
#[cfg(any(test, feature = "faults"))]
mod faulty;
mod memory;
mod s3;

use crate::error::ObjectError;
pub use directory::Directory;
#[cfg(any(test, feature = "faults"))]
pub use faulty::{Fault, Faulty};
pub use memory::Memory;
pub use s3::{S3, S3Config};

use std::path::Path;
use std::sync::Arc;

type Result<T> = std::result::Result<T, ObjectError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Written,
    /// An object of this name is there; it may hold something else, or be what a first try of the same call wrote.
    Exists,
}

/// The beginning of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub bytes: Vec<u8>,
    /// Bytes of the whole object.
    pub size: u64,
}

/// Names are `a/b/c`: parts of lower-case letters, digits, dashes, dots not in front.
pub trait Objects: Send + Sync + 'static {
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put>;

    /// As [`Self::put_if_absent`], but durable only once [`Self::flush`] has returned. A power cut before may leave anything
    /// under the name: so it is for content that its name tells, and that nothing refers to before the flush.
    fn put_soon(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.put_if_absent(key, bytes)
    }

    /// Makes durable all that was put soon, by whomever.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Puts it whatever was there.
    fn replace(&self, key: &str, bytes: &[u8]) -> Result<()>;

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// At most the first `length` bytes.
    fn head(&self, key: &str, length: usize) -> Result<Option<Head>>;

    /// Tells the names under `prefix` (which ends with `/`, or is empty for all), in no order. `each` must not call back.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<()>;

    /// Removes those that are there; gone for good when it returns.
    fn delete(&self, keys: &[String]) -> Result<()>;

    /// How many puts at once pay.
    fn lanes(&self) -> usize {
        2
    }
}

/// Which backend a store has.
#[derive(Debug, Clone)]
pub enum Place {
    /// A directory of this host.
    Directory,
    S3(Box<S3Config>),
}

impl Place {
    /// Opens the store; `directory` is where it lies if it lies in one.
    pub fn open(&self, directory: &Path) -> Result<Arc<dyn Objects>> {
        Ok(match self {
            Self::Directory => Arc::new(Directory::open(directory)?),
            Self::S3(config) => Arc::new(S3::open(config)?),
        })
    }
}

/// That a name is one: it leads nowhere else.
fn check_name(key: &str) -> Result<()> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits);
    if key.split('/').all(plain) { Ok(()) } else { Err(ObjectError::Name(key.to_owned())) }
}
