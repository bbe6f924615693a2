//! Disks of strangers for snapshots: read as the plain bytes that a volume has, and written as files again.
//!
//! The same eyes as an import into the cache: the format is told by the first bytes, nothing that the file names is opened,
//! `qemu-img` works on a copy and on a short leash. A raw disk needs neither copy nor `qemu-img`.
//! Callers: `nube`, for ImportSnapshot, ImportImage and ExportImage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use model::record::image::BootMode;
use model::record::transfer::DiskFormat;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{MOST_BYTES, boot, convert, fetch, format, format::Format, judge};
use crate::error::{At, Error, Result};
use crate::finish::is_zero;
use crate::manifest::{Architecture, Firmware};
use crate::progress::{Progress, wanted};

/// A disk as its machine would see it.
#[derive(Debug)]
pub struct Plain {
    pub file: File,
    /// In bytes, whole sectors. The file may end before; what is missing are zeros.
    pub size: u64,
    pub format: DiskFormat,
}

const fn named(format: Format) -> DiskFormat {
    match format {
        Format::Raw => DiskFormat::Raw,
        Format::Qcow2 => DiskFormat::Qcow2,
        Format::Vmdk => DiskFormat::Vmdk,
        Format::Vhd => DiskFormat::Vhd,
        Format::Vhdx => DiskFormat::Vhdx,
    }
}

/// That a stranger's file cannot be read.
pub(super) fn unreadable(error: io::Error) -> Error {
    Error::NotAnImage { why: format!("it cannot be read: {error}") }
}

/// Opens the disk in a file. `stated` is what its owner says that it is: another one is refused, and what is said to be raw needs
/// no partition table. `work` is an empty folder for what has to be converted.
pub fn open(file: File, stated: Option<DiskFormat>, work: &Path, progress: &dyn Progress) -> Result<Plain> {
    let bytes = file.metadata().at("the disk")?.len();
    let seen = format::of_file(&file).map(|(format, _)| format);
    let format = match (stated, seen) {
        (Some(DiskFormat::Raw), Err(_)) if bytes > 0 => Format::Raw,
        (Some(stated), Ok(seen)) if named(seen) != stated => {
            let why = format!("it is a disk of the format {}, not {}", named(seen).as_str(), stated.as_str());
            return Err(Error::NotAnImage { why });
        }
        (_, seen) => seen?,
    };
    if format == Format::Raw {
        let size = bytes.next_multiple_of(512);
        if size > MOST_BYTES {
            let why = format!("its disk of {} GiB is larger than any volume", size >> 30);
            return Err(Error::NotAnImage { why });
        }
        return Ok(Plain { file, size, format: DiskFormat::Raw });
    }
    let copy = work.join("source");
    fetch::copy(file, &copy, progress, unreadable)?;
    // Of the copy, for the file may have changed since.
    of_copy(&copy, work, progress)
}

/// The disk in a file of our own, which goes unless the disk is what it holds.
pub(super) fn of_copy(copy: &Path, work: &Path, progress: &dyn Progress) -> Result<Plain> {
    let (format, size) = judge(copy)?;
    if format == Format::Raw {
        let file = File::open(copy).at(copy)?;
        return Ok(Plain { file, size, format: DiskFormat::Raw });
    }
    let raw = work.join("raw");
    convert::to("raw", format, copy, &raw, size, progress)?;
    std::fs::remove_file(copy).at(copy)?;
    let file = File::open(&raw).at(&raw)?;
    let size = file.metadata().at(&raw)?.len();
    Ok(Plain { file, size, format: named(format) })
}

/// What a disk boots by, as far as it tells.
pub fn boots(disk: &Plain, wanted: Option<Architecture>) -> Result<(Architecture, BootMode)> {
    let (architecture, firmware) = boot::decide(boot::inspect_raw(&disk.file, disk.size)?, wanted)?;
    let mode = match firmware {
        Firmware::LegacyBios => BootMode::LegacyBios,
        Firmware::Uefi => BootMode::Uefi,
    };
    Ok((architecture, mode))
}

/// Gives each block of `length` bytes that holds anything but zeros, in order, filled up with zeros, until `take` wants no more.
pub fn blocks(disk: &Plain, length: usize, mut take: impl FnMut(u64, Vec<u8>) -> bool) -> io::Result<()> {
    let mut at = 0;
    while at < disk.size {
        match rustix::fs::seek(&disk.file, SeekFrom::Data(at)) {
            Ok(data) => at = data / length as u64 * length as u64,
            Err(Errno::NXIO) => return Ok(()),
            // A file system that knows no holes.
            Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let mut block = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match disk.file.read_at(&mut block[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !is_zero(&block) && !take(at / length as u64, block) {
            return Ok(());
        }
        at += length as u64;
    }
    Ok(())
}

/// Writes a raw disk as a file of another format into `work`.
pub fn convert(
    raw: &Path,
    size: u64,
    to: DiskFormat,
    work: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let made = work.join("made");
    let kind = match to {
        DiskFormat::Raw => "raw",
        DiskFormat::Vmdk => "vmdk",
        DiskFormat::Vhd => "vpc",
        DiskFormat::Vhdx => "vhdx",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Ova => {
            return Err(Error::Malformed { what: "OVA".to_owned(), why: "no disk is written so".to_owned() });
        }
    };
    convert::to(kind, Format::Raw, raw, &made, size, progress)?;
    Ok(made)
}

/// Copies a file into another one that is empty, holes kept.
pub fn copy(from: &File, to: &File, progress: &dyn Progress) -> Result<()> {
    const PIECE: usize = 1 << 20;
    let name = Path::new("the disk");
    let size = from.metadata().at(name)?.len();
    let whole = Plain { file: from.try_clone().at(name)?, size, format: DiskFormat::Raw };
    let mut written = Ok(());
    blocks(&whole, PIECE, |index, piece| {
        let at = index * PIECE as u64;
        let length = usize::try_from(size.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        written = wanted(progress).and_then(|()| to.write_all_at(&piece[..length], at).at(name));
        written.is_ok()
    })
    .at(name)?;
    written?;
    to.set_len(size).at(name)
}
