//! NAT gateways: a way out for subnets that nobody shall reach.
//!
//! A gateway owns a network interface, made and deleted with it, which nobody else may change; a public one has an elastic
//! address on it. Who is deleted is described for an hour. How packets pass is in `plan::net`.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html>
//! Differs: it is there at once, so what AWS tells by a `failed` gateway is refused in the call; one address each; zonal
//! gateways only.

mod create;
mod delete;
mod describe;
mod render;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Cloud, Result, Service, Tables, Touched};
use model::host::{AddressDesired, NatGatewayDesired};
use model::record::nat_gateway::{Connectivity, NatGateway};
use model::record::network_interface::NetworkInterface;
use model::{NatGatewayId, Region, VpcId};
use std::sync::Arc;
use std::time::Duration;

/// How long a deleted one is described.
const SHOWN: Duration = Duration::from_hours(1);
/// How many gateways an account may have in a zone.
const MAX_GATEWAYS: usize = 5;

impl Noun for NatGateway {
    const RESOURCE_TYPE: &'static str = "natgateway";
    const ERRORS: IdErrors = errors::NAT_GATEWAY;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "connectivity-type",
                values: |g, _| one(render::connectivity(g.connectivity)),
            },
            FilterField { name: "nat-gateway-id", values: |g, _| shown(g.gateway) },
            FilterField { name: "state", values: |g, _| one(render::state(g).as_str().to_owned()) },
            FilterField { name: "subnet-id", values: |g, _| shown(g.subnet) },
            FilterField { name: "vpc-id", values: |g, _| shown(g.vpc) },
        ]
    }
}

/// Whether routes may lead to it.
pub fn serves(tables: &Tables, region: &Region, id: NatGatewayId) -> bool {
    tables.get::<NatGateway>(region, &id).is_some_and(|gateway| gateway.deleted_at.is_none())
}

/// What a host is told of a VPC's gateways.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<NatGatewayDesired> {
    let there = tables.find::<NatGateway>(region, "vpc", vpc).filter(|gateway| gateway.deleted_at.is_none());
    let shown = there.filter_map(|gateway| {
        let interface = tables.get::<NetworkInterface>(region, &gateway.interface)?;
        let address = interface.primary()?;
        let address = match gateway.connectivity {
            Connectivity::Public => crate::address::desired(tables, region, address),
            Connectivity::Private => {
                AddressDesired { private: address.address, public: None, withheld: None }
            }
        };
        Some(NatGatewayDesired { gateway: gateway.gateway, subnet: gateway.subnet, address })
    });
    shown.collect()
}

/// Removes those that were deleted long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let over = |gateway: &NatGateway, now: model::Timestamp| {
        gateway.deleted_at.is_some_and(|at| now.since(at) >= SHOWN)
    };
    crate::sweep::remove::<NatGateway>(cloud, over).await
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateNatGateway, create::touches, create::create)
        .exclusive(
            ops::DeleteNatGateway,
            |ctx, request, tables| touched::<NatGateway>(ctx, tables, [&request.nat_gateway_id]),
            delete::delete,
        )
        .read(ops::DescribeNatGateways, |_, _, _| Touched::anything(), describe::describe);
}
