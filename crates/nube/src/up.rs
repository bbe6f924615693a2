//! `nube up`: makes a cloud if there is none, runs it in the foreground, and says how to use it.

use crate::cli::{Switch, Up};
use crate::cloud_files::{CloudDir, CloudFile, random_bits};
use crate::config::{self, HostKind};
use crate::emulator::Emulator;
use crate::lock::Lock;
use crate::server_process::{Server, terminated};
use crate::{
    agent_process, blockd_process, byoip, dns_setup, gateway_service, http, lock, notify, pool, registration,
    supervise, terminal, tls,
};
use anyhow::{Context as _, Result, bail};
use model::clock::SystemClock;
use model::{Clock as _, CloudTag, Overcommit, Region};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Where the API listens unless told otherwise.
const LISTEN: &str = "127.0.0.1:4566";
const REGION: &str = "us-east-1";
/// How long the server may take until it answers.
const PATIENCE: Duration = Duration::from_mins(1);

pub fn default_listen() -> SocketAddr {
    LISTEN.parse().expect("an address and a port")
}

pub fn run(arguments: &Up) -> Result<ExitCode> {
    let known = CloudDir::existing(&arguments.data.data).ok().and_then(|dir| dir.read().ok());
    let host = arguments.host.or(known.as_ref().map(|cloud| cloud.host)).unwrap_or(HostKind::Linux);
    if host == HostKind::Linux {
        let missing = agent_process::missing();
        if !missing.is_empty() {
            terminal::say("This host cannot run machines yet. Missing:");
            for line in missing {
                terminal::say(format_args!("  - {line}"));
            }
            terminal::say(
                "All of it, and more: nube doctor. Without machines, as an emulator: nube up --host sim",
            );
            return Ok(ExitCode::FAILURE);
        }
    }
    let listen = arguments.listen.or(known.as_ref().map(|cloud| cloud.listen));
    let emulator = Emulator::choose(arguments, host, listen.unwrap_or(LISTEN.parse()?))?;
    let dir = CloudDir::create(&arguments.data.data)?;
    let _lock = Lock::take(&dir.run(), "up")?;
    let cloud = settle(&dir, arguments, host)?;
    dir.ensure_credentials()?;
    if cloud.tls {
        // Before the children start, which both read it.
        tls::Authority::ensure(&dir, &cloud, SystemClock.now())?;
    }
    let runtime = match host {
        HostKind::Linux => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        HostKind::Sim => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
    };
    runtime.block_on(async {
        match host {
            HostKind::Linux => run_linux(&dir, &cloud, arguments).await,
            HostKind::Sim => run_sim(&dir, &cloud, arguments, emulator).await,
        }
    })
}

/// What the cloud is: as it was made, with what this start changes.
fn settle(dir: &CloudDir, arguments: &Up, host: HostKind) -> Result<CloudFile> {
    let known = dir.read_if_there()?;
    if let Some(known) = &known
        && known.host != host
    {
        bail!("this cloud was made with --host {:?}; choose another --data for another kind", known.host);
    }
    if let (Some(known), Some(pool)) = (&known, arguments.public_pool)
        && known.public_pool != pool
    {
        bail!("this cloud's public addresses are {}; they cannot change", known.public_pool);
    }
    if let Some(pool) = arguments.ipv6_pool {
        if !plan::net::ipv6::is_fit(pool) {
            bail!("{pool} is no fit pool of IPv6 addresses: give a unicast block between /16 and /52");
        }
        if let Some(known) = known.as_ref().map(CloudFile::ipv6_pool).filter(|known| *known != pool.trunc()) {
            bail!("this cloud's IPv6 addresses are {known}; they cannot change");
        }
    }
    let mut cloud = match known.clone() {
        Some(known) => known,
        None => CloudFile {
            tag: CloudTag::from_entropy(random_bits()?),
            host,
            listen: default_listen(),
            regions: vec![Region::parse(REGION).context("the default region")?],
            public_pool: match (arguments.public_pool, host) {
                (Some(pool), _) => pool,
                (None, HostKind::Linux) => pool::claim(&config::pool_claims(), dir.path())?,
                (None, HostKind::Sim) => pool::ALL,
            },
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            ipv6_pool: arguments.ipv6_pool.map(|pool| pool.trunc()),
            overcommit: Overcommit::default(),
            tls: false,
            dns: match (arguments.dns, host) {
                (None, HostKind::Linux) => dns_setup::free_address(),
                _ => None,
            },
            templates: crate::template::Settings::default(),
            bandwidth: true,
            buckets: None,
            blocks: None,
            operation: arguments.operation.settle(&crate::operation::Operation::default())?,
        },
    };
    cloud.overcommit.cpu = arguments.cpu_overcommit.unwrap_or(cloud.overcommit.cpu);
    cloud.overcommit.memory = arguments.memory_overcommit.unwrap_or(cloud.overcommit.memory);
    if let Some(listen) = arguments.listen {
        cloud.listen = listen;
    }
    if let Some(tls) = arguments.tls {
        cloud.tls = tls == Switch::On;
    }
    if let Some(dns) = arguments.dns {
        cloud.dns = dns.address();
    }
    if let Some(bandwidth) = arguments.bandwidth {
        cloud.bandwidth = bandwidth == Switch::On;
    }
    if let Some(folder) = &arguments.buckets {
        let found = folder.canonicalize().ok().filter(|found| found.is_dir());
        cloud.buckets = Some(found.with_context(|| format!("{} is no folder", folder.display()))?);
    }
    cloud.byoip = byoip::settle(&arguments.byoip, cloud.byoip, cloud.public_pool)?;
    cloud.gateway_services = gateway_service::settle(&arguments.gateway_service, &cloud)?;
    cloud.blocks = arguments.blocks.settle(dir, &cloud, host)?;
    cloud.templates = arguments.templates.settle(cloud.templates);
    cloud.operation = arguments.operation.settle(&cloud.operation)?;
    if !arguments.regions.is_empty() {
        let parse =
            |name: &String| Region::parse(name).with_context(|| format!("\"{name}\" is no region's name"));
        cloud.regions = arguments.regions.iter().map(parse).collect::<Result<_>>()?;
    }
    if known.as_ref() != Some(&cloud) {
        dir.write(&cloud)?;
    }
    Ok(cloud)
}

async fn run_linux(dir: &CloudDir, cloud: &CloudFile, arguments: &Up) -> Result<ExitCode> {
    registration::adopt(dir, &config::default_image_cache())?;
    crate::log::start(None, cloud.operation.log_format);
    // A parent that was killed has left its children; they would keep their successors out.
    for name in ["server", "agent", blockd_process::NAME] {
        lock::end_holder(&dir.run(), name, PATIENCE)?;
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let blockd = tokio::spawn(supervise::keep(dir.clone(), blockd_process::NAME, stopped.clone()));
    let agent = tokio::spawn(supervise::keep(dir.clone(), "agent", stopped.clone()));
    let server = tokio::spawn(supervise::keep(dir.clone(), "server", stopped));
    let ready = tokio::select! {
        ready = answering(cloud.listen) => ready,
        () = terminated() => false,
    };
    if ready {
        greet(dir, cloud, arguments);
        terminated().await;
    } else {
        terminal::say(format_args!(
            "The server does not answer. Its log: {}",
            dir.logs().join("server.log").display()
        ));
    }
    stop.send_replace(true);
    server.await??;
    agent.await??;
    blockd.await??;
    if !arguments.json {
        terminal::say(
            "The cloud's processes have ended. Instances keep running; nube up takes them over again,",
        );
        terminal::say(format_args!("nube down --data {} ends them.", dir.path().display()));
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_sim(dir: &CloudDir, cloud: &CloudFile, arguments: &Up, emulator: Emulator) -> Result<ExitCode> {
    let _lock = Lock::take(&dir.run(), "server")?;
    crate::log::start(None, cloud.operation.log_format);
    let server = Server::open(dir, emulator).await?;
    let (agent, connections) = agent_process::simulate(dir, emulator).await?;
    greet(dir, cloud, arguments);
    if let Some(notice) = emulator.notice().filter(|_| !arguments.json) {
        terminal::say(terminal::strong(notice));
    }
    server.serve(connections, terminated()).await?;
    drop(agent);
    Ok(ExitCode::SUCCESS)
}

/// Waits until the API answers.
async fn answering(listen: SocketAddr) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        let health = tokio::task::spawn_blocking(move || {
            let host = [("host".to_owned(), listen.to_string())];
            http::exchange(listen, "GET", "/_nube/health", &host, &[])
        });
        let connected = |body: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(body)
                .is_ok_and(|health| health["host_connected"] == true)
        };
        if let Ok(Ok((200, body))) = health.await
            && connected(&body)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

fn greet(dir: &CloudDir, cloud: &CloudFile, arguments: &Up) {
    notify::ready();
    if arguments.json {
        terminal::json(&serde_json::json!({
            "endpoint": cloud.endpoint(), "data": dir.path(), "regions": cloud.regions, "dns": cloud.dns,
        }));
        return;
    }
    let data = if dir.path() == config::default_data_dir() {
        String::new()
    } else {
        format!(" --data {}", dir.path().display())
    };
    let kind = match cloud.host {
        HostKind::Linux => "real machines",
        HostKind::Sim => "simulated machines",
    };
    terminal::say(format_args!(
        "{} with {kind} at {}",
        terminal::strong("Nube is up"),
        terminal::good(cloud.endpoint())
    ));
    terminal::say("");
    terminal::say("In another shell:");
    terminal::say(format_args!("  {}", terminal::strong(format_args!("eval \"$(nube env{data})\""))));
    terminal::say(format_args!(
        "  {}",
        terminal::strong(
            "aws ec2 describe-images --owners self --query 'Images[].[ImageId,Name]' --output text"
        )
    ));
    terminal::say("");
    if cloud.tls {
        terminal::say("Clients that were set up otherwise trust this cloud with:");
        terminal::say(format_args!("  export AWS_CA_BUNDLE={}", tls::authority_file(dir).display()));
    }
    if let Some(dns) = cloud.dns {
        terminal::say(format_args!(
            "Public DNS names of instances are answered at {dns}; to use them: nube dns{data}"
        ));
    }
    if cloud.host == HostKind::Linux
        && images::cache::list(&dir.images()).is_ok_and(|images| images.is_empty())
    {
        terminal::say("There is no machine image yet. Build one with: nube image build nano");
    }
    terminal::say(terminal::faint(match cloud.host {
        HostKind::Linux => "Ctrl-C ends the cloud's processes; instances keep running.",
        HostKind::Sim => "Ctrl-C ends it; what was running starts again with the next nube up.",
    }));
}
