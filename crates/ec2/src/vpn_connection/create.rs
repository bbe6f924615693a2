//! `CreateVpnConnection`: with two addresses of the public pool, two inside blocks and two keys, and an attachment if its end
//! is a transit gateway.
//!
//! A host that lacks what carries VPNs says so, and none is made for it. While the host is away nobody knows, and it is made.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpnConnection.html>

use super::end::named;
use super::options::{Asked, free_inside, new_key, tunnels};
use super::{KEYS, place, render};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::network_interface::allocate::allocate_public;
use crate::noun::{created, given_tags, touched};
use crate::parameter::unsupported;
use crate::transit_gateway::live;
use api_ec2::{CreateVpnConnectionRequest, CreateVpnConnectionResult, VpnState};
use control::cloud::Mode;
use control::{Context, Result, Tables, Touched, Txn};
use model::VpnConnectionId;
use model::host::{Reply, Request};
use model::record::transit_gateway::TransitGateway;
use model::record::vpn::{CustomerGateway, TunnelStatus, VpnConnection, VpnGateway, VpnTunnel};
use std::sync::Arc;

pub fn touches(ctx: &Context, request: &CreateVpnConnectionRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "vpn-connection")];
    all.extend(touched::<CustomerGateway>(ctx, tables, [&request.customer_gateway_id]));
    all.extend(touched::<VpnGateway>(ctx, tables, &request.vpn_gateway_id));
    all.extend(touched::<TransitGateway>(ctx, tables, &request.transit_gateway_id));
    all
}

pub async fn run(ctx: Context, request: CreateVpnConnectionRequest) -> Result<CreateVpnConnectionResult> {
    if request.r#type != crate::customer_gateway::KIND {
        let shown: String = request.r#type.chars().take(64).collect();
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter type is invalid. Use 'ipsec.1'."
        )));
    }
    let asked = tunnels(&request)?;
    if let Ok(Reply::Tunnels { lack: Some(lack), .. }) = ctx.cloud.host.request(Request::Tunnels).await {
        return Err(unsupported(&format!("VPN on this host ({lack})")));
    }
    let cloud = Arc::clone(&ctx.cloud);
    cloud.transact(Mode::Exclusive, |txn| create(&ctx, &request, &asked, txn)).await
}

fn create(
    ctx: &Context,
    request: &CreateVpnConnectionRequest,
    asked: &[Asked; 2],
    txn: &mut Txn<'_>,
) -> Result<CreateVpnConnectionResult> {
    let customer = live::<CustomerGateway>(ctx, txn, &request.customer_gateway_id)?;
    let (vpn, transit) = (request.vpn_gateway_id.as_deref(), request.transit_gateway_id.as_deref());
    let gateway = named(ctx, txn, vpn, transit)?.ok_or_else(|| missing_parameter("VpnGatewayId"))?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpn-connection"])?;
    let wished = asked.iter().filter_map(|tunnel| tunnel.inside);
    let mut taken = gateway.room(ctx, txn, None, customer.gateway, wished.clone())?;
    taken.extend(wished);
    let connection = VpnConnectionId::from_entropy(ctx.bits());
    let mut made = Vec::new();
    for wish in asked {
        let outside = allocate_public(ctx, txn, connection)?;
        let own = wish.inside.or_else(|| free_inside(ctx.bits()).find(|net| !taken.contains(net)));
        let inside = own.ok_or_else(|| {
            client("InsufficientAddressCapacity", "Every tunnel inside CIDR block of the gateway is in use.")
        })?;
        taken.insert(inside);
        let mut tunnel = VpnTunnel {
            outside,
            inside,
            sealed: Vec::new().into(),
            versions: wish.versions,
            initiates: wish.initiates,
            status: TunnelStatus::Down,
            changed_at: ctx.now,
        };
        let entropy = &*ctx.cloud.entropy;
        let key = wish.key.clone().unwrap_or_else(|| new_key(entropy));
        tunnel.sealed = ctx.cloud.root.seal_text(KEYS, &place(connection, &tunnel), &key, entropy).into();
        made.push(tunnel);
    }
    let record = VpnConnection {
        connection,
        account: ctx.account(),
        customer_gateway: customer.gateway,
        end: gateway.end(ctx, txn, connection),
        left: None,
        routes: Vec::new(),
        tunnels: made,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let mut shown = render::connection(&ctx.cloud.root, Some(&customer), &record);
    shown.state = Some(VpnState::Pending);
    txn.put(&ctx.region, record);
    Ok(CreateVpnConnectionResult { vpn_connection: Some(shown) })
}
