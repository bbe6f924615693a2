//! Starting programs from a thread that may block.
//!
//! The child inherits the calling thread's network namespace, so a program runs inside one when it is called there.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Runs a program to its end. A program that takes longer than `timeout` is killed and answers `TimedOut`; one that
/// fails is an `Ok` whose status says so.
pub fn run(program: &str, args: &[&str], stdin: &[u8], timeout: Duration) -> io::Result<Output> {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    let mut command = Command::new(program);
    let mut child = command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {program}: {error}")))?;
    let (mut to, mut out, mut err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // A program that ends without reading all of its input is no error of its own.
        scope.spawn(move || to.as_mut().map(|to| to.write_all(stdin)));
        let stdout = scope.spawn(move || drain(out.as_mut()));
        let stderr = scope.spawn(move || drain(err.as_mut()));
        let ended = wait_until_ended(&child, timeout);
        if !matches!(ended, Ok(true)) {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let stdout = stdout.join().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
        match ended {
            Ok(true) => Ok(Output { status, stdout, stderr }),
            Ok(false) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{program} took longer than {timeout:?}"),
            )),
            Err(error) => Err(error),
        }
    })
}

/// Runs a program and takes failure as an error that quotes its last words.
pub fn run_ok(program: &str, args: &[&str], stdin: &[u8], timeout: Duration) -> io::Result<Output> {
    let output = run(program, args, stdin, timeout)?;
    if output.status.success() {
        return Ok(output);
    }
    let said: String = output.stderr.trim().chars().take(500).collect();
    Err(io::Error::other(format!("{program} {} ended with {}: {said}", args.join(" "), output.status)))
}

fn drain(from: Option<&mut impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

fn wait_until_ended(child: &std::process::Child, timeout: Duration) -> io::Result<bool> {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(true) };
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_its_failure_is_quoted() {
        let output = run("cat", &[], b"hello", Duration::from_secs(5)).unwrap();
        assert_eq!(output.stdout, b"hello");
        let error = run_ok("sh", &["-c", "echo no >&2; exit 3"], b"", Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().ends_with(": no"), "{error}");
    }

    #[test]
    fn a_program_that_outstays_its_limit_is_killed() {
        let error = run("sleep", &["60"], b"", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let error = run("no-such-program", &[], b"", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program"));
    }
}
