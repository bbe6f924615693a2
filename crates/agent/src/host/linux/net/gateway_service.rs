//! A VPC's way to services beside the cloud: a link to the edge, and the address that the VPC has on it.
//!
//! The link stands while some route of the VPC leads to a gateway endpoint. Its address follows from the edge's end, so an
//! agent that starts knows it; what is sent by the link takes it before it leaves the VPC.

use super::State;
use super::edge::{Edge, Holder};
use super::nft::{self, Batch, Data, Family};
use model::host::VpcDesired;
use model::{Mac, VpcId};
use plan::net::names::{self, SERVICE_SNAT, VPC_TABLE};
use plan::net::{gateway_service, routes};
use std::io;
use std::net::Ipv4Addr;

/// The address of a VPC's way that stands.
pub(super) fn inside(edge: &mut Edge, vpc: VpcId) -> io::Result<Option<Ipv4Addr>> {
    let link = edge.rtnl.link(&names::service_link(vpc))?;
    Ok(link.map(|link| gateway_service::inside(link.index)))
}

fn vanished() -> io::Error {
    io::Error::other("the link to services beside the cloud has vanished")
}

impl State {
    /// Removes the way of a VPC whose routes lead to no service any more.
    pub(super) fn close_services(&mut self, vpc: &VpcDesired) -> io::Result<()> {
        let name = names::service_link(vpc.vpc);
        if routes::lead_to_services(vpc) || self.edge.rtnl.link(&name)?.is_none() {
            return Ok(());
        }
        // The other end goes with it, and what leads there.
        self.edge.forget_holder(Holder::Services(vpc.vpc), &name)?;
        let router = self.router(vpc.vpc)?;
        router.side_links.remove(&name);
        translate(router, &name, None)
    }

    /// Makes what is missing of a VPC's way, and leads its routes there.
    pub(super) fn open_services(&mut self, vpc: &VpcDesired) -> io::Result<()> {
        if !routes::lead_to_services(vpc) {
            return Ok(());
        }
        let (id, name) = (vpc.vpc, names::service_link(vpc.vpc));
        let (router, _) = self.vpcs.get_mut(&id).ok_or_else(vanished)?;
        let edge = &mut self.edge;
        if router.rtnl.link(&name)?.is_none() {
            edge.forget_holder(Holder::Services(id), &name)?;
            let bits = id.bits().to_be_bytes();
            let mac = Mac([0x02, 0xe7, bits[12], bits[13], bits[14], bits[15]]);
            router.rtnl.add_point_to_point(&name, &name, &edge.namespace, mac)?;
        }
        let near = router.rtnl.link(&name)?.ok_or_else(vanished)?.index;
        let far = edge.rtnl.link(&name)?.ok_or_else(vanished)?.index;
        let own = gateway_service::inside(far);
        // Nothing leaves by it with an address of the VPC's.
        translate(router, &name, Some(own))?;
        router.rtnl.set_up_silent(near)?;
        edge.rtnl.set_up_silent(far)?;
        edge.gain(Holder::Services(id), far, own)?;
        if router.side_links.insert(name, near) != Some(near) {
            router.reconcile_routes(vpc)?;
        }
        Ok(())
    }
}

/// Has what leaves by a link take this address; none: there is no such link.
fn translate(router: &mut super::router::Router, link: &str, own: Option<Ipv4Addr>) -> io::Result<()> {
    let key = nft::link_key(link);
    let wanted = own.map(|own| Data::Value(own.octets().to_vec()));
    let standing = router.nft.elements(Family::Inet, VPC_TABLE, SERVICE_SNAT)?.unwrap_or_default();
    if standing.get(&key) == wanted.as_ref() {
        return Ok(());
    }
    let mut batch = Batch::default();
    if standing.contains_key(&key) {
        batch.delete_element(Family::Inet, VPC_TABLE, SERVICE_SNAT, &key);
    }
    if let Some(data) = &wanted {
        batch.add_element(Family::Inet, VPC_TABLE, SERVICE_SNAT, &key, data);
    }
    router.nft.commit(batch)
}
