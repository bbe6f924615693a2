//! The disk: a GUID partition table that firmware of both kinds boots from, without a loop device or a mount.
//!
//! ```text
//! 14  BIOS boot   1 MiB at 1 MiB    GRUB's core image, found by the boot sector at a fixed place
//! 15  EFI system  64 MiB at 2 MiB   GRUB as EFI/BOOT/BOOTX64.EFI
//!  1  root        the rest, last so that it can grow
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::ext4;

/// As large as the root volume of Debian's AMI: a launch that asks for no more has nothing to grow.
pub const BYTES: u64 = 8 << 30;

const SECTOR: u64 = 512;
const BIOS: u64 = 2048;
const BIOS_SECTORS: u64 = 2048;
const ESP: u64 = 4096;
const ESP_SECTORS: u64 = 131_072;
const ROOT: u64 = ESP + ESP_SECTORS;
/// The last MiB is left to the second partition table; tools that grow partitions take so little for nothing.
const ROOT_SECTORS: u64 = BYTES / SECTOR - ROOT - 2048;

const ESP_ID: &str = "6e756265-6465-6269-816e-00000000000f";
const ROOT_ID: &str = "6e756265-6465-6269-816e-000000000001";
const FILESYSTEM_ID: &str = "6e756265-6465-6269-816e-000000000011";
const DISK_ID: &str = "6e756265-6465-6269-816e-000000000012";

/// Writes the disk's identities into a file of the image.
pub fn identify(text: &str) -> String {
    text.replace("@ROOT@", ROOT_ID).replace("@ESP@", ESP_ID).replace("@FILESYSTEM@", FILESYSTEM_ID)
}

/// Makes the disk of the root folder; `work` holds `boot.img`, `core.img` and `grub.efi`.
pub fn write(root: &Path, work: &Path, disk: &Path) -> Result<()> {
    File::create(disk).and_then(|file| file.set_len(BYTES)).at(disk)?;
    let table = format!(
        "label: gpt\nlabel-id: {DISK_ID}\nunit: sectors\n\
         14 : start={BIOS}, size={BIOS_SECTORS}, type=21686148-6449-6E6F-744E-656564454649\n\
         15 : start={ESP}, size={ESP_SECTORS}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={ESP_ID}\n\
         1 : start={ROOT}, size={ROOT_SECTORS}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid={ROOT_ID}\n"
    );
    program("sfdisk").args(["-q", "--no-reread", "--no-tell-kernel"]).arg(disk).filter(table.into_bytes())?;
    let place = ext4::Place {
        offset: ROOT * SECTOR,
        bytes: ROOT_SECTORS * SECTOR,
        label: "debian-root",
        uuid: FILESYSTEM_ID,
    };
    ext4::write_folder(root, disk, &place, work)?;
    let esp = work.join("esp");
    make_esp(&esp, &work.join("grub.efi"))?;

    let read = |name: &str| {
        let path = work.join(name);
        fs::read(&path).at(&path)
    };
    let mut file = OpenOptions::new().read(true).write(true).open(disk).at(disk)?;
    let mut first = vec![0; SECTOR as usize];
    file.read_exact(&mut first).at(disk)?;
    let (sector, core) = boot_code(&first, &read("boot.img")?, read("core.img")?)?;
    for (at, content) in [(0, sector), (BIOS, core), (ESP, read("esp")?)] {
        file.seek(SeekFrom::Start(at * SECTOR)).and_then(|_| file.write_all(&content)).at(disk)?;
    }
    file.sync_all().at(disk)
}

fn make_esp(esp: &Path, grub: &Path) -> Result<()> {
    File::create(esp).and_then(|file| file.set_len(ESP_SECTORS * SECTOR)).at(esp)?;
    program("mkfs.vfat").args(["-F", "32", "-i", "6e756265", "-n", "ESP"]).arg(esp).run()?;
    program("mmd").arg("-i").arg(esp).args(["::EFI", "::EFI/BOOT"]).run()?;
    program("mcopy").arg("-i").arg(esp).arg(grub).arg("::EFI/BOOT/BOOTX64.EFI").run().map(drop)
}

/// The disk's first sector with GRUB's code in it, and the core image, each told where the next lies.
fn boot_code(first: &[u8], boot: &[u8], mut core: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>)> {
    // The partition table's own part of the first sector begins here.
    const CODE: usize = 440;
    // In the boot sector: the core image's first sector, and a jump over what only diskettes need.
    const NEXT: usize = 0x5c;
    const DRIVE_CHECK: usize = 0x66;
    // In the core image's first sector: where the rest of it lies, and in how many sectors.
    const REST: usize = 500;
    const REST_SECTORS: usize = 508;
    let sectors = (core.len() as u64).div_ceil(SECTOR);
    if boot.len() < CODE || core.len() < SECTOR as usize || sectors > BIOS_SECTORS {
        return Err(Error::Malformed {
            what: "the boot loader".to_owned(),
            why: format!("{} and {} bytes do not fit", boot.len(), core.len()),
        });
    }
    let mut sector = first.to_vec();
    sector[..CODE].copy_from_slice(&boot[..CODE]);
    sector[NEXT..NEXT + 8].copy_from_slice(&BIOS.to_le_bytes());
    sector[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    core[REST..REST + 8].copy_from_slice(&(BIOS + 1).to_le_bytes());
    core[REST_SECTORS..REST_SECTORS + 2].copy_from_slice(&(sectors as u16 - 1).to_le_bytes());
    Ok((sector, core))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_leads_to_the_core_image_and_leaves_the_table_alone() {
        let first = vec![7; 512];
        let (sector, core) = boot_code(&first, &[1; 512], vec![2; 1025]).unwrap();
        assert_eq!(sector[440..], first[440..]);
        assert_eq!(sector[0x5c..0x64], 2048u64.to_le_bytes());
        assert_eq!(core[500..508], 2049u64.to_le_bytes());
        assert_eq!(core[508..510], 2u16.to_le_bytes());
    }

    #[test]
    fn a_core_image_that_does_not_fit_is_refused() {
        assert!(boot_code(&[0; 512], &[0; 512], vec![0; (2 << 20) + 1]).is_err());
    }
}
