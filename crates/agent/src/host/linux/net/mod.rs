//! Networks by the kernel: one namespace per VPC as its router, one more as the cloud's edge, nftables in each.
//!
//! ```text
//! host ── nb-TAG ═══ up ─[ edge: which VPC has which public address ]─ v… ═══ igw ─[ VPC: groups, ACLs, 1:1 NAT ]─ t… ═══ guest
//! ```
//! Invariants:
//! - The kernel holds the truth. A driver that starts finds what an earlier one made by names, aliases and sets.
//! - A port's TAP lives as long as its machine holds the descriptor; its name is never used again.
//! - What a packet may do never depends on a moment between two steps: rules stand before links are up.
//! - Everything carries the cloud's tag and is found by it; [`purge`] needs nothing else.
//!
//! The host's namespace is the one of the thread that opens the driver. Calls are short (a port takes well under a
//! millisecond of kernel time, a group's body a run of `nft`) and run one at a time, on threads that may block.
//!
//! Differs: a VPC spans one host so far.

mod bpf;
pub mod capture;
mod class;
mod conntrack;
mod counter;
mod edge;
mod edge_ipv6;
mod endpoint;
pub mod flow;
mod foreign;
mod gateway_service;
mod groups;
mod mirror;
mod netlink;
mod nft;
mod packet;
mod peering;
mod port;
mod purge;
mod router;
mod routing;
mod rtnl;
mod service_node;
mod services;
mod services_ipv6;
mod sysctl;
pub(super) mod tap;
pub mod trial;
mod vpn;

pub use purge::purge;

use crate::directory::Directory;
use crate::host::{Fault, HostError, Net, Result, Standing, Tap, Tunnels};
use crate::link_local::dns::Upstream;
use crate::link_local::endpoint::EndpointPlace;
use bpf::Programs;
use counter::Counter;
use edge::{Edge, Holder};
use ipnet::{Ipv4Net, Ipv6Net};
use model::host::{InterfaceDesired, SecurityGroupDesired, VpcDesired};
use model::{CloudTag, NetworkInterfaceId, SecurityGroupId, VpcId, VpnConnectionId};
use parking_lot::Mutex;
use plan::net::names;
use port::Moved;
use router::Router;
use services::Services;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Takes over a listener inside a VPC. When the VPC is removed the listener is shut down: `accept` fails, and the server
/// must drop it. Called within the runtime, while the driver is busy: it must not call the driver.
pub type OnListener = Arc<dyn Fn(VpcId, tokio::net::TcpListener) + Send + Sync>;

/// Takes over a listener at an address of a VPC endpoint.
pub type OnEndpoint = Arc<dyn Fn(EndpointPlace, tokio::net::TcpListener) + Send + Sync>;

/// How often somebody else's filters are looked at.
const WATCH: std::time::Duration = std::time::Duration::from_secs(20);

/// What the driver needs to know of its cloud and host.
#[derive(Clone)]
pub struct LinuxNetConfig {
    pub cloud: CloudTag,
    /// A directory of the driver's own.
    pub state_dir: PathBuf,
    /// Public addresses of instances; see [`plan::net::pool`] for the few that are kept.
    pub public_pool: Ipv4Net,
    /// Ranges that accounts may bring as further public addresses; none overlaps another or the pool.
    pub byoip: Vec<Ipv4Net>,
    /// Where the services are that gateway endpoints lead to; none overlaps another or what is public.
    pub gateway_services: Vec<Ipv4Net>,
    /// Where the IPv6 blocks of VPCs come from.
    pub ipv6_pool: Ipv6Net,
    /// Whether instances leave the host with the host's address.
    pub uplink_nat: bool,
    pub directory: Arc<Directory>,
    /// Serves the metadata service's listener.
    pub on_metadata: OnListener,
    /// Serves the two listeners of the cloud's API, on ports 80 and 443.
    pub on_api: OnListener,
    /// Serves the listeners of VPC endpoints.
    pub on_endpoint: OnEndpoint,
    /// The names that lead to the API, in lower case.
    pub api_names: BTreeSet<String>,
    /// Where the files of flow logs go.
    pub flow_logs: PathBuf,
    /// How often flows are looked at ([`flow::EVERY`]); none: when [`LinuxNet::look_at_flows`] is called.
    pub flow_poll: Option<std::time::Duration>,
    /// Whether instances are held to the bandwidth that their wishes name.
    pub bandwidth: Limits,
    /// Where names that are not of the VPC are asked for.
    pub upstream_dns: Vec<SocketAddr>,
}

/// Whether a limit that is wished for is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    Enforced,
    Ignored,
}

use LinuxNetConfig as Config;

impl fmt::Debug for LinuxNetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxNetConfig")
            .field("cloud", &self.cloud)
            .field("public_pool", &self.public_pool)
            .finish_non_exhaustive()
    }
}

/// The driver. Dropping it ends the link-local services and leaves every packet flowing.
#[derive(Debug, Clone)]
pub struct LinuxNet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    upstream: Arc<Upstream>,
    runtime: Handle,
    /// Locked before the state.
    ledger: Mutex<flow::Ledger>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    edge: Edge,
    programs: Arc<Programs>,
    counter: Counter,
    vpcs: BTreeMap<VpcId, (Router, Services)>,
    /// The interfaces of endpoints that are served.
    doors: BTreeMap<NetworkInterfaceId, endpoint::Door>,
    /// The rule sets of interfaces between endpoints and services, as far as this process put them there.
    service_rules: BTreeMap<NetworkInterfaceId, String>,
    /// The interfaces whose packets are copied.
    mirrors: BTreeMap<NetworkInterfaceId, mirror::Mirroring>,
    vpns: BTreeMap<VpnConnectionId, Arc<vpn::Vpn>>,
}

impl LinuxNet {
    /// Opens the network of a cloud in the calling thread's namespace: makes its edge and finds what stands already.
    /// Must run within a tokio runtime.
    pub async fn open(config: LinuxNetConfig) -> Result<Self> {
        if !plan::net::pool::PREFIXES.contains(&config.public_pool.prefix_len()) {
            return Err(HostError::permanent(format!(
                "{} is no fit size for a public pool",
                config.public_pool
            )));
        }
        let runtime = Handle::current();
        let config = Arc::new(config);
        let upstream = Upstream::new(config.upstream_dns.clone());
        // Worker threads may be in another namespace than the caller; the edge remembers the caller's.
        let root = crate::host::linux::netns::Namespace::current()
            .map_err(|e| failed("the network namespace", e))?;
        let inner = tokio::task::spawn_blocking(move || {
            let state = root.run(|| State::open(&config, &upstream, &runtime))?;
            let ledger = Mutex::new(flow::Ledger::open(&config.state_dir, &config.flow_logs)?);
            Ok(Inner { config, upstream, runtime, ledger, state: Mutex::new(state) })
        });
        let inner = inner.await.map_err(|e| HostError::transient("opening the network").caused_by(e))?;
        let inner = Arc::new(inner.map_err(|error| failed("opening the network", error))?);
        tokio::spawn(watch_foreign_filters(Arc::downgrade(&inner)));
        tokio::spawn(vpn::keep(Arc::downgrade(&inner)));
        if let Some(every) = inner.config.flow_poll {
            tokio::spawn(flow::keep(Arc::downgrade(&inner), every));
        }
        Ok(Self(inner))
    }

    /// Takes what the kernel has counted into the flow logs, as of a time in seconds since 1970.
    pub async fn look_at_flows(&self, now: i64) -> Result<()> {
        let inner = Arc::clone(&self.0);
        let look = tokio::task::spawn_blocking(move || inner.ledger.lock().look(&inner, now));
        let done = look.await.map_err(|error| HostError::transient("flow logs").caused_by(error))?;
        done.map_err(|error| failed("flow logs", error))
    }

    /// What every instance with a port here is held to.
    pub async fn bandwidths(&self) -> Result<Vec<model::host::Bandwidth>> {
        self.with("bandwidths", |_, state| state.programs.bandwidths()).await
    }

    /// An interface's wish as far as this host heeds it.
    fn fit(&self, interface: &InterfaceDesired) -> InterfaceDesired {
        let bandwidth = match self.0.config.bandwidth {
            Limits::Enforced => interface.bandwidth,
            Limits::Ignored => None,
        };
        InterfaceDesired { bandwidth, ..interface.clone() }
    }

    async fn with<T: Send + 'static>(
        &self,
        what: impl fmt::Display + Send,
        work: impl FnOnce(&Inner, &mut State) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let mut state = inner.state.lock();
            let done = work(&inner, &mut state);
            // Whatever came of it, something may be otherwise.
            state.programs.changed().and(done)
        });
        match done.await {
            Ok(result) => result.map_err(|error| failed(what, error)),
            Err(error) => Err(HostError::transient(what.to_string()).caused_by(error)),
        }
    }
}

/// Docker or a firewall may be set up, or set up again, while nothing of ours changes.
async fn watch_foreign_filters(inner: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(WATCH).await;
        let Some(inner) = inner.upgrade() else { return };
        let look = move || {
            let state = inner.state.lock();
            state.edge.root.run(|| foreign::admit(&inner.config.cloud))
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot look for foreign filters"),
            Err(_) => return,
        }
    }
}

fn failed(what: impl fmt::Display, error: io::Error) -> HostError {
    let fault = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => Fault::Permanent,
        _ => Fault::Transient,
    };
    HostError { fault, what: what.to_string(), source: Some(error.into()) }
}

impl Net for LinuxNet {
    async fn ensure_vpc(&self, vpc: &VpcDesired) -> Result<()> {
        let vpc = vpc.clone();
        let id = vpc.vpc;
        let logs = !vpc.flow_logs.is_empty();
        self.with(id, move |inner, state| state.ensure_vpc(inner, &vpc)).await?;
        if logs && self.0.config.flow_poll.is_some() {
            let now = model::Clock::now(&model::clock::SystemClock).as_secs();
            let inner = Arc::clone(&self.0);
            let begun = tokio::task::spawn_blocking(move || inner.ledger.lock().begin(&inner, id, now));
            if let Ok(Err(error)) = begun.await {
                tracing::warn!(vpc = %id, %error, "its flow logs begin later");
            }
        }
        Ok(())
    }

    async fn remove_vpc(&self, vpc: VpcId) -> Result<()> {
        self.with(vpc, move |inner, state| state.remove_vpc(inner, vpc)).await?;
        let inner = Arc::clone(&self.0);
        let ended = tokio::task::spawn_blocking(move || inner.ledger.lock().end(vpc));
        let ended = ended.await.map_err(|error| HostError::transient("flow logs").caused_by(error))?;
        ended.map_err(|error| failed("flow logs", error))
    }

    async fn ensure_security_group(&self, group: &SecurityGroupDesired) -> Result<()> {
        let group = group.clone();
        self.with(group.group, move |_, state| {
            state.router(group.vpc)?.ensure_group(&group)?;
            state.share(group.vpc)
        })
        .await
    }

    async fn remove_security_group(&self, group: SecurityGroupId) -> Result<()> {
        self.with(group, move |_, state| {
            for (router, _) in state.vpcs.values_mut() {
                if router.groups().any(|standing| standing == group) {
                    router.remove_group(group)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn open_port(&self, interface: &InterfaceDesired) -> Result<Tap> {
        let wanted = self.fit(interface);
        let fd = self.with(interface.interface, move |_, state| state.open_port(&wanted)).await?;
        Ok(Tap { interface: interface.interface, mac: interface.mac, fd: Some(fd), mtu: plan::net::MTU })
    }

    async fn ensure_port(&self, interface: &InterfaceDesired) -> Result<()> {
        let wanted = self.fit(interface);
        self.with(interface.interface, move |_, state| {
            let moved = state.router(wanted.vpc)?.place(&wanted)?;
            state.carry(wanted.vpc, &moved)?;
            state.share(wanted.vpc)
        })
        .await
    }

    async fn remove_port(&self, interface: NetworkInterfaceId) -> Result<()> {
        self.with(interface, move |_, state| {
            let holders: Vec<VpcId> = state
                .vpcs
                .iter()
                .filter(|(_, (router, _))| router.ports.contains_key(&interface))
                .map(|(vpc, _)| *vpc)
                .collect();
            for vpc in holders {
                let lost = state.router(vpc)?.remove_port(interface)?;
                state.carry(vpc, &Moved { lost, ..Moved::default() })?;
                state.share(vpc)?;
                state.mirror(vpc)?;
            }
            Ok(())
        })
        .await
    }

    async fn standing(&self) -> Result<Standing> {
        self.with("what stands", move |_, state| {
            let mut standing = Standing::default();
            for (vpc, (router, _)) in &state.vpcs {
                standing.vpcs.push(*vpc);
                standing.security_groups.extend(router.groups());
                let ports = router.ports.iter().filter(|(_, port)| !names::is_endpoint_port(&port.tap));
                standing.ports.extend(ports.map(|(interface, _)| *interface));
            }
            Ok(standing)
        })
        .await
    }

    async fn tunnels(&self) -> Result<Tunnels> {
        let inner = Arc::clone(&self.0);
        let look = tokio::task::spawn_blocking(move || Tunnels {
            lack: crate::host::linux::requirements::lacks_vpn(),
            seen: vpn::seen(&inner),
        });
        look.await.map_err(|error| HostError::transient("tunnels").caused_by(error))
    }
}

impl State {
    fn open(config: &Arc<Config>, upstream: &Arc<Upstream>, runtime: &Handle) -> io::Result<Self> {
        let mut counter = Counter::open(&config.state_dir)?;
        let mut edge = Edge::open(config)?;
        let (programs, renewed) = Programs::open(bpf::standing(&config.cloud)?)?;
        let programs = Arc::new(programs);
        let mut vpcs = BTreeMap::new();
        let mut publics = BTreeMap::new();
        for name in crate::host::linux::netns::names(&names::namespace_prefix(&config.cloud))? {
            let Some(vpc) = names::vpc_of_namespace(&config.cloud, &name) else { continue };
            let mut router = Router::open(&config.cloud, vpc, &programs, &edge.namespace, &mut edge.rtnl)?;
            if renewed {
                router.renew_programs()?;
            }
            for tap in router.ports.values().filter_map(|port| u64::from_str_radix(&port.tap[1..], 16).ok()) {
                counter.skip_past(tap);
            }
            publics.extend(router.publics().into_iter().map(|public| (public, Holder::Vpc(vpc))));
            publics.extend(gateway_service::inside(&mut edge, vpc)?.map(|own| (own, Holder::Services(vpc))));
            let services = Services::start(vpc, &router.namespace, config, upstream, &router.links, runtime)?;
            vpcs.insert(vpc, (router, services));
        }
        let ports = vpcs.values().flat_map(|(router, _)| router.ports.values());
        programs.sweep(&ports.map(|port| port.index).collect())?;
        programs.changed()?;
        let mut state = Self {
            edge,
            programs,
            counter,
            vpcs,
            doors: BTreeMap::new(),
            service_rules: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            vpns: BTreeMap::new(),
        };
        state.find_vpns(config)?;
        publics.extend(state.vpn_publics(config)?);
        state.edge.reconcile(&publics)?;
        state.sweep_endpoints(&config.cloud)?;
        Ok(state)
    }

    fn router(&mut self, vpc: VpcId) -> io::Result<&mut Router> {
        match self.vpcs.get_mut(&vpc) {
            Some((router, _)) => Ok(router),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{vpc} is not there yet"))),
        }
    }

    fn ensure_vpc(&mut self, inner: &Inner, vpc: &VpcDesired) -> io::Result<()> {
        let id = vpc.vpc;
        if !self.vpcs.contains_key(&id) {
            let (cloud, edge) = (&inner.config.cloud, &mut self.edge);
            let router = Router::open(cloud, id, &self.programs, &edge.namespace, &mut edge.rtnl)?;
            let services = Services::start(
                id,
                &router.namespace,
                &inner.config,
                &inner.upstream,
                &router.links,
                &inner.runtime,
            )?;
            self.vpcs.insert(id, (router, services));
        }
        // Somebody may have set up a firewall since.
        if let Err(error) = self.edge.root.run(|| foreign::admit(&inner.config.cloud)) {
            tracing::warn!(%error, "cannot look for foreign filters");
        }
        let router = self.router(id)?;
        if router.settled && router.desired.as_ref() == Some(vpc) {
            return Ok(());
        }
        router.settled = false;
        self.close_endpoints(inner, vpc)?;
        self.close_vpns(&inner.config, id, &vpc.vpns)?;
        self.close_services(vpc)?;
        let router = self.router(id)?;
        let mut before = router.publics();
        router.configure(vpc)?;
        self.edge.lead_ipv6(&inner.config, id, &vpc.ipv6_cidrs)?;
        let router = self.router(id)?;
        let after = router.publics();
        before.retain(|public| !after.contains(public));
        // Those of NAT gateways; those of ports are carried with them.
        self.carry(id, &Moved { lost: before, gained: after })?;
        let router = self.router(id)?;
        let interfaces: Vec<NetworkInterfaceId> = router.ports.keys().copied().collect();
        for interface in interfaces {
            let router = self.router(id)?;
            let wanted = router.ports.get(&interface).and_then(|port| port.wanted.clone());
            let Some(wanted) = wanted.or_else(|| router.derive(interface)) else { continue };
            // A port whose subnet is gone with this change is the next thing to be removed: it keeps what it had.
            match router.place(&wanted) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(%interface, %error, "a port does not fit into its VPC");
                }
                moved => self.carry(id, &moved?)?,
            }
        }
        self.open_endpoints(inner, vpc)?;
        self.mirror(id)?;
        self.open_vpns(&inner.config, vpc)?;
        self.open_services(vpc)?;
        self.meet(id)?;
        let router = self.router(id)?;
        router.sweep_acls()?;
        router.settled = true;
        Ok(())
    }

    fn remove_vpc(&mut self, inner: &Inner, vpc: VpcId) -> io::Result<()> {
        // Also when only the name stands: an earlier removal was interrupted.
        self.edge.forget(vpc)?;
        self.close_vpns(&inner.config, vpc, &[])?;
        if let Some((mut router, services)) = self.vpcs.remove(&vpc) {
            drop(services);
            self.mirror(vpc)?;
            self.close_all(&inner.config.cloud, vpc, &router)?;
            for port in std::mem::take(&mut router.ports).into_values() {
                router.rtnl.delete_link(port.index)?;
                self.programs.forget(port.index)?;
            }
        }
        crate::host::linux::netns::remove(&names::vpc_namespace(&inner.config.cloud, vpc))?;
        self.parted(vpc)
    }

    fn open_port(&mut self, interface: &InterfaceDesired) -> io::Result<std::os::fd::OwnedFd> {
        let number = self.counter.take()?;
        let (fd, moved) = self.router(interface.vpc)?.open_port(interface, number)?;
        self.carry(interface.vpc, &moved)?;
        self.share(interface.vpc)?;
        self.mirror(interface.vpc)?;
        Ok(fd)
    }

    /// Tells the edge what a port has gained and lost.
    fn carry(&mut self, vpc: VpcId, moved: &Moved) -> io::Result<()> {
        let holder = Holder::Vpc(vpc);
        let fresh = moved.gained.iter().any(|public| self.edge.owner(*public) != Some(holder));
        if moved.lost.is_empty() && !fresh {
            return Ok(());
        }
        let link = self.edge.rtnl.link(&names::edge_link(vpc))?;
        let link = link.ok_or_else(|| io::Error::other("the edge has lost its link to the VPC"))?.index;
        for public in &moved.lost {
            self.edge.lose(holder, link, *public)?;
        }
        for public in
            moved.gained.iter().filter(|public| self.edge.owner(**public) != Some(holder)).collect::<Vec<_>>()
        {
            self.edge.gain(holder, link, *public)?;
        }
        Ok(())
    }
}
