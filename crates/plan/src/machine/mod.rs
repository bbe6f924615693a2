//! A machine as QEMU is told of it: the whole command line, a pure function of the spec.
//!
//! The process that gets this command line sees only what its sandbox holds (the agent's launcher builds it), at the
//! fixed places named here: descriptors [`MONITOR_FD`], [`LOCK_FD`] and [`TAP_FD`] upwards, disks under `/disks`, kernel,
//! initrd and UEFI firmware under `/boot`. Standard output is the serial console, standard error the log; both are pipes.
//!
//! Choices that the command line fixes:
//! - A guest that powers off leaves a paused process behind (`shutdown=pause`), so that nobody misses it. A guest that
//!   resets boots again in the same process. A guest kernel's panic is its own affair, as on EC2: there is no panic device,
//!   so the machine hangs or reboots as the guest's `panic=` setting says.
//! - Every device sits behind a PCIe root port of its own, and [`ROOT_PORTS`] are there from the start: PCIe devices can
//!   only be plugged into ports that existed at boot. Disks and interfaces take the lowest ports, in device order; what
//!   comes later takes the lowest free one ([`devices`]).
//! - A disk that has no room on the host stops the machine rather than failing the guest's write (`werror=enospc`); the
//!   agent lets it go on once there is room. Other errors are the guest's to see. Flushes always reach the disk.
//! - Disks that are encrypted, or not wholly on the host yet, are not in it: the machine is started standing still and is given
//!   them by its monitor, with their keys.
//! - The firmware tables say what EC2's say, so stock cloud-init chooses its Ec2 data source; see [`smbios`].

mod accelerator;
mod board;
pub mod devices;
pub mod fork;
pub mod hibernate;
pub mod identity;
pub mod limits;
pub mod probe;
pub mod qcow2;
pub mod qmp;
pub mod server;
pub mod smbios;
pub mod template;

pub use accelerator::{Accelerator, Threads, Version};
pub use board::{FIRMWARE, firmware, qemu, takes_firmware_file, uefi};
pub use devices::{AtRest, Cache, Disk, Interface, StandsOn};
pub use identity::Identity;
use model::host::{Architecture, Firmware, Machine, Medium};
use model::{InstanceId, VolumeId};
use serde_json::Value;

/// Where the process finds the listening socket of its monitor.
pub const MONITOR_FD: i32 = 3;
/// Where the process holds the lock that tells that it lives.
pub const LOCK_FD: i32 = 4;
/// Where the process finds the first of its interfaces.
pub const TAP_FD: i32 = 5;
/// How many PCIe root ports each machine has.
pub const ROOT_PORTS: usize = 24;
/// Where the process finds a kernel that is booted directly, and its initrd.
pub const KERNEL: &str = "/boot/kernel";
pub const INITRD: &str = "/boot/initrd";
/// Where the process finds a template's memory.
pub const MEMORY: &str = "/memory";
/// Where the process finds the sockets of what is not on the host yet. It is there from the start, for what comes later.
pub const LAZY: &str = "/lazy";

const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// A machine in all that its command line depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout<'a> {
    pub instance: InstanceId,
    pub machine: &'a Machine,
    pub accelerator: Accelerator,
    pub boot: Boot<'a>,
    /// In device order; the first boots when the firmware does the booting.
    pub disks: Vec<Disk>,
    /// In device order.
    pub interfaces: Vec<Interface>,
    /// What it is told of itself when it is resumed; none: it asks the network.
    pub identity: Option<&'a Identity>,
    pub stage: Stage<'a>,
}

/// What the machine is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage<'a> {
    /// To boot, with memory of its own.
    Boot,
    /// To boot and become a template: its memory is the file at [`MEMORY`]. The nonce is how guest and host know each other's
    /// words.
    Template { nonce: &'a str },
    /// To be resumed from a template, whose memory at [`MEMORY`] it maps for itself, so that what it writes stays its own.
    Clone,
    /// To go on from an instant that was kept, of another machine or its own: with memory called as that one's, and devices in these
    /// slots, the disks' first.
    Fork { ram: fork::Ram, slots: &'a [usize] },
}

impl Stage<'_> {
    /// The slot of the machine's `index`th device, disks first.
    fn slot(self, index: usize) -> usize {
        match self {
            Self::Fork { slots, .. } => slots.get(index).copied().unwrap_or(index),
            Self::Boot | Self::Template { .. } | Self::Clone => index,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot<'a> {
    /// What the firmware finds on the first disk: a boot sector, or an EFI system partition.
    Firmware,
    /// The kernel at [`KERNEL`], with the initrd at [`INITRD`] if the image has one.
    Kernel { command_line: &'a str, initrd: Initrd },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initrd {
    Present,
    Absent,
}

/// Why there is no command line for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbuildable {
    /// More disks and interfaces than root ports.
    TooManyDevices {
        wanted: usize,
    },
    NoVcpus,
    NoMemory,
}

impl std::fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyDevices { wanted } => {
                write!(f, "{wanted} disks and interfaces do not fit into {ROOT_PORTS} slots")
            }
            Self::NoVcpus => f.write_str("a machine needs a processor"),
            Self::NoMemory => f.write_str("a machine needs memory"),
        }
    }
}

impl std::error::Error for Unbuildable {}

/// Where the process finds a volume's disk.
pub fn disk_path(volume: VolumeId) -> String {
    format!("/disks/{volume}")
}

/// The serial number that a guest reads from a disk, 20 characters: a volume's id without the dash; of a disk of the instance
/// store `AWS` and digits, as on EC2.
pub fn disk_serial(volume: VolumeId, medium: Medium) -> String {
    let id = volume.to_string();
    match medium {
        Medium::Volume => id.replace('-', ""),
        Medium::InstanceStore(_) => id.replace("vol-", "AWS").to_uppercase(),
    }
}

/// Whether a machine is started without some of its disks, and stands still until it was given those.
pub fn waits_for_disks(disks: &[Disk]) -> bool {
    disks.iter().any(Disk::comes_later)
}

/// The arguments after the program's name.
pub fn arguments(layout: &Layout<'_>) -> Result<Vec<String>, Unbuildable> {
    let machine = layout.machine;
    if machine.vcpus == 0 {
        return Err(Unbuildable::NoVcpus);
    }
    if machine.memory.0 == 0 {
        return Err(Unbuildable::NoMemory);
    }
    let wanted = layout.disks.len() + layout.interfaces.len();
    if wanted > ROOT_PORTS {
        return Err(Unbuildable::TooManyDevices { wanted });
    }

    let mut line = Line::default();
    line.option("-name", format!("{},debug-threads=on", layout.instance));
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.option("-display", "none");
    line.option("-sandbox", SANDBOX);
    line.option("-action", "reboot=reset,shutdown=pause,panic=none,watchdog=reset");
    let board = board::machine(machine.architecture, layout.accelerator);
    match layout.stage {
        Stage::Boot | Stage::Fork { ram: fork::Ram::Board, .. } => line.option("-machine", board),
        Stage::Fork { ram: fork::Ram::Object, .. } => {
            line.option("-machine", format!("{board}{}", fork::BACKEND));
            line.option("-object", format!("memory-backend-ram,id=ram,size={}M", machine.memory.0));
        }
        Stage::Template { .. } | Stage::Clone => {
            let share = if layout.stage == Stage::Clone { "off" } else { "on" };
            line.option("-machine", format!("{board}{}", fork::BACKEND));
            line.option(
                "-object",
                format!(
                    "memory-backend-file,id=ram,size={}M,mem-path={MEMORY},share={share}",
                    machine.memory.0
                ),
            );
        }
    }
    line.option("-accel", accelerator(layout.accelerator));
    line.option("-cpu", board::cpu(machine.architecture, layout.accelerator));
    if takes_firmware_file(machine, &layout.boot) {
        line.option("-bios", FIRMWARE);
    }
    line.option("-smp", format!("{0},sockets=1,cores={0},threads=1", machine.vcpus));
    line.option("-m", format!("{}M", machine.memory.0));
    line.option("-uuid", smbios::uuid(layout.instance));
    for table in smbios::tables(layout.instance, &machine.instance_type) {
        line.option("-smbios", table);
    }
    match layout.stage {
        Stage::Boot => {}
        Stage::Template { nonce } => {
            line.option("-smbios", format!("type=11,value={}{nonce}", template::MARK));
        }
        Stage::Clone | Stage::Fork { .. } => line.option("-incoming", "defer"),
    }
    // In every stage: a guest's kernel keeps where each lies, also when its memory goes on in another process.
    for item in template::configuration(&layout.interfaces, layout.identity) {
        line.option("-fw_cfg", item);
    }
    line.option("-rtc", "base=utc,clock=host");
    line.option("-boot", "strict=on");

    line.option("-chardev", format!("socket,id=monitor,fd={MONITOR_FD},server=on,wait=off"));
    line.option("-mon", "chardev=monitor,mode=control");
    line.option("-chardev", "stdio,id=console,signal=off");
    line.option("-serial", "chardev:console");

    let firmware =
        if takes_firmware_file(machine, &layout.boot) { Firmware::Uefi } else { Firmware::LegacyBios };
    for port in 0..ROOT_PORTS {
        line.option(
            "-device",
            format!(
                "pcie-root-port,id=port{port},bus=pcie.0,chassis={0},slot={0},addr=0x{1:x}{2}",
                port + 1,
                port + 2,
                board::port_options(firmware)
            ),
        );
    }
    line.option("-object", "rng-random,id=entropy,filename=/dev/urandom");
    line.option("-device", "virtio-rng-pci,rng=entropy,bus=pcie.0,addr=0x1");
    if machine.architecture == Architecture::X86_64 {
        // Changes when the machine is resumed from a template: a kernel that knows it then draws fresh random numbers.
        line.option("-device", "vmgenid,guid=auto");
    }

    // What was running when it was kept would run on at once.
    if waits_for_disks(&layout.disks) || matches!(layout.stage, Stage::Fork { .. }) {
        line.flag("-S");
    }
    for (port, disk) in layout.disks.iter().enumerate().filter(|(_, disk)| !disk.comes_later()) {
        line.json("-object", &devices::limits_group(disk));
        for node in devices::nodes_by_name(disk) {
            line.json("-blockdev", &node);
        }
        line.json(
            "-device",
            &devices::first_device(disk.volume, disk.medium, layout.stage.slot(port), &layout.boot),
        );
    }
    for (index, interface) in layout.interfaces.iter().enumerate() {
        line.option("-netdev", devices::netdev_by_number(interface.interface, index));
        let slot = layout.stage.slot(layout.disks.len() + index);
        line.json("-device", &devices::interface_device(interface, slot));
    }

    if let Boot::Kernel { command_line, initrd } = &layout.boot {
        line.option("-kernel", KERNEL);
        if *initrd == Initrd::Present {
            line.option("-initrd", INITRD);
        }
        line.option("-append", *command_line);
    }
    Ok(line.0)
}

fn accelerator(accelerator: Accelerator) -> String {
    match accelerator {
        Accelerator::Kvm => accelerator.name().to_owned(),
        // 128 MiB hold the translations of a booted distribution.
        Accelerator::Tcg(_) => format!("{},tb-size=128", accelerator.name()),
    }
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn option(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }

    /// As the monitor would take it: no value can end its option.
    fn json(&mut self, flag: &str, value: &Value) {
        self.option(flag, value.to_string());
    }
}
