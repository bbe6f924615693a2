//! The host loop as a process: drivers, link-local services and the channel to the server.

use crate::cloud_files::{CloudDir, CloudFile, write_whole};
use crate::emulator::Emulator;
use crate::lock::Lock;
use crate::server_process::{services, terminated};
use crate::{blocks_place, config, tls};
use agent::agent::{Agent, AgentConfig, AgentHandle};
use agent::desired::Durability;
use agent::directory::Directory;
use agent::host::linux::block::{Filling, LinuxBlock, LinuxBlockConfig};
use agent::host::linux::net::{Limits, LinuxNet, LinuxNetConfig};
use agent::host::linux::vmm::{
    AccelPolicy, Launcher, LinuxVmm, LinuxVmmConfig, TemplateConfig, TemplateMode, default_qemu, launcher,
};
use agent::host::linux::{net, requirements};
use agent::host::sim::SimHost;
use agent::imds::{Imds, Signer};
use agent::link_local::api::{ApiDoor, Bounds};
use agent::link_local::endpoint::EndpointDoor;
use anyhow::{Context as _, Result};
use control::host::Connection;
use model::clock::SystemClock;
use model::host::{Capacity, FromAgent, ToAgent};
use model::{Clock, MiB};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the host keeps for itself, beside the instances.
const RESERVED: MiB = MiB(512);

/// What this host lacks, one sentence each.
pub fn missing() -> Vec<String> {
    requirements::missing()
}

/// The hidden subcommand that becomes a machine's process.
pub fn launch() -> ExitCode {
    launcher::main()
}

/// `nube agent`.
pub fn run(data: &Path) -> Result<ExitCode> {
    let dir = CloudDir::existing(data)?;
    let _lock = Lock::take(&dir.run(), "agent")?;
    let _ = rustix::process::setsid();
    let cloud = dir.read()?;
    crate::log::start(Some(&dir.logs().join("agent.log")), cloud.operation.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&dir, &cloud))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(dir: &CloudDir, cloud: &CloudFile) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = Arc::new(Directory::default());
    let signer = Arc::new(signer(dir, clock.as_ref())?);
    let imds = Imds::new(Arc::clone(&directory), Arc::clone(&clock), token_secret(dir)?, signer);
    let imds = Arc::new(imds.with_api(api(dir, cloud)?));
    let door = Arc::new(ApiDoor::new(Arc::clone(&directory), server(cloud), Bounds::default()));
    let endpoints = Arc::new(EndpointDoor::new(dir.endpoint_socket()));
    let network = LinuxNet::open(LinuxNetConfig {
        cloud: cloud.tag.clone(),
        state_dir: dir.path().join("net"),
        public_pool: cloud.public_pool,
        byoip: cloud.byoip.iter().map(|grant| grant.cidr).collect(),
        gateway_services: cloud.gateway_services.iter().flat_map(|s| s.cidrs.iter().copied()).collect(),
        ipv6_pool: cloud.ipv6_pool(),
        uplink_nat: true,
        directory: Arc::clone(&directory),
        on_metadata: Arc::new(move |vpc, listener| {
            tokio::spawn(Arc::clone(&imds).serve(vpc, listener));
        }),
        on_api: Arc::new(move |vpc, listener| {
            tokio::spawn(Arc::clone(&door).serve(vpc, listener));
        }),
        on_endpoint: Arc::new(move |place, listener| {
            tokio::spawn(Arc::clone(&endpoints).serve(place, listener));
        }),
        api_names: api_names(cloud),
        upstream_dns: upstream_dns(),
        flow_logs: dir.flow_logs(),
        flow_poll: Some(net::flow::EVERY),
        bandwidth: if cloud.bandwidth { Limits::Enforced } else { Limits::Ignored },
    });
    let network = network.await.context("the network cannot be set up")?;
    let machines = LinuxVmm::open(vmm_config(dir, cloud)).await.context("machines cannot be run")?;
    let volumes = LinuxBlock::open(block_config(dir, cloud)?).context("volumes cannot be kept")?;
    let config = AgentConfig::new(dir.path().to_owned(), host_name(), boot_id(dir)?, capacity()?, clock);
    let agent = Agent::open(config, machines.clone(), network, volumes, directory)
        .await
        .context("the host loop cannot start")?;
    let channel = agent::channel::listen(&dir.agent_socket(), agent.handle());
    let channel = channel.with_context(|| format!("cannot listen on {}", dir.agent_socket().display()))?;
    tokio::select! {
        () = channel.serve() => {}
        () = terminated() => tracing::info!("ending; machines run on"),
    }
    if let Err(error) = machines.abandon_templates().await {
        tracing::warn!(%error, "what was to become a template runs on; the next agent ends it");
    }
    Ok(())
}

fn vmm_config(dir: &CloudDir, cloud: &CloudFile) -> LinuxVmmConfig {
    LinuxVmmConfig {
        cloud: cloud.tag.clone(),
        state_dir: dir.path().join("vms"),
        images_dir: dir.images(),
        accel: AccelPolicy::Probe,
        probe_cache: config::default_image_cache().join(".accelerator"),
        qemu: default_qemu(),
        launcher: Launcher::this_program(),
        templates: TemplateConfig {
            volumes_dir: dir.volumes(),
            most_bytes: cloud.templates.size.bytes(),
            mode: if cloud.templates.on { TemplateMode::On } else { TemplateMode::Off },
        },
    }
}

fn block_config(dir: &CloudDir, cloud: &CloudFile) -> Result<LinuxBlockConfig> {
    Ok(LinuxBlockConfig {
        cloud: cloud.tag.clone(),
        state_dir: dir.volumes(),
        images_dir: dir.images(),
        snapshots_dir: dir.snapshots(),
        blocks: blocks_place::place(dir, cloud)?,
        filling: Filling::After(config::fill_after()),
    })
}

/// Ends every machine of the cloud and removes every namespace, link and rule of it; volumes stay. The next agent starts again what
/// was meant to run.
pub fn purge(dir: &CloudDir, cloud: &CloudFile) -> Result<()> {
    // Written first: machines that are ended were meant to run.
    dir.count_down()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let machines = LinuxVmm::open(vmm_config(dir, cloud)).await.context("machines cannot be ended")?;
        machines.purge().await.context("machines cannot be ended")
    })?;
    net::purge(&cloud.tag).context("the cloud's network cannot be removed")
}

/// A simulated host in this process, and the one connection to it.
pub async fn simulate(dir: &CloudDir, emulator: Emulator) -> Result<(Agent, mpsc::Receiver<Connection>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // A host that starts anew: what was meant to run starts again, as after the reboot of a real one.
    let seed = crate::cloud_files::random_bits()? as u64;
    let host = SimHost::new(emulator.machines(seed), Arc::clone(&clock));
    let capacity = Capacity::UNLIMITED;
    let mut config =
        AgentConfig::new(dir.path().to_owned(), "simulated".into(), host.boot_id(), capacity, clock);
    config.durability = Durability::Volatile;
    config.parallel = emulator.parallel(config.parallel);
    let agent = Agent::open(config, host.clone(), host.clone(), host, Arc::new(Directory::default())).await?;
    let (sender, receiver) = mpsc::channel(1);
    sender.send(connect(agent.handle())).await.context("the channel was just made")?;
    Ok((agent, receiver))
}

/// The agent of this process as a connection.
fn connect(agent: AgentHandle) -> Connection {
    let (to_agent, mut messages) = mpsc::unbounded_channel();
    let (answers, from_agent) = mpsc::unbounded_channel();
    let _ = answers.send(FromAgent::Hello(agent.hello()));
    let (telling, told) = (agent.clone(), answers.clone());
    tokio::spawn(async move {
        let mut observations = telling.subscribe();
        while let Some(observed) = observations.next().await {
            if told.send(FromAgent::Observed(observed)).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let outcome = match message {
                ToAgent::Sync { objects } => agent.sync(objects).await,
                ToAgent::Set { object } => agent.set(vec![object]).await,
                ToAgent::Request { id, request } => {
                    let (agent, answers) = (agent.clone(), answers.clone());
                    tokio::spawn(async move {
                        let reply = agent.request(request).await;
                        let _ = answers.send(FromAgent::Reply { id, reply });
                    });
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a wish could not be stored");
                return;
            }
        }
    });
    Connection { to_agent, from_agent }
}

/// What instances are told of the API.
fn api(dir: &CloudDir, cloud: &CloudFile) -> Result<plan::imds::Api> {
    let authority = if cloud.tls {
        // `up` has made it before the agent started.
        let path = tls::authority_file(dir);
        Some(fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
    } else {
        None
    };
    Ok(plan::imds::Api { endpoint: cloud.endpoint_inside(), authority })
}

/// The names of the API inside VPCs. AWS's own names are among them where clients, which use them with TLS alone, get it.
fn api_names(cloud: &CloudFile) -> BTreeSet<String> {
    let mut names = BTreeSet::from([plan::net::API_NAME.to_owned()]);
    if cloud.tls {
        let services = services();
        let services: Vec<&str> = services.iter().map(|service| service.shape().name).collect();
        names.extend(tls::service_names(cloud, &services));
    }
    names
}

/// The server's listener as this host reaches it.
fn server(cloud: &CloudFile) -> SocketAddr {
    let ip = match cloud.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, cloud.listen.port())
}

/// The key that signs identity documents: one for the cloud's life.
fn signer(dir: &CloudDir, clock: &dyn Clock) -> Result<Signer> {
    let path = dir.path().join("identity.pem");
    let signer = if path.exists() {
        Signer::from_pem(&fs::read_to_string(&path)?)?
    } else {
        let signer = Signer::generate(clock.now())?;
        write_whole(&path, signer.to_pem()?.as_bytes(), 0o600)?;
        signer
    };
    // Also when an earlier start was cut short between the two.
    let certificate = dir.path().join("identity-certificate.pem");
    if !certificate.exists() {
        write_whole(&certificate, signer.certificate_pem().as_bytes(), 0o644)?;
    }
    Ok(signer)
}

/// The key of metadata session tokens, which must outlive an agent's restart.
fn token_secret(dir: &CloudDir) -> Result<[u8; 32]> {
    let path = dir.path().join("metadata-secret");
    if let Ok(bytes) = fs::read(&path)
        && let Ok(secret) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system gives no random numbers")?;
    write_whole(&path, &secret, 0o600)?;
    Ok(secret)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The boot in which machines are looked for: one that is gone and was started in an earlier boot starts again.
///
/// `nube down` ends machines as the end of the host does, so it counts as one: after it the cloud comes back as it was.
fn boot_id(dir: &CloudDir) -> Result<String> {
    let id =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the kernel's boot id")?;
    let id = id.trim();
    Ok(match dir.downs() {
        0 => id.to_owned(),
        downs => format!("{id}/{downs}"),
    })
}

fn capacity() -> Result<Capacity> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read how much memory there is")?;
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let total: u64 = kib.context("/proc/meminfo tells no total")?;
    let memory = u32::try_from(total >> 10).unwrap_or(u32::MAX).saturating_sub(RESERVED.0);
    let vcpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    Ok(Capacity { vcpus, memory: MiB(memory) })
}

/// The name servers of this host.
fn upstream_dns() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers =
        text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    servers.map(|address| SocketAddr::new(address, 53)).collect()
}
