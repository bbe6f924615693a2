//! VPN connections: a namespace each, between the edge and its VPC, in which their tunnels end.
//!
//! What a connection is made of (namespace, links, rules, routes, addresses) is brought about with its VPC. The daemon in it is
//! [`keep`]'s: looked at every few seconds, started where it is not there, told its settings and given the routes into its
//! device once that is there. A daemon that ends takes the device along, and with it every way into a tunnel, until the
//! next is up. It outlives the agent; an agent that starts finds it by its namespace.

pub(super) mod charon;
pub(super) mod vici;

use super::edge::Holder;
use super::router::single;
use super::rtnl::{Hop, Planned, Rtnl, Way};
use super::{Config, Inner, State, nft, sysctl};
use crate::host::linux::netns::{self, Namespace};
use crate::host::linux::requirements;
use ipnet::Ipv4Net;
use model::host::{TunnelSeen, VpcDesired, VpnDesired};
use model::{Mac, VpcId, VpnConnectionId};
use parking_lot::Mutex;
use plan::net::names::{self, EDGE_UPLINK};
use plan::net::vpn::{self, Side, TUN, VPC_LINK};
use plan::net::{MTU, NEXT_HOP};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A daemon that has not been told its settings refuses whoever calls, and devices take that for the last word: until then
/// nothing comes to it.
const SHUT: &str = "table inet shut {
	chain pre {
		type filter hook prerouting priority -310; policy accept;
		iifname \"up\" drop
	}
}
";
const OPENED: &str = "table inet shut {\n}\ndelete table inet shut\n";
/// How often a daemon is looked at.
const EVERY: Duration = Duration::from_secs(3);

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Vpn {
    pub vpc: VpcId,
    connection: VpnConnectionId,
    namespace: Namespace,
    /// None: an earlier agent's, of which nobody has told anything yet. Held for moments only.
    wanted: Mutex<Option<(VpcDesired, VpnDesired)>>,
    /// Held while a daemon is started.
    tended: Mutex<Tended>,
    gone: AtomicBool,
}

/// What is known of a connection's daemon.
#[derive(Debug, Default)]
struct Tended {
    /// What the daemon was last told.
    told: Option<VpnDesired>,
    /// The device that routes lead into, and what they were made for.
    routed: Option<(u32, VpcDesired, VpnDesired)>,
}

impl Vpn {
    fn new(vpc: VpcId, connection: VpnConnectionId, namespace: Namespace) -> Arc<Self> {
        let (wanted, tended) = (Mutex::default(), Mutex::default());
        Arc::new(Self { vpc, connection, namespace, wanted, tended, gone: AtomicBool::new(false) })
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl State {
    /// Finds the connections that stand, and removes what is left of those whose VPC knows nothing of them.
    pub(super) fn find_vpns(&mut self, config: &Config) -> io::Result<()> {
        for name in netns::names(&names::namespace_prefix(&config.cloud))? {
            let Some(connection) = names::connection_of_namespace(&config.cloud, &name) else { continue };
            let link = names::vpn_link(connection);
            let mut vpc = None;
            for (id, (router, _)) in &mut self.vpcs {
                if router.rtnl.link(&link)?.is_some() {
                    vpc = Some(*id);
                }
            }
            let namespace = match Namespace::open(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                namespace => Some(namespace?),
            };
            match (vpc, namespace) {
                (Some(vpc), Some(namespace)) => {
                    self.vpns.insert(connection, Vpn::new(vpc, connection, namespace));
                }
                (_, Some(namespace)) => {
                    charon::end(&namespace)?;
                    charon::unbound(&config.cloud, connection)?;
                    netns::remove(&name)?;
                }
                (_, None) => netns::remove(&name)?,
            }
        }
        Ok(())
    }

    /// The public addresses of those that stand.
    pub(super) fn vpn_publics(&self, config: &Config) -> io::Result<Vec<(Ipv4Addr, Holder)>> {
        let mut publics = Vec::new();
        for (connection, vpn) in &self.vpns {
            let addresses = vpn.namespace.run(|| Rtnl::open()?.addresses(1))?;
            let own = addresses.into_iter().filter_map(|address| match address {
                IpAddr::V4(v4) if config.public_pool.contains(&v4) => Some(v4),
                IpAddr::V4(_) | IpAddr::V6(_) => None,
            });
            publics.extend(own.map(|address| (address, Holder::Vpn(*connection))));
        }
        Ok(publics)
    }

    /// Removes a VPC's connections that are no longer desired.
    pub(super) fn close_vpns(
        &mut self,
        config: &Config,
        vpc: VpcId,
        wanted: &[VpnDesired],
    ) -> io::Result<()> {
        let stays = |id: &VpnConnectionId| wanted.iter().any(|vpn| vpn.connection == *id);
        let own = self.vpns.iter().filter(|(id, vpn)| vpn.vpc == vpc && !stays(id));
        for id in own.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close_vpn(config, id)?;
        }
        Ok(())
    }

    fn close_vpn(&mut self, config: &Config, id: VpnConnectionId) -> io::Result<()> {
        self.edge.forget_holder(Holder::Vpn(id), &names::vpn_link(id))?;
        if let Some(vpn) = self.vpns.get(&id) {
            // Who is just starting a daemon sees it, and lets go.
            vpn.gone.store(true, Ordering::Release);
            let _idle = vpn.tended.lock();
            charon::end(&vpn.namespace)?;
            if let Some((router, _)) = self.vpcs.get_mut(&vpn.vpc) {
                let link = names::vpn_link(id);
                router.side_links.remove(&link);
                if let Some(link) = router.rtnl.link(&link)? {
                    router.rtnl.delete_link(link.index)?;
                }
            }
        }
        charon::unbound(&config.cloud, id)?;
        netns::remove(&names::vpn_namespace(&config.cloud, id))?;
        let _ = std::fs::remove_file(log(config, id));
        self.vpns.remove(&id);
        Ok(())
    }

    /// Makes what is missing of a VPC's connections and brings the rest to what is desired; the daemons are [`keep`]'s.
    pub(super) fn open_vpns(&mut self, config: &Config, vpc: &VpcDesired) -> io::Result<()> {
        for wanted in &vpc.vpns {
            self.open_vpn(config, vpc, wanted)?;
        }
        Ok(())
    }

    fn open_vpn(&mut self, config: &Config, vpc: &VpcDesired, wanted: &VpnDesired) -> io::Result<()> {
        let id = wanted.connection;
        if self.vpns.get(&id).is_some_and(|vpn| vpn.vpc != vpc.vpc) {
            // Its gateway has moved to another VPC before the first was told.
            self.close_vpn(config, id)?;
        }
        let vpn = if let Some(vpn) = self.vpns.get(&id) {
            Arc::clone(vpn)
        } else {
            let name = names::vpn_namespace(&config.cloud, id);
            let namespace = match Namespace::open(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    netns::remove(&name)?;
                    Namespace::create(&name)?
                }
                namespace => namespace?,
            };
            let vpn = Vpn::new(vpc.vpc, id, namespace);
            self.vpns.insert(id, Arc::clone(&vpn));
            vpn
        };
        // The rules stand before any link is up.
        let rules = vpn::rule_set(vpc, wanted);
        let mut rtnl = vpn.namespace.run(|| {
            sysctl::router()?;
            nft::load(&rules)?;
            Rtnl::open()
        })?;
        rtnl.set_up(1)?;
        for tunnel in &wanted.tunnels {
            rtnl.add_address(1, tunnel.outside)?;
            rtnl.add_address(1, vpn::inside(tunnel.inside)[0])?;
        }
        let link = names::vpn_link(id);
        let bits = id.bits().to_be_bytes();
        let mac = |kind| Mac([0x02, kind, bits[12], bits[13], bits[14], bits[15]]);
        let edge = connect(&mut self.edge.rtnl, &link, &vpn.namespace, &mut rtnl, EDGE_UPLINK, mac(0xe8))?;
        let router = self.router(vpc.vpc)?;
        let near = connect(&mut router.rtnl, &link, &vpn.namespace, &mut rtnl, VPC_LINK, mac(0xe9))?;
        if router.side_links.insert(link, near) != Some(near) {
            router.reconcile_routes(vpc)?;
        }
        let up = rtnl.link(EDGE_UPLINK)?.ok_or_else(vanished)?;
        rtnl.set_route(Ipv4Net::default(), Hop { link: up.index, via: Some(NEXT_HOP.into()), source: None })?;
        for tunnel in &wanted.tunnels {
            self.edge.gain(Holder::Vpn(id), edge, tunnel.outside)?;
        }
        *vpn.wanted.lock() = Some((vpc.clone(), wanted.clone()));
        Ok(())
    }
}

fn vanished() -> io::Error {
    io::Error::other("a link of a VPN connection has vanished")
}

/// A link from here into a connection's namespace, made if it is missing; its index here.
fn connect(
    here: &mut Rtnl,
    name: &str,
    namespace: &Namespace,
    there: &mut Rtnl,
    inside: &str,
    mac: Mac,
) -> io::Result<u32> {
    if there.link(inside)?.is_none() {
        if let Some(orphan) = here.link(name)? {
            here.delete_link(orphan.index)?;
        }
        here.add_point_to_point(name, inside, namespace, mac)?;
    }
    let (near, far) = (here.link(name)?.ok_or_else(vanished)?, there.link(inside)?.ok_or_else(vanished)?);
    there.set_up_silent(far.index)?;
    here.set_up_silent(near.index)?;
    Ok(near.index)
}

/// What a connection's daemon says; made anew with each start of it.
fn log(config: &Config, id: VpnConnectionId) -> std::path::PathBuf {
    config.state_dir.join(format!("{id}.log"))
}

impl Vpn {
    /// Sees to it that the daemon is there, knows what it should, and gets the packets.
    fn tend(&self, config: &Config) -> io::Result<()> {
        let mut tended = self.tended.lock();
        let wanted = self.wanted.lock().clone();
        let Some((vpc, wanted)) = wanted.filter(|_| !self.is_gone()) else { return Ok(()) };
        let found = self.namespace.run(vici::Vici::connect);
        let mut vici = if let Ok(vici) = found {
            vici
        } else {
            if wanted.tunnels.iter().all(|tunnel| tunnel.key.is_none()) {
                return Ok(());
            }
            let program = requirements::ike_daemon().map_err(io::Error::other)?;
            charon::end(&self.namespace)?;
            (tended.told, tended.routed) = (None, None);
            let place = charon::Place {
                cloud: &config.cloud,
                connection: self.connection,
                namespace: &self.namespace,
                log: &log(config, self.connection),
            };
            self.namespace.run(|| nft::load(SHUT))?;
            charon::start(program, &place, || self.is_gone())?;
            tracing::info!(connection = %self.connection, "the IKE daemon was started");
            self.namespace.run(vici::Vici::connect)?
        };
        let mut rtnl = self.namespace.run(Rtnl::open)?;
        let tun = rtnl.link(TUN)?.ok_or_else(|| io::Error::other("the IKE daemon has made no TUN device"))?;
        let led = (tun.index, vpc, wanted);
        if tended.routed.as_ref() != Some(&led) {
            let (tun, vpc, wanted) = &led;
            route(&mut rtnl, *tun, vpc, wanted)?;
            tended.routed = Some(led.clone());
        }
        let (.., wanted) = led;
        if tended.told.as_ref() != Some(&wanted) {
            charon::tell(&mut vici, &wanted)?;
            self.namespace.run(|| nft::load(OPENED))?;
            tended.told = Some(wanted);
        }
        Ok(())
    }

    fn seen(&self) -> Vec<TunnelSeen> {
        let wanted = self.wanted.lock().as_ref().map(|(_, wanted)| wanted.clone());
        let Some(wanted) = wanted else { return Vec::new() };
        let states = self.namespace.run(|| charon::states(&mut vici::Vici::connect()?, wanted.tunnels.len()));
        let states = states.unwrap_or_else(|_| vec![(false, false); wanted.tunnels.len()]);
        let tunnels = wanted.tunnels.iter().zip(states);
        let seen = tunnels.map(|(tunnel, (up, ike_up))| TunnelSeen {
            connection: self.connection,
            outside: tunnel.outside,
            up,
            ike_up,
        });
        seen.collect()
    }
}

/// Leads packets from the VPC into the daemon's device, and back.
fn route(rtnl: &mut Rtnl, tun: u32, vpc: &VpcDesired, wanted: &VpnDesired) -> io::Result<()> {
    let near = rtnl.link(VPC_LINK)?.ok_or_else(vanished)?;
    rtnl.set_up(tun)?;
    let planned = vpn::routes(vpc, wanted).into_iter().map(|route| Planned {
        table: route.table,
        destination: route.destination.into(),
        metric: 0,
        way: match route.to {
            Some(Side::Tunnel) => Way::Link { index: tun, via: vpn::next_hop() },
            Some(Side::Vpc) => Way::Link { index: near.index, via: vpn::next_hop() },
            None => Way::Blackhole,
        },
    });
    rtnl.reconcile_routes(&planned.collect::<BTreeSet<_>>())?;
    rtnl.reconcile_rules(&vpn::rules())?;
    for tunnel in &wanted.tunnels {
        let [_, theirs] = vpn::inside(tunnel.inside);
        rtnl.set_route(single(theirs), Hop { link: tun, via: None, source: None })?;
    }
    Ok(())
}

/// Tends to all connections, now and then.
pub(super) async fn keep(inner: Weak<Inner>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let all: Vec<Arc<Vpn>> = strong.state.lock().vpns.values().cloned().collect();
        let config = Arc::clone(&strong.config);
        let look = move || {
            for vpn in all {
                if let Err(error) = vpn.tend(&config) {
                    tracing::warn!(connection = %vpn.connection, %error, "a VPN connection carries nothing");
                }
            }
        };
        drop(strong);
        if tokio::task::spawn_blocking(look).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How all tunnels are.
pub(super) fn seen(inner: &Inner) -> Vec<TunnelSeen> {
    let all: Vec<Arc<Vpn>> = inner.state.lock().vpns.values().cloned().collect();
    all.iter().flat_map(|vpn| vpn.seen()).collect()
}

const _: () = assert!(vpn::MOST_SEGMENT + 40 <= MTU);
