//! Customer gateways: what an account says of devices of its own, at which VPN connections end.
//!
//! Nothing of a host hangs on one until a connection names it.
//! AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/cgw-options.html>
//! Differs: its address may be any that a host can reach, private ones too; no certificates, no IPv6 outside.

pub mod create;
mod delete;
mod describe;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, render_tags, touched};
use crate::transit_gateway::Ends;
use api_ec2 as api;
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Service, Tables, Touched};
use model::Timestamp;
use model::record::vpn::CustomerGateway;

/// How many an account may have in a region.
const MAX_GATEWAYS: usize = 50;

impl Noun for CustomerGateway {
    const RESOURCE_TYPE: &'static str = "customer-gateway";
    const ERRORS: IdErrors = errors::CUSTOMER_GATEWAY;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "bgp-asn", values: |g, _| shown(g.asn) },
            FilterField { name: "customer-gateway-id", values: |g, _| shown(g.gateway) },
            FilterField { name: "ip-address", values: |g, _| shown(g.address) },
            FilterField { name: "state", values: |g, _| one(state(g)) },
            FilterField { name: "type", values: |_, _| one(KIND) },
        ]
    }
}

impl Ends for CustomerGateway {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

/// The one type of gateways and connections.
pub const KIND: &str = "ipsec.1";

const fn state(gateway: &CustomerGateway) -> &'static str {
    if gateway.is_there() { "available" } else { "deleted" }
}

fn render(gateway: &CustomerGateway) -> api::CustomerGateway {
    api::CustomerGateway {
        certificate_arn: None,
        device_name: gateway.device.clone(),
        tags: render_tags(&gateway.tags),
        bgp_asn_extended: None,
        customer_gateway_id: Some(gateway.gateway.to_string()),
        state: Some(state(gateway).to_owned()),
        r#type: Some(KIND.to_owned()),
        ip_address: Some(gateway.address.to_string()),
        bgp_asn: Some(gateway.asn.to_string()),
    }
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateCustomerGateway, create::touches, create::create)
        .exclusive(
            ops::DeleteCustomerGateway,
            |ctx, request, tables| touched::<CustomerGateway>(ctx, tables, [&request.customer_gateway_id]),
            delete::delete,
        )
        .read(ops::DescribeCustomerGateways, |_, _, _| Touched::anything(), describe::describe);
}
