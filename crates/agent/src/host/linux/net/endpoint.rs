//! VPC endpoints: ports whose machine is a namespace, with two listeners in it or with a way to the node of a service.
//!
//! ```text
//! [ VPC: groups, ACLs, routes ]─ e… ═══ eth0 ─[ endpoint: the interface's address, TCP 80 and 443, nothing else ]
//! ```
//! The VPC's router knows an endpoint's interface as it knows a guest's, so whatever judges packets to guests judges these.
//! The namespace of one that leads to the API forwards nothing and has a way to the router alone: who gets into it has got no
//! further than its port. One that leads to an account's service is [`super::service_node`]'s from its port on, and so are
//! the services' own interfaces, which are ports of the same kind.

use super::port::Moved;
use super::router::{Port, Router};
use super::rtnl::{Hop, Rtnl};
use super::{Inner, State, services, sysctl};
use crate::host::linux::netns::{self, Namespace};
use crate::link_local::endpoint::EndpointPlace;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::host::{InterfaceDesired, VpcDesired};
use model::{CloudTag, Mac, NetworkInterfaceId, VpcId};
use plan::net::endpoint_service::PORT;
use plan::net::{ipv6, names};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

/// The ports at which the API answers.
const LISTENS: [u16; 2] = [80, 443];

/// An endpoint's interface that is served. Dropping it ends its listeners.
#[derive(Debug)]
pub(super) struct Door {
    place: EndpointPlace,
    addresses: Vec<IpAddr>,
    lent: Vec<TcpListener>,
}

impl Drop for Door {
    fn drop(&mut self) {
        // Whoever serves them sees `accept` fail and lets go of the listener, and with it of the namespace.
        for listener in &self.lent {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }
}

impl State {
    /// Removes the interfaces of endpoints that are no longer desired, so that nothing of the VPC is held by them.
    pub(super) fn close_endpoints(&mut self, inner: &Inner, vpc: &VpcDesired) -> io::Result<()> {
        let wanted: BTreeSet<NetworkInterfaceId> = interfaces(vpc).map(|i| i.interface).collect();
        self.part_services(&inner.config.cloud, vpc)?;
        let router = self.router(vpc.vpc)?;
        for interface in router.endpoint_ports().filter(|id| !wanted.contains(id)).collect::<Vec<_>>() {
            let lost = self.router(vpc.vpc)?.remove_port(interface)?;
            self.carry(vpc.vpc, &Moved { lost, ..Moved::default() })?;
            self.close(&inner.config.cloud, interface)?;
        }
        Ok(())
    }

    /// Makes what is missing of the VPC's endpoints and of its services' nodes, and brings the rest to the desired groups.
    pub(super) fn open_endpoints(&mut self, inner: &Inner, vpc: &VpcDesired) -> io::Result<()> {
        for endpoint in &vpc.endpoints {
            let place =
                EndpointPlace { region: vpc.region.clone(), vpc: vpc.vpc, endpoint: endpoint.endpoint };
            for interface in &endpoint.interfaces {
                let namespace = self.stand(inner, vpc.vpc, interface, endpoint.lead.is_api())?;
                if endpoint.lead.is_api() {
                    self.listen(inner, interface, &place, &namespace)?;
                }
            }
        }
        for node in &vpc.service_nodes {
            self.stand(inner, vpc.vpc, &node.interface, false)?;
        }
        self.join_services(&inner.config.cloud, vpc)
    }

    /// Makes an interface's namespace and port, or what is missing of them. `ends` says whether packets end there.
    fn stand(
        &mut self,
        inner: &Inner,
        vpc: VpcId,
        interface: &InterfaceDesired,
        ends: bool,
    ) -> io::Result<Namespace> {
        let id = interface.interface;
        let name = names::endpoint_namespace(&inner.config.cloud, id);
        let namespace = match Namespace::open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                netns::remove(&name)?;
                Namespace::create(&name)?
            }
            namespace => namespace?,
        };
        if !self.router(vpc)?.ports.contains_key(&id) {
            let link = names::endpoint_port(self.counter.take()?);
            self.router(vpc)?.open_endpoint_port(interface, link, &namespace)?;
        }
        namespace.run(|| {
            if ends {
                sysctl::endpoint(interface.has_ipv6().then_some(PORT))?;
            }
            settle(interface)
        })?;
        let moved = self.router(vpc)?.place(interface)?;
        self.carry(vpc, &moved)?;
        Ok(namespace)
    }

    /// Has the API answer at an interface.
    fn listen(
        &mut self,
        inner: &Inner,
        interface: &InterfaceDesired,
        place: &EndpointPlace,
        namespace: &Namespace,
    ) -> io::Result<()> {
        let id = interface.interface;
        let v4 = interface.addresses.iter().map(|address| IpAddr::V4(address.private));
        let addresses: Vec<IpAddr> = v4.chain(interface.ipv6.iter().copied().map(IpAddr::V6)).collect();
        if self.doors.get(&id).is_some_and(|door| door.place == *place && door.addresses == addresses) {
            return Ok(());
        }
        // What is open stays open: the server has it.
        self.doors.remove(&id);
        let mut door = Door { place: place.clone(), addresses: addresses.clone(), lent: Vec::new() };
        let _inside = inner.runtime.enter();
        for address in addresses {
            for port in LISTENS {
                let listen = || services::patiently(|| services::listen((address, port).into()));
                let listener = namespace.run(listen)?;
                door.lent.push(listener.try_clone()?);
                (inner.config.on_endpoint)(place.clone(), tokio::net::TcpListener::from_std(listener)?);
            }
        }
        self.doors.insert(id, door);
        Ok(())
    }

    /// The namespace of an endpoint's interface, and who listens in it.
    pub(super) fn close(&mut self, cloud: &CloudTag, interface: NetworkInterfaceId) -> io::Result<()> {
        self.doors.remove(&interface);
        self.service_rules.remove(&interface);
        netns::remove(&names::endpoint_namespace(cloud, interface))
    }

    /// Removes what an interrupted removal has left: namespaces of interfaces that no router knows.
    pub(super) fn sweep_endpoints(&mut self, cloud: &CloudTag) -> io::Result<()> {
        for name in netns::names(&names::namespace_prefix(cloud))? {
            let Some(interface) = names::interface_of_namespace(cloud, &name) else { continue };
            if !self.vpcs.values().any(|(router, _)| router.ports.contains_key(&interface)) {
                netns::remove(&name)?;
            }
        }
        Ok(())
    }

    /// Those of a VPC that leaves this host.
    pub(super) fn close_all(&mut self, cloud: &CloudTag, vpc: VpcId, router: &Router) -> io::Result<()> {
        self.doors.retain(|_, door| door.place.vpc != vpc);
        for interface in router.endpoint_ports() {
            self.service_rules.remove(&interface);
            netns::remove(&names::endpoint_namespace(cloud, interface))?;
        }
        Ok(())
    }
}

impl Router {
    /// The interfaces here that belong to endpoints and their services.
    pub(super) fn endpoint_ports(&self) -> impl Iterator<Item = NetworkInterfaceId> {
        let ports = self.ports.iter().filter(|(_, port)| names::is_endpoint_port(&port.tap));
        ports.map(|(interface, _)| *interface)
    }

    fn open_endpoint_port(
        &mut self,
        interface: &InterfaceDesired,
        name: String,
        inside: &Namespace,
    ) -> io::Result<()> {
        // One whose other end has vanished with its namespace took its port along; one that is left has no port.
        inside.run(|| {
            let mut rtnl = Rtnl::open()?;
            match rtnl.link(PORT)? {
                Some(link) => rtnl.delete_link(link.index),
                None => Ok(()),
            }
        })?;
        self.rtnl.add_pair(&name, PORT, inside, interface.mac)?;
        let link = self.rtnl.link(&name)?;
        let link = link.ok_or_else(|| io::Error::other("the link to an endpoint has vanished"))?;
        let alias = interface.interface.to_string();
        self.rtnl.dress_port(link.index, plan::net::GATEWAY_MAC, &alias, plan::net::MTU)?;
        self.links.write().insert(link.index, interface.interface);
        let port = Port { tap: name, index: link.index, wanted: None, class: link.group };
        self.ports.insert(interface.interface, port);
        Ok(())
    }
}

fn interfaces(vpc: &VpcDesired) -> impl Iterator<Item = &InterfaceDesired> {
    let nodes = vpc.service_nodes.iter().map(|node| &node.interface);
    vpc.endpoints.iter().flat_map(|endpoint| &endpoint.interfaces).chain(nodes)
}

/// The address of such an interface.
pub(super) fn primary(interface: &InterfaceDesired) -> io::Result<Ipv4Addr> {
    let first = interface.addresses.first();
    first.map(|address| address.private).ok_or_else(|| io::Error::other("it has no address"))
}

/// The inside of such an interface's namespace.
fn settle(interface: &InterfaceDesired) -> io::Result<()> {
    let mut rtnl = Rtnl::open()?;
    let link = rtnl.link(PORT)?.ok_or_else(|| io::Error::other("an endpoint's link has vanished"))?;
    rtnl.dress(link.index, interface.mac.0, &interface.interface.to_string(), plan::net::MTU)?;
    let v4 = interface.addresses.iter().map(|address| IpAddr::V4(address.private));
    let own: Vec<IpAddr> = v4.chain(interface.ipv6.iter().copied().map(IpAddr::V6)).collect();
    // Those that it has had: beside them there is only what the kernel gives links itself.
    for address in rtnl.addresses(link.index)?.into_iter().filter(|address| !own.contains(address)) {
        if !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            rtnl.delete_address(link.index, address)?;
        }
    }
    for address in own {
        rtnl.add_address(link.index, address)?;
    }
    let mut gateways = Vec::new();
    if let Some(subnet) = interface.subnet_cidr.filter(|_| interface.has_ipv4()) {
        gateways.push((IpNet::V4(Ipv4Net::default()), IpAddr::V4(plan::net::gateway(subnet))));
    }
    if interface.has_ipv6() {
        gateways.push((IpNet::V6(Ipv6Net::default()), IpAddr::V6(ipv6::ROUTER)));
    }
    for (everywhere, gateway) in gateways {
        rtnl.set_neighbour(link.index, gateway, Mac(plan::net::GATEWAY_MAC))?;
        rtnl.set_route(everywhere, Hop { link: link.index, via: Some(gateway), source: None })?;
    }
    Ok(())
}
