//! What a host can do, as capabilities: run machines, carry networks, keep volumes.
//!
//! Two drivers implement these traits, `linux` (real) and `sim` (in memory, with seeded faults); one conformance suite
//! runs on both. Every `ensure_*` is idempotent and leaves exactly what its argument says; every `remove_*` of what is
//! not there succeeds. A call that timed out may have worked: observe before deciding.

pub mod linux;
pub mod sim;

pub use plan::host::{Device, MachineState, Plugged};
pub use plan::machine::Identity;

use model::host::blocks::ChangedBlock;
use model::host::{
    InterfaceDesired, Machine, Medium, SecurityGroupDesired, SnapshotDesired, SnapshotPhase, TemplateStatus,
    TunnelSeen, VolumeDesired, VolumeLimits, VpcDesired,
};
use model::{
    AccountId, DataKey, ForkId, InstanceId, NetworkInterfaceId, SecurityGroupId, SnapshotId, Timestamp,
    VolumeId, VpcId,
};
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The same request may succeed later (a full disk, a busy device, something that is not there yet).
    Transient,
    /// This request can never succeed here (an image that does not exist, a machine that QEMU refuses).
    Permanent,
}

/// A driver's failure: what was tried, and why it did not work.
#[derive(Debug)]
pub struct HostError {
    pub fault: Fault,
    pub what: String,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HostError {
    pub fn transient(what: impl Into<String>) -> Self {
        Self { fault: Fault::Transient, what: what.into(), source: None }
    }

    pub fn permanent(what: impl Into<String>) -> Self {
        Self { fault: Fault::Permanent, what: what.into(), source: None }
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}

pub type Result<T, E = HostError> = std::result::Result<T, E>;

/// A machine to start: everything that its process needs.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineSpec {
    pub instance: InstanceId,
    pub account: AccountId,
    pub machine: Machine,
    /// In device order; the first is the boot disk.
    pub disks: Vec<DiskSpec>,
    /// What a resumed machine is told of itself; none: its guest asks the network.
    pub identity: Option<Identity>,
    pub life: Life,
    /// The kept instant that its first run goes on from; none: it boots.
    pub fork: Option<ForkId>,
}

/// Whether a machine's guest has been there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The instance's first run: a host may resume the machine from a template rather than boot it.
    First,
    Later,
}

/// What a host has of templates, as `nube template list` and `nube ps` show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates {
    pub templates: Vec<TemplateStatus>,
    /// How machines were last started.
    pub origins: Vec<(InstanceId, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    pub volume: VolumeId,
    pub medium: Medium,
    pub path: PathBuf,
    /// The device name that the API shows.
    pub device: String,
    /// What it may do in a second; none: what the host can.
    pub limits: Option<VolumeLimits>,
    /// What its own data are encrypted with; none: not encrypted.
    pub data_key: Option<DataKey>,
    /// The volume whose place it takes in the fork that its machine goes on from.
    pub forked: Option<VolumeId>,
}

/// An instant of a machine that is kept for others to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFork {
    pub fork: ForkId,
    pub children: Vec<InstanceId>,
    pub age: Duration,
}

/// The key of the snapshot that a volume or a copy is made of; none: that is not encrypted.
pub type SourceKey<'a> = Option<&'a DataKey>;

/// What became of a device that is to leave a running machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nothing of it is left in the machine.
    Done,
    /// The guest has been asked.
    Pending,
}

/// An open interface on its way into a machine.
#[derive(Debug)]
pub struct Tap {
    pub interface: NetworkInterfaceId,
    pub mac: model::Mac,
    /// The queue's descriptor; the simulator has none.
    pub fd: Option<OwnedFd>,
    pub mtu: u16,
}

/// What was done on the way, and when, counted from the beginning.
pub type Steps = Vec<(&'static str, Duration)>;

/// Machines.
pub trait Vmm: Send + Sync + 'static {
    /// Starts the machine with its interfaces, in device order. Refuses when its process is already there. A machine that goes on
    /// from another's instant has no link to its network until its guest has an identity of its own; one that was
    /// interrupted before that counts as absent. One whose memory is kept goes on with that; it boots if it cannot. What it
    /// got since it may hold or not.
    fn start(&self, spec: &MachineSpec, taps: Vec<Tap>) -> impl Future<Output = Result<Steps>> + Send;

    fn state(&self, instance: InstanceId) -> impl Future<Output = Result<MachineState>> + Send;

    /// Every instance that has a process on this host, whoever started it of this cloud's agents.
    fn machines(&self) -> impl Future<Output = Result<Vec<InstanceId>>> + Send;

    /// Presses the ACPI power button: a request to the guest, no more.
    fn press_power_button(&self, instance: InstanceId) -> impl Future<Output = Result<()>> + Send;

    /// Resets a running or powered-off machine, which then boots again in the same process.
    fn reset(&self, instance: InstanceId) -> impl Future<Output = Result<()>> + Send;

    /// Keeps the machine's memory, durably and as well encrypted as its root volume, and ends the process. Fails without an
    /// effect: the guest runs on.
    fn hibernate(&self, instance: InstanceId, root: &DiskSpec) -> impl Future<Output = Result<()>> + Send;

    /// Ends the process at once and frees what it held; its console stays.
    fn end(&self, instance: InstanceId) -> impl Future<Output = Result<()>> + Send;

    /// Forgets an ended instance: console, directory, user, and the memory that was kept.
    fn forget(&self, instance: InstanceId) -> impl Future<Output = Result<()>> + Send;

    /// The last `limit` bytes of the serial console, and when it was last written.
    fn console(
        &self,
        instance: InstanceId,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<u8>, Option<Timestamp>)>> + Send;

    /// What the machine holds now; nothing when it has no process.
    fn plugged(&self, instance: InstanceId) -> impl Future<Output = Result<Plugged>> + Send;

    /// Plugs a disk into the running machine, over whatever an earlier attempt left. Permanent when no slot is free.
    fn plug_disk(&self, instance: InstanceId, disk: &DiskSpec) -> impl Future<Output = Result<()>> + Send;

    /// The same for an interface, whose port has been opened for this.
    fn plug_interface(&self, instance: InstanceId, tap: Tap) -> impl Future<Output = Result<()>> + Send;

    /// Asks the guest for a device, or takes it away for good once the guest has let go. A guest that hears nothing (it
    /// still boots, it hangs) needs to be asked again.
    fn unplug(&self, instance: InstanceId, device: Device) -> impl Future<Output = Result<Release>> + Send;

    /// Takes a volume's file from the machine at once. The guest keeps a device that fails every operation, until it lets
    /// go of it.
    fn tear_out(&self, instance: InstanceId, volume: VolumeId) -> impl Future<Output = Result<()>> + Send;

    /// Cuts the machine's interface off from its port at once. The guest keeps a device without a link, until it lets go of
    /// it. Doing it again is harmless.
    fn cut_off(
        &self,
        instance: InstanceId,
        interface: NetworkInterfaceId,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Brings size and limits of a volume that the machine holds to what is desired, in view of the running guest. Nothing
    /// to do when the machine does not hold it.
    fn tune_disk(
        &self,
        instance: InstanceId,
        volume: &VolumeDesired,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Has the machine write to the newest files of those of these volumes that it holds, from one instant on for all of
    /// them, and read what lies under those. Nothing to do when it holds none, or does so already.
    fn follow(&self, instance: InstanceId, volumes: &[VolumeId]) -> impl Future<Output = Result<()>> + Send;

    /// Keeps memory and devices of a running machine as they are at one instant, for these children to go on from; at the same
    /// instant the machine begins to write to the newest files of its volumes ([`Self::follow`]). Says how long it stood still. Whatever
    /// fails, and wherever an agent dies in the middle, the machine runs on.
    fn fork(
        &self,
        instance: InstanceId,
        fork: ForkId,
        volumes: &[VolumeId],
        children: &[InstanceId],
    ) -> impl Future<Output = Result<Duration>> + Send;

    /// Every kept instant.
    fn forks(&self) -> impl Future<Output = Result<Vec<KeptFork>>> + Send;

    fn remove_fork(&self, fork: ForkId) -> impl Future<Output = Result<()>> + Send;

    fn templates(&self) -> impl Future<Output = Result<Templates>> + Send;

    /// Has a template made of an image and a shape when nothing else is to be done; says by which key it will be known.
    fn build_template(&self, image: &str, machine: &Machine) -> impl Future<Output = Result<String>> + Send;

    /// Removes a template; machines that were resumed from it run on.
    fn remove_template(&self, key: &str) -> impl Future<Output = Result<()>> + Send;

    /// Waits until some machine may have changed its state (powered off, ended, let go of a device), and names it. A nudge, not a fact:
    /// the loop asks for the state.
    fn changed(&self) -> impl Future<Output = InstanceId> + Send;
}

/// Networks.
pub trait Net: Send + Sync + 'static {
    fn ensure_vpc(&self, vpc: &VpcDesired) -> impl Future<Output = Result<()>> + Send;
    fn remove_vpc(&self, vpc: VpcId) -> impl Future<Output = Result<()>> + Send;
    fn ensure_security_group(&self, group: &SecurityGroupDesired) -> impl Future<Output = Result<()>> + Send;
    fn remove_security_group(&self, group: SecurityGroupId) -> impl Future<Output = Result<()>> + Send;

    /// Makes the interface's port in its VPC and opens it for a machine that is about to start. A port that an earlier
    /// attempt left unused is replaced.
    fn open_port(&self, interface: &InterfaceDesired) -> impl Future<Output = Result<Tap>> + Send;

    /// Brings an open port to the desired addresses, groups and checks (a running machine). Fails transiently when the
    /// port is not there.
    fn ensure_port(&self, interface: &InterfaceDesired) -> impl Future<Output = Result<()>> + Send;

    fn remove_port(&self, interface: NetworkInterfaceId) -> impl Future<Output = Result<()>> + Send;

    /// What stands on the host, for finding what nobody wants any more.
    fn standing(&self) -> impl Future<Output = Result<Standing>> + Send;

    /// How the tunnels of VPN connections are.
    fn tunnels(&self) -> impl Future<Output = Result<Tunnels>> + Send;
}

/// VPN tunnels as a host sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// What the host lacks to carry any; none: nothing.
    pub lack: Option<String>,
    pub seen: Vec<TunnelSeen>,
}

/// The parts of the network that stand on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub vpcs: Vec<VpcId>,
    pub security_groups: Vec<SecurityGroupId>,
    pub ports: Vec<NetworkInterfaceId>,
}

/// Volumes and snapshots.
///
/// A snapshot's instant: [`Self::freeze`], then [`Vmm::follow`] for each machine that holds one of the volumes, then
/// [`Self::captured`]. Until the second the machines go on writing to what will be frozen. Nobody starts a machine with the
/// volumes, or changes them, from the first to the last.
pub trait Block: Send + Sync + 'static {
    /// Makes the volume (an overlay on its image, a snapshot's content, what a fork kept, or empty) or grows it, and says where it is.
    /// What a snapshot holds may come onto the host later ([`Self::filled`]): the volume can be used from now on. A
    /// snapshot that is not completed is a permanent fault; so is a key that is not the volume's or the snapshot's, and an
    /// encrypted snapshot for a volume that is not.
    fn ensure_volume(
        &self,
        volume: &VolumeDesired,
        source: SourceKey<'_>,
    ) -> impl Future<Output = Result<PathBuf>> + Send;
    fn remove_volume(&self, volume: VolumeId) -> impl Future<Output = Result<()>> + Send;
    fn volumes(&self) -> impl Future<Output = Result<Vec<VolumeId>>> + Send;

    /// Every snapshot that is stored, or of which something is there.
    fn snapshots(&self) -> impl Future<Output = Result<Vec<SnapshotId>>> + Send;

    /// Whether a snapshot's instant is fixed; it may be stored already.
    fn is_captured(&self, snapshot: SnapshotId) -> impl Future<Output = Result<bool>> + Send;

    /// Puts new files on top of what these volumes hold, which nobody writes to any more once the machines follow. A volume
    /// that is not there is a permanent fault.
    fn freeze(&self, set: &[(SnapshotId, VolumeId)]) -> impl Future<Output = Result<()>> + Send;

    /// The machines have followed: this is what the snapshots hold, whatever becomes of their volumes.
    fn captured(&self, snapshots: &[SnapshotId]) -> impl Future<Output = Result<()>> + Send;

    /// Has the data of a snapshot stored, in the background, and says how far that has come. Its instant is fixed. What is
    /// encrypted is never stored in the clear: without its key, or with a wrong one, that is a permanent fault.
    fn store_snapshot(
        &self,
        snapshot: &SnapshotDesired,
        source: SourceKey<'_>,
    ) -> impl Future<Output = Result<SnapshotPhase>> + Send;

    /// Has the data of a completed snapshot brought to where they are desired, in the background, and says how far that has come.
    /// Nothing that the host lacks is made of one that is to be archived.
    fn change_tier(&self, snapshot: &SnapshotDesired) -> impl Future<Output = Result<SnapshotPhase>> + Send;

    /// Whether a snapshot is kept so that a volume of it lacks nothing ([`Tier::Fast`](model::host::Tier::Fast)).
    fn is_fast(&self, snapshot: SnapshotId) -> impl Future<Output = Result<bool>> + Send;

    /// Removes a snapshot, or what there is of it. Names the volume whose layers may be trimmed now.
    fn remove_snapshot(&self, snapshot: SnapshotId) -> impl Future<Output = Result<Option<VolumeId>>> + Send;

    /// Blocks of a completed snapshot that hold something, from an index on, in order.
    fn blocks(
        &self,
        snapshot: SnapshotId,
        key: SourceKey<'_>,
        from: u64,
        most: usize,
    ) -> impl Future<Output = Result<Vec<u64>>> + Send;

    /// Blocks that the second snapshot has differently, in order. `None`: they are of different accounts or keys.
    fn changed_blocks(
        &self,
        first: (SnapshotId, SourceKey<'_>),
        second: (SnapshotId, SourceKey<'_>),
        from: u64,
        most: usize,
    ) -> impl Future<Output = Result<Option<Vec<ChangedBlock>>>> + Send;

    /// A block in the clear, verified; `None`: zeros.
    fn block(
        &self,
        snapshot: SnapshotId,
        key: SourceKey<'_>,
        index: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// Puts a block into a snapshot that is written directly. It is durable on return; the last put of an index counts.
    fn put_block(
        &self,
        snapshot: &SnapshotDesired,
        index: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Keeps what these snapshots of volumes hold for the volumes of a fork's children, apart from the volumes. The snapshots are
    /// captured. A volume that the host cannot fork is a permanent fault.
    fn keep_fork(
        &self,
        fork: ForkId,
        set: &[(SnapshotId, VolumeId)],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Joins layers of a volume that no snapshot needs any more. The machines have followed; they do so again afterwards.
    fn trim(&self, volume: VolumeId, key: Option<&DataKey>) -> impl Future<Output = Result<()>> + Send;

    /// A volume that is there and still needs a snapshot, for not all of that is on the host as a disk. Until then the snapshot
    /// is not removed.
    fn lacking_of(&self, _snapshot: SnapshotId) -> impl Future<Output = Result<Option<VolumeId>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Waits until all that some volume lacked is on the host, and names it: then [`Self::take_in`], [`Vmm::follow`] for each machine
    /// that holds it, and [`Self::taken_in`] have it stand on that. It is named again until that was done.
    fn filled(&self) -> impl Future<Output = VolumeId> + Send {
        std::future::pending()
    }

    /// Puts under a volume what it lacked. Its machines have not followed.
    fn take_in(&self, _volume: VolumeId) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Nobody reads the volume's snapshot any more in its place.
    fn taken_in(&self, _volume: VolumeId) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
