//! Disks and interfaces that come and go while a machine runs, and disks that grow or are held to other limits.
//!
//! ```text
//! plug:      disk is lent ► file and images go over as descriptors ► limits ► nodes ► device
//!            an encrypted disk's key goes over before its nodes are made, and stays for as long as they do
//! unplug:    device is asked for ► (the guest lets go) ► nodes ► limits ► descriptors ► disk is taken back
//! torn out:  device is led to a dead end ► image's nodes ► descriptors ► disk is taken back ► device is asked for
//! ```
//! Invariants: the list of lent disks is written before a machine gets anything of one, and shortened after it has nothing
//! of it, so list and process together tell every stage ([`Plugged`]); each step finds what an earlier attempt left, by
//! name. The process never gets a path, only descriptors of the volume's file and of the images that its header names. A key goes
//! over as a message of the monitor's: in no argument, environment or file.
//! A guest lets go by ACPI (arm64: PCIe hot-plug) however its disk is used; one that still boots, hangs or has no such
//! driver does not, and keeps its device until it does or the machine ends.
//!
//! What the guest sees of a volume that was torn out: a disk of which every operation fails, and a request to let go of it.
//! Requests that were under way are finished first.

use super::Inner;
use super::monitor::{Monitor, MonitorError};
use super::start::cache_for;
use crate::host::linux::block::{
    backing_chain, check_key, format, is_own, is_served, is_shared, lazy, passphrase,
};
use crate::host::{DiskSpec, HostError, Plugged, Release, Result, Tap};
use model::host::VolumeDesired;
use model::{DataKey, InstanceId, NetworkInterfaceId, VolumeId};
use plan::machine::devices::{self, At, Base, FdSet};
use plan::machine::qcow2::Format;
use plan::machine::qmp::{self, Command, Graph, Secret};
use plan::machine::{AtRest, Cache, Disk, Interface, ROOT_PORTS, StandsOn, limits};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A machine's process, with words for what fails.
pub(super) struct Process {
    pub monitor: Arc<Monitor>,
    pub instance: InstanceId,
    /// Where it looks for exports.
    pub door: Option<lazy::Door>,
}

impl Process {
    pub async fn execute(&self, command: Command) -> Result<Value> {
        let name = command.name();
        self.monitor.execute(command).await.map_err(|e| self.failed(name, e))
    }

    pub async fn execute_with(&self, command: Command, descriptor: OwnedFd) -> Result<Value> {
        let name = command.name();
        self.monitor.execute_with(command, vec![descriptor]).await.map_err(|e| self.failed(name, e))
    }

    /// What is refused is taken as done already.
    async fn try_execute(&self, command: Command) -> Result<()> {
        let name = command.name();
        match self.monitor.execute(command).await {
            Ok(_) => Ok(()),
            Err(MonitorError::Refused(why)) => {
                tracing::debug!(instance = %self.instance, name, why, "not done");
                Ok(())
            }
            Err(e) => Err(self.failed(name, e)),
        }
    }

    fn failed(&self, what: &str, error: MonitorError) -> HostError {
        HostError::transient(format!("{}: {what}", self.instance)).caused_by(error)
    }

    pub async fn has_device(&self, name: &str) -> Result<bool> {
        let devices = self.execute(Command::ListDevices).await?;
        Ok(devices::names(&devices).any(|known| known == name))
    }

    async fn has_object(&self, name: &str) -> Result<bool> {
        let objects = self.execute(Command::ListObjects).await?;
        Ok(devices::names(&objects).any(|known| known == name))
    }

    async fn free_port(&self) -> Result<usize> {
        let answer = self.execute(Command::ListDevices).await?;
        let present = devices::devices(&answer);
        let names = present.volumes.iter().map(ToString::to_string);
        let mut buses = Vec::new();
        for device in names.chain(present.interfaces.iter().map(ToString::to_string)) {
            match self.monitor.execute(Command::QueryBus { device }).await {
                Ok(bus) => buses.extend(bus.as_str().map(str::to_owned)),
                // It has just left.
                Err(MonitorError::Refused(_)) => {}
                Err(e) => return Err(self.failed("looking for a free slot", e)),
            }
        }
        devices::free_port(buses.iter().map(String::as_str)).ok_or_else(|| {
            HostError::permanent(format!("{}: all of its {ROOT_PORTS} slots are taken", self.instance))
        })
    }

    pub async fn nodes(&self, volume: VolumeId) -> Result<Vec<String>> {
        let answer = self.execute(Command::ListNodes).await?;
        Ok(devices::removable(volume, qmp::nodes(&answer)))
    }

    /// Removes the nodes of a volume, its descriptors and its limits; `kept` stay. The device must be gone, or led to its dead end.
    async fn drop_nodes(&self, volume: VolumeId, kept: &[String]) -> Result<()> {
        self.drop_nodes_but(volume, kept).await?;
        self.drop_sets(volume, |_| true).await?;
        let id = devices::limits_object(volume);
        if kept.is_empty() && self.has_object(&id).await? {
            self.execute(Command::RemoveObject { id }).await?;
        }
        let id = devices::key_object(volume);
        if self.has_object(&id).await? {
            self.execute(Command::RemoveObject { id }).await?;
        }
        Ok(())
    }

    /// How the files of a volume lie that the process has.
    pub async fn at_rest(&self, volume: VolumeId) -> Result<AtRest> {
        let has_key = self.has_object(&devices::key_object(volume)).await?;
        Ok(if has_key { AtRest::Encrypted } else { AtRest::Plain })
    }

    /// Gives the process what lies under the newest file of a volume, `path`: files, or an export of what is not there yet, for
    /// which the volume's key may be needed once. `noted` names the descriptors.
    pub async fn lend_bases(
        &self,
        disk: &Disk,
        path: &Path,
        chain: &[PathBuf],
        key: Option<&DataKey>,
        noted: impl Fn(usize) -> String,
    ) -> Result<Vec<Base>> {
        let mut bases = Vec::with_capacity(chain.len());
        for (depth, file) in chain.iter().enumerate() {
            if lazy::is_lazy(file) {
                if let Some(door) = &self.door {
                    lazy::open_door(path, disk.volume, key, door.clone()).await?;
                }
                bases.push(Base { at: At::Export, format: Format::Raw, at_rest: AtRest::Plain });
                continue;
            }
            let set = self.pass(noted(depth), file, disk.cache, Access::Read).await?;
            // An image is not the volume's own, and not encrypted.
            let at_rest = if is_own(file, disk.volume) { disk.at_rest } else { AtRest::Plain };
            bases.push(Base { at: At::Set(set), format: format(file), at_rest });
        }
        Ok(bases)
    }

    /// Removes the nodes of a volume but for some. Which of its layers stands on which does not matter: one that another
    /// stands on goes after that.
    pub async fn drop_nodes_but(&self, volume: VolumeId, kept: &[String]) -> Result<()> {
        let mut left: Vec<String> = self.nodes(volume).await?;
        left.retain(|node| !kept.contains(node));
        while !left.is_empty() {
            let before = left.len();
            let mut held = Vec::new();
            for node in left {
                match self.monitor.execute(Command::RemoveNode { node: node.clone() }).await {
                    Ok(_) => {}
                    Err(MonitorError::Refused(_)) => held.push(node),
                    Err(e) => return Err(self.failed(&format!("removing {node}"), e)),
                }
            }
            if held.len() == before {
                // A device may still be letting go of the first.
                self.remove_node(held.remove(0)).await?;
            }
            left = held;
        }
        Ok(())
    }

    /// Takes back the descriptors of a volume whose note is so.
    pub async fn drop_sets(&self, volume: VolumeId, is_due: impl Fn(&str) -> bool) -> Result<()> {
        let sets = self.execute(Command::QueryFdSets).await?;
        for (set, note) in qmp::fd_sets(&sets, &format!("{volume}-")) {
            if is_due(note) {
                self.execute(Command::RemoveFd { set }).await?;
            }
        }
        Ok(())
    }

    /// A device lets go of its node a moment after its name is gone.
    pub async fn remove_node(&self, node: String) -> Result<()> {
        let end = tokio::time::Instant::now() + Duration::from_secs(2);
        loop {
            match self.monitor.execute(Command::RemoveNode { node: node.clone() }).await {
                Ok(_) => return Ok(()),
                Err(MonitorError::Refused(_)) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(e) => return Err(self.failed(&format!("removing {node}"), e)),
            }
        }
    }

    /// Gives the process a file: to read, or to read and to write. Then it gets a descriptor for each, as it asks for one that
    /// does no more once it only reads.
    pub async fn pass(&self, note: String, path: &Path, cache: Cache, access: Access) -> Result<FdSet> {
        let mut set = None;
        for access in
            if access == Access::Write { [Access::Write, Access::Read].iter() } else { [Access::Read].iter() }
        {
            let file = OpenOptions::new()
                .read(true)
                .write(*access == Access::Write)
                .custom_flags(if cache == Cache::Direct { libc::O_DIRECT } else { 0 })
                .open(path)
                .map_err(|e| HostError::transient(format!("opening {}", path.display())).caused_by(e))?;
            let answer = self.execute_with(Command::AddFd { note: note.clone(), set }, file.into()).await?;
            let added = qmp::added_fd_set(&answer);
            set = Some(added.ok_or_else(|| {
                HostError::transient(format!("{}: add-fd answered {answer}", self.instance))
            })?);
        }
        set.ok_or_else(|| HostError::transient(format!("{}: nothing was passed", self.instance)))
    }

    /// Gives the process a disk that was lent to it, as this device.
    pub async fn add_disk(&self, spec: &DiskSpec, device: Value) -> Result<()> {
        let at_rest = self.add_nodes(spec, None).await?;
        let device = if at_rest == AtRest::Shared { devices::sharing(device) } else { device };
        self.execute(Command::AddDevice(device)).await.map(drop)
    }

    /// Gives the process all of a disk but the device. It writes to the newest file, or else to this one of those under it.
    pub async fn add_nodes(&self, spec: &DiskSpec, older: Option<&Path>) -> Result<AtRest> {
        let (volume, path) = (spec.volume, spec.path.as_path());
        let disk = disk(spec)?;
        if disk.at_rest == AtRest::Served {
            self.execute(Command::AddObject(devices::limits_group(&disk))).await?;
            for node in devices::nodes_by_export(&disk) {
                self.execute(Command::AddNode(node)).await?;
            }
            return Ok(disk.at_rest);
        }
        let mut chain = backing_chain(path)?;
        if let Some(at) = chain.iter().position(|file| Some(file.as_path()) == older) {
            chain.drain(..=at);
        }
        let file = older.unwrap_or(path);
        let own = self.pass(devices::file_node(volume), file, disk.cache, Access::Write).await?;
        let noted = |depth| devices::base_file_node(volume, depth);
        let bases = self.lend_bases(&disk, path, &chain, spec.data_key.as_ref(), noted).await?;
        self.execute(Command::AddObject(devices::limits_group(&disk))).await?;
        if let Some(key) = &spec.data_key {
            let (id, secret) = (devices::key_object(volume), Secret(passphrase(volume, key)));
            self.execute(Command::AddSecret { id, secret }).await?;
        }
        for node in devices::nodes_by_descriptor(&disk, own, &bases) {
            self.execute(Command::AddNode(node)).await?;
        }
        Ok(disk.at_rest)
    }

    /// Asks anew for a disk that another process serves: it has grown, and a connection knows one size.
    async fn ask_anew(&self, volume: VolumeId, path: &Path) -> Result<()> {
        let throttle = devices::throttle_node(volume);
        let graph = Graph::parse(&self.execute(qmp::query_graph()).await?);
        let names = [devices::file_node(volume), devices::image_node(volume)];
        let Some(current) = graph.child(&throttle, "file") else { return Ok(()) };
        let Some(other) = names.iter().find(|name| *name != current) else { return Ok(()) };
        if !names.iter().any(|name| name == current) {
            return Ok(());
        }
        if self.nodes(volume).await?.contains(other) {
            self.remove_node(other.clone()).await?;
        }
        let disk = self.disk_of(volume, path).await?;
        self.execute(Command::AddNode(devices::served(&disk, other))).await?;
        self.execute(Command::ReopenNode(devices::led_to(volume, other))).await?;
        self.remove_node(current.to_owned()).await
    }
}

/// A disk as the process is told of it.
pub(super) fn disk(spec: &DiskSpec) -> Result<Disk> {
    let at_rest = match &spec.data_key {
        _ if is_served(&spec.path) => AtRest::Served,
        _ if is_shared(&spec.path) => AtRest::Shared,
        Some(_) => AtRest::Encrypted,
        None => AtRest::Plain,
    };
    let lacks = !is_served(&spec.path) && lazy::lacks(&spec.path, spec.volume);
    let stands_on = if lacks { StandsOn::Export } else { StandsOn::Files };
    let (volume, medium) = (spec.volume, spec.medium);
    Ok(Disk { volume, medium, cache: cache_for(&spec.path)?, limits: spec.limits, at_rest, stands_on })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Inner {
    pub(super) async fn process(self: &Arc<Self>, instance: InstanceId) -> Result<Process> {
        Ok(self.process_of(instance, self.require(instance).await?))
    }

    pub(super) fn process_of(&self, instance: InstanceId, monitor: Arc<Monitor>) -> Process {
        let home = self.home(instance);
        let door = |uid| lazy::Door { directory: home.lazy(), uid };
        Process { monitor, instance, door: home.uid().ok().flatten().map(door) }
    }

    pub(super) fn lent(&self, instance: InstanceId) -> Result<Vec<(VolumeId, PathBuf)>> {
        let lent = self.home(instance).lent().map_err(|e| disks_failed(instance, e))?;
        let named = |path: PathBuf| Some((volume_of(&path)?, path));
        Ok(lent.into_iter().filter_map(named).collect())
    }

    async fn take_back(self: &Arc<Self>, instance: InstanceId, volume: VolumeId) -> Result<()> {
        let home = self.home(instance);
        for (_, path) in self.lent(instance)?.into_iter().filter(|(lent, _)| *lent == volume) {
            if !is_served(&path) {
                lazy::close_door(&path, volume).await;
            }
            home.take_back_one(&path).map_err(|e| disks_failed(instance, e))?;
            self.leave(instance, vec![path]).await?;
        }
        Ok(())
    }

    pub(super) async fn plugged(self: &Arc<Self>, instance: InstanceId) -> Result<Plugged> {
        let Some(monitor) = self.monitor(instance).await? else { return Ok(Plugged::default()) };
        let process = self.process_of(instance, monitor);
        let peripherals = process.execute(Command::ListDevices).await?;
        let objects = process.execute(Command::ListObjects).await?;
        let lent: Vec<VolumeId> = self.lent(instance)?.into_iter().map(|(volume, _)| volume).collect();
        Ok(devices::plugged(&peripherals, &objects, &lent))
    }

    pub(super) async fn plug_disk(self: &Arc<Self>, instance: InstanceId, disk: &DiskSpec) -> Result<()> {
        let volume = disk.volume;
        let process = self.process(instance).await?;
        if process.has_device(&volume.to_string()).await? {
            if self.lent(instance)?.iter().any(|(lent, _)| *lent == volume) {
                return Ok(());
            }
            return Err(HostError::transient(format!(
                "{instance}: the guest has not let go of {volume} since it was torn out"
            )));
        }
        process.drop_nodes(volume, &[]).await?;
        let port = process.free_port().await?;
        let home = self.home(instance);
        let uid = home.uid().map_err(|e| disks_failed(instance, e))?;
        let uid = uid.ok_or_else(|| HostError::transient(format!("{instance} has no user")))?;
        check_key(volume, &disk.path, disk.data_key.as_ref())?;
        backing_chain(&disk.path)?;
        self.forsake(instance, [volume])?;
        home.lend_one(&disk.path, uid).map_err(|e| disks_failed(instance, e))?;
        let added = async {
            self.reach(disk).await?;
            process.add_disk(disk, devices::disk_device(volume, disk.medium, port)).await
        }
        .await;
        if added.is_err() && !process.has_device(&volume.to_string()).await? {
            process.drop_nodes(volume, &[]).await?;
            self.take_back(instance, volume).await?;
        }
        added
    }

    pub(super) async fn unplug_disk(
        self: &Arc<Self>,
        instance: InstanceId,
        volume: VolumeId,
    ) -> Result<Release> {
        let process = self.process(instance).await?;
        let id = volume.to_string();
        if process.has_device(&id).await? {
            process.try_execute(Command::RemoveDevice { id }).await?;
            return Ok(Release::Pending);
        }
        process.drop_nodes(volume, &[]).await?;
        self.take_back(instance, volume).await?;
        Ok(Release::Done)
    }

    pub(super) async fn tear_out(self: &Arc<Self>, instance: InstanceId, volume: VolumeId) -> Result<()> {
        let process = self.process(instance).await?;
        let id = volume.to_string();
        if !process.has_device(&id).await? {
            process.drop_nodes(volume, &[]).await?;
            return self.take_back(instance, volume).await;
        }
        let kept = [devices::dead_node(volume), devices::throttle_node(volume)];
        if !process.nodes(volume).await?.contains(&kept[0]) {
            process.execute(Command::AddNode(devices::dead(volume))).await?;
        }
        process.execute(Command::ReopenNode(devices::led_to_dead_end(volume))).await?;
        process.drop_nodes(volume, &kept).await?;
        self.take_back(instance, volume).await?;
        process.try_execute(Command::RemoveDevice { id }).await
    }

    pub(super) async fn plug_interface(self: &Arc<Self>, instance: InstanceId, tap: Tap) -> Result<()> {
        let interface = tap.interface;
        let process = self.process(instance).await?;
        if process.has_device(&interface.to_string()).await? {
            return Err(HostError::transient(format!("{instance} has {interface} already")));
        }
        let port = process.free_port().await?;
        let descriptor = tap
            .fd
            .ok_or_else(|| HostError::permanent("an interface without a descriptor cannot be plugged in"))?;
        let name = devices::netdev(interface);
        process.try_execute(Command::RemoveNetdev { id: name.clone() }).await?;
        process.execute_with(Command::GetFd { name: name.clone() }, descriptor).await?;
        let device = Interface { interface, mac: tap.mac, mtu: tap.mtu };
        let added = async {
            process.execute(Command::AddNetdev(devices::netdev_by_descriptor(interface))).await?;
            process.execute(Command::AddDevice(devices::interface_device(&device, port))).await.map(drop)
        }
        .await;
        if added.is_err() && !process.has_device(&interface.to_string()).await? {
            process.try_execute(Command::RemoveNetdev { id: name.clone() }).await?;
            process.try_execute(Command::CloseFd { name }).await?;
        }
        added
    }

    pub(super) async fn unplug_interface(
        self: &Arc<Self>,
        instance: InstanceId,
        interface: NetworkInterfaceId,
    ) -> Result<Release> {
        let process = self.process(instance).await?;
        let id = interface.to_string();
        if process.has_device(&id).await? {
            process.try_execute(Command::RemoveDevice { id }).await?;
            return Ok(Release::Pending);
        }
        process.try_execute(Command::RemoveNetdev { id: devices::netdev(interface) }).await?;
        Ok(Release::Done)
    }

    /// The process lets go of the port; its device stays, without a link, and is asked for.
    pub(super) async fn cut_off(
        self: &Arc<Self>,
        instance: InstanceId,
        interface: NetworkInterfaceId,
    ) -> Result<()> {
        let process = self.process(instance).await?;
        process.try_execute(Command::RemoveNetdev { id: devices::netdev(interface) }).await?;
        process.try_execute(Command::RemoveDevice { id: interface.to_string() }).await
    }

    pub(super) async fn tune_disk(
        self: &Arc<Self>,
        instance: InstanceId,
        desired: &VolumeDesired,
    ) -> Result<()> {
        let volume = desired.volume;
        let lent = self.lent(instance)?.into_iter().find(|(lent, _)| *lent == volume).map(|(_, path)| path);
        let served = lent.as_ref().filter(|path| is_served(path));
        let monitor = self.monitor(instance).await?;
        if let (Some(path), Some(_)) = (served, &monitor) {
            self.serve(volume, path, desired.data_key.as_ref()).await?;
        }
        // An agent that died in the middle of a snapshot left this to be done.
        self.follow_all(instance).await?;
        let Some(monitor) = monitor else { return Ok(()) };
        let process = self.process_of(instance, monitor);
        if lent.is_none() || !process.has_device(&volume.to_string()).await? {
            return Ok(());
        }
        let object = devices::limits_object(volume);
        if process.has_object(&object).await? {
            // Setting them empties the buckets: a credit that was spent would be back.
            let wanted = limits::render(desired.limits.as_ref());
            let query = Command::QueryLimits { object: object.clone() };
            if !limits::are_in_force(&wanted, &process.execute(query).await?) {
                process.execute(Command::SetLimits { object, limits: wanted }).await?;
            }
        } else {
            tracing::warn!(%instance, %volume, "its limits are in force from the machine's next start on");
        }
        let nodes = process.execute(Command::ListNodes).await?;
        let names = [devices::throttle_node(volume), devices::image_node(volume)];
        let Some((node, held)) = names.into_iter().find_map(|name| {
            let size = qmp::node_size(&nodes, &name)?;
            Some((name, size))
        }) else {
            return Ok(());
        };
        let size = desired.size.bytes();
        if let Some(path) = served
            && held < size
            && let Some(server) = self.server(volume).await?
        {
            self.grow_served(&server, volume, size).await?;
            process.ask_anew(volume, path).await?;
        }
        if held < size {
            process.execute(Command::Resize { node, size }).await?;
        }
        Ok(())
    }
}

/// The volume that a file is named after.
pub(super) fn volume_of(path: &Path) -> Option<VolumeId> {
    VolumeId::parse(path.file_stem()?.to_str()?).ok()
}

fn disks_failed(instance: InstanceId, error: io::Error) -> HostError {
    HostError::transient(format!("the disks of {instance}")).caused_by(error)
}
