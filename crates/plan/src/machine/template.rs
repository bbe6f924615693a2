//! Memory templates: what one is made of, which one a launch may use, which goes first, and the monitor's commands around it.
//!
//! A template is a booted machine at rest: memory, device state and disk. A launch may resume it only if it would have built the very same
//! machine; [`Ingredients`] says all that this depends on, and the monitor checks little of it. Templates of an account's own
//! images are that account's: no memory of one account is ever mapped into another's machine.
//! What the guest does in this: the module docs of `guest::template`.

use super::qmp::Command;
use super::{
    Accelerator, AtRest, Boot, Cache, Disk, Identity, Interface, Layout, Stage, StandsOn, Unbuildable,
    arguments, identity,
};
use model::host::{Architecture, Machine};
use model::{AccountId, InstanceId, Mac, MiB, NetworkInterfaceId, VolumeId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the firmware's tables tell a guest that is to become a template.
pub const MARK: &str = "nube.template=";
/// How a guest says on its console that it is ready, or why it never will be; the nonce follows.
pub const READY: &str = "nube.template: ready ";
pub const UNFIT: &str = "nube.template: unfit ";
/// How it asks for the interface that its clones will have, and says that it has it.
pub const PLUG: &str = "nube.template: plug ";
pub const PARKED: &str = "nube.template: parked ";
/// Where the interface lies that a template has: behind its one disk, as on a machine that boots.
const PARKED_PORT: usize = 1;
/// Where a machine's configuration says which address its first interface has, and who it is ([`identity`]). What a guest sees
/// of their sizes is its first process's.
const MAC: &str = "opt/nube/mac";
const IDENTITY: &str = "opt/nube/identity";
/// The former as the beginning of an option of the command line.
pub(super) const CONFIGURATION_NAME: &str = "name=opt/nube/mac,";

/// Whose machines may use a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// It was made from an image that the operator gives to everyone, before any tenant's code ran.
    Everyone,
    Account(AccountId),
}

/// The program that runs machines, as its file tells without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub path: String,
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub changed: i64,
}

/// Everything that decides whether a template fits a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredients {
    /// The image's name on the host, and what it is.
    pub image: String,
    pub digest: String,
    pub owner: Owner,
    pub instance_type: String,
    pub architecture: Architecture,
    pub vcpus: u32,
    pub memory: MiB,
    pub program: Program,
    /// The whole command line, with ids that stand for any instance's.
    pub arguments: Vec<String>,
}

impl Ingredients {
    /// The name of the template: the same for the same ingredients. Names are no proof: compare the ingredients too.
    pub fn key(&self) -> String {
        let mut text = format!("{self:?}").into_bytes();
        text.push(0);
        let hash = |start: u64| {
            text.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        };
        let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
        format!("tpl-{high:016x}{low:016x}")
    }

    /// Whether this is what became of the other's image and type: the other will not be used again.
    pub fn replaces(&self, other: &Self) -> bool {
        self != other
            && self.image == other.image
            && self.instance_type == other.instance_type
            && self.owner == other.owner
    }
}

/// The command line of a machine that could be resumed from a template, whichever instance it is.
pub fn anonymous(
    machine: &Machine,
    accelerator: Accelerator,
    boot: Boot<'_>,
    cache: Cache,
) -> Result<Vec<String>, Unbuildable> {
    arguments(&Layout {
        instance: InstanceId::from_entropy(0),
        machine,
        accelerator,
        boot,
        // A volume that is encrypted is never resumed.
        disks: vec![Disk {
            volume: VolumeId::from_entropy(0),
            medium: model::host::Medium::Volume,
            cache,
            limits: None,
            at_rest: AtRest::Plain,
            stands_on: StandsOn::Files,
        }],
        interfaces: Vec::new(),
        identity: None,
        stage: Stage::Clone,
    })
}

/// A template among others, for [`surplus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub key: String,
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub used: i64,
}

/// Which templates to remove so that the rest takes no more than `most` bytes: those that were not used for the longest.
pub fn surplus(mut kept: Vec<Kept>, most: u64) -> Vec<String> {
    kept.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
    let mut total = 0u64;
    let over = kept.into_iter().filter(|template| {
        total = total.saturating_add(template.bytes);
        total > most
    });
    over.map(|template| template.key).collect()
}

/// Whether a template has the interface of its clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Nic {
    /// It is plugged into the clone.
    #[default]
    Absent,
    Parked,
}

/// What a guest that is being made a template has said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Nothing,
    /// It wants its interface.
    Plug,
    Ready(Nic),
    Unfit(String),
}

/// Reads a console for the guest's word; words with another nonce are not meant.
pub fn word(console: &str, nonce: &str) -> Word {
    let (mut word, mut nic) = (Word::Nothing, Nic::Absent);
    for line in console.lines() {
        // The kernel may have left a line of its own open.
        let says = |what: &str| line.split_once(what).is_some_and(|(_, said)| said.trim() == nonce);
        if says(PLUG) {
            word = Word::Plug;
        }
        if says(PARKED) {
            nic = Nic::Parked;
        }
        if says(READY) {
            return Word::Ready(nic);
        }
        if let Some((_, said)) = line.split_once(UNFIT)
            && let Some(reason) = said.strip_prefix(nonce)
        {
            return Word::Unfit(reason.trim().chars().take(200).collect());
        }
    }
    word
}

/// The interface of a machine that is to become a template: nobody's.
fn parked() -> Interface {
    Interface {
        interface: NetworkInterfaceId::from_entropy(0),
        mac: Mac([0x02, 0, 0, 0, 0, 0xfe]),
        mtu: crate::net::MTU,
    }
}

/// Plugs that in. What announces a machine that has moved is left out: this one does not move, and QEMU (7.2, at the
/// least) fails at the reset of an interface that was told to announce itself no times.
pub fn plug_parked(descriptor: &str) -> [Command; 2] {
    let [netdev, device] = plug(&parked(), PARKED_PORT, descriptor);
    let device = match device {
        Command::With { execute, mut arguments } => {
            arguments["guest_announce"] = json!(false);
            Command::With { execute, arguments }
        }
        other => other,
    };
    [netdev, device]
}

/// The values of `-fw_cfg`: what a guest that woke up has its interface's address from, and what it is told of itself.
pub(super) fn configuration(interfaces: &[Interface], told: Option<&Identity>) -> [String; 2] {
    let mac = interfaces.first().map_or(parked().mac, |interface| interface.mac);
    // A comma would begin the next option.
    let text = told.and_then(Identity::render).unwrap_or_else(identity::nobody).replace(',', ",,");
    [format!("name={MAC},string={mac}"), format!("name={IDENTITY},string={text}")]
}

/// A resumed machine does not announce itself: its guest has a say in what it sends.
pub fn say_nothing() -> Command {
    Command::With { execute: "migrate-set-parameters", arguments: json!({"announce-rounds": 0}) }
}

/// The console's text as a clone shows it: without the words that were meant for the host.
pub fn console_of_clone(console: &[u8]) -> Vec<u8> {
    let lines = console.split_inclusive(|byte| *byte == b'\n');
    let for_host =
        |line: &[u8]| line.windows(MARK.len() - 1).any(|w| w == &MARK.as_bytes()[..MARK.len() - 1]);
    lines.filter(|line| !for_host(line)).flatten().copied().collect()
}

/// Memory stays in its file: only what is beside it is written or read.
pub fn leave_memory_in_place() -> Command {
    Command::With {
        execute: "migrate-set-capabilities",
        arguments: json!({"capabilities": [{"capability": "x-ignore-shared", "state": true}]}),
    }
}

/// Writes the devices' state to the descriptor of this name.
pub fn save(descriptor: &str) -> Command {
    Command::With { execute: "migrate", arguments: json!({"uri": format!("fd:{descriptor}")}) }
}

/// Reads the devices' state from the descriptor of this name.
pub fn load(descriptor: &str) -> Command {
    Command::With { execute: "migrate-incoming", arguments: json!({"uri": format!("fd:{descriptor}")}) }
}

pub fn query() -> Command {
    Command::With { execute: "query-migrate", arguments: json!({}) }
}

/// How far saving or loading has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Moving,
    Done,
    Failed(String),
}

/// Reads the answer to [`query`].
pub fn progress(answer: &serde_json::Value) -> Progress {
    let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str);
    match text("status") {
        Some("completed") => Progress::Done,
        Some(status @ ("failed" | "cancelled")) => {
            Progress::Failed(text("error-desc").unwrap_or(status).to_owned())
        }
        _ => Progress::Moving,
    }
}

/// Plugs an interface into a machine that has none yet: its backend, from the descriptor of this name, and its device.
pub fn plug(interface: &Interface, port: usize, descriptor: &str) -> [Command; 2] {
    let id = interface.interface;
    [
        Command::With {
            execute: "netdev_add",
            arguments: json!({"type": "tap", "id": format!("{id}-tap"), "fd": descriptor}),
        },
        Command::With {
            execute: "device_add",
            arguments: json!({
                "driver": "virtio-net-pci", "id": id.to_string(), "netdev": format!("{id}-tap"),
                "mac": interface.mac.to_string(), "host_mtu": interface.mtu, "romfile": "",
                "bus": format!("port{port}"),
            }),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;
    use model::host::Firmware;

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

    fn ingredients() -> Ingredients {
        let boot = Boot::Kernel { command_line: "quiet", initrd: super::super::Initrd::Present };
        Ingredients {
            image: "nano".into(),
            digest: "sha256:ab".into(),
            owner: Owner::Everyone,
            instance_type: "t3.nano".into(),
            architecture: Architecture::X86_64,
            vcpus: 2,
            memory: MiB(512),
            program: Program { path: "/usr/bin/qemu".into(), bytes: 1, changed: 2 },
            arguments: anonymous(&machine(), Accelerator::Tcg(Threads::Shared), boot, Cache::Direct).unwrap(),
        }
    }

    #[test]
    fn every_ingredient_makes_another_template() {
        let base = ingredients();
        let mut others = vec![base.clone(); 8];
        others[0].digest = "sha256:ac".into();
        others[1].owner = Owner::Account(AccountId::from_number(1));
        others[2].owner = Owner::Account(AccountId::from_number(2));
        others[3].vcpus = 1;
        others[4].memory = MiB(1024);
        others[5].program.changed = 3;
        others[6].arguments.push("-S".into());
        others[7].architecture = Architecture::Arm64;
        let keys: std::collections::BTreeSet<String> =
            others.iter().chain([&base]).map(Ingredients::key).collect();
        assert_eq!(keys.len(), 9);
        assert_eq!(base.key(), ingredients().key());
    }

    #[test]
    fn a_new_build_replaces_the_old_one_but_never_anothers() {
        let (old, mut new) = (ingredients(), ingredients());
        assert!(!new.replaces(&old));
        new.digest = "sha256:ac".into();
        assert!(new.replaces(&old));
        new.owner = Owner::Account(AccountId::from_number(1));
        assert!(!new.replaces(&old));
    }

    #[test]
    fn what_was_not_used_for_the_longest_goes_first() {
        let kept = |key: &str, bytes, used| Kept { key: key.into(), bytes, used };
        let all = vec![kept("a", 40, 1), kept("b", 40, 3), kept("c", 40, 2)];
        assert_eq!(surplus(all.clone(), 120), Vec::<String>::new());
        assert_eq!(surplus(all.clone(), 119), ["a"]);
        assert_eq!(surplus(all, 10), ["b", "c", "a"]);
    }

    #[test]
    fn only_the_word_with_the_right_nonce_counts() {
        let nonce = "0123456789abcdef0123456789abcdef";
        assert_eq!(word("booting\r\n", nonce), Word::Nothing);
        assert_eq!(word(&format!("x\r\nnube.template: ready {nonce}\r\n"), nonce), Word::Ready(Nic::Absent));
        let asked = format!("nube.template: plug {nonce}\r\n");
        assert_eq!(word(&asked, nonce), Word::Plug);
        let parked = format!("{asked}\r\nnube.template: parked {nonce}\r\n");
        assert_eq!(word(&parked, nonce), Word::Plug);
        assert_eq!(
            word(&format!("{parked}nube.template: ready {nonce}\r\n"), nonce),
            Word::Ready(Nic::Parked)
        );
        assert_eq!(word(&format!("nube.template: ready {}\r\n", "f".repeat(32)), nonce), Word::Nothing);
        assert_eq!(
            word(&format!("nube.template: unfit {nonce} no network manager\r\n"), nonce),
            Word::Unfit("no network manager".into())
        );
    }

    #[test]
    fn a_parked_interface_announces_nothing() {
        let [netdev, device] = plug_parked("tap");
        assert!(netdev.render(1).contains(r#""fd":"tap""#));
        assert!(device.render(1).contains(r#""guest_announce":false"#));
    }

    #[test]
    fn a_clones_console_shows_the_boot_and_not_the_words_to_the_host() {
        let console = b"kernel\r\nnube.template: ready 0123\r\nmore\r\n";
        assert_eq!(console_of_clone(console), b"kernel\r\nmore\r\n");
    }

    #[test]
    fn the_end_of_a_migration_is_told_from_its_middle() {
        assert_eq!(progress(&json!({"status": "completed"})), Progress::Done);
        assert_eq!(progress(&json!({"status": "active"})), Progress::Moving);
        assert_eq!(progress(&json!({})), Progress::Moving);
        assert_eq!(progress(&json!({"status": "failed", "error-desc": "no"})), Progress::Failed("no".into()));
    }
}
