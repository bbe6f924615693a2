//! The only place of the guest that starts processes.
#![allow(
    clippy::disallowed_methods,
    reason = "this is that place; nothing of the guest runs in the simulator"
)]

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};

/// The search path of everything that we start.
pub const PATH: &str = "/usr/local/bin:/usr/bin";

/// A command with root's environment and nothing inherited.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/sh")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end and gives its output; an exit code other than 0 is an error that carries what it said.
pub fn output(program: &str, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let output = command(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {} {}", output.status, said.trim())))
}
