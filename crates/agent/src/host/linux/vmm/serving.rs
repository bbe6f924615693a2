//! Volumes that several machines have at once (Multi-Attach): one process has the volume's files, and serves them to the machines.
//!
//! ```text
//! plug:   note that the machine has it ► the volume's process runs ► its socket gets a name in the machine's directory
//! end:    the machine's note goes ► nobody else has one: the process ends, its files go back to root
//! killed: begun anew, with a new socket in each directory; the machines' requests waited, and are sent again
//! ```
//! The process is QEMU without a machine ([`plan::machine::server`]), in a directory, a sandbox, a control group and under a user of
//! its own, like a machine that is no instance's; it outlives agents as machines do. So whatever happens to the files of a disk while a
//! machine runs ([`super::layers`]) happens to these in the same way, and an instant of them is one for all machines.
//! One that is begun anew writes to the file that the one before it wrote to: a volume's file may have been frozen in between, and the
//! instant is when the machines and this process follow. So what it writes to is noted, just before it changes.
//! Invariants: a process that does not serve yet has answered nobody, and is begun anew; whether one is needed is read from
//! the machines' notes; its gate is taken after a machine's, never before one. A volume's key goes to this process alone.
//! A socket is reached by its directories only: each machine sees those in its own.

use super::devices::Process;
use super::home::{Home, SOCKET};
use super::launcher::{Access, Bind, Kvm, LaunchSpec, Priority};
use super::start::{OVERHEAD, greet};
use super::{Inner, Launcher, RESUME_EVERY, cgroup, uids};
use crate::host::linux::block::{backing_chain, check_key, file_of, is_served, lazy};
use crate::host::linux::exec;
use crate::host::{DiskSpec, HostError, Result};
use model::host::Medium;
use model::{DataKey, InstanceId, VolumeId};
use plan::machine::devices::{self, lazy_socket_name};
use plan::machine::qmp::{self, Command};
use plan::machine::{LAZY, server};
use std::fs;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};

/// Its threads: those of QEMU's block layer (at most 64), and a few.
const PROCESSES: u32 = 96;

/// What is served, for a process that must be begun anew.
#[derive(Debug, Clone)]
pub(super) struct Served {
    volume: VolumeId,
    path: PathBuf,
    data_key: Option<DataKey>,
}

/// Who the process of a volume is: an id that no instance has.
pub(super) fn server_of(volume: VolumeId) -> InstanceId {
    let hash = blake3::derive_key("nube volume server 2026", volume.to_string().as_bytes());
    InstanceId::from_entropy(u128::from_le_bytes(*hash.first_chunk().unwrap_or(&[0; 16])))
}

fn failed(volume: VolumeId) -> impl Fn(io::Error) -> HostError {
    move |e| HostError::transient(format!("serving {volume}")).caused_by(e)
}

impl Inner {
    /// Has a volume served to the machines that have noted it, this one among them.
    pub(super) async fn reach(self: &Arc<Self>, disk: &DiskSpec) -> Result<()> {
        if is_served(&disk.path) {
            self.serve(disk.volume, &disk.path, disk.data_key.as_ref()).await?;
        }
        Ok(())
    }

    pub(super) async fn serve(
        self: &Arc<Self>,
        volume: VolumeId,
        path: &Path,
        data_key: Option<&DataKey>,
    ) -> Result<()> {
        let server = server_of(volume);
        let gate = self.gate(server);
        let _alone = gate.lock().await;
        {
            let mut all = self.served.lock();
            let known = all.remove(&server).and_then(|known| known.data_key);
            let data_key = data_key.cloned().or(known);
            all.insert(server, Served { volume, path: path.to_owned(), data_key });
        }
        self.serving(volume, path).await.map(drop)
    }

    /// The process that serves a volume, begun anew if need be. The caller has its gate.
    pub(super) async fn serving(self: &Arc<Self>, volume: VolumeId, path: &Path) -> Result<Process> {
        let server = server_of(volume);
        if self.server(volume).await?.is_none() {
            let known = self.served.lock().get(&server).cloned();
            let served = known.unwrap_or_else(|| Served { volume, path: path.to_owned(), data_key: None });
            if served.data_key.is_none() && check_key(volume, &file_of(path), None).is_err() {
                let what = format!("{volume} is not served, and what opens it is not known yet");
                return Err(HostError::transient(what));
            }
            self.sweep(server).await?;
            if let Err(error) = self.begin(server, &served).await {
                if let Err(error) = self.sweep(server).await {
                    tracing::warn!(%volume, %error, "a server that failed left something behind");
                }
                return Err(error);
            }
        }
        self.show(volume).map_err(failed(volume))?;
        self.process(server).await
    }

    /// The process that serves a volume; none: nobody does just now.
    pub(super) async fn server(self: &Arc<Self>, volume: VolumeId) -> Result<Option<Process>> {
        let server = server_of(volume);
        let Some(monitor) = self.monitor(server).await? else { return Ok(None) };
        let process = self.process_of(server, monitor);
        let exports = process.execute(server::query()).await?;
        Ok(server::serves(&exports, volume).then_some(process))
    }

    async fn begin(self: &Arc<Self>, server: InstanceId, served: &Served) -> Result<()> {
        let Served { volume, path, data_key } = served;
        let (volume, newest, failed) = (*volume, file_of(path), failed(*volume));
        check_key(volume, &newest, data_key.as_ref())?;
        let config = &self.config;
        let program =
            config.qemu.iter().map(|(_, program)| program).find(|program| Path::new(program).exists());
        let program = program.ok_or_else(|| HostError::permanent("this host has no QEMU"))?;
        let home = self.home(server);
        home.make().and_then(|()| home.set_serves(volume)).map_err(&failed)?;
        home.make_lazy().map_err(&failed)?;
        let uid = {
            let _one = self.assigning.lock();
            let others = self.templates.nurseries();
            uids::assign(&config.cloud, &config.state_dir, &others, &home).map_err(&failed)?
        };
        home.lend(std::slice::from_ref(&newest), uid).map_err(&failed)?;
        let older = match home.top() {
            Some(top) => backing_chain(&newest)?.into_iter().find(|file| is_inode(file, top)),
            None => None,
        };
        let top = fs::metadata(older.as_ref().unwrap_or(&newest));
        top.and_then(|meta| home.set_top(meta.ino())).map_err(&failed)?;
        let limits =
            cgroup::Limits { memory: OVERHEAD, processes: PROCESSES, cpu: None, priority: Priority::Usual };
        let launch = LaunchSpec {
            program: program.clone(),
            arguments: server::arguments(server, volume),
            home: home.path().to_owned(),
            uid,
            cgroups: self.cgroups.ensure(server, limits).map_err(&failed)?,
            binds: vec![Bind { from: home.lazy(), to: LAZY.into(), access: Access::Read }],
            kvm: Kvm::Absent,
            interfaces: Vec::new(),
            memory: None,
            console: None,
            priority: Priority::Usual,
        };
        let text = serde_json::to_vec(&launch).map_err(|e| failed(e.into()))?;
        let Launcher { program, arguments } = &config.launcher;
        let output = exec::spawn_detached(program, arguments, &text, &[]).await?;
        if !output.success() {
            return Err(HostError::transient(format!("serving {volume}: {}", output.complaint())));
        }
        greet(self, server).await?;
        let process = self.process(server).await?;
        let disk = DiskSpec {
            volume,
            medium: Medium::Volume,
            path: newest,
            device: String::new(),
            // They are the machines'.
            limits: None,
            data_key: data_key.clone(),
            forked: None,
        };
        process.add_nodes(&disk, older.as_deref()).await?;
        let socket = listen(&home).map_err(&failed)?;
        process.execute_with(Command::GetFd { name: server::DOOR.into() }, socket).await?;
        process.execute(server::listen()).await?;
        process.execute(server::serve(volume)).await?;
        tracing::info!(%volume, "is served");
        Ok(())
    }

    /// The socket gets its name in the directory of each machine that has the volume.
    fn show(&self, volume: VolumeId) -> io::Result<()> {
        let socket = self.home(server_of(volume)).path().join(SOCKET);
        let inode = fs::metadata(&socket)?.ino();
        for machine in self.holders(volume)? {
            let name = machine.lazy().join(lazy_socket_name(volume));
            if fs::symlink_metadata(&name).is_ok_and(|known| known.ino() == inode) {
                continue;
            }
            machine.make_lazy()?;
            let fresh = name.with_extension("new");
            remove_if_there(&fresh)?;
            fs::hard_link(&socket, &fresh)?;
            fs::rename(&fresh, &name)?;
        }
        Ok(())
    }

    /// The machines that have noted a volume as one that is served.
    fn holders(&self, volume: VolumeId) -> io::Result<Vec<Home>> {
        let known = self.known().map_err(io::Error::other)?;
        let mut holders = Vec::new();
        for machine in known.into_iter().map(|instance| self.home(instance)) {
            let has = |path: &PathBuf| is_served(path) && super::devices::volume_of(path) == Some(volume);
            if machine.lent()?.iter().any(has) {
                holders.push(machine);
            }
        }
        Ok(holders)
    }

    /// Takes from a machine's directory what leads to volumes that it has no more, and ends the processes of those that nobody has.
    pub(super) fn leave(
        self: &Arc<Self>,
        instance: InstanceId,
        paths: Vec<PathBuf>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            for path in paths.iter().filter(|path| is_served(path)) {
                let Some(volume) = super::devices::volume_of(path) else { continue };
                let name = self.home(instance).lazy().join(lazy_socket_name(volume));
                remove_if_there(&name).map_err(failed(volume))?;
                self.unserve(volume).await?;
            }
            Ok(())
        })
    }

    async fn unserve(self: &Arc<Self>, volume: VolumeId) -> Result<()> {
        let server = server_of(volume);
        let gate = self.gate(server);
        let _alone = gate.lock().await;
        let home = self.home(server);
        if !home.path().exists() || !self.holders(volume).map_err(failed(volume))?.is_empty() {
            return Ok(());
        }
        self.served.lock().remove(&server);
        let files = home.lent().map_err(failed(volume))?;
        self.end(server).await?;
        for file in files {
            lazy::close_door(&file, volume).await;
        }
        home.remove().map_err(failed(volume))?;
        tracing::info!(%volume, "is served no more");
        Ok(())
    }

    /// Ends the processes of volumes that nobody has: an agent before this one had no time to.
    pub(super) async fn open_servers(self: &Arc<Self>) -> Result<()> {
        for volume in self.servers().map_err(|e| HostError::transient("listing the servers").caused_by(e))? {
            self.unserve(volume).await?;
        }
        Ok(())
    }

    fn servers(&self) -> io::Result<Vec<VolumeId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.config.state_dir)? {
            found.extend(Home::at(entry?.path()).serves());
        }
        Ok(found)
    }

    /// Whether this is the end of a process that serves, and not one that was asked for. Then it is begun anew.
    pub(super) fn is_server(self: &Arc<Self>, server: InstanceId, has_ended: bool) -> bool {
        let Some(served) = self.served.lock().get(&server).cloned() else {
            return self.home(server).serves().is_some();
        };
        if has_ended {
            tokio::spawn(begin_anew(Arc::downgrade(self), server, served.volume));
        }
        true
    }

    /// Has the process of a volume grow it, and then the machine's end of it.
    pub(super) async fn grow_served(&self, server: &Process, volume: VolumeId, size: u64) -> Result<()> {
        let gate = self.gate(server.instance);
        let _alone = gate.lock().await;
        let node = devices::throttle_node(volume);
        let nodes = server.execute(Command::ListNodes).await?;
        if qmp::node_size(&nodes, &node).is_none_or(|held| held >= size) {
            return Ok(());
        }
        // What is served has one size.
        server.execute(server::withdraw(volume)).await?;
        while server::serves(&server.execute(server::query()).await?, volume) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let grown = server.execute(Command::Resize { node, size }).await;
        server.execute(server::serve(volume)).await?;
        grown.map(drop)
    }
}

fn is_inode(file: &Path, inode: u64) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.ino() == inode)
}

async fn begin_anew(inner: Weak<Inner>, server: InstanceId, volume: VolumeId) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let Some(served) = inner.served.lock().get(&server).cloned() else { return };
        tracing::warn!(%volume, "the process that serves it has ended, and is begun anew");
        match inner.serve(volume, &served.path, None).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%volume, %error, "it is not served; its machines wait"),
        }
        drop(inner);
        tokio::time::sleep(RESUME_EVERY).await;
    }
}

/// By way of the directory's descriptor, as socket addresses hold 108 bytes. Who sees its name may use it.
fn listen(home: &Home) -> io::Result<OwnedFd> {
    let path = home.path().join(SOCKET);
    remove_if_there(&path)?;
    let directory = fs::File::open(home.path())?;
    let socket = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(socket.into())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
