//! Starting programs, and saying so.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// The repository's root.
pub fn root() -> Result<PathBuf> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").context("run me as: cargo xtask")?;
    Ok(PathBuf::from(manifest).parent().context("xtask lies in the repository")?.to_owned())
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

pub fn say(line: impl std::fmt::Display) {
    eprintln!("\n── {line}");
}

/// Runs a program to its end; an error unless it succeeds.
pub fn program<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Result<()> {
    finish(Command::new(name).args(arguments))
}

pub fn finish(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// What a program prints on standard output.
pub fn output(name: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(name).args(arguments).output().with_context(|| format!("cannot start {name}"))?;
    if !done.status.success() {
        bail!("{name} {arguments:?} failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8(done.stdout)?)
}

pub fn cargo(arguments: &[&str]) -> Result<()> {
    program(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}
