//! Forks: memory and device state of a running machine, for others to go on from.
//!
//! ```text
//! parent  runs ─► memory is written while it runs ─► stands still: its volumes are covered ─► the rest is written ─► runs
//! child   stands still ─► state is read ─► link off ─► runs ─► its guest says that it took its identity ─► link on
//! ```
//! A child must be the very machine that its parent is at that instant: the same board, and each device in the same slot
//! ([`Shape`]). It differs in what names it. The guest's part: the module docs of `guest::forked`.
//! QEMU: <https://www.qemu.org/docs/master/devel/migration.html>

use super::qmp::Command;
use super::{Accelerator, Boot, Disk, Interface, Layout, Stage, Unbuildable, arguments};
use model::host::Machine;
use model::{InstanceId, Mac, NetworkInterfaceId, VolumeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How a child's guest says on its console that it is nobody's copy any more; its hardware address follows.
pub const READY: &str = "nube.fork: ready ";

/// How a machine came by its memory: a child's must be called the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ram {
    /// It is the board's own.
    Board,
    /// An object of its own, as machines have that were resumed.
    Object,
}

/// What a child's machine must have in common with its parent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub ram: Ram,
    /// The command line without what names a machine and without its devices.
    pub board: Vec<String>,
    /// The slots of its volumes and its interface.
    pub volumes: Vec<(VolumeId, usize)>,
    pub interface: usize,
}

/// Why a running machine cannot be forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unforkable {
    /// Its guest could not learn who it is: an earlier version of this program started it.
    Mute,
    /// It has no interface, or several.
    Interfaces(usize),
    /// A device sits where none should.
    Misplaced(String),
}

impl std::fmt::Display for Unforkable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mute => f.write_str("it was started by an earlier version; stop and start it first"),
            Self::Interfaces(count) => write!(f, "it has {count} network interfaces, and must have one"),
            Self::Misplaced(device) => write!(f, "the slot of {device} is not known"),
        }
    }
}

impl std::error::Error for Unforkable {}

/// Reads the shape of a running machine from its command line (without the program) and the buses of its devices, as
/// `qom-get` tells them.
pub fn shape(
    command_line: &[String],
    volumes: &[(VolumeId, String)],
    interfaces: &[(NetworkInterfaceId, String)],
) -> Result<Shape, Unforkable> {
    let knows = |flag: &str, start: &str| {
        command_line.windows(2).any(|pair| pair[0] == flag && pair[1].starts_with(start))
    };
    if !knows("-fw_cfg", super::template::CONFIGURATION_NAME) {
        return Err(Unforkable::Mute);
    }
    let [(interface, bus)] = interfaces else { return Err(Unforkable::Interfaces(interfaces.len())) };
    let slot = |what: String, bus: &str| slot(bus).ok_or(Unforkable::Misplaced(what));
    let slots = volumes.iter().map(|(volume, bus)| Ok((*volume, slot(volume.to_string(), bus)?)));
    Ok(Shape {
        ram: ram(command_line),
        board: board(command_line),
        volumes: slots.collect::<Result<_, Unforkable>>()?,
        interface: slot(interface.to_string(), bus)?,
    })
}

pub(super) fn slot(bus: &str) -> Option<usize> {
    bus.rsplit('/').next()?.strip_prefix("port")?.parse().ok()
}

pub(super) fn ram(command_line: &[String]) -> Ram {
    let has = command_line.windows(2).any(|pair| pair[0] == "-machine" && pair[1].contains(BACKEND));
    if has { Ram::Object } else { Ram::Board }
}

/// How `-machine` names memory that is an object.
pub(super) const BACKEND: &str = ",memory-backend=ram";

/// The options that name a machine, or are its devices, or tell how it was started.
const OWN: [&str; 9] =
    ["-name", "-uuid", "-smbios", "-fw_cfg", "-incoming", "-blockdev", "-object", "-netdev", "-add-fd"];
/// Options without a value.
const FLAGS: [&str; 3] = ["-nodefaults", "-no-user-config", "-S"];

/// What of a command line all machines of one shape share.
pub(super) fn board(command_line: &[String]) -> Vec<String> {
    let mut board = Vec::new();
    let mut words = command_line.iter();
    while let Some(flag) = words.next() {
        if FLAGS.contains(&flag.as_str()) {
            continue;
        }
        let value = words.next().map_or("", String::as_str);
        // Disks and interfaces come as JSON.
        if OWN.contains(&flag.as_str()) || (flag == "-device" && value.starts_with('{')) {
            continue;
        }
        board.push(format!("{flag} {}", value.replace(BACKEND, "")));
    }
    board
}

/// What a child is started with, in the order of its disks and then its interface.
#[derive(Debug, Clone)]
pub struct Child<'a> {
    pub instance: InstanceId,
    pub machine: &'a Machine,
    pub accelerator: Accelerator,
    pub boot: Boot<'a>,
    /// Each with the parent's volume whose place it takes.
    pub disks: Vec<(Disk, VolumeId)>,
    pub interface: Interface,
}

/// Why a machine cannot go on from a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    Unbuildable(Unbuildable),
    /// The parent had other volumes.
    Volumes,
    /// The parent's command line had this, and the child's would not, or the other way round.
    Board(Vec<String>),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unbuildable(why) => why.fmt(f),
            Self::Volumes => f.write_str("its volumes are not those of the fork"),
            Self::Board(differences) => write!(f, "its machine would be another: {}", differences.join("; ")),
        }
    }
}

impl std::error::Error for Misfit {}

impl Shape {
    /// The slots of a child's disks and, last, of its interface, if it fits.
    pub fn seat(&self, child: &Child<'_>) -> Result<Vec<usize>, Misfit> {
        let wanted: BTreeSet<VolumeId> = child.disks.iter().map(|(_, of)| *of).collect();
        let had: BTreeSet<VolumeId> = self.volumes.iter().map(|(id, _)| *id).collect();
        if wanted.len() != child.disks.len() || wanted != had {
            return Err(Misfit::Volumes);
        }
        let slot = |of: &VolumeId| self.volumes.iter().find(|(id, _)| id == of).map(|(_, slot)| *slot);
        let mut slots: Vec<usize> = child.disks.iter().filter_map(|(_, of)| slot(of)).collect();
        slots.push(self.interface);
        let layout = Layout {
            instance: child.instance,
            machine: child.machine,
            accelerator: child.accelerator,
            boot: child.boot.clone(),
            disks: child.disks.iter().map(|(disk, _)| disk.clone()).collect(),
            interfaces: vec![child.interface.clone()],
            identity: None,
            stage: Stage::Fork { ram: self.ram, slots: &slots },
        };
        let made = board(&arguments(&layout).map_err(Misfit::Unbuildable)?);
        if made != self.board {
            let (made, had): (BTreeSet<_>, BTreeSet<_>) =
                (made.iter().collect(), self.board.iter().collect());
            let differences = made.symmetric_difference(&had).map(|option| (*option).clone()).collect();
            return Err(Misfit::Board(differences));
        }
        Ok(slots)
    }
}

/// Has a machine's memory written while it runs, and the machine stand still before the last of it.
pub fn prepare() -> [Command; 2] {
    let capability = |name: &str, state: bool| json!({"capability": name, "state": state});
    let capabilities = [
        // Set on machines that were resumed; what they map is theirs to give on.
        capability("x-ignore-shared", false),
        capability("pause-before-switchover", true),
    ];
    [
        Command::With {
            execute: "migrate-set-capabilities",
            arguments: json!({"capabilities": capabilities}),
        },
        patience(Duration::ZERO),
    ]
}

/// How long a machine may stand still for what it changes while its memory is written: more when that does not end.
pub fn patience(since: Duration) -> Command {
    let milliseconds = match since.as_secs() {
        0..10 => 50,
        10..20 => 250,
        20..40 => 1_000,
        40..60 => 5_000,
        _ => 600_000,
    };
    let arguments = json!({"downtime-limit": milliseconds, "max-bandwidth": 1u64 << 40});
    Command::With { execute: "migrate-set-parameters", arguments }
}

/// Has the last of a standing machine's memory and its devices' state written.
pub fn finish() -> Command {
    Command::With { execute: "migrate-continue", arguments: json!({"state": "pre-switchover"}) }
}

/// Gives up; a machine that stood still for it runs again.
pub fn give_up() -> Command {
    Command::With { execute: "migrate_cancel", arguments: json!({}) }
}

/// Connects an interface to its network, or parts it from that; its guest is told.
pub fn link(interface: NetworkInterfaceId, link: Link) -> Command {
    let arguments = json!({"name": interface.to_string(), "up": link == Link::On});
    Command::With { execute: "set_link", arguments }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    On,
    Off,
}

/// How far the writing of a machine's memory has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// None was begun, or what was is over and undone.
    Idle,
    Moving,
    /// The machine stands still and waits for the word to write the rest.
    Standing,
    /// All is written; the machine stands still.
    Done,
    Failed(String),
}

/// Reads the answer to `query-migrate`.
pub fn progress(answer: &Value) -> Progress {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    match text("status") {
        None | Some("none" | "cancelled") => Progress::Idle,
        Some("pre-switchover") => Progress::Standing,
        Some("completed") => Progress::Done,
        Some("failed") => Progress::Failed(text("error-desc").unwrap_or("no reason given").to_owned()),
        Some(_) => Progress::Moving,
    }
}

/// Whether the guest with this address has said on its console that it has an identity of its own.
pub fn is_ready(console: &str, mac: Mac) -> bool {
    let mac = mac.to_string();
    console.lines().any(|line| line.split_once(READY).is_some_and(|(_, said)| said.trim() == mac))
}

#[cfg(test)]
mod tests {
    use super::super::{AtRest, Cache, StandsOn, Threads};
    use super::*;
    use model::MiB;
    use model::host::{Architecture, Firmware};

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

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
            medium: model::host::Medium::Volume,
            cache: Cache::Direct,
            limits: None,
            at_rest: AtRest::Plain,
            stands_on: StandsOn::Files,
        }
    }

    fn interface(n: u128) -> Interface {
        Interface { interface: NetworkInterfaceId::from_entropy(n), mac: MAC, mtu: 1500 }
    }

    const BOOT: Boot<'_> = Boot::Kernel { command_line: "quiet", initrd: super::super::Initrd::Present };

    fn line(machine: &Machine, disks: Vec<Disk>, stage: Stage<'_>) -> Vec<String> {
        let layout = Layout {
            instance: InstanceId::from_entropy(1),
            machine,
            accelerator: Accelerator::Tcg(Threads::Shared),
            boot: BOOT,
            disks,
            interfaces: vec![interface(1)],
            identity: None,
            stage,
        };
        arguments(&layout).unwrap()
    }

    fn bus(slot: usize) -> String {
        format!("/machine/peripheral/port{slot}/port{slot}")
    }

    fn child(machine: &Machine) -> Child<'_> {
        Child {
            instance: InstanceId::from_entropy(9),
            machine,
            accelerator: Accelerator::Tcg(Threads::Shared),
            boot: BOOT,
            disks: vec![(disk(11), VolumeId::from_entropy(1)), (disk(12), VolumeId::from_entropy(2))],
            interface: interface(9),
        }
    }

    /// The second volume came after the interface.
    fn parent(stage: Stage<'_>) -> Shape {
        let volumes = [(VolumeId::from_entropy(1), bus(0)), (VolumeId::from_entropy(2), bus(2))];
        let line = line(&machine(), vec![disk(1)], stage);
        shape(&line, &volumes, &[(NetworkInterfaceId::from_entropy(1), bus(1))]).unwrap()
    }

    #[test]
    fn a_childs_devices_sit_where_its_parents_do() {
        let machine = machine();
        for stage in [Stage::Boot, Stage::Clone, Stage::Fork { ram: Ram::Object, slots: &[0, 1] }] {
            assert_eq!(parent(stage).seat(&child(&machine)), Ok(vec![0, 2, 1]), "{stage:?}");
        }
        assert_eq!(parent(Stage::Boot).ram, Ram::Board);
        assert_eq!(parent(Stage::Clone).ram, Ram::Object);
        let slots = [0, 2, 1];
        let made = line(&machine, vec![disk(11), disk(12)], Stage::Fork { ram: Ram::Object, slots: &slots });
        let placed = |slot: usize, id: &str| {
            let bus = format!(r#""bus":"port{slot}""#);
            made.iter().any(|word| word.contains(&bus) && word.contains(id))
        };
        assert!(placed(0, &VolumeId::from_entropy(11).to_string()));
        assert!(placed(2, &VolumeId::from_entropy(12).to_string()));
        assert!(placed(1, &NetworkInterfaceId::from_entropy(1).to_string()));
        assert!(made.contains(&"-S".to_owned()), "it would run before its link is off");
    }

    #[test]
    fn a_machine_of_another_board_does_not_fit() {
        let larger = Machine { vcpus: 4, ..machine() };
        let Err(Misfit::Board(differences)) = parent(Stage::Boot).seat(&child(&larger)) else {
            panic!("it fits")
        };
        assert!(differences.iter().all(|option| option.starts_with("-smp ")), "{differences:?}");
        let other = Machine { instance_type: "t3.micro".into(), ..machine() };
        assert!(parent(Stage::Boot).seat(&child(&other)).is_ok(), "what it is called is its own");
        let machine = machine();
        let mut one = child(&machine);
        one.disks.pop();
        assert_eq!(parent(Stage::Boot).seat(&one), Err(Misfit::Volumes));
    }

    #[test]
    fn a_machine_that_cannot_be_told_who_it_is_is_not_forked() {
        let mut old = line(&machine(), vec![disk(1)], Stage::Boot);
        let at = old.iter().position(|word| word == "-fw_cfg").unwrap();
        old.drain(at..at + 4);
        let interfaces = [(NetworkInterfaceId::from_entropy(1), bus(1))];
        assert_eq!(shape(&old, &[], &interfaces), Err(Unforkable::Mute));
        let line = line(&machine(), vec![disk(1)], Stage::Boot);
        assert_eq!(shape(&line, &[], &[]), Err(Unforkable::Interfaces(0)));
        let lost = [(NetworkInterfaceId::from_entropy(1), "/machine/unattached".to_owned())];
        assert!(matches!(shape(&line, &[], &lost), Err(Unforkable::Misplaced(_))));
    }

    #[test]
    fn the_longer_it_takes_the_longer_the_machine_may_stand_still() {
        let limit = |seconds| {
            let Command::With { arguments, .. } = patience(Duration::from_secs(seconds)) else { panic!() };
            arguments["downtime-limit"].as_u64().unwrap()
        };
        let limits: Vec<u64> = [0, 15, 30, 50, 70].map(limit).into();
        assert!(limits.is_sorted() && limits[0] < limits[4], "{limits:?}");
    }

    #[test]
    fn only_the_childs_own_word_counts() {
        let said = format!("booting\r\nnube.fork: ready {MAC}\r\n");
        assert!(is_ready(&said, MAC));
        assert!(!is_ready(&said, Mac([2, 0, 0, 0, 0, 8])));
        assert!(!is_ready(&format!("nube.fork: ready {MAC}0"), MAC));
    }

    #[test]
    fn a_machine_that_waits_for_the_word_is_told_from_one_that_is_done() {
        let of = |status: &str| progress(&json!({"status": status}));
        assert_eq!(of("active"), Progress::Moving);
        assert_eq!(of("pre-switchover"), Progress::Standing);
        assert_eq!(of("device"), Progress::Moving);
        assert_eq!(of("completed"), Progress::Done);
        assert_eq!(of("cancelled"), Progress::Idle);
        assert_eq!(progress(&json!({})), Progress::Idle);
    }
}
