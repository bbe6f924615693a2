//! The edge: the namespace between the host and the VPCs, and the host's own side of the link to it.

use super::nft::{self, Batch, Data, Family, Nft};
use super::router::single;
use super::rtnl::{Hop, Rtnl};
use super::{Config, foreign, sysctl};
use crate::host::linux::netns::{self, Namespace};
use ipnet::Ipv4Net;
use model::{Mac, VpcId, VpnConnectionId};
use plan::net::names::{self, EDGE_TABLE, EDGE_UPLINK};
use plan::net::{NEXT_HOP, pool};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

const OWNERS: &str = "owners";

/// Who has a public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Vpc(VpcId),
    /// The end of a tunnel.
    Vpn(VpnConnectionId),
    /// A VPC's way to services beside the cloud, by an address that only the edge knows.
    Services(VpcId),
}

impl Holder {
    /// The edge's link to it.
    fn link(self) -> String {
        match self {
            Self::Vpc(vpc) => names::edge_link(vpc),
            Self::Vpn(connection) => names::vpn_link(connection),
            Self::Services(vpc) => names::service_link(vpc),
        }
    }
}

/// How the host leads to addresses outside of the pool: one by one, while somebody holds them. What else is in their ranges
/// stays wherever the host's other routes say.
#[derive(Debug)]
struct Brought {
    ranges: Vec<Ipv4Net>,
    /// The host's end of the link to the edge.
    link: String,
    via: Ipv4Addr,
    source: Ipv4Addr,
}

impl Brought {
    fn is_one(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    fn hop(&self, link: u32) -> Hop {
        Hop { link, via: Some(self.via.into()), source: Some(self.source.into()) }
    }

    fn lead(&self, host: &Namespace, address: Ipv4Addr) -> io::Result<()> {
        if !self.is_one(address) {
            return Ok(());
        }
        let mut rtnl = host.run(Rtnl::open)?;
        match rtnl.link(&self.link)? {
            Some(link) => rtnl.set_route(single(address), self.hop(link.index)),
            None => Err(io::Error::other("the link between host and edge has vanished")),
        }
    }

    fn part(&self, host: &Namespace, address: Ipv4Addr) -> io::Result<()> {
        if !self.is_one(address) {
            return Ok(());
        }
        let mut rtnl = host.run(Rtnl::open)?;
        match rtnl.link(&self.link)? {
            Some(link) => rtnl.delete_route(single(address), link.index),
            None => Ok(()),
        }
    }

    /// Leads to exactly these addresses, as far as they were brought.
    fn reconcile(&self, host: &Namespace, held: impl Iterator<Item = Ipv4Addr>) -> io::Result<()> {
        let mut rtnl = host.run(Rtnl::open)?;
        let Some(link) = rtnl.link(&self.link)? else { return Ok(()) };
        let wanted: BTreeSet<Ipv4Addr> = held.filter(|address| self.is_one(*address)).collect();
        let standing = rtnl.host_routes()?.into_iter().filter(|(_, at)| *at == link.index);
        for (address, at) in standing.filter(|(address, _)| !wanted.contains(address)) {
            rtnl.delete_route(single(address), at)?;
        }
        for address in wanted {
            rtnl.set_route(single(address), self.hop(link.index))?;
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct Edge {
    /// The host's namespace: the one that the driver was opened in.
    pub root: Namespace,
    pub namespace: Namespace,
    pub rtnl: Rtnl,
    pub(super) nft: Nft,
    /// Whom each public address leads to.
    owners: BTreeMap<Ipv4Addr, Holder>,
    /// The host's route to each address that an account brought.
    brought: Brought,
    /// The link to the host, once it carries IPv6.
    pub(super) ipv6_link: Option<u32>,
}

impl Edge {
    pub fn open(config: &Config) -> io::Result<Self> {
        let root = Namespace::current()?;
        let name = names::edge_namespace(&config.cloud);
        let namespace = match Namespace::open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                netns::remove(&name)?;
                Namespace::create(&name)?
            }
            namespace => namespace?,
        };
        let (mut rtnl, nft) = namespace.run(|| {
            sysctl::router()?;
            nft::load_skeleton(plan::net::edge_skeleton(), &[(Family::Inet, EDGE_TABLE)], None)?;
            let own = pool::edge_address(config.public_pool);
            nft::load(&plan::net::gateway_service::edge_table(own, &config.gateway_services))?;
            Ok((Rtnl::open()?, Nft::open()?))
        })?;
        rtnl.set_up(1)?;
        rtnl.add_address(1, pool::edge_address(config.public_pool))?;
        let has_ipv6 = sysctl::has_ipv6();
        let brought = Brought {
            ranges: config.byoip.clone(),
            link: names::host_link(&config.cloud),
            via: pool::edge_address(config.public_pool),
            source: pool::host_address(config.public_pool),
        };
        let owners = BTreeMap::new();
        let mut edge = Self { root, namespace, rtnl, nft, owners, brought, ipv6_link: None };
        edge.connect(config)?;
        // Where it was in use, before anybody asks.
        if has_ipv6 && !edge.ipv6_vpcs()?.is_empty() {
            edge.connect_ipv6(config)?;
        }
        Ok(edge)
    }

    /// The pair of links between the host and the edge, and what the host needs around it.
    fn connect(&mut self, config: &Config) -> io::Result<()> {
        let link_name = names::host_link(&config.cloud);
        let edge = &self.namespace;
        let mut host = self.root.run(Rtnl::open)?;
        if self.rtnl.link(EDGE_UPLINK)?.is_none() {
            if let Some(orphan) = host.link(&link_name)? {
                host.delete_link(orphan.index)?;
            }
            let tag = config.cloud.as_str().as_bytes();
            let mac = Mac([0x02, tag[1], tag[2], tag[3], tag[4], tag[5]]);
            host.add_point_to_point(&link_name, EDGE_UPLINK, edge, mac)?;
        }
        let vanished = || io::Error::other("the link between host and edge has vanished");
        let near = host.link(&link_name)?.ok_or_else(vanished)?;
        let far = self.rtnl.link(EDGE_UPLINK)?.ok_or_else(vanished)?;
        // The rules stand before the link is up.
        let uplink =
            if config.uplink_nat { plan::net::Uplink::Masquerade } else { plan::net::Uplink::Routed };
        let table = plan::net::root_table(
            &config.cloud,
            config.public_pool,
            &config.byoip,
            config.ipv6_pool,
            uplink,
            &config.gateway_services,
        );
        self.root.run(|| {
            nft::load(&table)?;
            sysctl::quietly(&format!("net/ipv6/conf/{link_name}/disable_ipv6"), "1")?;
            foreign::admit(&config.cloud)?;
            forward_packets(config)
        })?;
        host.set_up_silent(near.index)?;
        self.rtnl.set_up_silent(far.index)?;
        let (own, next) = (pool::host_address(config.public_pool), pool::edge_address(config.public_pool));
        host.add_address(near.index, own)?;
        host.set_route(
            config.public_pool.trunc(),
            Hop { link: near.index, via: Some(next.into()), source: Some(own.into()) },
        )?;
        self.rtnl.set_route(single(own), Hop { link: far.index, via: Some(own.into()), source: None })?;
        self.rtnl
            .set_route(Ipv4Net::default(), Hop { link: far.index, via: Some(own.into()), source: None })?;
        self.rtnl.set_unreachable(config.public_pool.trunc())
    }

    /// Makes exactly these public addresses lead to their holders: after a start, when nothing else is known.
    pub fn reconcile(&mut self, wanted: &BTreeMap<Ipv4Addr, Holder>) -> io::Result<()> {
        let standing = self.nft.elements(Family::Inet, EDGE_TABLE, OWNERS)?.unwrap_or_default();
        let mut keys = BTreeSet::new();
        for (address, holder) in wanted {
            keys.insert(owner_key(*holder, *address));
        }
        let mut batch = Batch::default();
        for key in standing.keys().filter(|key| !keys.contains(*key)) {
            batch.delete_element(Family::Inet, EDGE_TABLE, OWNERS, key);
        }
        for key in keys.iter().filter(|key| !standing.contains_key(*key)) {
            batch.add_element(Family::Inet, EDGE_TABLE, OWNERS, key, &Data::None);
        }
        self.nft.commit(batch)?;
        let links: BTreeMap<String, u32> =
            self.rtnl.links()?.into_iter().map(|link| (link.name, link.index)).collect();
        let uplink = links.get(EDGE_UPLINK).copied();
        for (address, link) in self.rtnl.host_routes()? {
            if !wanted.contains_key(&address) && Some(link) != uplink {
                self.rtnl.delete_route(single(address), link)?;
            }
        }
        for (address, holder) in wanted {
            let Some(link) = links.get(&holder.link()) else { continue };
            let hop = Hop { link: *link, via: Some(NEXT_HOP.into()), source: None };
            self.rtnl.set_route(single(*address), hop)?;
        }
        self.brought.reconcile(&self.root, wanted.keys().copied())?;
        self.owners.clone_from(wanted);
        Ok(())
    }

    /// Leads a public address to its holder, wherever it led before.
    pub fn gain(&mut self, to: Holder, link: u32, address: Ipv4Addr) -> io::Result<()> {
        // Each step may be taken again after a failure of the next.
        self.rtnl.set_route(single(address), Hop { link, via: Some(NEXT_HOP.into()), source: None })?;
        let mut batch = Batch::default();
        if let Some(holder) = self.owners.get(&address).filter(|holder| **holder != to) {
            batch.delete_element(Family::Inet, EDGE_TABLE, OWNERS, &owner_key(*holder, address));
        }
        batch.add_element(Family::Inet, EDGE_TABLE, OWNERS, &owner_key(to, address), &Data::None);
        self.nft.commit(batch)?;
        self.brought.lead(&self.root, address)?;
        self.owners.insert(address, to);
        Ok(())
    }

    /// Stops leading a public address to this holder. One that another has got meanwhile stays there.
    pub fn lose(&mut self, from: Holder, link: u32, address: Ipv4Addr) -> io::Result<()> {
        if self.owners.get(&address) != Some(&from) {
            return Ok(());
        }
        self.brought.part(&self.root, address)?;
        self.rtnl.delete_route(single(address), link)?;
        let mut batch = Batch::default();
        batch.delete_element(Family::Inet, EDGE_TABLE, OWNERS, &owner_key(from, address));
        self.nft.commit(batch)?;
        self.owners.remove(&address);
        Ok(())
    }

    /// Whom a public address leads to.
    pub fn owner(&self, address: Ipv4Addr) -> Option<Holder> {
        self.owners.get(&address).copied()
    }

    /// Everything that leads to a VPC, and its link.
    pub fn forget(&mut self, vpc: VpcId) -> io::Result<()> {
        self.forget_holder(Holder::Services(vpc), &names::service_link(vpc))?;
        self.forget_holder(Holder::Vpc(vpc), &names::edge_link(vpc))?;
        self.forget_ipv6(vpc)
    }

    /// Every public address that leads to a holder, and the link.
    pub fn forget_holder(&mut self, holder: Holder, link: &str) -> io::Result<()> {
        let link = self.rtnl.link(link)?;
        let theirs: Vec<Ipv4Addr> =
            self.owners.iter().filter(|(_, owner)| **owner == holder).map(|(address, _)| *address).collect();
        for address in theirs {
            self.lose(holder, link.as_ref().map_or(0, |link| link.index), address)?;
        }
        if let Some(link) = link {
            self.rtnl.delete_link(link.index)?;
        }
        Ok(())
    }
}

fn owner_key(holder: Holder, address: Ipv4Addr) -> Vec<u8> {
    let mut key = nft::link_key(&holder.link());
    key.extend_from_slice(&address.octets());
    key
}

/// Turns on forwarding of the host, and notes once what it was. It is never turned off again: something else on the host
/// may have come to need it.
fn forward_packets(config: &Config) -> io::Result<()> {
    let key = "net/ipv4/ip_forward";
    let was = sysctl::get(key)?;
    if was == "1" {
        return Ok(());
    }
    let note = config.state_dir.join("ip_forward_was");
    if !note.exists() {
        std::fs::write(note, &was)?;
    }
    tracing::info!("net.ipv4.ip_forward was {was}; instances need it on");
    sysctl::set(key, "1")
}
