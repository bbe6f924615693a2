"""Disks as distributions publish them: a partition table, a boot loader, a root file system. Here with nano's contents.

Made of what `nube image build nano` left in the cache and of the host's GRUB; nothing is mounted and root is not needed.
"""

import glob
import os
import struct
import subprocess

MIB = 1 << 20
SECTOR = 512
GRUB = "/usr/lib/grub"
BOOT_AT, BOOT_SIZE = 1 * MIB, 40 * MIB
ESP, LINUX = 0xEF, 0x83

GRUB_CONFIG = """\
serial --unit=0 --speed=115200
terminal_output serial
search --no-floppy --file /vmlinuz --set=root
linux /vmlinuz root=/dev/vda2 console=ttyS0 panic=-1 net.ifnames=0 mitigations=off nokaslr
initrd /initrd
boot
"""


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def packed_kernel(cache, folder):
    """The kernel as its package has it: GRUB wants the form that unpacks itself."""
    packages = sorted(glob.glob(f"{cache}/.packages/linux-image-*amd64_*.deb"))
    assert packages, f"nano's kernel package is not in {cache}/.packages"
    run("dpkg-deb", "-x", packages[-1], folder)
    return glob.glob(f"{folder}/boot/vmlinuz-*")[0]


def boot_partition(cache, folder, loader):
    """A FAT file system with kernel, initial RAM disk, and perhaps a boot loader for UEFI."""
    partition = folder / "boot.fat"
    run("mformat", "-C", "-i", partition, "-T", BOOT_SIZE // SECTOR, "-h", 64, "-s", 32, "-v", "BOOT", "::")
    run("mcopy", "-i", partition, packed_kernel(cache, folder / "kernel"), "::vmlinuz")
    run("mcopy", "-i", partition, f"{cache}/nano/initrd", "::initrd")
    if loader:
        run("mmd", "-i", partition, "::EFI", "::EFI/BOOT")
        run("mcopy", "-i", partition, loader, "::EFI/BOOT/BOOTX64.EFI")
    return partition.read_bytes()


def grub(folder, form, prefix, *modules):
    (folder / "grub.cfg").write_text(GRUB_CONFIG)
    image = folder / f"{form}.grub"
    run("grub-mkimage", "-O", form, "-o", image, "-c", folder / "grub.cfg", "-p", prefix,
        "part_msdos", "fat", "linux", "serial", "terminal", "search", "search_fs_file", *modules)
    return image


def entry(kind, at, size):
    return struct.pack("<BBBBBBBBII", 0, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF, at // SECTOR, size // SECTOR)


def bootable(cache, folder, firmware):
    """A raw disk that boots by `bios` or by `uefi` and by nothing else."""
    folder.mkdir()
    root = folder / "root.raw"
    run("qemu-img", "convert", "-O", "raw", f"{cache}/nano/disk.qcow2", root)
    root_size = root.stat().st_size
    disk = folder / "disk.raw"
    with open(disk, "wb") as file:
        file.truncate(BOOT_AT + BOOT_SIZE + root_size)
        if firmware == "bios":
            core = grub(folder, "i386-pc", "/", "biosdisk").read_bytes()
            assert len(core) < BOOT_AT - SECTOR
            with open(f"{GRUB}/i386-pc/boot.img", "rb") as boot:
                file.write(boot.read()[:440])
            file.seek(SECTOR)
            file.write(core)
            loader, kind = None, LINUX
        else:
            loader, kind = grub(folder, "x86_64-efi", "/", "part_gpt"), ESP
        file.seek(446)
        file.write(entry(kind, BOOT_AT, BOOT_SIZE) + entry(LINUX, BOOT_AT + BOOT_SIZE, root_size))
        file.seek(510)
        file.write(b"\x55\xaa")
        file.seek(BOOT_AT)
        file.write(boot_partition(cache, folder, loader))
        file.seek(BOOT_AT + BOOT_SIZE)
        with open(root, "rb") as content:
            while block := content.read(MIB):
                file.write(block)
    os.unlink(root)
    return disk
