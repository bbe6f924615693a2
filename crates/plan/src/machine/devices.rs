//! A machine's disks and interfaces as QEMU objects: the same on the command line and when plugged in while it runs.
//!
//! ```text
//! virtio-blk vol-… ─► vol-…-throttle (limits of vol-…-limits) ─► vol-…-image (qcow2) ─► vol-…-file
//!                                                                  └ backing ─► vol-…-b0 ─► vol-…-b0-file
//! after a snapshot:                        vol-…-throttle ─► vol-…-lNNNNNNNN ─► vol-…-image, and so on
//! after layers below it were joined:       vol-…-lNNNNNNNN ─► vol-…-mKdD ─► …
//! virtio-net eni-… ─► eni-…-tap
//! ```
//! Names have 31 characters at most, which is QEMU's limit for nodes.
//! Invariants: everything of a volume has a name that begins with its id, so what an interrupted step left is found by name.
//! The limits' object is made first and removed last. What opens an encrypted volume (`vol-…-key`) is there for as long as its
//! files are open, so that what happens to those while the machine runs needs no key from anybody. A disk that is plugged in while the machine runs comes as
//! descriptors, its images' with it, for the process sees no new file; one that was there from the start is opened by name.
//! QEMU: <https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html>

use super::limits;
use super::qcow2::Format;
use super::{Boot, LAZY, ROOT_PORTS, TAP_FD, disk_path, disk_serial};
use crate::host::Plugged;
use model::host::{Devices, Medium, VolumeLimits};
use model::{Mac, NetworkInterfaceId, VolumeId};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub volume: VolumeId,
    pub medium: Medium,
    pub cache: Cache,
    pub limits: Option<VolumeLimits>,
    pub at_rest: AtRest,
    pub stands_on: StandsOn,
}

impl Disk {
    /// Whether a process that starts gets it by its monitor, while it stands still: what opens it, or where the rest of it is
    /// read, is in no command line, and a file that others have too is not the process's.
    pub fn comes_later(&self) -> bool {
        self.at_rest != AtRest::Plain || self.stands_on == StandsOn::Export
    }
}

/// Where what lies under a volume's files is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandsOn {
    /// In other files, or there is nothing under them.
    Files,
    /// The lowest is not on the host yet: [`lazy_socket`] tells what it holds.
    Export,
}

/// How a volume's own data lie in its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtRest {
    Plain,
    /// By LUKS within qcow2; [`key_object`] opens it.
    Encrypted,
    /// Byte by byte in a raw file that other machines write to as well. Nothing lies under it.
    Shared,
    /// In files that another process has, which serves them by [`lazy_socket`], to other machines too: [`super::server`].
    Served,
}

/// How the host caches a disk. Either way a guest's flush reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// The host's page cache is passed by (`O_DIRECT`).
    Direct,
    /// Through the page cache, for file systems without `O_DIRECT`.
    Buffered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub interface: NetworkInterfaceId,
    pub mac: Mac,
    pub mtu: u16,
}

/// A set of descriptors that the process was given (`add-fd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdSet(pub u64);

/// The node that holds a volume's file.
pub fn file_node(volume: VolumeId) -> String {
    format!("{volume}-file")
}

/// The node that understands the file's format.
pub fn image_node(volume: VolumeId) -> String {
    format!("{volume}-image")
}

/// The node that the device reads and writes: every operation counts here.
pub fn throttle_node(volume: VolumeId) -> String {
    format!("{volume}-throttle")
}

/// The node that stands for the file of a volume that was torn out: it has no room, so every operation fails.
pub fn dead_node(volume: VolumeId) -> String {
    format!("{volume}-dead")
}

/// The object that holds a volume's limits.
pub fn limits_object(volume: VolumeId) -> String {
    format!("{volume}-limits")
}

/// The object that holds what opens a volume's encryption.
pub fn key_object(volume: VolumeId) -> String {
    format!("{volume}-key")
}

/// The node of the image that lies `depth` images under a volume's own.
pub fn base_node(volume: VolumeId, depth: usize) -> String {
    format!("{volume}-b{depth}")
}

pub fn base_file_node(volume: VolumeId, depth: usize) -> String {
    format!("{volume}-b{depth}-file")
}

/// The node of a file that became a volume's newest while the machine ran, by the number of its inode.
pub fn layer_node(volume: VolumeId, inode: u64) -> String {
    format!("{volume}-l{:08x}", (inode ^ (inode >> 32)) as u32)
}

pub fn layer_file_node(volume: VolumeId, inode: u64) -> String {
    format!("{volume}-f{:08x}", (inode ^ (inode >> 32)) as u32)
}

/// The node of the image that lies `depth` images under the newest, opened anew for the `time`th time.
pub fn joined_node(volume: VolumeId, time: usize, depth: usize) -> String {
    format!("{volume}-m{time}d{depth}")
}

pub fn joined_file_node(volume: VolumeId, time: usize, depth: usize) -> String {
    format!("{volume}-m{time}d{depth}f")
}

/// Where the process has what lies under a volume's newest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Set(FdSet),
    /// It asks for each part by [`lazy_socket`].
    Export,
}

/// How long a process waits for an export that is gone before its guest sees an error, in seconds: a day.
const RECONNECT: u32 = 24 * 3600;

/// Where the process finds the socket of a volume's export, which is named like the volume.
pub fn lazy_socket(volume: VolumeId) -> String {
    format!("{LAZY}/{}", lazy_socket_name(volume))
}

pub fn lazy_socket_name(volume: VolumeId) -> String {
    format!("{volume}.sock")
}

/// A file under a volume's newest, as the process has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub at: At,
    pub format: Format,
    pub at_rest: AtRest,
}

/// The node names of the image at some depth, and of its file.
type Named<'a> = &'a dyn Fn(usize) -> (String, String);

/// The nodes of files under a volume's newest, from the lowest up.
fn bases_by_descriptor(volume: VolumeId, mode: Cache, bases: &[Base], named: Named<'_>) -> Vec<Value> {
    let mut nodes = Vec::new();
    for (depth, base) in bases.iter().enumerate().rev() {
        let (name, file_name) = named(depth);
        nodes.push(match base.at {
            At::Set(set) => file(mode, file_name.clone(), place(set), Access::Read),
            At::Export => export(volume, mode, &file_name, Access::Read),
        });
        let mut node = json!({
            "driver": base.format.driver(),
            "node-name": name,
            "file": file_name,
            "read-only": true,
            "cache": cache(mode),
        });
        if base.format == Format::Qcow2 {
            node["backing"] = json!((depth + 1 < bases.len()).then(|| named(depth + 1).0));
        }
        open_with_key(&mut node, volume, base.at_rest);
        nodes.push(node);
    }
    nodes
}

fn place(set: FdSet) -> String {
    format!("/dev/fdset/{}", set.0)
}

/// The nodes of a volume's newest file before it stands on anything: what [`super::qmp::overlay`] takes.
pub fn overlay_by_descriptor(disk: &Disk, inode: u64, set: FdSet) -> [Value; 2] {
    let (volume, mode) = (disk.volume, disk.cache);
    let name = layer_file_node(volume, inode);
    let mut image = image_over(disk, layer_node(volume, inode), name.clone());
    image["backing"] = Value::Null;
    [file(mode, name, place(set), Access::Write), image]
}

/// The nodes of what lies under a volume's newest file, opened anew, from the lowest up.
pub fn joined_by_descriptor(volume: VolumeId, mode: Cache, time: usize, bases: &[Base]) -> Vec<Value> {
    let named = |depth| (joined_node(volume, time, depth), joined_file_node(volume, time, depth));
    bases_by_descriptor(volume, mode, bases, &named)
}

/// `blockdev-reopen`: a volume's newest image stands on this node from here on.
pub fn stood_on(disk: &Disk, image: &str, image_file: &str, below: Option<&str>) -> Value {
    let mut node = image_over(disk, image.to_owned(), image_file.to_owned());
    node["backing"] = json!(below);
    node
}

pub fn netdev(interface: NetworkInterfaceId) -> String {
    format!("{interface}-tap")
}

pub(super) fn port_name(port: usize) -> String {
    format!("port{port}")
}

/// `object-add` of a disk's limits.
pub fn limits_group(disk: &Disk) -> Value {
    group(disk.volume, disk.limits.as_ref())
}

/// The same for what has none.
pub fn unlimited(volume: VolumeId) -> Value {
    group(volume, None)
}

fn group(volume: VolumeId, limits: Option<&VolumeLimits>) -> Value {
    json!({
        "qom-type": "throttle-group",
        "id": limits_object(volume),
        "limits": limits::render(limits),
    })
}

/// The nodes of a disk whose file lies at its place in the sandbox, in the order in which they are made.
pub(super) fn nodes_by_name(disk: &Disk) -> Vec<Value> {
    let file = file(disk.cache, file_node(disk.volume), disk_path(disk.volume), Access::Write);
    vec![file, image(disk), throttle(disk.volume, image_node(disk.volume))]
}

/// The nodes of a disk whose file and images were given as descriptors (the volume's own first, then down), in the order in
/// which they are made.
pub fn nodes_by_descriptor(disk: &Disk, own: FdSet, bases: &[Base]) -> Vec<Value> {
    let volume = disk.volume;
    if disk.at_rest == AtRest::Shared {
        let mut file = file(disk.cache, file_node(volume), place(own), Access::Write);
        // Each process would keep the others out.
        file["locking"] = json!("off");
        return vec![file, throttle(volume, file_node(volume))];
    }
    let named = |depth| (base_node(volume, depth), base_file_node(volume, depth));
    let mut nodes = bases_by_descriptor(volume, disk.cache, bases, &named);
    nodes.push(file(disk.cache, file_node(volume), place(own), Access::Write));
    let mut image = image(disk);
    image["backing"] = json!((!bases.is_empty()).then(|| base_node(volume, 0)));
    nodes.push(image);
    nodes.push(throttle(volume, image_node(volume)));
    nodes
}

/// The nodes of a disk that another process serves.
pub fn nodes_by_export(disk: &Disk) -> [Value; 2] {
    let name = file_node(disk.volume);
    [served(disk, &name), throttle(disk.volume, name)]
}

/// The node of a disk that another process serves, by one of its two names ([`file_node`], [`image_node`]).
pub fn served(disk: &Disk, name: &str) -> Value {
    export(disk.volume, disk.cache, name, Access::Write)
}

/// `blockdev-reopen`: a volume's device is led to another node.
pub fn led_to(volume: VolumeId, node: &str) -> Value {
    throttle(volume, node.to_owned())
}

/// What takes the place of a volume's image when it is torn out.
pub fn dead(volume: VolumeId) -> Value {
    json!({"driver": "null-co", "node-name": dead_node(volume), "size": 0})
}

/// `blockdev-reopen`: a volume's device is led to its dead end, and lets go of the image.
pub fn led_to_dead_end(volume: VolumeId) -> Value {
    throttle(volume, dead_node(volume))
}

/// The nodes of a volume among these, in the order in which they can be removed; what came with snapshots is in no order.
pub fn removable<'a>(volume: VolumeId, nodes: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let prefix = format!("{volume}-");
    let rank = |name: &str| match &name[prefix.len()..] {
        "throttle" => (0, 0, 0),
        "image" => (2, 0, 0),
        "file" | "dead" => (3, 0, 0),
        layer if layer.starts_with(['l', 'm', 'f']) => (1, 0, usize::from(layer.starts_with('f'))),
        base => {
            let digits: String = base.chars().filter(char::is_ascii_digit).collect();
            (4, digits.parse::<usize>().unwrap_or(usize::MAX), usize::from(base.ends_with("-file")))
        }
    };
    let mut found: Vec<String> =
        nodes.into_iter().filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect();
    found.sort_by_key(|name| rank(name));
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn cache(cache: Cache) -> Value {
    json!({"direct": cache == Cache::Direct, "no-flush": false})
}

fn file(mode: Cache, name: String, filename: String, access: Access) -> Value {
    let mut node = json!({
        "driver": "file",
        "node-name": name,
        "filename": filename,
        "aio": "threads",
        "cache": cache(mode),
    });
    match access {
        Access::Read => node["read-only"] = json!(true),
        Access::Write => node["discard"] = json!("unmap"),
    }
    node
}

/// What is served rather than lies on the host. The server may end and come back: requests wait for it.
fn export(volume: VolumeId, mode: Cache, name: &str, access: Access) -> Value {
    let mut node = json!({
        "driver": EXPORT_DRIVER,
        "node-name": name,
        "server": {"type": "unix", "path": lazy_socket(volume)},
        "export": volume.to_string(),
        "reconnect-delay": RECONNECT,
        "cache": cache(mode),
    });
    match access {
        Access::Read => node["read-only"] = json!(true),
        Access::Write => node["discard"] = json!("unmap"),
    }
    node
}

/// The driver of nodes that are another process's export.
pub const EXPORT_DRIVER: &str = "nbd";

fn image(disk: &Disk) -> Value {
    image_over(disk, image_node(disk.volume), file_node(disk.volume))
}

fn image_over(disk: &Disk, name: String, file: String) -> Value {
    let mut node = json!({
        "driver": "qcow2",
        "node-name": name,
        "file": file,
        "cache": cache(disk.cache),
        "discard": "unmap",
    });
    open_with_key(&mut node, disk.volume, disk.at_rest);
    node
}

fn open_with_key(node: &mut Value, volume: VolumeId, at_rest: AtRest) {
    if at_rest == AtRest::Encrypted {
        node["encrypt"] = json!({"format": "luks", "key-secret": key_object(volume)});
    }
}

fn throttle(volume: VolumeId, over: String) -> Value {
    json!({
        "driver": "throttle",
        "node-name": throttle_node(volume),
        "throttle-group": limits_object(volume),
        "file": over,
    })
}

/// A volume's device in this port.
pub fn disk_device(volume: VolumeId, medium: Medium, port: usize) -> Value {
    json!({
        "driver": "virtio-blk-pci",
        "id": volume.to_string(),
        "drive": throttle_node(volume),
        "serial": disk_serial(volume, medium),
        "bus": port_name(port),
        "werror": "enospc",
        "rerror": "report",
    })
}

/// The device of a disk that other machines write to as well.
pub fn sharing(mut device: Value) -> Value {
    device["share-rw"] = json!(true);
    device
}

/// The same for a disk that a machine starts with: the first is what its firmware boots.
pub fn first_device(volume: VolumeId, medium: Medium, port: usize, boot: &Boot<'_>) -> Value {
    let mut device = disk_device(volume, medium, port);
    if port == 0 && *boot == Boot::Firmware {
        device["bootindex"] = json!(1);
    }
    device
}

/// An interface's device in this port.
pub fn interface_device(interface: &Interface, port: usize) -> Value {
    json!({
        "driver": "virtio-net-pci",
        "id": interface.interface.to_string(),
        "netdev": netdev(interface.interface),
        "mac": interface.mac.to_string(),
        "host_mtu": interface.mtu,
        "romfile": "",
        "bus": port_name(port),
    })
}

/// The TAP of an interface that is there from the start: the `index`th descriptor.
pub(super) fn netdev_by_number(interface: NetworkInterfaceId, index: usize) -> String {
    format!("tap,id={},fd={}", netdev(interface), TAP_FD + index as i32)
}

/// The TAP of an interface whose descriptor the process was given by the name of its netdev (`getfd`).
pub fn netdev_by_descriptor(interface: NetworkInterfaceId) -> Value {
    json!({"type": "tap", "id": netdev(interface), "fd": netdev(interface)})
}

/// The disks and interfaces among a machine's devices (`qom-list` of its peripherals).
pub fn devices(answer: &Value) -> Devices {
    let mut devices = Devices::default();
    for name in names(answer) {
        devices.volumes.extend(VolumeId::parse(name).ok());
        devices.interfaces.extend(NetworkInterfaceId::parse(name).ok());
    }
    devices
}

/// The names in an answer to `qom-list`.
pub fn names(answer: &Value) -> impl Iterator<Item = &str> {
    answer.as_array().into_iter().flatten().filter_map(|item| item.get("name")?.as_str())
}

/// What the machine holds: its devices, its limits' objects, and the files that the host has lent to it.
pub fn plugged(peripherals: &Value, objects: &Value, lent: &[VolumeId]) -> Plugged {
    let devices = devices(peripherals);
    let is_device = |id: &VolumeId| devices.volumes.contains(id);
    let grouped = names(objects).filter_map(|name| VolumeId::parse(name.strip_suffix("-limits")?).ok());
    let known = devices.volumes.iter().copied().chain(grouped);
    let mut dead: Vec<VolumeId> = known.filter(|id| !lent.contains(id)).collect();
    dead.sort_unstable();
    dead.dedup();
    let (whole, partial) = lent.iter().copied().partition(is_device);
    Plugged {
        whole: Devices { volumes: whole, interfaces: devices.interfaces },
        partial,
        dead,
        cut_off: Vec::new(),
    }
}

/// The lowest root port that none of these is in. Each is the path of a device's bus.
pub fn free_port<'a>(buses: impl IntoIterator<Item = &'a str>) -> Option<usize> {
    let taken: Vec<usize> = buses
        .into_iter()
        .filter_map(|path| path.rsplit('/').next()?.strip_prefix("port")?.parse().ok())
        .collect();
    (0..ROOT_PORTS).find(|port| !taken.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(n: u128) -> VolumeId {
        VolumeId::from_entropy(n)
    }

    #[test]
    fn the_lowest_port_without_a_device_is_free() {
        assert_eq!(free_port([]), Some(0));
        assert_eq!(
            free_port(["/machine/peripheral/port0/port0", "/machine/peripheral/port2/port2"]),
            Some(1)
        );
        let all: Vec<String> =
            (0..ROOT_PORTS).map(|p| format!("/machine/peripheral/port{p}/port{p}")).collect();
        assert_eq!(free_port(all.iter().map(String::as_str)), None);
    }

    #[test]
    fn a_device_without_its_file_is_dead_and_a_file_without_its_device_is_partial() {
        let list = |names: &[String]| json!(names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>());
        let peripherals =
            list(&["type".into(), "port0".into(), volume(1).to_string(), volume(2).to_string()]);
        let objects = list(&["entropy".into(), limits_object(volume(1)), limits_object(volume(4))]);
        let found = plugged(&peripherals, &objects, &[volume(1), volume(3)]);
        assert_eq!(found.whole.volumes, [volume(1)]);
        assert_eq!(found.partial, [volume(3)]);
        assert_eq!(found.dead, [volume(2), volume(4)]);
    }

    #[test]
    fn a_volumes_own_layers_are_opened_with_its_key_and_its_image_is_not() {
        let disk = Disk {
            volume: volume(1),
            medium: Medium::Volume,
            cache: Cache::Direct,
            limits: None,
            at_rest: AtRest::Encrypted,
            stands_on: StandsOn::Files,
        };
        let base = |(set, at_rest)| Base { at: At::Set(FdSet(set)), format: Format::Qcow2, at_rest };
        let bases = [(1, AtRest::Encrypted), (2, AtRest::Plain)].map(base);
        let nodes = nodes_by_descriptor(&disk, FdSet(0), &bases);
        let opened = nodes.iter().filter(|node| node["encrypt"]["key-secret"] == key_object(volume(1)));
        let opened: Vec<&str> = opened.filter_map(|node| node["node-name"].as_str()).collect();
        assert_eq!(opened, [base_node(volume(1), 0), image_node(volume(1))]);
    }

    #[test]
    fn what_is_not_on_the_host_is_asked_for_and_waited_for() {
        let disk = Disk {
            volume: volume(1),
            medium: Medium::Volume,
            cache: Cache::Direct,
            limits: None,
            at_rest: AtRest::Plain,
            stands_on: StandsOn::Export,
        };
        assert!(disk.comes_later());
        let base = Base { at: At::Export, format: Format::Raw, at_rest: AtRest::Plain };
        let nodes = nodes_by_descriptor(&disk, FdSet(0), &[base]);
        let lowest = &nodes[0];
        assert_eq!(lowest["node-name"], base_file_node(volume(1), 0));
        assert_eq!((&lowest["driver"], &lowest["export"]), (&json!("nbd"), &json!(volume(1))));
        assert_eq!(lowest["server"]["path"], format!("/lazy/{}.sock", volume(1)));
        assert!(lowest["reconnect-delay"].as_u64() >= Some(3600));
        assert_eq!((&nodes[1]["driver"], &nodes[1]["file"]), (&json!("raw"), &lowest["node-name"]));
    }

    #[test]
    fn nodes_are_removed_from_the_device_down() {
        let disk = Disk {
            volume: volume(1),
            medium: Medium::Volume,
            cache: Cache::Direct,
            limits: None,
            at_rest: AtRest::Plain,
            stands_on: StandsOn::Files,
        };
        let base = |(set, format)| Base { at: At::Set(FdSet(set)), format, at_rest: AtRest::Plain };
        let bases = [(1, Format::Qcow2), (2, Format::Raw)].map(base);
        let made = nodes_by_descriptor(&disk, FdSet(0), &bases);
        let names: Vec<&str> = made.iter().map(|node| node["node-name"].as_str().unwrap()).collect();
        let mut order = removable(volume(1), names.iter().copied().chain(["vol-00000000000000002-file"]));
        assert_eq!(order.len(), names.len());
        assert!(names.iter().all(|name| name.len() <= 31) && base_file_node(volume(1), 15).len() <= 31);
        assert!(layer_file_node(volume(1), u64::MAX - 1).len() <= 31);
        assert!(joined_file_node(volume(1), 999, 15).len() <= 31);
        order.reverse();
        // Whatever a node stands on is there before it and goes after it.
        for order in [order, names.iter().map(|n| (*n).to_owned()).collect()] {
            for node in &made {
                for under in ["file", "backing"].iter().filter_map(|key| node[*key].as_str()) {
                    let place = |name: &str| order.iter().position(|n| n == name).unwrap();
                    assert!(
                        place(under) < place(node["node-name"].as_str().unwrap()),
                        "{under} in {order:?}"
                    );
                }
            }
        }
    }
}
