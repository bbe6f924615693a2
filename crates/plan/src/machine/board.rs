//! What differs between the architectures: the board, its processor, its firmware.
//!
//! x86-64 is QEMU's `q35` with SeaBIOS, which is built into QEMU, or with OVMF. arm64 is `virt` with a GICv3, and always
//! starts by UEFI firmware, a kernel of the image's own too: the tables by which a guest knows EC2 ([`super::smbios`]) and
//! its power button reach an Arm kernel through UEFI and ACPI only. That costs a second under TCG.
//!
//! UEFI firmware is given as one file (`-bios`), so its variables live as long as the process: a boot entry that the guest
//! writes is forgotten when it stops. Images of clouds boot by the default path of their EFI system partition, which
//! needs none.

use super::{Accelerator, Boot};
use model::host::{Architecture, Firmware, Machine};

/// Where the process finds UEFI firmware.
pub const FIRMWARE: &str = "/boot/firmware";

/// The program that runs machines of an architecture, and the Debian package that holds it.
pub const fn qemu(architecture: Architecture) -> (&'static str, &'static str) {
    match architecture {
        Architecture::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Architecture::Arm64 => ("qemu-system-aarch64", "qemu-system-arm"),
    }
}

/// Where distributions keep UEFI firmware without Secure Boot, and the Debian package that holds it.
pub const fn uefi(architecture: Architecture) -> (&'static [&'static str], &'static str) {
    match architecture {
        Architecture::X86_64 => {
            (&["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/edk2/ovmf/OVMF.fd"], "ovmf")
        }
        Architecture::Arm64 => (
            &[
                "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
                "/usr/share/edk2/aarch64/QEMU_EFI.fd",
                "/usr/share/edk2-armvirt/aarch64/QEMU_EFI.fd",
            ],
            "qemu-efi-aarch64",
        ),
    }
}

/// What the machine starts with.
pub const fn firmware(machine: &Machine) -> Firmware {
    match machine.architecture {
        Architecture::X86_64 => machine.firmware,
        Architecture::Arm64 => Firmware::Uefi,
    }
}

/// Whether the process must find a file at [`FIRMWARE`].
pub fn takes_firmware_file(machine: &Machine, boot: &Boot<'_>) -> bool {
    match (machine.architecture, boot) {
        (Architecture::Arm64, _) => true,
        (Architecture::X86_64, Boot::Firmware) => machine.firmware == Firmware::Uefi,
        // Entered directly; SeaBIOS only prepares the tables.
        (Architecture::X86_64, Boot::Kernel { .. }) => false,
    }
}

/// The value of `-machine`.
pub(super) const fn machine(architecture: Architecture, accelerator: Accelerator) -> &'static str {
    match (architecture, accelerator) {
        (Architecture::X86_64, _) => "q35,usb=off,vmport=off,smbus=off,dump-guest-core=off",
        (Architecture::Arm64, Accelerator::Tcg(_)) => "virt,gic-version=3,usb=off,dump-guest-core=off",
        (Architecture::Arm64, Accelerator::Kvm) => "virt,gic-version=host,usb=off,dump-guest-core=off",
    }
}

/// The value of `-cpu`.
pub(super) const fn cpu(architecture: Architecture, accelerator: Accelerator) -> &'static str {
    match (architecture, accelerator) {
        (_, Accelerator::Kvm) => "host",
        // Five-level paging costs a walk more on every miss.
        (Architecture::X86_64, Accelerator::Tcg(_)) => "max,la57=off",
        // That of Graviton 2, the processor of the t4g. `max` has features that older distributions do not survive (52-bit
        // addresses) and others that are slow to emulate (pointer authentication).
        (Architecture::Arm64, Accelerator::Tcg(_)) => "neoverse-n1",
    }
}

/// What a root port reserves of a resource that 24 of them do not share: UEFI firmware would leave devices out.
pub(super) const fn port_options(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::LegacyBios => "",
        Firmware::Uefi => ",io-reserve=0",
    }
}
