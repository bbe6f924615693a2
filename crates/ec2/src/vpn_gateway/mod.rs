//! Virtual private gateways: a VPC's end of its VPN connections.
//!
//! A VPC has at most one, and routes lead to it (`GatewayId`). What a gateway's connections have as static routes, route tables
//! that ask for it take over ([`propagated`]); a route of their own to the same destination goes before.
//! AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/how_it_works.html#VPNGateway>
//! Differs: attached and detached at once; a propagated route is there whether a tunnel is up or not.

mod attach;
mod create;
mod describe;
mod propagation;

pub use propagation::propagated;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, render_tags, touched};
use crate::transit_gateway::Ends;
use api_ec2 as api;
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::{Service, Tables, Touched};
use model::record::vpn::VpnGateway;
use model::{Region, Timestamp, VpcId, VpnGatewayId};
use std::sync::Arc;

/// How many an account may have in a region.
const MAX_GATEWAYS: usize = 5;

impl Noun for VpnGateway {
    const RESOURCE_TYPE: &'static str = "vpn-gateway";
    const ERRORS: IdErrors = errors::VPN_GATEWAY;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "amazon-side-asn", values: |g, _| shown(g.asn) },
            FilterField {
                name: "attachment.state",
                values: |g, _| maybe(attachment(g).map(|(_, state)| state.as_str().to_owned())),
            },
            FilterField {
                name: "attachment.vpc-id",
                values: |g, _| maybe(attachment(g).map(|(vpc, _)| vpc.to_string())),
            },
            FilterField {
                name: "availability-zone",
                values: |g, _| maybe(g.zone.as_ref().map(ToString::to_string)),
            },
            FilterField { name: "state", values: |g, _| one(state(g.deleted_at).as_str().to_owned()) },
            FilterField { name: "type", values: |_, _| one(crate::customer_gateway::KIND) },
            FilterField { name: "vpn-gateway-id", values: |g, _| shown(g.gateway) },
        ]
    }
}

impl Ends for VpnGateway {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

/// The state of what is there until it is deleted.
pub fn state(deleted_at: Option<Timestamp>) -> api::VpnState {
    match deleted_at {
        None => api::VpnState::Available,
        Some(_) => api::VpnState::Deleted,
    }
}

fn attachment(gateway: &VpnGateway) -> Option<(VpcId, api::AttachmentStatus)> {
    let now = gateway.vpc.map(|vpc| (vpc, api::AttachmentStatus::Attached));
    now.or_else(|| gateway.detached.map(|vpc| (vpc, api::AttachmentStatus::Detached)))
}

fn render(gateway: &VpnGateway) -> api::VpnGateway {
    let attachments = attachment(gateway).into_iter();
    let attachments = attachments
        .map(|(vpc, state)| api::VpcAttachment { vpc_id: Some(vpc.to_string()), state: Some(state) });
    api::VpnGateway {
        amazon_side_asn: Some(gateway.asn),
        tags: render_tags(&gateway.tags),
        vpn_gateway_id: Some(gateway.gateway.to_string()),
        state: Some(state(gateway.deleted_at)),
        r#type: Some(api::GatewayType::Ipsec1),
        availability_zone: gateway.zone.as_ref().map(ToString::to_string),
        vpc_attachments: Some(attachments.collect()),
    }
}

/// The gateway of a VPC.
pub fn of_vpc<'a>(tables: &'a Tables, region: &'a Region, vpc: VpcId) -> Option<&'a Arc<VpnGateway>> {
    tables.find::<VpnGateway>(region, "vpc", vpc).find(|gateway| gateway.is_there())
}

/// Whether routes of a VPC may lead to it.
pub fn serves(tables: &Tables, region: &Region, id: VpnGatewayId, vpc: VpcId) -> bool {
    of_vpc(tables, region, vpc).is_some_and(|gateway| gateway.gateway == id)
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateVpnGateway, create::touches, create::create)
        .exclusive(
            ops::DeleteVpnGateway,
            |ctx, request, tables| touched::<VpnGateway>(ctx, tables, [&request.vpn_gateway_id]),
            create::delete,
        )
        .exclusive(ops::AttachVpnGateway, attach::attach_touches, attach::attach)
        .exclusive(ops::DetachVpnGateway, attach::detach_touches, attach::detach)
        .exclusive(ops::EnableVgwRoutePropagation, propagation::enable_touches, propagation::enable)
        .exclusive(ops::DisableVgwRoutePropagation, propagation::disable_touches, propagation::disable)
        .read(ops::DescribeVpnGateways, |_, _, _| Touched::anything(), describe::describe);
}
