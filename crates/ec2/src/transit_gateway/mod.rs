//! Transit gateways: one hub for the VPCs of a region, whose route tables say who meets whom.
//!
//! A gateway is made with a default route table if it shall associate or propagate by itself, and goes with all its tables
//! when nothing is attached to it any more. What has ended is described for an hour. No router stands for a gateway: what
//! its tables mean is compiled into the networks of the VPCs ([`desired`], `plan::net::transit`).
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/what-is-transit-gateway.html>
//! Differs: everything is there at once, so a describe never shows `pending`; no gateway is shared with another account. ASN, ECMP
//! and DNS support are kept and shown, as nothing here speaks BGP or resolves public names to private addresses.

mod create;
mod delete;
mod describe;
pub mod desired;
mod modify;
mod options;
pub mod render;

pub use options::{Switch, switch};

use crate::errors::{self, IdErrors, client};
use crate::noun::{Noun, hold, touched};
use api_ec2::{TransitGatewayState, ops};
use control::filter::{FilterField, maybe, one, shown};
use control::{Cloud, Context, Result, Service, Tables, Touched, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayAttachment, TransitGatewayRouteTable};
use model::{Timestamp, TransitGatewayId, VpcId};
use std::sync::Arc;
use std::time::Duration;
use wire::ApiError;

/// How long what has ended is described.
const SHOWN: Duration = Duration::from_hours(1);
/// How many gateways an account may have in a region.
const MAX_GATEWAYS: usize = 5;

/// A record that is described beyond its end.
pub trait Ends: Noun {
    fn deleted_at(&self) -> Option<Timestamp>;
}

impl Ends for TransitGateway {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

impl Ends for TransitGatewayAttachment {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

impl Ends for TransitGatewayRouteTable {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

/// What is named and has not ended, held until the commit; what has ended is not found.
pub fn live<R: Ends>(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<R>> {
    let held = hold::<R>(ctx, txn, id)?;
    if held.deleted_at().is_some() { Err(R::ERRORS.not_found(id)) } else { Ok(held) }
}

pub fn incorrect_state(message: impl Into<String>) -> ApiError {
    client("IncorrectState", message)
}

/// What is attached to a gateway, or will be when a peering is accepted; the oldest first.
pub fn attached<'a>(
    tables: &'a Tables,
    region: &'a model::Region,
    gateway: TransitGatewayId,
) -> Vec<&'a Arc<TransitGatewayAttachment>> {
    let all = tables.find::<TransitGatewayAttachment>(region, "gateway", gateway);
    let mut live: Vec<_> = all.filter(|attachment| attachment.deleted_at.is_none()).collect();
    live.sort_by_key(|attachment| (attachment.created_at, attachment.attachment));
    live
}

/// Whether packets of a VPC may go by the gateway.
pub fn serves(tables: &Tables, region: &model::Region, gateway: TransitGatewayId, vpc: VpcId) -> bool {
    attached(tables, region, gateway).iter().any(|a| a.vpc().is_some_and(|known| known.vpc == vpc))
}

/// Whether a gateway's default table is that one, for associations and for propagations.
pub fn defaults(gateway: &TransitGateway, table: model::TransitGatewayRouteTableId) -> [bool; 2] {
    let options = &gateway.options;
    [options.association_table, options.propagation_table].map(|known| known == Some(table))
}

impl Noun for TransitGateway {
    const RESOURCE_TYPE: &'static str = "transit-gateway";
    const ERRORS: IdErrors = errors::TRANSIT_GATEWAY;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "options.amazon-side-asn", values: |g, _| shown(g.options.amazon_side_asn) },
            FilterField {
                name: "options.association-default-route-table-id",
                values: |g, _| maybe(g.options.association_table.map(|table| table.to_string())),
            },
            FilterField {
                name: "options.auto-accept-shared-attachments",
                values: |g, _| one(render::word(g.options.auto_accept_shared)),
            },
            FilterField {
                name: "options.default-route-table-association",
                values: |g, _| one(render::word(g.options.default_association)),
            },
            FilterField {
                name: "options.default-route-table-propagation",
                values: |g, _| one(render::word(g.options.default_propagation)),
            },
            FilterField { name: "options.dns-support", values: |g, _| one(render::word(g.options.dns)) },
            FilterField {
                name: "options.propagation-default-route-table-id",
                values: |g, _| maybe(g.options.propagation_table.map(|table| table.to_string())),
            },
            FilterField {
                name: "options.vpn-ecmp-support",
                values: |g, _| one(render::word(g.options.vpn_ecmp)),
            },
            FilterField { name: "owner-id", values: |g, _| shown(g.account) },
            FilterField { name: "state", values: |g, _| one(render::state(g).as_str().to_owned()) },
            FilterField { name: "transit-gateway-id", values: |g, _| shown(g.gateway) },
        ]
    }
}

/// Removes what ended long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    fn over<R: Ends>(record: &R, now: Timestamp) -> bool {
        record.deleted_at().is_some_and(|at| now.since(at) >= SHOWN)
    }
    crate::sweep::remove::<TransitGatewayAttachment>(cloud, over).await?;
    crate::sweep::remove::<TransitGatewayRouteTable>(cloud, over).await?;
    crate::sweep::remove::<TransitGateway>(cloud, over).await
}

/// The state in an answer that changes it, as EC2 gives it while it works.
const fn at_work(ends: bool) -> TransitGatewayState {
    if ends { TransitGatewayState::Deleting } else { TransitGatewayState::Pending }
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateTransitGateway, create::touches, create::create)
        .exclusive(
            ops::DeleteTransitGateway,
            |ctx, request, tables| touched::<TransitGateway>(ctx, tables, [&request.transit_gateway_id]),
            delete::delete,
        )
        .exclusive(ops::ModifyTransitGateway, modify::touches, modify::modify)
        .read(ops::DescribeTransitGateways, |_, _, _| Touched::anything(), describe::describe);
}
