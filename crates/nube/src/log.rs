//! The logs of our processes: structured, on standard error, which the supervisor points at a file.
//!
//! A process whose standard error is its log file turns it over itself when it is full: the file becomes `….1`, older ones
//! move on, and standard output and error go to the new one, so that a panic's words land there too.
//! A line for which the disk has no room is lost: whoever spoke goes on.
//! What is logged is never a request's parameters or an answer: they hold secrets.

use crate::config;
use crate::operation::LogFormat;
use rustix::fs::fstat;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt as shown, registry};

/// A log that has grown past this is turned over.
pub const LIMIT: u64 = 16 << 20;
/// How many older logs are kept.
const OLDER: u32 = 3;

/// Starts the log of this process. `file` is what the supervisor pointed standard error at.
pub fn start(file: Option<&Path>, format: LogFormat) {
    let wanted = config::log_filter().parse();
    let filter: Targets = wanted.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // Whole frames of requests are nothing for a log, whatever the filter says.
    let filter = ["h2", "hyper", "hyper_util"]
        .into_iter()
        .fold(filter, |filter, library| filter.with_target(library, LevelFilter::WARN));
    let out = Arc::new(Out { file: file.map(Path::to_owned), limit: LIMIT, turn: Mutex::new(()) });
    // It would tell of its failures on standard error too, and panics if that fails.
    let lines = shown::layer().with_writer(out).with_ansi(false).log_internal_errors(false);
    // Another log of this process is as good.
    let _ = match format {
        LogFormat::Text => registry().with(filter).with(lines).try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry().with(filter).with(lines).try_init()
        }
    };
}

/// Opens a log to write at its end.
pub fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Makes room for a new log: `x.log` becomes `x.log.1`, that `x.log.2`, and the oldest goes.
pub fn shift(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| path.with_extension(format!("log.{number}"));
    for number in (1..OLDER).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// Standard error, turned over when it is a full file.
struct Out {
    file: Option<PathBuf>,
    limit: u64,
    turn: Mutex<()>,
}

impl Out {
    fn is_full(&self, path: &Path) -> bool {
        let Ok(out) = fstat(io::stderr()) else { return false };
        let full = u64::try_from(out.st_size).unwrap_or(0) >= self.limit;
        // Somebody may have pointed standard error elsewhere, or taken the file away.
        full && fs::metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == (out.st_dev, out.st_ino))
    }
}

impl Write for &Out {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.file
            && self.is_full(path)
        {
            // A disk that is full, say: the line goes where it went before.
            let _ = turn_over(path);
        }
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn turn_over(path: &Path) -> io::Result<()> {
    shift(path)?;
    let new = open(path)?;
    rustix::stdio::dup2_stdout(&new)?;
    rustix::stdio::dup2_stderr(&new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "the child of the test below, whose standard error is full"]
    fn speaker() {
        start(None, LogFormat::Text);
        let spoke = std::thread::spawn(|| tracing::error!("nobody will read this")).join();
        std::process::exit(i32::from(spoke.is_err()));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "its standard error is not ours")]
    fn who_speaks_goes_on_when_there_is_no_room_for_a_line() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::tests::speaker", "--ignored", "--nocapture"])
            .stdout(std::process::Stdio::null())
            .stderr(full)
            .status();
        assert_eq!(child.unwrap().code(), Some(0));
    }

    #[test]
    fn a_few_older_logs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        for number in 0..6 {
            fs::write(&log, number.to_string()).unwrap();
            shift(&log).unwrap();
        }
        let read = |n: u32| fs::read_to_string(folder.path().join(format!("server.log.{n}"))).ok();
        assert_eq!([1, 2, 3, 4].map(read), [Some("5".into()), Some("4".into()), Some("3".into()), None]);
        assert!(!log.exists());
    }

    #[test]
    fn only_the_file_that_standard_error_is_can_be_full() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.log");
        fs::write(&other, "long").unwrap();
        let out = Out { file: Some(other.clone()), limit: 0, turn: Mutex::new(()) };
        assert!(!out.is_full(&other));
        (&out).write_all(b"").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "long");
    }
}
