//! Peerings of transit gateways of one region, of one account or two.
//!
//! Each side has an attachment of its own at its gateway, with its own id, tags and association; both are in the same phase.
//! The owner of the accepter's side accepts or rejects by that side's id; either side ends it. Where packets go is said by
//! static routes alone; `plan::net::transit::mesh` follows them through the tables of both gateways.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/tgw-peering.html>
//! Differs: within one region; a request waits for as long as it takes; dynamic routing is refused.

mod create;
mod render;
mod settle;

pub use render::render;

use crate::noun::touched;
use api_ec2::ops;
use control::{Context, Service, Tables, Touched};
use model::record::transit_gateway::TransitGatewayAttachment;

/// How many peerings a gateway may have.
const MAX_PEERINGS: usize = 50;

fn by_id(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<TransitGatewayAttachment>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateTransitGatewayPeeringAttachment, create::touches, create::create)
        .exclusive(
            ops::AcceptTransitGatewayPeeringAttachment,
            |ctx, request, tables| by_id(ctx, tables, &request.transit_gateway_attachment_id),
            settle::accept,
        )
        .exclusive(
            ops::RejectTransitGatewayPeeringAttachment,
            |ctx, request, tables| by_id(ctx, tables, &request.transit_gateway_attachment_id),
            settle::reject,
        )
        .exclusive(
            ops::DeleteTransitGatewayPeeringAttachment,
            |ctx, request, tables| by_id(ctx, tables, &request.transit_gateway_attachment_id),
            settle::delete,
        );
}
