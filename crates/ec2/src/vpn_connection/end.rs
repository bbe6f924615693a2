//! The cloud's end of a connection: which gateway is named, what it has room for, and the attachment to a transit gateway.

use super::{MAX_AT_TRANSIT, MAX_CONNECTIONS, of_gateway};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::transit_gateway::live;
use control::{Context, Result, Tables, Txn};
use ipnet::Ipv4Net;
use model::record::Tags;
use model::record::transit_gateway::{
    AttachedResource, AttachedVpn, TransitGateway, TransitGatewayAttachment,
};
use model::record::vpn::{VpnConnection, VpnEnd, VpnGateway};
use model::{CustomerGatewayId, Region, TransitGatewayAttachmentId, TransitGatewayId, VpnConnectionId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The gateway that a request names, held until the commit.
#[derive(Debug, Clone)]
pub enum Named {
    Vpc(Arc<VpnGateway>),
    Transit(Arc<TransitGateway>),
}

/// None: neither is named. `InvalidParameterCombination`: both are.
pub fn named(
    ctx: &Context,
    txn: &mut Txn<'_>,
    vpn: Option<&str>,
    transit: Option<&str>,
) -> Result<Option<Named>> {
    match (vpn.filter(|id| !id.is_empty()), transit.filter(|id| !id.is_empty())) {
        (None, None) => Ok(None),
        (Some(id), None) => Ok(Some(Named::Vpc(live(ctx, txn, id)?))),
        (None, Some(id)) => Ok(Some(Named::Transit(live(ctx, txn, id)?))),
        (Some(_), Some(_)) => Err(invalid_parameter_combination(
            "The parameters VpnGatewayId and TransitGatewayId cannot be used together.",
        )),
    }
}

impl Named {
    fn shown(&self) -> String {
        match self {
            Self::Vpc(gateway) => gateway.gateway.to_string(),
            Self::Transit(gateway) => gateway.gateway.to_string(),
        }
    }

    fn connections<'a>(&self, tables: &'a Tables, region: &'a Region) -> Vec<&'a Arc<VpnConnection>> {
        match self {
            Self::Vpc(gateway) => of_gateway(tables, region, gateway.gateway),
            Self::Transit(gateway) => of_transit(tables, region, gateway.gateway),
        }
    }

    /// Whether there is room for a connection beside the others of the gateway; the inside blocks that those have.
    /// Several to one customer gateway are for transit gateways.
    pub fn room(
        &self,
        ctx: &Context,
        txn: &Txn<'_>,
        own: Option<VpnConnectionId>,
        customer: CustomerGatewayId,
        inside: impl IntoIterator<Item = Ipv4Net>,
    ) -> Result<BTreeSet<Ipv4Net>> {
        let mut beside = self.connections(txn.tables(), &ctx.region);
        beside.retain(|other| Some(other.connection) != own);
        let known = beside.iter().find(|other| other.customer_gateway == customer);
        if let (Self::Vpc(_), Some(known)) = (self, known) {
            return Err(invalid_parameter_value(format!(
                "The VPN connection {} between {customer} and {} already exists.",
                known.connection,
                self.shown()
            )));
        }
        let most = if matches!(self, Self::Vpc(_)) { MAX_CONNECTIONS } else { MAX_AT_TRANSIT };
        if beside.len() >= most {
            return Err(client(
                "VpnConnectionLimitExceeded",
                format!("The maximum number of VPN connections of {} has been reached.", self.shown()),
            ));
        }
        let taken: BTreeSet<Ipv4Net> =
            beside.iter().flat_map(|other| &other.tunnels).map(|tunnel| tunnel.inside).collect();
        match inside.into_iter().find(|net| taken.contains(net)) {
            None => Ok(taken),
            Some(inside) => Err(invalid_parameter_value(format!(
                "The tunnel inside CIDR block {inside} is in use at {}.",
                self.shown()
            ))),
        }
    }

    /// The end itself: at a transit gateway an attachment, associated and propagating as the gateway's defaults say.
    pub fn end(&self, ctx: &Context, txn: &mut Txn<'_>, connection: VpnConnectionId) -> VpnEnd {
        match self {
            Self::Vpc(gateway) => VpnEnd::Vpc { gateway: gateway.gateway },
            Self::Transit(gateway) => {
                let attachment = TransitGatewayAttachmentId::from_entropy(ctx.bits());
                txn.put(
                    &ctx.region,
                    TransitGatewayAttachment {
                        attachment,
                        gateway: gateway.gateway,
                        account: ctx.account(),
                        resource: AttachedResource::Vpn {
                            vpn: AttachedVpn {
                                connection,
                                propagations: gateway.options.propagation_table.into_iter().collect(),
                            },
                        },
                        association: gateway.options.association_table,
                        created_at: ctx.now,
                        deleted_at: None,
                        tags: Tags::default(),
                    },
                );
                VpnEnd::Transit { transit_gateway: gateway.gateway, attachment }
            }
        }
    }
}

/// The connections of a transit gateway.
fn of_transit<'a>(
    tables: &'a Tables,
    region: &'a Region,
    gateway: TransitGatewayId,
) -> Vec<&'a Arc<VpnConnection>> {
    let all = tables.find::<VpnConnection>(region, "transit-gateway", gateway);
    all.filter(|connection| connection.is_there()).collect()
}

/// Ends the attachment of a connection, if it has one. Routes by it stay and drop.
pub fn detach(ctx: &Context, txn: &mut Txn<'_>, end: VpnEnd) {
    let held = end.transit().and_then(|(_, id)| txn.get::<TransitGatewayAttachment>(&ctx.region, &id));
    if let Some(held) = held {
        let mut ended = TransitGatewayAttachment {
            deleted_at: Some(ctx.now),
            association: None,
            ..TransitGatewayAttachment::clone(&held)
        };
        if let Some(propagations) = ended.propagations_mut() {
            propagations.clear();
        }
        txn.put(&ctx.region, ended);
    }
}
