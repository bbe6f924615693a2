//! Endpoint services: the way from an endpoint's interface to the node of its service, and from there to the target.
//!
//! A link joins the two namespaces while the endpoint's VPC and the service's both ask for it, and both stand here. It is named
//! after the endpoint's interface on the node's side and bears the other end's interface as its alias on both. What a
//! namespace does with packets is [`plan::net::endpoint_service`]'s; without a link there is no way on from a door, and all is
//! dropped. An agent that starts keeps the links that it finds until the VPCs on both sides are told to it.

use super::endpoint::primary;
use super::rtnl::{Hop, Link, Rtnl};
use super::{State, nft, sysctl};
use crate::host::linux::netns::Namespace;
use ipnet::Ipv4Net;
use model::host::{EndpointLead, ServiceClient, VpcDesired};
use model::{CloudTag, Mac, NetworkInterfaceId, VpcId};
use plan::net::endpoint_service::{self, FAR, NODE_LINK};
use plan::net::{MTU, gateway_service, names};
use std::collections::BTreeMap;
use std::io;

/// The nodes that a VPC's endpoints ask for, by the endpoint's interface: the service's VPC, and the node's interface.
fn asked(vpc: &VpcDesired) -> impl Iterator<Item = (NetworkInterfaceId, VpcId, NetworkInterfaceId)> {
    let shared = vpc.endpoints.iter().filter_map(|endpoint| match &endpoint.lead {
        EndpointLead::Service(links) => Some(links),
        EndpointLead::Api => None,
    });
    shared.flatten().map(|link| (link.interface, link.vpc, link.node))
}

fn vanished() -> io::Error {
    io::Error::other("the link to an endpoint service has vanished")
}

impl State {
    /// The links with an end in a VPC that both sides ask for, by the door; what a side has not been told yet does it
    /// ask for if `unsaid`.
    fn joints(&self, vpc: &VpcDesired, unsaid: bool) -> BTreeMap<NetworkInterfaceId, NetworkInterfaceId> {
        let told = |id: VpcId| match self.vpcs.get(&id) {
            Some(_) if id == vpc.vpc => Some(Some(vpc)),
            Some((router, _)) => Some(router.desired.as_ref()),
            None => None,
        };
        let says = |id: VpcId, agrees: &dyn Fn(&VpcDesired) -> bool| {
            told(id).is_some_and(|told| told.map_or(unsaid, agrees))
        };
        let serves = |far: &VpcDesired, node: NetworkInterfaceId, client: ServiceClient| {
            let mut known = far.service_nodes.iter();
            known.any(|known| known.interface.interface == node && known.clients.contains(&client))
        };
        let mut met = BTreeMap::new();
        for (door, far, node) in asked(vpc) {
            let client = ServiceClient { interface: door, vpc: vpc.vpc };
            if says(far, &|far| serves(far, node, client)) {
                met.insert(door, node);
            }
        }
        for node in &vpc.service_nodes {
            let own = node.interface.interface;
            for client in &node.clients {
                let asks = |near: &VpcDesired| asked(near).any(|(d, _, n)| (d, n) == (client.interface, own));
                if says(client.vpc, &asks) {
                    met.insert(client.interface, own);
                }
            }
        }
        met
    }

    /// Removes the links with an end in a VPC that one of the sides asks for no more.
    pub(super) fn part_services(&mut self, cloud: &CloudTag, vpc: &VpcDesired) -> io::Result<()> {
        let own: Vec<NetworkInterfaceId> = self.router(vpc.vpc)?.endpoint_ports().collect();
        let kept = self.joints(vpc, true);
        for interface in own {
            let Some(namespace) = open(cloud, interface)? else { continue };
            let links = namespace.run(|| Rtnl::open()?.links())?;
            for link in links {
                let stays = match (link.name.as_str(), other_end(&link)) {
                    (NODE_LINK, node) => node.is_some() && kept.get(&interface) == node.as_ref(),
                    (name, door) if names::is_client_link(name) => {
                        door.is_some_and(|door| kept.get(&door) == Some(&interface))
                    }
                    _ => true,
                };
                if !stays {
                    namespace.run(|| Rtnl::open()?.delete_link(link.index))?;
                }
            }
        }
        Ok(())
    }

    /// Makes the links with an end in a VPC that both sides ask for, and has its doors and nodes do what they are for.
    pub(super) fn join_services(&mut self, cloud: &CloudTag, vpc: &VpcDesired) -> io::Result<()> {
        let shared = vpc.endpoints.iter().filter(|endpoint| !endpoint.lead.is_api());
        let doors = shared.flat_map(|endpoint| &endpoint.interfaces);
        let mut rules = Vec::new();
        for door in doors {
            rules.push((door.interface, endpoint_service::door(primary(door)?)));
        }
        for node in &vpc.service_nodes {
            let own = primary(&node.interface)?;
            rules.push((node.interface.interface, endpoint_service::node(own, node.target)));
        }
        for (interface, rules) in rules {
            if let Some(namespace) = open(cloud, interface)? {
                self.rule(&namespace, interface, rules)?;
            }
        }
        for (door, node) in self.joints(vpc, false) {
            // One whose namespace is not there yet is joined when its own VPC has its turn.
            if let (Some(inside), Some(beyond)) = (open(cloud, door)?, open(cloud, node)?) {
                join((&inside, door), (&beyond, node))?;
            }
        }
        Ok(())
    }

    /// Puts a rule set into a namespace that has another, or none that is known of.
    fn rule(&mut self, namespace: &Namespace, id: NetworkInterfaceId, rules: String) -> io::Result<()> {
        if self.service_rules.get(&id) == Some(&rules) {
            return Ok(());
        }
        namespace.run(|| {
            // The rules first: what is not to pass never does.
            nft::load(&rules)?;
            sysctl::service()
        })?;
        self.service_rules.insert(id, rules);
        Ok(())
    }
}

fn open(cloud: &CloudTag, interface: NetworkInterfaceId) -> io::Result<Option<Namespace>> {
    match Namespace::open(&names::endpoint_namespace(cloud, interface)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        namespace => namespace.map(Some),
    }
}

/// The interface that a link leads to; none while the link is not whole.
fn other_end(link: &Link) -> Option<NetworkInterfaceId> {
    link.alias.as_deref().and_then(|text| NetworkInterfaceId::parse(text).ok())
}

/// Makes what is missing of the link between a door and a node.
fn join(
    (inside, door): (&Namespace, NetworkInterfaceId),
    (beyond, node): (&Namespace, NetworkInterfaceId),
) -> io::Result<()> {
    let name = names::client_link(door);
    let ends = || -> io::Result<[Option<Link>; 2]> {
        let near = inside.run(|| Rtnl::open()?.link(NODE_LINK))?;
        Ok([near, beyond.run(|| Rtnl::open()?.link(&name))?])
    };
    let [near, far] = ends()?;
    let leads = |end: &Option<Link>, to| end.as_ref().and_then(other_end) == Some(to);
    if leads(&near, node) && leads(&far, door) {
        return Ok(());
    }
    for (namespace, end) in [(inside, near), (beyond, far)] {
        if let Some(link) = end {
            namespace.run(|| Rtnl::open()?.delete_link(link.index))?;
        }
    }
    let bits = door.bits().to_be_bytes();
    let mac = Mac([0x02, 0xe8, bits[12], bits[13], bits[14], bits[15]]);
    beyond.run(|| Rtnl::open()?.add_point_to_point(&name, NODE_LINK, inside, mac))?;
    let [Some(near), Some(far)] = ends()? else { return Err(vanished()) };
    let own = gateway_service::inside(far.index);
    let hop = |link| Hop { link, via: None, source: None };
    inside.run(|| {
        let mut rtnl = Rtnl::open()?;
        rtnl.set_up_silent(near.index)?;
        rtnl.add_address(near.index, own)?;
        rtnl.set_route(Ipv4Net::from(FAR), hop(near.index))?;
        rtnl.dress(near.index, mac.0, &node.to_string(), MTU)
    })?;
    // This end's alias comes last: with it the link is whole.
    beyond.run(|| {
        let mut rtnl = Rtnl::open()?;
        rtnl.set_up_silent(far.index)?;
        rtnl.set_route(Ipv4Net::from(own), hop(far.index))?;
        rtnl.dress(far.index, mac.0, &door.to_string(), MTU)
    })
}
