//! The sockets of a VPC's link-local services, opened in its namespace and served from the runtime.

use super::packet::{self, PacketSocket, Way};
use super::{Config, OnListener, services_ipv6, sysctl};
use crate::host::linux::netns::Namespace;
use crate::link_local::limit::Limit;
use crate::link_local::{dhcp, dns, ntp};
use model::clock::SystemClock;
use model::{Clock as _, NetworkInterfaceId, VpcId};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

/// Which interface a link belongs to, by the link's index.
pub type Ports = Arc<RwLock<HashMap<u32, NetworkInterfaceId>>>;

/// AWS's resolver takes 1,024 questions a second from an interface.
const QUESTIONS: u32 = 1024;

/// What one VPC's services share.
pub(super) struct Context {
    vpc: VpcId,
    pub config: Arc<Config>,
    upstream: Arc<dns::Upstream>,
    pub ports: Ports,
    pub limit: Limit,
    /// Questions of the whole VPC that are being answered by somebody else.
    asking: Semaphore,
}

/// Running services; they end when this is dropped.
#[derive(Debug)]
pub struct Services {
    tasks: Vec<JoinHandle<()>>,
    /// What others serve.
    lent: Vec<TcpListener>,
}

struct Sockets {
    dhcp: std::net::UdpSocket,
    dns: std::net::UdpSocket,
    dns_tcp: TcpListener,
    ntp: std::net::UdpSocket,
    metadata: TcpListener,
    api: [TcpListener; 2],
    /// None: the kernel has no IPv6.
    ipv6: Option<services_ipv6::Sockets>,
}

impl Services {
    pub fn start(
        vpc: VpcId,
        namespace: &Namespace,
        config: &Arc<Config>,
        upstream: &Arc<dns::Upstream>,
        ports: &Ports,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let sockets = namespace.run(Sockets::open)?;
        let _inside = runtime.enter();
        let context = Arc::new(Context {
            vpc,
            config: Arc::clone(config),
            upstream: Arc::clone(upstream),
            ports: Arc::clone(ports),
            limit: Limit::per_second(QUESTIONS),
            asking: Semaphore::new(128),
        });
        let mut lent = Vec::new();
        let mut lend = |listener: TcpListener, to: &OnListener| -> io::Result<()> {
            lent.push(listener.try_clone()?);
            to(vpc, tokio::net::TcpListener::from_std(listener)?);
            Ok(())
        };
        lend(sockets.metadata, &config.on_metadata)?;
        for listener in sockets.api {
            lend(listener, &config.on_api)?;
        }
        let dhcp = PacketSocket::new(sockets.dhcp)?;
        let dns = Arc::new(PacketSocket::new(sockets.dns)?);
        let dns_tcp = tokio::net::TcpListener::from_std(sockets.dns_tcp)?;
        let ntp = PacketSocket::new(sockets.ntp)?;
        let mut tasks = Vec::new();
        if let Some(sockets) = sockets.ipv6 {
            let (advertisements, udp, dns_tcp, metadata) = sockets.split();
            lend(metadata, &config.on_metadata)?;
            tasks = services_ipv6::Sockets::serve(advertisements, udp, &context)?;
            let dns_tcp = tokio::net::TcpListener::from_std(dns_tcp)?;
            tasks.push(tokio::spawn(serve_dns_by_tcp(Arc::clone(&context), dns_tcp)));
        }
        tasks.extend([
            tokio::spawn(serve_dhcp(Arc::clone(&context), dhcp)),
            tokio::spawn(serve_dns(Arc::clone(&context), dns)),
            tokio::spawn(serve_dns_by_tcp(context, dns_tcp)),
            tokio::spawn(serve_ntp(ntp)),
        ]);
        Ok(Self { tasks, lent })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // Whoever serves them sees `accept` fail and lets go of the listener, and with it of the namespace.
        for listener in &self.lent {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }
}

impl Sockets {
    fn open() -> io::Result<Self> {
        Ok(Self {
            dhcp: packet::without_checksums(patiently(|| packet::bind(67))?)?,
            dns: patiently(|| packet::bind(53))?,
            dns_tcp: patiently(|| listen((Ipv4Addr::UNSPECIFIED, 53).into()))?,
            ntp: patiently(|| packet::bind(123))?,
            metadata: patiently(|| listen((plan::net::METADATA, 80).into()))?,
            api: [
                patiently(|| listen((plan::net::API, 80).into()))?,
                patiently(|| listen((plan::net::API, 443).into()))?,
            ],
            ipv6: if sysctl::has_ipv6() {
                Some(services_ipv6::Sockets::open(|bind| patiently(bind))?)
            } else {
                None
            },
        })
    }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// An agent that is just ending may hold an address a moment longer.
pub(super) fn patiently<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..40 {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(50));
            }
            bound => return bound,
        }
    }
    bind()
}

async fn serve_dhcp(context: Arc<Context>, socket: PacketSocket) {
    let mut buffer = vec![0; 2048];
    loop {
        let Ok(received) = socket.receive(&mut buffer).await else { continue };
        let Some(interface) = context.ports.read().get(&received.link).copied() else { continue };
        let Some(lease) = dhcp::lease(&context.config.directory, interface) else { continue };
        let Some(answer) = dhcp::answer(&buffer[..received.length], &lease) else { continue };
        let to = std::net::SocketAddrV4::new(answer.to, 68);
        let way = Way { to, source: answer.source, link: received.link };
        if let Err(error) = socket.send(&answer.bytes, way).await {
            tracing::debug!(%interface, %error, "a DHCP answer was not sent");
        }
        let directory = &context.config.directory;
        if let Some(occupant) = directory.behind(interface) {
            directory.traces.mark(occupant.instance.instance, "DHCP", SystemClock.now());
        }
    }
}

async fn serve_dns(context: Arc<Context>, socket: Arc<PacketSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok(received) = socket.receive(&mut buffer).await else { continue };
        let query = &buffer[..received.length];
        let way = Way { to: received.from, source: received.to, link: 0 };
        if !context.limit.admits(*received.from.ip(), Instant::now()) {
            continue;
        }
        match context.local(query) {
            dns::Local::Reply(reply) => {
                let _ = socket.send(&reply, way).await;
            }
            dns::Local::Ignore => {}
            dns::Local::Ask => {
                let (context, socket, query) = (Arc::clone(&context), Arc::clone(&socket), query.to_vec());
                // Ends within a second, so it need not be aborted with the service.
                tokio::spawn(async move {
                    let _ = socket.send(&context.ask(&query).await, way).await;
                });
            }
        }
    }
}

async fn serve_dns_by_tcp(context: Arc<Context>, listener: tokio::net::TcpListener) {
    let open = Arc::new(Semaphore::new(64));
    loop {
        let Ok(room) = Arc::clone(&open).acquire_owned().await else { return };
        let Ok((mut stream, from)) = listener.accept().await else { continue };
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            let _room = room;
            while let Ok(Ok(query)) = timeout(Duration::from_secs(3), dns::read_framed(&mut stream)).await {
                if !context.limit.admits(from.ip(), Instant::now()) {
                    return;
                }
                let reply = match context.local(&query) {
                    dns::Local::Reply(reply) => reply,
                    dns::Local::Ignore => return,
                    dns::Local::Ask => context.upstream.ask_by_tcp(&query).await,
                };
                if timeout(Duration::from_secs(3), dns::write_framed(&mut stream, &reply)).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn serve_ntp(socket: PacketSocket) {
    let mut buffer = vec![0; 512];
    loop {
        let Ok(received) = socket.receive(&mut buffer).await else { continue };
        if let Some(reply) = ntp::answer(&buffer[..received.length], SystemClock.now()) {
            let _ = socket.send(&reply, Way { to: received.from, source: received.to, link: 0 }).await;
        }
    }
}

impl Context {
    /// What somebody else answers, within a second.
    pub async fn ask(&self, query: &[u8]) -> Vec<u8> {
        match self.asking.try_acquire() {
            Ok(_room) => self.upstream.ask(query).await,
            Err(_) => dns::failure(query),
        }
    }

    pub fn local(&self, query: &[u8]) -> dns::Local {
        let vpc = self.config.directory.vpc(self.vpc);
        let directory = &self.config.directory;
        let elsewhere = |name: &str| {
            let endpoint = directory.endpoint(name);
            endpoint.or_else(|| Some(vec![directory.resource(self.vpc, name)?.into()]))
        };
        let publics = dns::Publics { pool: self.config.public_pool, brought: &self.config.byoip };
        dns::local(query, vpc.as_deref(), publics, &self.config.api_names, elsewhere)
    }
}
