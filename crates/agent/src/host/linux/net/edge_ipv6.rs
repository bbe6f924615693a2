//! IPv6 between the host, the edge and the VPCs. Nothing is translated: a VPC's block is routed to it.
//!
//! The host learns of IPv6 with the first VPC that has a block, and is left alone until then.

use super::edge::Edge;
use super::nft::{self, Batch, Family};
use super::rtnl::{Hop, Rtnl};
use super::{Config, sysctl};
use ipnet::{IpNet, Ipv6Net};
use model::VpcId;
use plan::net::ipv6::{self, NEXT_HOP};
use plan::net::names::{self, EDGE_TABLE, EDGE_UPLINK};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

const OWNERS: &str = "owners6";

impl Edge {
    /// The VPCs that the edge knows blocks of.
    pub(super) fn ipv6_vpcs(&mut self) -> io::Result<BTreeSet<VpcId>> {
        let chains = self.nft.chains(Family::Inet, EDGE_TABLE)?;
        Ok(chains.iter().filter_map(|chain| names::vpc_of_edge_ipv6(chain)).collect())
    }

    /// Leads exactly these blocks to a VPC, and lets it send in their name.
    pub fn lead_ipv6(&mut self, config: &Config, vpc: VpcId, blocks: &[Ipv6Net]) -> io::Result<()> {
        if blocks.is_empty() {
            return self.forget_ipv6(vpc);
        }
        if !sysctl::has_ipv6() {
            tracing::warn!(%vpc, "the host's kernel has no IPv6; the VPC's blocks lead nowhere");
            return Ok(());
        }
        self.connect_ipv6(config)?;
        let name = names::edge_link(vpc);
        let link = self.rtnl.link(&name)?;
        let link = link.ok_or_else(|| io::Error::other("the edge has lost its link to the VPC"))?;
        self.namespace.run(|| {
            sysctl::carry_ipv6(&name)?;
            nft::load(&plan::net::edge_blocks(vpc, blocks))
        })?;
        let wanted: BTreeSet<IpNet> = blocks.iter().map(|block| IpNet::V6(block.trunc())).collect();
        for gone in self.rtnl.ipv6_routes(link.index)?.into_iter().filter(|net| !wanted.contains(net)) {
            self.rtnl.delete_route(gone, link.index)?;
        }
        for block in wanted {
            let hop = Hop { link: link.index, via: Some(NEXT_HOP.into()), source: None };
            self.rtnl.set_route(block, hop)?;
        }
        Ok(())
    }

    /// Routes go with the VPC's link, or here.
    pub(super) fn forget_ipv6(&mut self, vpc: VpcId) -> io::Result<()> {
        let chain = names::edge_ipv6(vpc);
        if !self.nft.chains(Family::Inet, EDGE_TABLE)?.contains(&chain) {
            return Ok(());
        }
        let name = names::edge_link(vpc);
        if let Some(link) = self.rtnl.link(&name)? {
            for block in self.rtnl.ipv6_routes(link.index)? {
                self.rtnl.delete_route(block, link.index)?;
            }
        }
        let mut batch = Batch::default();
        batch.delete_element(Family::Inet, EDGE_TABLE, OWNERS, &nft::link_key(&name));
        batch.flush_chain(Family::Inet, EDGE_TABLE, &chain);
        batch.delete_chain(Family::Inet, EDGE_TABLE, &chain);
        self.nft.commit(batch)
    }

    /// Once: the host's and the edge's ends carry IPv6, and the pool is routed.
    pub(super) fn connect_ipv6(&mut self, config: &Config) -> io::Result<()> {
        if self.ipv6_link.is_some() {
            return Ok(());
        }
        let (pool, host_link) = (config.ipv6_pool.trunc(), names::host_link(&config.cloud));
        let own = ipv6::host_address(pool);
        let vanished = || io::Error::other("the link between host and edge has vanished");
        let mut host = self.root.run(Rtnl::open)?;
        let near = host.link(&host_link)?.ok_or_else(vanished)?;
        let far = self.rtnl.link(EDGE_UPLINK)?.ok_or_else(vanished)?;
        self.namespace.run(|| sysctl::carry_ipv6(EDGE_UPLINK))?;
        self.root.run(|| {
            sysctl::quietly(&format!("net/ipv6/conf/{host_link}/addr_gen_mode"), "1")?;
            sysctl::quietly(&format!("net/ipv6/conf/{host_link}/accept_ra"), "0")?;
            sysctl::carry_ipv6(&host_link)?;
            forward_packets(config)
        })?;
        host.add_address(near.index, own)?;
        let hop = |link, source| Hop { link, via: Some(IpAddr::V6(NEXT_HOP)), source };
        host.set_route(pool, hop(near.index, Some(own.into())))?;
        self.rtnl.set_route(IpNet::from(IpAddr::V6(own)), hop(far.index, None))?;
        self.rtnl.set_route(Ipv6Net::default(), hop(far.index, None))?;
        self.rtnl.set_unreachable(pool)?;
        self.ipv6_link = Some(far.index);
        Ok(())
    }
}

/// Turns on forwarding of IPv6 on the host, and notes once what it was. A host that forwards listens to no router unless it
/// is told to, so links that listened are.
fn forward_packets(config: &Config) -> io::Result<()> {
    let key = "net/ipv6/conf/all/forwarding";
    let was = sysctl::get(key)?;
    if was == "1" {
        return Ok(());
    }
    let note = config.state_dir.join("ipv6_forwarding_was");
    if !note.exists() {
        std::fs::write(note, &was)?;
    }
    for link in std::fs::read_dir("/proc/sys/net/ipv6/conf")? {
        let listens = link?.path().join("accept_ra");
        if std::fs::read_to_string(&listens).is_ok_and(|value| value.trim() == "1") {
            std::fs::write(&listens, "2")?;
        }
    }
    tracing::info!("IPv6 forwarding was {was}; instances need it on");
    sysctl::set(key, "1")
}
