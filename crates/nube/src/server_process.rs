//! The control plane as a process: store, view, services, reconcilers, gateway, and the connection to the host's agent.

use crate::cloud_files::{CloudDir, CloudFile};
use crate::config::HostKind;
use crate::emulator::Emulator;
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::{account, admin, arrivals, dns, operation, registration, root_key, tls, transfer};
use anyhow::{Context as _, Result};
use control::access::AllowAll;
use control::cloud::Mode;
use control::entropy::OsEntropy;
use control::host::Connection;
use control::reconcile::KeyStatus;
use control::{Cloud, Schema, Sweeps, View};
use gateway::{Emulation, Gateway, Limits, SigningKeys};
use model::clock::SystemClock;
use model::host::frame;
use model::host::{FromAgent, ObjectStatus, Observed, ToAgent};
use model::record::access_key::AccessKey;
use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::Embedded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc;

/// `nube server`.
pub fn run(data: &Path) -> Result<ExitCode> {
    let dir = CloudDir::existing(data)?;
    let _lock = Lock::take(&dir.run(), "server")?;
    // Already the leader of a session when started by hand from a shell that made it one: nothing is lost.
    let _ = rustix::process::setsid();
    let format = dir.read().map(|cloud| cloud.operation.log_format).unwrap_or_default();
    crate::log::start(Some(&dir.logs().join("server.log")), format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = dir.agent_socket();
        let server = Server::open(&dir, Emulator::default()).await?;
        let connections = connect_forever(socket);
        server.serve(connections, terminated()).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves on SIGTERM or SIGINT.
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A control plane that has read its store and is about to serve.
pub struct Server {
    dir: CloudDir,
    file: CloudFile,
    cloud: Arc<Cloud>,
    listener: TcpListener,
    emulation: Emulation,
    tls: Option<gateway::Tls>,
}

impl Server {
    pub async fn open(dir: &CloudDir, emulator: Emulator) -> Result<Self> {
        let file = dir.read()?;
        let listener = TcpListener::bind(file.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", file.listen))?;
        let tls =
            file.tls.then(|| tls::open(dir, &file, api_names(&file, emulator), SystemClock)).transpose()?;
        let store = Embedded::open(dir.store(), store::Options::default());
        let store = Arc::new(store.with_context(|| format!("cannot open {}", dir.store().display()))?);
        let mut schema = Schema::default();
        schema.add::<control::token::UsedToken>().add::<AccessKey>();
        ec2::schema(&mut schema);
        kms::schema(&mut schema);
        ebs::schema(&mut schema);
        let view = View::open(store.clone(), schema).await.context("cannot read the store")?;
        let root = root_key::open(dir, &view)?;
        let (clock, entropy, policy) = (Arc::new(SystemClock), Arc::new(OsEntropy), Arc::new(AllowAll));
        let cloud = Cloud::new(store, view, clock, entropy, policy, root, file.settings(emulator));
        let operator = dir.credentials()?;
        let images = match file.host {
            HostKind::Linux => registration::records(&cloud, dir)?,
            HostKind::Sim => Vec::new(),
        };
        // All that a new cloud begins with is one commit.
        let begun = cloud.transact(Mode::Shared, |txn| {
            account::put_key(&cloud, txn, &operator);
            registration::put(txn, &images);
            ec2::prefix_list::aws::settle(&cloud, txn);
            Ok(())
        });
        begun
            .await
            .map_err(|error| anyhow::anyhow!("cannot store the operator's key and images: {error}"))?;
        let emulation = match file.host {
            HostKind::Linux => Emulation::default(),
            HostKind::Sim => emulator.emulation(&cloud, &operator),
        };
        Ok(Self { dir: dir.clone(), file, cloud, listener, emulation, tls })
    }

    /// Serves until `stop` resolves.
    pub async fn serve(
        self,
        mut connections: mpsc::Receiver<Connection>,
        stop: impl Future<Output = ()>,
    ) -> Result<()> {
        let objects = ec2::instance::start(Arc::clone(&self.cloud));
        let sweeps = [ec2::sweep::sweeps(), kms::sweeps(), ebs::sweeps()].into_iter().flatten().collect();
        let sweeps = Sweeps::start(Arc::clone(&self.cloud), sweeps);
        let transfers = transfer::start(&self.cloud, &self.dir)?;
        let cloud = Arc::clone(&self.cloud);
        tokio::spawn(async move {
            while let Some(connection) = connections.recv().await {
                serve_host(&cloud, connection).await;
            }
        });
        let unsettled: admin::Reconcilers = Arc::new(move || {
            let all = [objects.status(), sweeps.status(), transfers.status()];
            all.into_iter().flatten().map(line).collect()
        });
        tokio::spawn(follow_images(Arc::clone(&self.cloud), self.dir.clone(), self.file.host));
        if let Some(at) = self.file.dns {
            tokio::spawn(dns::serve(at, Arc::clone(&self.cloud)));
        }
        let cloud = Arc::clone(&self.cloud);
        let gateway = Arc::new(Gateway {
            cloud: self.cloud,
            services: services(),
            limits: Limits::default(),
            emulation: self.emulation,
            signing_keys: SigningKeys::default(),
        });
        let metrics = Arc::new(Metrics::new(&self.dir, Arc::clone(&gateway), Arc::clone(&unsettled)));
        tokio::spawn(admin::serve(self.dir.clone(), Arc::clone(&cloud), unsettled, Arc::clone(&metrics)));
        let exporter = operation::watch(&self.file.operation, &cloud, metrics).await?;
        let handed = arrivals::listen(&self.dir.endpoint_socket()).inspect_err(|error| {
            tracing::warn!(error = format!("{error:#}"), "VPC endpoints lead nowhere");
        });
        tracing::info!(listen = %self.file.listen, "serving");
        gateway::serve_with(gateway, self.listener, self.tls, handed.ok(), stop).await;
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
        Ok(())
    }
}

/// By what names and addresses clients call the API.
fn api_names(file: &CloudFile, emulator: Emulator) -> tls::Names {
    let regions = file.settings(emulator).regions.into_iter().map(|settings| settings.region);
    tls::Names { listen: file.listen.ip(), regions: regions.collect() }
}

/// The services that the API serves.
pub fn services() -> Vec<control::Service> {
    vec![
        ec2::service(),
        identity::sts::service(),
        kms::service(),
        ebs::service(),
        ebs::recycle_bin::service(),
    ]
}

/// A reconciler's key as a line of `nube status`.
fn line((key, status): (String, KeyStatus)) -> ObjectStatus {
    ObjectStatus {
        key,
        last_error: status.last_error,
        failures: status.failures,
        last_run: Some(status.last_run),
        next_run: status.next_run,
    }
}

/// How many observations are absorbed together: they share the store's commits.
const TOGETHER: usize = 256;

/// One connection of the host: the observations of each object are absorbed in the order in which they come.
async fn serve_host(cloud: &Arc<Cloud>, connection: Connection) {
    let (sender, mut observed) = mpsc::unbounded_channel::<Observed>();
    let absorbing = {
        let cloud = Arc::clone(cloud);
        tokio::spawn(async move {
            let mut came = Vec::with_capacity(TOGETHER);
            while observed.recv_many(&mut came, TOGETHER).await > 0 {
                absorb_all(&cloud, &mut came).await;
            }
        })
    };
    let serving = Arc::clone(&cloud.host).serve(connection, move |observation| {
        // The receiver lives until this sender is dropped.
        let _ = sender.send(observation);
    });
    serving.await;
    let _ = absorbing.await;
}

/// Absorbs what came, together but for a later observation of the same object, which waits for the earlier one.
async fn absorb_all(cloud: &Arc<Cloud>, came: &mut Vec<Observed>) {
    while !came.is_empty() {
        let mut keys = HashSet::with_capacity(came.len());
        let until = came.iter().position(|observation| !keys.insert(observation.key)).unwrap_or(came.len());
        let absorbing: Vec<_> = came
            .drain(..until)
            .map(|observation| {
                // In a task of its own: one observation that trips a bug must not make the server deaf to the rest.
                let (key, cloud) = (observation.key, Arc::clone(cloud));
                (key, tokio::spawn(async move { ec2::instance::absorb(&cloud, observation).await }))
            })
            .collect();
        for (key, absorbed) in absorbing {
            if let Err(error) = absorbed.await {
                tracing::error!(%key, %error, "an observation was lost");
            }
        }
    }
}

/// Registers images that are built while the cloud runs.
async fn follow_images(cloud: Arc<Cloud>, dir: CloudDir, host: HostKind) {
    if host == HostKind::Sim {
        return;
    }
    let cache = crate::config::default_image_cache();
    let mut seen = None;
    loop {
        let changed = std::fs::metadata(&cache).and_then(|m| m.modified()).ok();
        if changed != seen {
            let (to, from) = (dir.clone(), cache.clone());
            // A copy across filesystems takes its time.
            let adopted = tokio::task::spawn_blocking(move || registration::adopt(&to, &from)).await;
            let adopted = adopted.map_err(anyhow::Error::from).and_then(|done| done);
            let registered = registration::register(&cloud, &dir).await;
            match adopted.and(registered) {
                Ok(()) => seen = changed,
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the host's images cannot be registered; trying again"
                ),
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// Connections to the agent's socket, one after the other, for as long as somebody takes them.
fn connect_forever(socket: PathBuf) -> mpsc::Receiver<Connection> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => {
                    let (connection, ended) = carry(stream);
                    if sender.send(connection).await.is_err() {
                        return;
                    }
                    ended.await;
                }
                Err(error) => tracing::debug!(%error, "the agent's socket does not answer yet"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    receiver
}

/// A stream as a connection, and the future that resolves when it has ended.
fn carry(stream: UnixStream) -> (Connection, impl Future<Output = ()>) {
    let (mut reader, mut writer) = stream.into_split();
    let (to_agent, mut outgoing) = mpsc::unbounded_channel::<ToAgent>();
    let (incoming, from_agent) = mpsc::unbounded_channel::<FromAgent>();
    let writing = tokio::spawn(async move {
        let mut buffer = Vec::new();
        while let Some(message) = outgoing.recv().await {
            buffer.clear();
            if let Err(error) = frame::encode(&message, &mut buffer) {
                tracing::error!(%error, "a message for the agent cannot be sent");
                continue;
            }
            if writer.write_all(&buffer).await.is_err() {
                return;
            }
        }
    });
    let reading = tokio::spawn(async move {
        let mut buffer = Vec::new();
        loop {
            match frame::decode::<FromAgent>(&mut buffer) {
                Ok(Some(message)) => {
                    if incoming.send(message).is_err() {
                        return;
                    }
                }
                Ok(None) => match reader.read_buf(&mut buffer).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                },
                Err(error) => {
                    tracing::error!(%error, "the agent's stream is out of step");
                    return;
                }
            }
        }
    });
    let ended = async move {
        let _ = reading.await;
        writing.abort();
    };
    (Connection { to_agent, from_agent }, ended)
}

#[cfg(test)]
mod tests {
    /// The page on coverage is made from the kit's services, which is quicker to build.
    #[test]
    fn the_program_serves_what_the_kit_tests() {
        let built = |services: Vec<control::Service>| {
            let services = services.iter();
            let named = services.map(|s| (s.shape().name, s.built().map(|o| o.name).collect::<Vec<_>>()));
            named.collect::<Vec<_>>()
        };
        assert_eq!(built(super::services()), built(testkit::services()));
    }
}
