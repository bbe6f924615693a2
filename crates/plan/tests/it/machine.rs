//! QEMU's command lines.

use crate::golden;
use model::host::{Architecture, Burst, Firmware, Machine, Rate, VolumeLimits};
use model::{InstanceId, Mac, MiB, NetworkInterfaceId, VolumeId};
use plan::machine::identity::UserData;
use plan::machine::{
    Accelerator, AtRest, Boot, Cache, Disk, Identity, Initrd, Interface, Layout, ROOT_PORTS, Stage, StandsOn,
    Threads, Unbuildable, arguments,
};
use std::net::Ipv4Addr;

const EMULATION: Accelerator = Accelerator::Tcg(Threads::Shared);

fn machine() -> Machine {
    Machine {
        instance_type: "t3.micro".into(),
        architecture: Architecture::X86_64,
        vcpus: 2,
        memory: MiB(1024),
        direct_kernel: None,
        firmware: Firmware::LegacyBios,
    }
}

fn layout<'a>(machine: &'a Machine, accelerator: Accelerator, boot: Boot<'a>) -> Layout<'a> {
    Layout {
        instance: InstanceId::parse("i-0123456789abcdef0").unwrap(),
        machine,
        accelerator,
        boot,
        disks: vec![
            Disk {
                volume: VolumeId::parse("vol-0123456789abcdef1").unwrap(),
                medium: model::host::Medium::Volume,
                cache: Cache::Direct,
                limits: Some(VolumeLimits {
                    iops: Rate { base: 300, burst: Some(Burst { rate: 3000, seconds: 2000 }) },
                    bytes: Rate { base: 134_217_728, burst: None },
                    operation: 256 << 10,
                }),
                at_rest: AtRest::Plain,
                stands_on: StandsOn::Files,
            },
            Disk {
                volume: VolumeId::parse("vol-0123456789abcdef2").unwrap(),
                medium: model::host::Medium::Volume,
                cache: Cache::Buffered,
                limits: None,
                at_rest: AtRest::Plain,
                stands_on: StandsOn::Files,
            },
        ],
        interfaces: vec![Interface {
            interface: NetworkInterfaceId::parse("eni-0123456789abcdef3").unwrap(),
            mac: Mac([0x02, 0, 0, 0, 0, 0x0a]),
            mtu: 1450,
        }],
        identity: None,
        stage: Stage::Boot,
    }
}

/// One option and its value a line, as a reader would write it, with blanks that fill up a size in one.
fn rendered(layout: &Layout<'_>) -> String {
    let mut text = String::new();
    for argument in arguments(layout).unwrap() {
        let separator = if argument.starts_with('-') { "\n" } else { " " };
        text.push_str(separator);
        text.push_str(&argument);
    }
    let text = text.trim_start();
    let fill = text.find("   ").unwrap_or(text.len());
    format!("{}{{blanks}}{}\n", &text[..fill], text[fill..].trim_start_matches(' '))
}

#[test]
fn a_machine_that_boots_its_disk_under_kvm() {
    let machine = machine();
    golden("machine-kvm-firmware.txt", &rendered(&layout(&machine, Accelerator::Kvm, Boot::Firmware)));
}

#[test]
fn a_machine_that_boots_a_kernel_under_tcg() {
    let machine = machine();
    let boot = Boot::Kernel { command_line: "console=ttyS0 root=/dev/vda1, rw", initrd: Initrd::Present };
    golden("machine-tcg-kernel.txt", &rendered(&layout(&machine, EMULATION, boot)));
}

#[test]
fn what_cannot_be_built_says_why() {
    let mut machine = machine();
    let mut crowded = layout(&machine, EMULATION, Boot::Firmware);
    crowded.disks = vec![crowded.disks[0].clone(); ROOT_PORTS];
    assert_eq!(arguments(&crowded), Err(Unbuildable::TooManyDevices { wanted: ROOT_PORTS + 1 }));
    machine.vcpus = 0;
    assert_eq!(arguments(&layout(&machine, EMULATION, Boot::Firmware)), Err(Unbuildable::NoVcpus));
}

#[test]
fn an_arm_machine_boots_a_kernel_through_uefi_under_tcg() {
    let mut machine = machine();
    machine.architecture = Architecture::Arm64;
    machine.instance_type = "t4g.nano".into();
    let boot = Boot::Kernel { command_line: "console=ttyAMA0 root=/dev/vda", initrd: Initrd::Present };
    golden("machine-arm64-tcg-kernel.txt", &rendered(&layout(&machine, EMULATION, boot)));
}

#[test]
fn an_arm_machine_that_boots_its_disk_under_kvm() {
    let mut machine = machine();
    machine.architecture = Architecture::Arm64;
    machine.instance_type = "t4g.nano".into();
    golden("machine-arm64-kvm-firmware.txt", &rendered(&layout(&machine, Accelerator::Kvm, Boot::Firmware)));
}

#[test]
fn an_x86_machine_that_boots_its_disk_by_uefi() {
    let mut machine = machine();
    machine.firmware = Firmware::Uefi;
    golden("machine-kvm-uefi.txt", &rendered(&layout(&machine, Accelerator::Kvm, Boot::Firmware)));
    // A kernel of its own needs no firmware to find it.
    let boot = Boot::Kernel { command_line: "quiet", initrd: Initrd::Absent };
    assert!(!rendered(&layout(&machine, Accelerator::Kvm, boot)).contains("-bios"));
}

#[test]
fn a_machine_that_becomes_a_template_and_one_that_is_resumed_from_it() {
    let machine = machine();
    let boot = Boot::Kernel { command_line: "console=ttyS0", initrd: Initrd::Present };
    let mut layout = layout(&machine, EMULATION, boot);
    let interfaces = std::mem::take(&mut layout.interfaces);
    layout.disks.truncate(1);
    layout.stage = Stage::Template { nonce: "00112233445566778899aabbccddeeff" };
    golden("machine-tcg-template.txt", &rendered(&layout));
    layout.stage = Stage::Clone;
    layout.interfaces.extend(interfaces.into_iter().take(1));
    let identity = Identity {
        instance: layout.instance,
        address: Ipv4Addr::new(10, 0, 0, 16),
        prefix: 24,
        router: Ipv4Addr::new(10, 0, 0, 1),
        mtu: 1450,
        resolver: None,
        domain: "ec2.internal".into(),
        host_name: "ip-10-0-0-16.ec2.internal".into(),
        login_key: Some("ssh-ed25519 AAAA me, at home".into()),
        user_data: UserData::Present,
    };
    layout.identity = Some(&identity);
    golden("machine-tcg-clone.txt", &rendered(&layout));
}
