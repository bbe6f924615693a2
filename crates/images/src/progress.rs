//! How a build tells what it is doing: the command line draws bars from it, tests collect it.

use crate::error::{Error, Result};

/// Told about each step of a build, in order, one at a time.
pub trait Progress: Sync {
    /// A step begins; `total` is its size in bytes where that is known beforehand.
    fn begin(&self, step: &str, total: Option<u64>);
    /// So many bytes of the step are done, counted from its beginning.
    fn advance(&self, done: u64);
    /// The step is over.
    fn end(&self);

    /// Whether what is being done is still wanted: asked again and again, and it ends soon when it is not.
    fn is_wanted(&self) -> bool {
        true
    }
}

/// Wants nothing.
#[cfg(test)]
pub(crate) struct Unwanted;

#[cfg(test)]
impl Progress for Unwanted {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn end(&self) {}

    fn is_wanted(&self) -> bool {
        false
    }
}

/// An error when nobody wants it any more.
pub(crate) fn wanted(progress: &dyn Progress) -> Result<()> {
    if progress.is_wanted() { Ok(()) } else { Err(Error::Unwanted) }
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn end(&self) {}
}

pub(crate) fn step<T, E>(
    progress: &dyn Progress,
    name: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    progress.begin(name, None);
    let result = work();
    progress.end();
    result
}
