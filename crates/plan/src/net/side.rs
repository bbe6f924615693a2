//! What a VPC's rule set holds for its links beside ports and gateway: peerings, transit gateways, VPN connections and NAT
//! gateways.
//!
//! A peering is a link between two routers. Each side takes from it only what comes from the other's ranges and goes to its
//! own, so nothing passes through; the sender's gate has judged already, the receiver's judges here.
//!
//! A link of a transit gateway takes what comes from its attachment's zones, whosever it is, and gives nothing in the VPC's
//! own name. What comes by it asks the table of the attachment's subnet, so it may go on as that one says.
//!
//! A link of a VPN connection is like a peering's: it gives what comes from the connection's static routes, and goes to the
//! VPC's own ranges, or first to where the gateway's own table leads it ([`super::detour`]).
//!
//! That of a transit gateway's stands in a network of its own, without ranges: what comes by it asks the table of a subnet
//! that is there for it.
//!
//! Gateway endpoints share one more link to the edge. It takes what the VPC's own send, as their routes lead it there, and
//! gives answers alone; [`super::gateway_service`] tells what becomes of it.
//!
//! A NAT gateway is a link from its router to itself. What is routed into it leaves with its address and a port of its own,
//! comes back by the other end as a packet of the gateway's subnet, and is routed as that one says; so the gateway's public
//! address is translated at the edge like any other, and what has none stays inside. Only answers go the other way, and they
//! too are routed as that subnet says.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
//! Differs: the ACL of a NAT gateway's subnet judges what goes into it and comes out of it towards its destination, not the
//! answers.

use super::names::{
    VPC_TABLE, nat_back, nat_chains, nat_links, peering_arrival, peering_link, service_link, subnet_egress,
    subnet_ingress, transit_chains, transit_link, vpn_arrival, vpn_link,
};
use super::routes;
use model::SubnetId;
use model::host::{TransitDesired, VpcDesired};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Chains by name, and elements by set.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub chains: Vec<(String, Vec<String>)>,
    elements: Vec<(&'static str, String)>,
}

/// The sets that are filled anew with each change of the VPC.
const SETS: [&str; 9] =
    ["link_pre", "link_out", "link_zone", "inward", "peers", "vpns", "nat_snat", "nat_dnat", "nat_eip"];

pub(super) fn side(vpc: &VpcDesired) -> Side {
    let mut side = Side::default();
    let marks = routes::marks(vpc);
    for peering in &vpc.peerings {
        let (link, arrival) = (peering_link(peering.peering), peering_arrival(peering.peering));
        let from = peering.cidrs.iter().map(ipnet::Ipv4Net::trunc);
        let from6 = peering.ipv6_cidrs.iter().map(ipnet::Ipv6Net::trunc);
        let rules = from.map(|cidr| format!("ip saddr {cidr} ip daddr @local accept"));
        let rules = rules.chain(from6.map(|cidr| format!("ip6 saddr {cidr} ip6 daddr @local6 accept")));
        side.chains.push((arrival.clone(), rules.chain(["drop".into()]).collect()));
        side.add("link_pre", format!("\"{link}\" : goto {arrival}"));
        side.add("link_out", format!("\"{link}\" : accept"));
        side.add("inward", format!("\"{link}\""));
        side.add("peers", format!("\"{link}\""));
    }
    if let Some(arrival) = super::detour::arrival(vpc) {
        side.chains.push(arrival);
        side.add("link_pre", super::detour::entrance());
    }
    for transit in &vpc.transits {
        side.transit(transit, &marks);
    }
    let by_vpn = super::detour::arrival_by_vpn(vpc);
    let inward = by_vpn.as_ref().map_or_else(|| "accept".to_owned(), |(chain, _)| format!("goto {chain}"));
    side.chains.extend(by_vpn);
    for vpn in &vpc.vpns {
        let (link, arrival) = (vpn_link(vpn.connection), vpn_arrival(vpn.connection));
        let on = match vpn.arrival.map(|subnet| marks.get(&subnet)) {
            None => format!("ip daddr @local {inward}"),
            Some(Some(mark)) => format!("meta mark set {mark} accept"),
            Some(None) => "drop".to_owned(),
        };
        let from = vpn.routes.iter().map(ipnet::Ipv4Net::trunc);
        let rules = from.map(|net| format!("ip saddr {net} {on}"));
        let own = ["ip saddr @local drop".to_owned()].into_iter();
        side.chains.push((arrival.clone(), own.chain(rules).chain(["drop".into()]).collect()));
        side.add("link_pre", format!("\"{link}\" : goto {arrival}"));
        side.add("link_out", format!("\"{link}\" : accept"));
        side.add("inward", format!("\"{link}\""));
        side.add("vpns", format!("\"{link}\""));
    }
    if routes::lead_to_services(vpc) {
        let link = service_link(vpc.vpc);
        side.add("link_pre", format!("\"{link}\" : accept"));
        side.add("link_out", format!("\"{link}\" : goto to_services"));
        side.add("peers", format!("\"{link}\""));
    }
    for gateway in &vpc.nat_gateways {
        let [way_in, way_out] = nat_links(gateway.gateway);
        let [into, out] = nat_chains(gateway.gateway);
        let Some(subnet) = vpc.subnets.iter().find(|subnet| subnet.subnet == gateway.subnet) else {
            continue;
        };
        let Some(mark) = marks.get(&subnet.subnet) else { continue };
        let private = gateway.address.private;
        side.chains
            .push((into.clone(), vec![format!("jump {}", subnet_ingress(subnet.subnet)), "accept".into()]));
        let leaving = format!("jump {}", subnet_egress(subnet.subnet));
        let marked = format!("ip saddr {private} meta mark set {mark} accept");
        // No way out is known yet where this is asked: the subnet's own are told by their addresses.
        let within = subnet.cidr.map(|cidr| format!("ip daddr {} {marked}", cidr.trunc()));
        let rules = within.into_iter().chain([leaving, marked, "drop".into()]);
        side.chains.push((out.clone(), rules.collect()));
        let back = nat_back(gateway.gateway);
        side.chains.push((back.clone(), vec![format!("meta mark set {mark} accept")]));
        side.add("link_pre", format!("\"{way_in}\" : goto {back}"));
        side.add("link_pre", format!("\"{way_out}\" : goto {out}"));
        side.add("link_out", format!("\"{way_in}\" : goto {into}"));
        side.add("inward", format!("\"{way_out}\""));
        side.add("nat_snat", format!("\"{way_in}\" : {private}"));
        if let Some(public) = gateway.address.public.filter(|_| routes::is_public(vpc, subnet)) {
            side.add("nat_dnat", format!("{public} : {private}"));
            side.add("nat_eip", format!("{private} : {public}"));
        }
    }
    side
}

impl Side {
    fn transit(&mut self, transit: &TransitDesired, marks: &BTreeMap<SubnetId, u32>) {
        let Some(mark) = marks.get(&transit.arrival) else { return };
        let [arrival, leaving] = transit_chains(transit.attachment);
        let mut rules = vec!["ip saddr @local drop".to_owned(), "ip6 saddr @local6 drop".to_owned()];
        rules.push(format!("meta nfproto ipv4 meta mark set {mark} accept"));
        rules.extend(transit.ipv6.then(|| format!("meta nfproto ipv6 meta mark set {mark} accept")));
        rules.push("drop".into());
        self.chains.push((arrival.clone(), rules));
        let served: Vec<String> =
            transit.served.iter().filter_map(|subnet| marks.get(subnet)).map(u32::to_string).collect();
        let served = (!served.is_empty()).then(|| format!("meta mark {{ {} }} return", served.join(", ")));
        // What the internet gateway translates is translated by whatever link it leaves: its way is no other.
        let translated =
            ["ct direction reply ct status dnat drop", "ct direction original ct status snat drop"];
        let rules = translated.map(str::to_owned).into_iter().chain(served).chain(["drop".into()]);
        self.chains.push((leaving.clone(), rules.collect()));
        for peer in &transit.peers {
            let link = transit_link([transit.attachment, peer.attachment]);
            self.add("link_pre", format!("\"{link}\" : goto {arrival}"));
            self.add("link_out", format!("\"{link}\" : accept"));
            self.add("link_zone", format!("\"{link}\" : jump {leaving}"));
            self.add("inward", format!("\"{link}\""));
            self.add("peers", format!("\"{link}\""));
        }
    }

    /// Whether any link judges each packet that leaves by it, answers too.
    pub fn judges_each_packet(&self) -> bool {
        self.elements.iter().any(|(set, _)| *set == "link_zone")
    }

    fn add(&mut self, set: &'static str, element: String) {
        self.elements.push((set, element));
    }

    /// Empties the sets: what they name may go then.
    pub fn flush(out: &mut String) {
        for set in SETS {
            let kind = if matches!(set, "inward" | "peers" | "vpns") { "set" } else { "map" };
            let _ = writeln!(out, "flush {kind} inet {VPC_TABLE} {set}");
        }
    }

    /// Fills the sets. The chains must be there.
    pub fn fill(&self, out: &mut String) {
        for (set, element) in &self.elements {
            let _ = writeln!(out, "add element inet {VPC_TABLE} {set} {{ {element} }}");
        }
    }
}

/// The public addresses of NAT gateways that are in force.
pub fn nat_publics(vpc: &VpcDesired) -> impl Iterator<Item = std::net::Ipv4Addr> {
    let public = |gateway: &model::host::NatGatewayDesired| {
        let subnet = vpc.subnets.iter().find(|subnet| subnet.subnet == gateway.subnet)?;
        gateway.address.public.filter(|_| routes::is_public(vpc, subnet))
    };
    vpc.nat_gateways.iter().filter_map(public)
}
