//! Hibernation: memory and device state of a machine that stands still, for its own next run to go on from.
//!
//! ```text
//! stop    stands still ─► all is written ─► it is durable ─► the process ends
//! start   stands still ─► all is read ─► what was written is removed ─► links off ─► runs ─► links on
//! ```
//! The machine that goes on must be the very one that was kept: the same board, and each device in the same slot ([`Shape`]). What
//! it got since comes after, and volumes that are gone are torn out, as for any running machine; without an interface that it had, or on
//! another board, it boots.
//! QEMU: <https://www.qemu.org/docs/master/devel/migration.html>

use super::fork::{self, Misfit, Ram};
use super::qmp::Command;
use super::template::Program;
use super::{Accelerator, Boot, Disk, Identity, Interface, Layout, Stage, arguments};
use model::host::Machine;
use model::{InstanceId, NetworkInterfaceId, VolumeId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// What the machine of the next run must have in common with the one whose memory was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// What ran it, which alone is sure to understand its state.
    pub program: Program,
    pub ram: Ram,
    /// The command line without what names a machine and without its devices.
    pub board: Vec<String>,
    pub volumes: Vec<Seat>,
    /// The slots of its interfaces, the primary one first.
    pub interfaces: Vec<(NetworkInterfaceId, usize)>,
}

/// A volume's place, and its size as the guest knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub volume: VolumeId,
    pub slot: usize,
    pub bytes: u64,
}

/// A device that sits where none should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced(String);

impl std::fmt::Display for Misplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the slot of {} is not known", self.0)
    }
}

impl std::error::Error for Misplaced {}

/// A volume of a running machine: its bus, as `qom-get` tells it, and its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugged {
    pub volume: VolumeId,
    pub bus: String,
    pub bytes: u64,
}

/// Reads the shape of a running machine from its command line (without the program) and the buses of its devices.
pub fn shape(
    program: Program,
    command_line: &[String],
    volumes: &[Plugged],
    interfaces: &[(NetworkInterfaceId, String)],
) -> Result<Shape, Misplaced> {
    let slot = |what: String, bus: &str| fork::slot(bus).ok_or(Misplaced(what));
    let seats = volumes.iter().map(|plugged| {
        let Plugged { volume, bytes, .. } = *plugged;
        Ok(Seat { volume, slot: slot(volume.to_string(), &plugged.bus)?, bytes })
    });
    let slots = interfaces.iter().map(|(interface, bus)| Ok((*interface, slot(interface.to_string(), bus)?)));
    Ok(Shape {
        program,
        ram: fork::ram(command_line),
        board: fork::board(command_line),
        volumes: seats.collect::<Result<_, Misplaced>>()?,
        interfaces: slots.collect::<Result<_, Misplaced>>()?,
    })
}

/// The machine that is to go on: what it has of what it had.
#[derive(Debug, Clone)]
pub struct Sleeper<'a> {
    pub instance: InstanceId,
    pub program: Program,
    pub machine: &'a Machine,
    pub accelerator: Accelerator,
    pub boot: Boot<'a>,
    pub disks: Vec<Disk>,
    pub interfaces: Vec<Interface>,
    pub identity: Option<&'a Identity>,
}

/// Why memory that was kept is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// Another program would run it.
    Program,
    /// It lacks an interface that it had.
    Lacks(String),
    /// It has a device that it had not.
    Strange,
    Misfit(Misfit),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program => f.write_str("QEMU has changed since"),
            Self::Lacks(what) => write!(f, "{what} is gone that it had"),
            Self::Strange => f.write_str("it has a device that it had not"),
            Self::Misfit(misfit) => misfit.fmt(f),
        }
    }
}

impl std::error::Error for Unfit {}

impl Shape {
    /// The slots of a machine's disks and then of its interfaces, if it can go on from this. Volumes may be gone by now: see
    /// [`Self::gone`].
    pub fn seat(&self, sleeper: &Sleeper<'_>) -> Result<Vec<usize>, Unfit> {
        if sleeper.program != self.program {
            return Err(Unfit::Program);
        }
        let has = |id: &NetworkInterfaceId| sleeper.interfaces.iter().any(|i| i.interface == *id);
        if let Some((interface, _)) = self.interfaces.iter().find(|(id, _)| !has(id)) {
            return Err(Unfit::Lacks(interface.to_string()));
        }
        let seats =
            sleeper.disks.iter().map(|disk| self.volumes.iter().find(|seat| seat.volume == disk.volume));
        let places =
            sleeper.interfaces.iter().map(|i| self.interfaces.iter().find(|(id, _)| *id == i.interface));
        let slots =
            seats.map(|seat| seat.map(|seat| seat.slot)).chain(places.map(|p| p.map(|(_, slot)| *slot)));
        let Some(slots) = slots.collect::<Option<Vec<usize>>>() else { return Err(Unfit::Strange) };
        let layout = Layout {
            instance: sleeper.instance,
            machine: sleeper.machine,
            accelerator: sleeper.accelerator,
            boot: sleeper.boot.clone(),
            disks: sleeper.disks.clone(),
            interfaces: sleeper.interfaces.clone(),
            identity: sleeper.identity,
            stage: Stage::Fork { ram: self.ram, slots: &slots },
        };
        let made = arguments(&layout).map_err(|e| Unfit::Misfit(Misfit::Unbuildable(e)))?;
        let made = fork::board(&made);
        if made != self.board {
            let (made, had): (BTreeSet<_>, BTreeSet<_>) =
                (made.iter().collect(), self.board.iter().collect());
            let differences = made.symmetric_difference(&had).map(|option| (*option).clone()).collect();
            return Err(Unfit::Misfit(Misfit::Board(differences)));
        }
        Ok(slots)
    }

    /// The volumes that it had and has no more: the guest finds devices of which every operation fails, and which are taken away.
    pub fn gone(&self, disks: &[Disk]) -> Vec<Seat> {
        let is_gone = |seat: &&Seat| !disks.iter().any(|disk| disk.volume == seat.volume);
        self.volumes.iter().filter(is_gone).copied().collect()
    }
}

/// Has all of a standing machine's memory written as fast as it can be.
pub fn prepare() -> [Command; 2] {
    let off = |name: &str| json!({"capability": name, "state": false});
    [
        Command::With {
            execute: "migrate-set-capabilities",
            // Set on machines that were resumed, or forked from.
            arguments: json!({"capabilities": [off("x-ignore-shared"), off("pause-before-switchover")]}),
        },
        Command::With { execute: "migrate-set-parameters", arguments: json!({"max-bandwidth": 1u64 << 40}) },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{AtRest, Cache, Initrd, StandsOn, Threads};
    use super::*;
    use model::host::{Architecture, Firmware, Medium};
    use model::{Mac, MiB};

    const BOOT: Boot<'_> = Boot::Kernel { command_line: "quiet", initrd: Initrd::Present };

    fn machine() -> Machine {
        Machine {
            instance_type: "t3.nano".into(),
            architecture: Architecture::X86_64,
            vcpus: 2,
            memory: MiB(512),
            direct_kernel: Some("nano".into()),
            firmware: Firmware::LegacyBios,
        }
    }

    fn disk(n: u128) -> Disk {
        Disk {
            volume: VolumeId::from_entropy(n),
            medium: Medium::Volume,
            cache: Cache::Direct,
            limits: None,
            at_rest: AtRest::Encrypted,
            stands_on: StandsOn::Files,
        }
    }

    fn interface(n: u128) -> Interface {
        Interface { interface: NetworkInterfaceId::from_entropy(n), mac: Mac([2, 0, 0, 0, 0, 7]), mtu: 1500 }
    }

    fn program() -> Program {
        Program { path: "/usr/bin/qemu".into(), bytes: 1, changed: 2 }
    }

    fn line(stage: Stage<'_>) -> Vec<String> {
        let machine = machine();
        let layout = Layout {
            instance: InstanceId::from_entropy(1),
            machine: &machine,
            accelerator: Accelerator::Tcg(Threads::Shared),
            boot: BOOT,
            disks: vec![disk(1)],
            interfaces: vec![interface(1)],
            identity: None,
            stage,
        };
        arguments(&layout).unwrap()
    }

    fn bus(slot: usize) -> String {
        format!("/machine/peripheral/port{slot}/port{slot}")
    }

    /// The second volume came after the interface.
    fn kept(line: &[String]) -> Shape {
        let plugged =
            |n: u128, slot| Plugged { volume: VolumeId::from_entropy(n), bus: bus(slot), bytes: 1 << 30 };
        let interfaces = [(NetworkInterfaceId::from_entropy(1), bus(1))];
        shape(program(), line, &[plugged(1, 0), plugged(2, 2)], &interfaces).unwrap()
    }

    fn sleeper(machine: &Machine) -> Sleeper<'_> {
        Sleeper {
            instance: InstanceId::from_entropy(1),
            program: program(),
            machine,
            accelerator: Accelerator::Tcg(Threads::Shared),
            boot: BOOT,
            disks: vec![disk(1), disk(2)],
            interfaces: vec![interface(1)],
            identity: None,
        }
    }

    #[test]
    fn a_machine_goes_on_in_the_slots_that_it_had_however_often() {
        let machine = machine();
        let first = kept(&line(Stage::Boot));
        let slots = first.seat(&sleeper(&machine)).unwrap();
        assert_eq!(slots, [0, 2, 1]);
        let again = kept(&line(Stage::Fork { ram: first.ram, slots: &slots }));
        assert_eq!(again, first);
    }

    #[test]
    fn another_board_another_program_or_an_interface_less_and_it_boots() {
        let (shape, machine) = (kept(&line(Stage::Boot)), machine());
        let larger = Machine { vcpus: 4, ..machine.clone() };
        assert!(matches!(shape.seat(&sleeper(&larger)), Err(Unfit::Misfit(Misfit::Board(_)))));
        let other = Sleeper { program: Program { changed: 3, ..program() }, ..sleeper(&machine) };
        assert_eq!(shape.seat(&other), Err(Unfit::Program));
        let lacking = Sleeper { interfaces: Vec::new(), ..sleeper(&machine) };
        assert_eq!(shape.seat(&lacking), Err(Unfit::Lacks(NetworkInterfaceId::from_entropy(1).to_string())));
    }

    #[test]
    fn volumes_may_be_gone_but_none_may_come() {
        let (shape, machine) = (kept(&line(Stage::Boot)), machine());
        let lacking = Sleeper { disks: vec![disk(1)], ..sleeper(&machine) };
        assert_eq!(shape.seat(&lacking), Ok(vec![0, 1]));
        let gone: Vec<VolumeId> = shape.gone(&lacking.disks).iter().map(|seat| seat.volume).collect();
        assert_eq!(gone, [VolumeId::from_entropy(2)]);
        let more = Sleeper { disks: vec![disk(1), disk(2), disk(3)], ..sleeper(&machine) };
        assert_eq!(shape.seat(&more), Err(Unfit::Strange));
    }

    #[test]
    fn a_device_of_an_unknown_slot_cannot_be_kept() {
        let interfaces = [(NetworkInterfaceId::from_entropy(1), "/machine/unattached".to_owned())];
        assert!(shape(program(), &[], &[], &interfaces).is_err());
    }
}
