//! Where a VPC's routes lead at present: what is desired of its route tables, as the links that stand make it.

use super::router::Router;
use super::rtnl::{Planned, Way};
use ipnet::IpNet;
use model::NetworkInterfaceId;
use model::host::{RouteTarget, VpcDesired};
use plan::net::routes::Kind;
use plan::net::{Version, names};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

impl Router {
    /// Brings the routes that lead to an interface to where it is now, if there are any.
    pub fn steer(&mut self, interface: NetworkInterfaceId) -> io::Result<()> {
        let leads_there = |vpc: &VpcDesired| {
            let mut routes = vpc.route_tables.iter().flat_map(|table| &table.routes);
            routes.any(|route| route.target == RouteTarget::Interface(interface))
        };
        match self.desired.clone() {
            Some(vpc) if leads_there(&vpc) => self.reconcile_routes(&vpc),
            Some(_) | None => Ok(()),
        }
    }

    pub fn reconcile_routes(&mut self, vpc: &VpcDesired) -> io::Result<()> {
        let planned = plan::net::routes::routes(vpc);
        let mut ways = BTreeSet::new();
        for route in planned {
            // What is for the interface itself comes to it, whether it forwards or not. Wider routes than the VPC's own
            // are none for its addresses.
            let is_local = plan::net::routes::locals(vpc).any(|cidr| cidr.contains(&route.destination));
            for own in self.own_within(&route).into_iter().filter(|_| is_local) {
                ways.insert(Planned { table: route.table, destination: own, metric: 0, way: Way::Throw });
            }
            if let Some(way) = self.way(route.kind, Version::of_net(route.destination)) {
                let (table, destination, metric) = (route.table, route.destination, route.metric);
                ways.insert(Planned { table, destination, metric, way });
            }
        }
        let planned = ways;
        self.rtnl.reconcile_routes(&planned)
    }

    /// The addresses and prefixes of an interface that lie in the destination of a route to it.
    fn own_within(&self, route: &plan::net::routes::Route) -> Vec<IpNet> {
        let Kind::Interface(interface) = route.kind else { return Vec::new() };
        let Some(port) = self.ports.get(&interface) else { return Vec::new() };
        let mut own = self.nets(&port.tap);
        own.retain(|net| route.destination.contains(net));
        own
    }

    /// Where a route leads at present; none: nowhere.
    fn way(&self, kind: Kind, version: Version) -> Option<Way> {
        match kind {
            Kind::Igw => Some(Way::Link { index: self.igw, via: next_hop(version) }),
            Kind::Blackhole => Some(Way::Blackhole),
            Kind::Unreachable => Some(Way::Unreachable),
            Kind::Throw => Some(Way::Throw),
            Kind::Peering(peering) => self.side(&names::peering_link(peering), version),
            Kind::Transit(ends) => self.side(&names::transit_link(ends), version),
            Kind::Vpn(connection) => self.side(&names::vpn_link(connection), version),
            Kind::Service(_) => self.side(&names::service_link(self.vpc), version),
            Kind::NatGateway(gateway) => {
                let [way_in, _] = names::nat_links(gateway);
                self.side(&way_in, version)
            }
            Kind::Interface(interface) => {
                let port = self.ports.get(&interface)?;
                // One that checks takes nothing that is not for itself.
                self.of_link("anysrc", &port.tap).next()?;
                // Any of its addresses: all are the same neighbour.
                let via = match version {
                    Version::V4 => self.addresses(&port.tap).into_iter().find(IpAddr::is_ipv4)?,
                    // What has no IPv6 is none for it, as above what has no IPv4.
                    Version::V6 => {
                        self.of_link("known6", &port.tap).next()?;
                        plan::net::ipv6::link_local(self.mac(&port.tap)?).into()
                    }
                };
                Some(Way::Link { index: port.index, via })
            }
        }
    }

    fn side(&self, link: &str, version: Version) -> Option<Way> {
        let index = *self.side_links.get(link)?;
        Some(Way::Link { index, via: next_hop(version) })
    }
}

/// The name of the other end of a point-to-point link.
const fn next_hop(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(plan::net::NEXT_HOP),
        Version::V6 => IpAddr::V6(plan::net::ipv6::NEXT_HOP),
    }
}
