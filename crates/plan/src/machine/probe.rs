//! The guest that proves an accelerator: any kernel with the smallest user space there is.
//!
//! A `/dev/kvm` that opens may still run no guest, so the agent boots one and believes only the [`TOKEN`] that its first
//! user process prints. That process is a few bytes of machine code here, so the probe needs nothing but a kernel.

use crate::machine::Accelerator;

/// What the probe's guest prints when all of the way to user space worked.
pub const TOKEN: &[u8] = b"nube-probe: the guest runs";

/// The arguments of the probe's QEMU; its standard output is the guest's console.
pub fn arguments(accelerator: Accelerator, kernel: &str, initrd: &str) -> Vec<String> {
    let cpu = match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg(_) => "max,la57=off",
    };
    [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "q35,usb=off,vmport=off",
        "-accel",
        accelerator.name(),
        "-cpu",
        cpu,
        "-smp",
        "2",
        "-m",
        "192M",
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
        "-kernel",
        kernel,
        "-initrd",
        initrd,
        "-append",
        "console=ttyS0 quiet panic=-1 rdinit=/init",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A cpio archive with `/dev/console` and an `/init` that prints [`TOKEN`] and powers off.
pub fn initrd() -> Vec<u8> {
    let mut archive = Vec::new();
    entry(&mut archive, "dev", 0o040_755, (0, 0), &[]);
    entry(&mut archive, "dev/console", 0o020_600, (5, 1), &[]);
    entry(&mut archive, "init", 0o100_755, (0, 0), &init());
    entry(&mut archive, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

/// One file in the "newc" format: a header of hex digits, name and data padded to four bytes.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
    let fields = [
        archive.len() as u32,
        mode,
        0,
        0,
        1,
        0,
        data.len() as u32,
        0,
        0,
        device.0,
        device.1,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// A static x86-64 ELF file of one segment.
fn init() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: usize = 64 + 56;
    let line: Vec<u8> = [TOKEN, b"\n"].concat();
    let mut code: Vec<u8> = Vec::new();
    code.extend([0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]); // write(1,
    code.extend([0x48, 0x8d, 0x35]); // rsi = the line, relative to the next instruction
    code.extend(((5 + 2 + 20 + 2 + 2) as u32).to_le_bytes());
    code.push(0xba);
    code.extend((line.len() as u32).to_le_bytes());
    code.extend([0x0f, 0x05]);
    for (register, value) in [(0xb8, 169), (0xbf, 0xfee1_dead_u32), (0xbe, 0x2812_1969), (0xba, 0x4321_fedc)]
    {
        code.push(register); // reboot(MAGIC1, MAGIC2, POWER_OFF)
        code.extend(value.to_le_bytes());
    }
    code.extend([0x0f, 0x05, 0xeb, 0xfe]); // and should that return, loop
    code.extend(line);

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    for word in [BASE + HEADERS as u64, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, no section headers
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let size = (HEADERS + code.len()) as u64;
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // load, readable and executable
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_aligned_and_holds_the_token() {
        let archive = initrd();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.windows(TOKEN.len()).any(|w| w == TOKEN));
    }

    #[test]
    fn the_program_names_the_line_at_its_end() {
        let file = init();
        let code = 64 + 56;
        let displacement = u32::from_le_bytes(file[code + 13..code + 17].try_into().unwrap()) as usize;
        assert!(file[code + 17 + displacement..].starts_with(TOKEN));
    }
}
