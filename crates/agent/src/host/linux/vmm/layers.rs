//! Running machines follow what happens to the files of their disks: a new one on top (a snapshot was taken), fewer below (layers
//! were joined), a file where there was an export (what a volume lacked of its snapshot is there: [`lazy`]).
//!
//! ```text
//! follow:  new files go over as descriptors ► nodes ► one transaction puts them on top: the instant
//!          what lies below the newest is opened anew ► the newest is stood on it ► the old nodes go
//! ```
//! A volume that is served to several machines ([`super::serving`]) is followed in the process that serves it, once for all of them. An
//! instant of it and of a machine's own is one because the machine stands still meanwhile, with nothing of it under way.
//! Invariants: whether a step was done is asked of the process (its graph of nodes, its open files), so a step that was
//! interrupted is finished or found done; a node for a volume's newest file is named after the file's inode. The limits stay in force,
//! for they lie above. Nothing but the newest file is open for writing afterwards.
//! QEMU: <https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html> (`blockdev-snapshot`, `blockdev-reopen`)

use super::Inner;
use super::devices::{Access, Process};
use super::monitor::MonitorError;
use super::serving::server_of;
use super::start::cache_for;
use crate::host::linux::block::{backing_chain, file_of, is_served, is_shared, lazy};
use crate::host::{HostError, Result};
use model::host::Medium;
use model::{InstanceId, VolumeId};
use plan::machine::devices;
use plan::machine::qmp::{self, Command, Graph, Status};
use plan::machine::{Disk, StandsOn};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How soon a machine that stands still is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

/// A process, its volumes among those that are followed, and what is put on top of them.
struct Following {
    process: Process,
    held: Vec<(VolumeId, PathBuf)>,
    pairs: Vec<(String, String)>,
}

impl Inner {
    pub(super) async fn follow(self: &Arc<Self>, instance: InstanceId, volumes: &[VolumeId]) -> Result<()> {
        let Some(monitor) = self.monitor(instance).await? else { return Ok(()) };
        let mut lent = self.lent(instance)?;
        lent.retain(|(volume, _)| volumes.contains(volume));
        lent.sort();
        let (served, own): (Vec<_>, Vec<_>) = lent.into_iter().partition(|(_, path)| is_served(path));

        // In the volumes' order, so that no two wait for each other.
        let gates: Vec<_> = served.iter().map(|(volume, _)| self.gate(server_of(*volume))).collect();
        let mut alone = Vec::with_capacity(gates.len());
        for gate in &gates {
            alone.push(gate.lock().await);
        }
        let process = self.process_of(instance, monitor);
        let mut held = Vec::new();
        for (volume, path) in own {
            // One that an earlier version of this program shared has no layers.
            if !is_shared(&path) && process.has_device(&volume.to_string()).await? {
                held.push((volume, path));
            }
        }
        let mut all = vec![Following { process, held, pairs: Vec::new() }];
        for (volume, path) in served {
            let process = self.serving(volume, &path).await?;
            all.push(Following { process, held: vec![(volume, file_of(&path))], pairs: Vec::new() });
        }
        for following in &mut all {
            for (volume, path) in &following.held {
                following.pairs.extend(following.process.new_layer(*volume, path).await?);
            }
        }
        let due: Vec<&Following> = all.iter().filter(|following| !following.pairs.is_empty()).collect();
        if due.len() > 1 {
            self.stand_still(&all[0].process, self.put_on_top(&due)).await?;
        } else {
            self.put_on_top(&due).await?;
        }
        for Following { process, held, .. } in &all {
            for (volume, path) in held {
                process.stand_on_joined(*volume, path).await?;
            }
        }
        Ok(())
    }

    /// The same with all volumes of a machine, of whose snapshots nobody may know any more. What was taken together has one instant all
    /// the same: what of it lags behind follows at once. What a machine stands still for, or was about to when its agent died, is
    /// done so before it goes on.
    pub(super) async fn follow_all(self: &Arc<Self>, instance: InstanceId) -> Result<()> {
        let volumes: Vec<VolumeId> = self.lent(instance)?.into_iter().map(|(volume, _)| volume).collect();
        self.follow(instance, &volumes).await
    }

    /// The instant, process by process.
    async fn put_on_top(&self, due: &[&Following]) -> Result<()> {
        for Following { process, held, pairs } in due {
            let home = self.home(process.instance);
            if home.serves().is_some() {
                for (_, path) in held {
                    fs::metadata(path).and_then(|meta| home.set_top(meta.ino())).map_err(looking(path))?;
                }
            }
            process.execute(qmp::overlay(pairs)).await?;
        }
        Ok(())
    }

    /// Does something while a machine stands still, with no request of its guest's under way. Of what fails some may have been
    /// done: the machine stands still until all of its volumes have followed.
    async fn stand_still(
        self: &Arc<Self>,
        process: &Process,
        meanwhile: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let instance = process.instance;
        let failed =
            |e: MonitorError| HostError::transient(format!("having {instance} stand still")).caused_by(e);
        if !matches!(process.monitor.status().await.map_err(failed)?, Status::On) {
            return meanwhile.await;
        }
        let home = self.home(instance);
        home.expect_fork()
            .map_err(|e| HostError::transient(format!("having {instance} stand still")).caused_by(e))?;
        self.forking.lock().insert(instance);
        let stopped = process.monitor.execute(Command::Stop).await.map_err(failed);
        let done = match stopped {
            Ok(_) => meanwhile.await,
            Err(error) => Err(error),
        };
        let gone_on = match &done {
            Ok(()) => process.monitor.execute(Command::Continue).await.map(drop).map_err(failed),
            Err(error) => Err(HostError::transient(error.to_string())),
        };
        self.forking.lock().remove(&instance);
        match gone_on {
            Ok(()) => home.is_forked_from(),
            Err(error) => {
                tracing::warn!(%instance, %error, "it stands still until its snapshot is taken");
                tokio::spawn(go_on(Arc::downgrade(self), instance));
            }
        }
        done
    }
}

/// Lets a machine go on as soon as all of its volumes have followed; whoever looks at it meanwhile may do so first.
fn go_on(inner: Weak<Inner>, instance: InstanceId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            let Some(inner) = inner.upgrade() else { return };
            match inner.monitor(instance).await {
                Ok(Some(monitor)) if inner.let_go_on(instance, &monitor).await.is_err() => {}
                Ok(_) => return,
                Err(_) => {}
            }
        }
    })
}

fn looking(path: &Path) -> impl Fn(io::Error) -> HostError {
    move |e| HostError::transient(format!("looking at {}", path.display())).caused_by(e)
}

/// The node that a volume's device writes to; none for one that was torn out.
fn newest(graph: &Graph, volume: VolumeId) -> Option<&str> {
    let newest = graph.child(&devices::throttle_node(volume), "file")?;
    (newest != devices::dead_node(volume)).then_some(newest)
}

impl Process {
    async fn graph(&self) -> Result<Graph> {
        Ok(Graph::parse(&self.execute(qmp::query_graph()).await?))
    }

    /// Makes the nodes of a volume's newest file, unless the machine writes to that already. What is covered, and what is to
    /// cover it.
    async fn new_layer(&self, volume: VolumeId, path: &Path) -> Result<Option<(String, String)>> {
        let meta = fs::metadata(path).map_err(looking(path))?;
        let (name, file_name) =
            (devices::layer_node(volume, meta.ino()), devices::layer_file_node(volume, meta.ino()));
        let graph = self.graph().await?;
        let Some(top) = newest(&graph, volume) else { return Ok(None) };
        if top == name {
            return Ok(None);
        }
        let nodes = self.nodes(volume).await?;
        if !nodes.contains(&name) {
            // What an interrupted attempt passed would look as if the file were in use.
            if nodes.contains(&file_name) {
                self.remove_node(file_name.clone()).await?;
            }
            self.drop_sets(volume, |note| note == file_name).await?;
            if has_open(self.monitor.pid, &meta).map_err(looking(path))? {
                return Ok(None);
            }
            let disk = self.disk_of(volume, path).await?;
            let set = self.pass(file_name.clone(), path, disk.cache, Access::Write).await?;
            for node in devices::overlay_by_descriptor(&disk, meta.ino(), set) {
                self.execute(Command::AddNode(node)).await?;
            }
        }
        // It may have grown since its new file was made.
        let answer = self.execute(Command::ListNodes).await?;
        if let (Some(held), Some(made)) = (qmp::node_size(&answer, top), qmp::node_size(&answer, &name))
            && made < held
        {
            self.execute(Command::Resize { node: name.clone(), size: held }).await?;
        }
        Ok(Some((top.to_owned(), name)))
    }

    /// Opens what lies under a volume's newest file anew, if there is less of it than the machine reads.
    async fn stand_on_joined(&self, volume: VolumeId, path: &Path) -> Result<()> {
        let graph = self.graph().await?;
        let Some(top) = newest(&graph, volume) else { return Ok(()) };
        let chain = backing_chain(path)?;
        let below = graph.below(top);
        let has_become_whole = chain.last().is_none_or(|lowest| !lazy::is_lazy(lowest))
            && match below.last().and_then(|lowest| graph.child(lowest, "file")) {
                Some(file) => self.is_export(file).await?,
                None => false,
            };
        if below.len() <= chain.len() && !has_become_whole {
            return Ok(());
        }
        let Some(newest_file) = graph.child(top, "file") else { return Ok(()) };
        let disk = self.disk_of(volume, path).await?;
        let cache = disk.cache;
        let nodes = self.nodes(volume).await?;
        let is_taken =
            |time: usize| nodes.iter().any(|n| n.starts_with(&format!("{}d", joined(volume, time))));
        let time = (0..1000).find(|time| !is_taken(*time)).unwrap_or_default();
        let noted = |depth| devices::joined_file_node(volume, time, depth);
        let bases = self.lend_bases(&disk, path, &chain, None, noted).await?;
        for node in devices::joined_by_descriptor(volume, cache, time, &bases) {
            self.execute(Command::AddNode(node)).await?;
        }
        let below = (!bases.is_empty()).then(|| devices::joined_node(volume, time, 0));
        let reopened = devices::stood_on(&disk, top, newest_file, below.as_deref());
        self.execute(Command::ReopenNode(reopened)).await?;
        self.drop_unused(volume).await
    }

    async fn is_export(&self, node: &str) -> Result<bool> {
        let nodes = self.execute(Command::ListNodes).await?;
        Ok(qmp::node_driver(&nodes, node) == Some(devices::EXPORT_DRIVER))
    }

    /// What is known of a disk that the machine has. Its limits are not asked for: they lie above its files.
    pub async fn disk_of(&self, volume: VolumeId, path: &Path) -> Result<Disk> {
        let at_rest = self.at_rest(volume).await?;
        Ok(Disk {
            volume,
            medium: Medium::Volume,
            cache: cache_for(path)?,
            limits: None,
            at_rest,
            stands_on: StandsOn::Files,
        })
    }

    /// Removes the nodes of a volume that its device does not stand on, and their descriptors.
    async fn drop_unused(&self, volume: VolumeId) -> Result<()> {
        let graph = self.graph().await?;
        let Some(top) = newest(&graph, volume) else { return Ok(()) };
        let mut used = vec![devices::throttle_node(volume)];
        for node in std::iter::once(top).chain(graph.below(top)) {
            used.push(node.to_owned());
            used.extend(graph.child(node, "file").map(str::to_owned));
        }
        self.drop_nodes_but(volume, &used).await?;
        self.drop_sets(volume, |note| !used.iter().any(|node| node == note)).await
    }
}

fn joined(volume: VolumeId, time: usize) -> String {
    let name = devices::joined_node(volume, time, 0);
    name.trim_end_matches("d0").to_owned()
}

/// Whether a process has this file open.
fn has_open(pid: i32, file: &fs::Metadata) -> io::Result<bool> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is gone by now was none of these.
        let Ok(open) = fs::metadata(entry?.path()) else { continue };
        if (open.dev(), open.ino()) == (file.dev(), file.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}
