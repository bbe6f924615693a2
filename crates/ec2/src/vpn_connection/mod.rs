//! VPN connections: two IPsec tunnels from a virtual private gateway or a transit gateway to a customer gateway.
//!
//! A tunnel's outside address is of the cloud's public pool; its pre-shared key is sealed in the record and shown to its owner
//! in the configuration for the device. Hosts are told of the connections of gateways that are attached, with the VPC's
//! network, and asked how the tunnels are ([`observe`]). One of a transit gateway is attached to it for as long as it is there,
//! and has a network of its own on the host (`plan::net::vpn::hub`).
//! AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/VPC_VPN.html>
//! Differs: static routes only, no BGP; IPv4; what tunnels speak is fixed
//! ([`configuration`]) but for key, inside range, versions of IKE and who begins.

mod configuration;
mod create;
mod delete;
mod describe;
mod desired;
mod end;
mod modify;
mod observe;
mod options;
mod render;
mod routes;

pub use desired::{any_in, desired, hub, of_gateway, unseal};
pub use observe::observe;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use crate::transit_gateway::Ends;
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::keys::RootKey;
use control::{Cloud, Context, Result, Service, Tables, Touched};
use model::host::PreSharedKey;
use model::record::vpn::{CustomerGateway, VpnConnection, VpnGateway, VpnTunnel};
use model::{Timestamp, VpnConnectionId};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How long what has ended is described.
const SHOWN: Duration = Duration::from_hours(1);
/// How many connections a gateway may have.
const MAX_CONNECTIONS: usize = 10;
/// How many a transit gateway may have.
const MAX_AT_TRANSIT: usize = 50;
/// How many static routes a connection may have.
const MAX_ROUTES: usize = 100;
/// What keys of tunnels are sealed for.
const KEYS: &str = "vpn-tunnel";

impl Noun for VpnConnection {
    const RESOURCE_TYPE: &'static str = "vpn-connection";
    const ERRORS: IdErrors = errors::VPN_CONNECTION;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "customer-gateway-configuration",
                // It holds secrets: nobody shall find them out by asking for them.
                values: |_, _| Vec::new(),
            },
            FilterField { name: "customer-gateway-id", values: |c, _| shown(c.customer_gateway) },
            FilterField {
                name: "state",
                values: |c, _| one(crate::vpn_gateway::state(c.deleted_at).as_str().to_owned()),
            },
            FilterField { name: "option.static-routes-only", values: |_, _| one("true") },
            FilterField {
                name: "route.destination-cidr-block",
                values: |c, _| c.routes.iter().map(|net| Cow::Owned(net.to_string())).collect(),
            },
            FilterField { name: "bgp-asn", values: |_, _| Vec::new() },
            FilterField { name: "type", values: |_, _| one(crate::customer_gateway::KIND) },
            FilterField { name: "vpn-connection-id", values: |c, _| shown(c.connection) },
            FilterField {
                name: "vpn-gateway-id",
                values: |c, _| maybe(c.end.gateway().map(|id| id.to_string())),
            },
            FilterField {
                name: "transit-gateway-id",
                values: |c, _| maybe(c.end.transit().map(|(id, _)| id.to_string())),
            },
        ]
    }
}

impl Ends for VpnConnection {
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
}

/// What a tunnel's key is bound to.
fn place(connection: VpnConnectionId, tunnel: &VpnTunnel) -> Vec<u8> {
    format!("{connection}/{}", tunnel.outside).into_bytes()
}

/// A tunnel's key in the clear; none: another root key sealed it.
fn key(root: &RootKey, connection: VpnConnectionId, tunnel: &VpnTunnel) -> Option<PreSharedKey> {
    let key = root.open_text(KEYS, &place(connection, tunnel), tunnel.sealed.as_slice())?;
    Some(PreSharedKey::new(key))
}

/// Removes what ended long enough ago, of all three nouns.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    fn over<R: Ends>(record: &R, now: Timestamp) -> bool {
        record.deleted_at().is_some_and(|at| now.since(at) >= SHOWN)
    }
    crate::sweep::remove::<VpnConnection>(cloud, over).await?;
    crate::sweep::remove::<VpnGateway>(cloud, over).await?;
    crate::sweep::remove::<CustomerGateway>(cloud, over).await
}

fn touches(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<VpnConnection>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .call(ops::CreateVpnConnection, create::touches, create::run)
        .exclusive(
            ops::DeleteVpnConnection,
            |ctx, request, tables| touches(ctx, tables, &request.vpn_connection_id),
            delete::delete,
        )
        .exclusive(ops::ModifyVpnConnection, modify::touches, modify::modify)
        .write(
            ops::CreateVpnConnectionRoute,
            |ctx, request, tables| touches(ctx, tables, &request.vpn_connection_id),
            routes::create,
        )
        .write(
            ops::DeleteVpnConnectionRoute,
            |ctx, request, tables| touches(ctx, tables, &request.vpn_connection_id),
            routes::delete,
        )
        .read(ops::DescribeVpnConnections, |_, _, _| Touched::anything(), describe::describe);
}
