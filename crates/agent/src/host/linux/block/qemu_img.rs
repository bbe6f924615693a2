//! `qemu-img`, which gets what opens an encrypted file by its standard input: never by an argument, a file or a variable.

use crate::host::linux::exec;
use crate::host::{HostError, Result};
use serde_json::{Value, json};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// The name of the secret in its process.
const SECRET: &str = "key";

/// A qcow2 file as its options say it.
pub fn node(path: &Path, passphrase: Option<&str>) -> Value {
    let mut node = json!({"driver": "qcow2", "file": {"driver": "file", "filename": path}});
    if passphrase.is_some() {
        node["encrypt"] = json!({"format": "luks", "key-secret": SECRET});
    }
    node
}

/// Runs it to its end; it inherits `descriptors`.
pub async fn run(
    command: &str,
    arguments: &[&str],
    passphrase: Option<&str>,
    descriptors: &[BorrowedFd<'_>],
    patience: Duration,
) -> Result<()> {
    let secret = format!("secret,id={SECRET},file=/dev/stdin");
    let mut all = vec![command];
    if passphrase.is_some() {
        all.extend(["--object", &secret]);
    }
    all.extend(arguments);
    let input = passphrase.unwrap_or_default().as_bytes();
    let output = exec::run_holding("qemu-img", &all, input, patience, descriptors).await?;
    if output.success() {
        return Ok(());
    }
    Err(HostError::transient(format!("qemu-img {command}: {}", output.complaint())))
}
