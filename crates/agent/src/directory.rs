//! Who is behind an address: the link-local services' view of the desired state.
//!
//! Written by the host loop whenever an instance or VPC changes, read by IMDS, DHCP and DNS for every packet. A service
//! asks by VPC and source address, which the anti-spoof map has tied to one interface before the packet came up.

use crate::trace::Traces;
use ipnet::Ipv6Net;
use model::host::{InstanceDesired, InterfaceDesired, VpcDesired};
use model::{InstanceId, Mac, NetworkInterfaceId, VpcId};
use parking_lot::RwLock;
use plan::net::ipv6;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// An instance and one of its interfaces.
#[derive(Debug, Clone)]
pub struct Occupant {
    pub instance: Arc<InstanceDesired>,
    /// The index of the interface in `instance.interfaces`.
    pub interface: usize,
}

impl Occupant {
    pub fn interface(&self) -> &InterfaceDesired {
        &self.instance.interfaces[self.interface]
    }
}

/// Instances by (VPC, address) and by interface.
#[derive(Debug, Default)]
pub struct Directory {
    tables: RwLock<Tables>,
    /// The services' part of a launch is told here.
    pub traces: Traces,
}

#[derive(Debug, Default)]
struct Tables {
    vpcs: HashMap<VpcId, Arc<VpcDesired>>,
    instances: HashMap<InstanceId, Arc<InstanceDesired>>,
    by_address: HashMap<(VpcId, IpAddr), Occupant>,
    by_prefix: HashMap<(VpcId, Ipv6Net), Occupant>,
    by_interface: HashMap<NetworkInterfaceId, Occupant>,
    /// The names of endpoints that are known everywhere.
    endpoints: HashMap<String, Vec<IpAddr>>,
    by_mac: HashMap<(VpcId, Mac), Occupant>,
}

impl Directory {
    pub fn set_vpc(&self, vpc: Arc<VpcDesired>) {
        let mut tables = self.tables.write();
        tables.remove_endpoints(vpc.vpc);
        for name in vpc.endpoints.iter().flat_map(|endpoint| &endpoint.names).filter(|name| !name.private) {
            tables.endpoints.insert(name.name.clone(), name.addresses.clone());
        }
        tables.vpcs.insert(vpc.vpc, vpc);
    }

    pub fn remove_vpc(&self, vpc: VpcId) {
        let mut tables = self.tables.write();
        tables.remove_endpoints(vpc);
        tables.vpcs.remove(&vpc);
    }

    /// What a name leads to that some VPC's endpoint has of its own.
    pub fn endpoint(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.tables.read().endpoints.get(name).cloned()
    }

    /// The address that the name of an instance leads to which has no IPv4 in the VPC: `i-….ec2.internal`, in lower case.
    pub fn resource(&self, vpc: VpcId, name: &str) -> Option<Ipv6Addr> {
        let (host, domain) = name.split_once('.')?;
        let id = InstanceId::parse(host).ok()?;
        let tables = self.tables.read();
        tables.vpcs.get(&vpc).filter(|vpc| vpc.region.internal_domain() == domain)?;
        let mut interfaces = tables.instances.get(&id)?.interfaces.iter();
        let named = interfaces.find(|interface| interface.vpc == vpc && !interface.has_ipv4())?;
        named.ipv6.first().copied()
    }

    pub fn set_instance(&self, instance: Arc<InstanceDesired>) {
        let mut tables = self.tables.write();
        tables.remove_instance(instance.instance);
        for (index, interface) in instance.interfaces.iter().enumerate() {
            let occupant = Occupant { instance: Arc::clone(&instance), interface: index };
            for address in addresses(interface) {
                tables.by_address.insert((interface.vpc, address), occupant.clone());
            }
            for prefix in &interface.ipv6_prefixes {
                tables.by_prefix.insert((interface.vpc, *prefix), occupant.clone());
            }
            tables.by_mac.insert((interface.vpc, interface.mac), occupant.clone());
            tables.by_interface.insert(interface.interface, occupant);
        }
        tables.instances.insert(instance.instance, instance);
    }

    pub fn remove_instance(&self, instance: InstanceId) {
        self.tables.write().remove_instance(instance);
    }

    pub fn vpc(&self, vpc: VpcId) -> Option<Arc<VpcDesired>> {
        self.tables.read().vpcs.get(&vpc).cloned()
    }

    pub fn at(&self, vpc: VpcId, address: impl Into<IpAddr>) -> Option<Occupant> {
        let (tables, address) = (self.tables.read(), address.into());
        let of_prefix = || match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => tables.by_prefix.get(&(vpc, ipv6::around(v6))),
        };
        tables.by_address.get(&(vpc, address)).or_else(of_prefix).cloned()
    }

    pub fn behind(&self, interface: NetworkInterfaceId) -> Option<Occupant> {
        self.tables.read().by_interface.get(&interface).cloned()
    }

    pub fn with_mac(&self, vpc: VpcId, mac: Mac) -> Option<Occupant> {
        self.tables.read().by_mac.get(&(vpc, mac)).cloned()
    }
}

/// Of both versions.
fn addresses(interface: &InterfaceDesired) -> impl Iterator<Item = IpAddr> {
    let v6 = interface.ipv6.iter().copied().map(IpAddr::V6);
    interface.own_ipv4().map(IpAddr::V4).chain(v6)
}

impl Tables {
    fn remove_endpoints(&mut self, vpc: VpcId) {
        let Some(old) = self.vpcs.get(&vpc).cloned() else { return };
        for name in old.endpoints.iter().flat_map(|endpoint| &endpoint.names) {
            self.endpoints.remove(&name.name);
        }
    }

    fn remove_instance(&mut self, instance: InstanceId) {
        let Some(old) = self.instances.remove(&instance) else { return };
        for interface in &old.interfaces {
            for address in addresses(interface) {
                let key = (interface.vpc, address);
                if self.by_address.get(&key).is_some_and(|o| o.instance.instance == instance) {
                    self.by_address.remove(&key);
                }
            }
            for prefix in &interface.ipv6_prefixes {
                let key = (interface.vpc, *prefix);
                if self.by_prefix.get(&key).is_some_and(|o| o.instance.instance == instance) {
                    self.by_prefix.remove(&key);
                }
            }
            self.by_interface.remove(&interface.interface);
            self.by_mac.remove(&(interface.vpc, interface.mac));
        }
    }
}
