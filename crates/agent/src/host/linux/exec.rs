//! The only place that starts a process.
//!
//! Programs get exactly the arguments and input they are given, an environment of a search path and the C locale, and a
//! time limit; a program that outstays it is killed.

pub mod blocking;

use crate::host::{HostError, Result};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long [`run`] waits.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a program that ended left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// What it complained of, for an error's text.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        match (text.trim(), self.code) {
            ("", Some(code)) => format!("it ended with code {code}"),
            ("", None) => "a signal ended it".to_owned(),
            (text, _) => text.to_owned(),
        }
    }
}

/// Runs a program to its end, at most [`PATIENCE`].
pub async fn run(program: &str, args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Result<Output> {
    run_within(program, args, stdin, PATIENCE).await
}

/// Runs a program to its end, at most `patience`.
pub async fn run_within(
    program: &str,
    args: &[impl AsRef<OsStr>],
    stdin: &[u8],
    patience: Duration,
) -> Result<Output> {
    run_holding(program, args, stdin, patience, &[]).await
}

/// Runs a program that detaches the process it is to start (in a session of its own, output closed) and then ends
/// itself. The program inherits `descriptors` under the numbers they have here.
pub async fn spawn_detached(
    program: &str,
    args: &[impl AsRef<OsStr>],
    stdin: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Output> {
    run_holding(program, args, stdin, PATIENCE, descriptors).await
}

/// Runs a program to its end, at most `patience`; it inherits `descriptors` under the numbers they have here.
pub async fn run_holding(
    program: &str,
    args: &[impl AsRef<OsStr>],
    stdin: &[u8],
    patience: Duration,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Output> {
    let failed = |e: io::Error| HostError::transient(format!("running {program}")).caused_by(e);
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    let mut command = tokio::process::Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    if !numbers.is_empty() {
        // SAFETY: the closure runs between fork and exec and calls nothing but fcntl, which is async-signal-safe. The
        // descriptors are open there, as their borrows last until the child has ended.
        unsafe {
            command.pre_exec(move || {
                for number in &numbers {
                    if libc::fcntl(*number, libc::F_SETFD, 0) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    }
    let work = async {
        let mut child = command.spawn()?;
        let mut input = child.stdin.take();
        let feed = async {
            if let Some(mut pipe) = input.take() {
                // A program may end without reading its input; its exit code then tells more than the broken pipe.
                let _ = pipe.write_all(stdin).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        output
    };
    let output = tokio::time::timeout(patience, work)
        .await
        .map_err(|_| HostError::transient(format!("{program} took longer than {patience:?}")))?
        .map_err(failed)?;
    Ok(Output { code: output.status.code(), stdout: output.stdout, stderr: output.stderr })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Fault;
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn a_program_gets_its_input_and_says_how_it_ended() {
        let output = run("sh", &["-c", "cat; echo bad >&2; exit 3"], b"hello").await.unwrap();
        assert_eq!((output.code, &*output.stdout), (Some(3), &b"hello"[..]));
        assert_eq!(output.complaint(), "bad");
    }

    #[tokio::test]
    async fn a_program_that_outstays_its_limit_is_an_error() {
        let error = run_within("sleep", &["60"], b"", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Transient);
    }

    #[tokio::test]
    async fn only_the_named_descriptors_are_inherited() {
        let (given, kept) =
            (std::fs::File::open("/dev/null").unwrap(), std::fs::File::open("/dev/null").unwrap());
        let test = format!("test -e /dev/fd/{} && test ! -e /dev/fd/{}", given.as_raw_fd(), kept.as_raw_fd());
        let output = spawn_detached("sh", &["-c", &test], b"", &[given.as_fd()]).await.unwrap();
        assert!(output.success(), "{}", output.complaint());
    }
}
