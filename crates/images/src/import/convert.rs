//! Disks from format to format, and parts of them, by `qemu-img` on a short leash.

use std::path::Path;

use super::{format::Format, qemu_img, room_at};
use crate::error::Result;
use crate::progress::Progress;

/// Converts a checked disk to qcow2.
pub fn to_qcow2(format: Format, from: &Path, to: &Path, size: u64, progress: &dyn Progress) -> Result<()> {
    progress.begin("convert the disk", Some(size));
    let mut line = Vec::new();
    let done = qemu_img(size.saturating_add(size / 8).saturating_add(1 << 30))
        .args(["convert", "-p", "-O", "qcow2"])
        .arg(node(format, from))
        .arg(to)
        .watch(|piece| {
            line.extend_from_slice(piece);
            if let Some(percent) = last_percent(&line) {
                progress.advance((size as f64 * percent / 100.0) as u64);
                line.clear();
            }
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
    fn progress_is_read_from_the_last_line_that_is_whole() {
        assert_eq!(last_percent(b"    (0.00/100%)\r    (12.50/100%)\r    (13."), Some(12.5));
        assert_eq!(last_percent(b"    (1"), None);
    }
}
