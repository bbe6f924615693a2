//! Disks from format to format, and parts of them, by `qemu-img` on a short leash.

use std::path::Path;

use super::{format::Format, qemu_img, room_at};
use crate::error::{Error, Result};
use crate::progress::{Progress, wanted};

/// The size of a disk whose format was seen.
pub fn size(format: Format, disk: &Path) -> Result<u64> {
    let said = qemu_img(1 << 20).args(["info", "--output=json"]).arg(node(format, disk)).run()?;
    let facts: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    let damaged = || Error::NotAnImage { why: "its header is damaged".to_owned() };
    facts["virtual-size"].as_u64().ok_or_else(damaged)
}

/// Refuses a disk whose tables lead beyond its end, where QEMU would read zeros.
pub fn check(format: Format, disk: &Path) -> Result<()> {
    match format {
        Format::Raw | Format::Vhd => return Ok(()),
        Format::Qcow2 | Format::Vmdk | Format::Vhdx => {}
    }
    let checked = qemu_img(1 << 20).args(["check", "-q"]).arg(node(format, disk)).run();
    match checked {
        // What nothing refers to does no harm.
        Err(Error::Failed { status, .. }) if status.ends_with(" 3") => Ok(()),
        Err(Error::Failed { said, .. }) => {
            Err(Error::NotAnImage { why: format!("it is damaged or cut off: {}", first_line(&said)) })
        }
        other => other.map(drop),
    }
}

/// Of what qemu-img said, without the description of the disk that it puts before.
fn first_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.rsplit(": ").next().unwrap_or_default().chars().take(200).collect()
}

/// Converts a checked disk to `kind`: `qcow2`, `raw`, `vmdk` or `vpc`, as `qemu-img` calls them.
pub fn to(
    kind: &str,
    format: Format,
    from: &Path,
    to: &Path,
    size: u64,
    progress: &dyn Progress,
) -> Result<()> {
    progress.begin("convert the disk", Some(size));
    let mut line = Vec::new();
    let options: &[&str] = match kind {
        "vmdk" => &["-o", "subformat=streamOptimized"],
        "vpc" => &["-o", "subformat=dynamic,force_size=on"],
        _ => &[],
    };
    let done = qemu_img(size.saturating_add(size / 8).saturating_add(1 << 30))
        .args(["convert", "-p", "-O", kind])
        .args(options)
        .arg(node(format, from))
        .arg(to)
        .watch(|piece| {
            line.extend_from_slice(piece);
            if let Some(percent) = last_percent(&line) {
                progress.advance((size as f64 * percent / 100.0) as u64);
                line.clear();
            }
            wanted(progress)?;
            room_at(to)
        });
    progress.end();
    done
}

/// Copies a part of a qcow2 disk into a raw file.
pub fn part(disk: &Path, offset: u64, size: u64, to: &Path) -> Result<()> {
    let part = serde_json::json!({
        "driver": "raw",
        "offset": offset,
        "size": size,
        "file": description(Format::Qcow2, disk),
    });
    qemu_img(size.saturating_add(1 << 20))
        .args(["convert", "-q", "-O", "raw"])
        .arg(format!("json:{part}"))
        .arg(to)
        .run()
        .map(drop)
}

/// A disk as `qemu-img` is told of it: the driver is named, and there is no backing file whatever the disk says.
fn node(format: Format, path: &Path) -> String {
    format!("json:{}", description(format, path))
}

fn description(format: Format, path: &Path) -> serde_json::Value {
    let file = serde_json::json!({ "driver": "file", "filename": path.to_string_lossy() });
    match format {
        Format::Raw => serde_json::json!({ "driver": "raw", "file": file }),
        Format::Qcow2 => serde_json::json!({ "driver": "qcow2", "file": file, "backing": null }),
        Format::Vmdk => serde_json::json!({ "driver": "vmdk", "file": file, "backing": null }),
        Format::Vhd => serde_json::json!({ "driver": "vpc", "file": file }),
        Format::Vhdx => serde_json::json!({ "driver": "vhdx", "file": file }),
    }
}

/// The last of lines like `    (12.34/100%)`.
fn last_percent(line: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(line).ok()?;
    let (before, _) = text.rsplit_once("/100%)")?;
    before.rsplit_once('(')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_that_nobody_wants_any_more_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (from, made) = (folder.path().join("from"), folder.path().join("made"));
        std::fs::write(&from, vec![7; 8 << 20]).unwrap();
        let converted = to("qcow2", Format::Raw, &from, &made, 8 << 20, &crate::progress::Unwanted);
        match converted {
            Err(Error::Unwanted) => {}
            Err(Error::MissingProgram { .. }) => eprintln!("not tried: there is no qemu-img"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn progress_is_read_from_the_last_line_that_is_whole() {
        assert_eq!(last_percent(b"    (0.00/100%)\r    (12.50/100%)\r    (13."), Some(12.5));
        assert_eq!(last_percent(b"    (1"), None);
    }
}
