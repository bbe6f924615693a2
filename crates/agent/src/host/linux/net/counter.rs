//! Numbers for TAP names that are never given twice, whatever happens to the agent.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Numbers reserved on disk at once, so that most ports cost no write.
const BLOCK: u64 = 256;

#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    next: u64,
    reserved: u64,
}

impl Counter {
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("tap-counter");
        let next = match std::fs::read_to_string(&path) {
            Ok(text) => {
                text.trim().parse().map_err(|_| io::Error::other("the counter of TAP names is damaged"))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 1,
            Err(error) => return Err(error),
        };
        Ok(Self { path, next, reserved: next })
    }

    /// Never below a number that is in use.
    pub fn skip_past(&mut self, used: u64) {
        self.next = self.next.max(used + 1);
    }

    pub fn take(&mut self) -> io::Result<u64> {
        if self.next >= self.reserved {
            let reserved = self.next + BLOCK;
            let fresh = self.path.with_extension("new");
            let mut file = std::fs::File::create(&fresh)?;
            writeln!(file, "{reserved}")?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)?;
            self.reserved = reserved;
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_number_is_given_twice_over_any_number_of_starts() {
        let directory = tempfile::tempdir().unwrap();
        let mut seen = BTreeSet::new();
        for life in 0..5 {
            let mut counter = Counter::open(directory.path()).unwrap();
            for _ in 0..(life * 200) {
                assert!(seen.insert(counter.take().unwrap()));
            }
        }
    }
}
