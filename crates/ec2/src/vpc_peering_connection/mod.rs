//! VPC peering: two VPCs of one region, of one account or two, whose owners agreed that they may meet.
//!
//! A request is accepted, rejected or expires after a week. Overlapping ranges, or a VPC that is not there, make it `failed`
//! at once. What has ended is described for a while. Packets pass along routes on both sides, as `plan::net` renders it.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html#vpc-peering-lifecycle>
//! Differs: within one region; the states in between (`initiating-request`, `provisioning`, `deleting`) are skipped; tags are
//! the requester's and seen by both.

mod create;
mod describe;
mod options;
mod render;
mod settle;

use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use crate::sweep::remove;
use api_ec2::ops;
use control::cloud::Mode;
use control::filter::{FilterField, Values, maybe, one, shown};
use control::{Cloud, Context, Result, Service, Tables, Touched, Txn};
use model::host::PeeringDesired;
use model::record::vpc::Vpc;
use model::record::vpc_peering_connection::{PeeringEnd, PeeringState, VpcPeeringConnection};
use model::{Region, Timestamp, VpcId, VpcPeeringConnectionId};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits.
pub const EXPIRES: Duration = Duration::from_hours(7 * 24);
/// How long what has ended is described.
const SHOWN: Duration = Duration::from_hours(2);
/// A request that came to nothing is described longer.
const REQUEST_SHOWN: Duration = Duration::from_hours(48);

impl Noun for VpcPeeringConnection {
    const RESOURCE_TYPE: &'static str = "vpc-peering-connection";
    const ERRORS: IdErrors = errors::VPC_PEERING_CONNECTION;

    fn visible_to(&self, ctx: &Context) -> bool {
        // What failed was never offered to anybody.
        self.requester.account == ctx.account()
            || (self.accepter.account == ctx.account() && !matches!(self.state, PeeringState::Failed { .. }))
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let all = tables.find::<Self>(&ctx.region, "account", ctx.account());
        all.filter(|peering| peering.visible_to(ctx)).collect()
    }

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "accepter-vpc-info.cidr-block", values: |p, _| cidrs(&p.accepter) },
            FilterField { name: "accepter-vpc-info.owner-id", values: |p, _| shown(p.accepter.account) },
            FilterField { name: "accepter-vpc-info.vpc-id", values: |p, _| shown(p.accepter.vpc) },
            FilterField {
                name: "expiration-time",
                values: |p, _| {
                    maybe(match p.state {
                        PeeringState::PendingAcceptance { expires_at } => {
                            Some(crate::noun::wire_time(expires_at).to_string())
                        }
                        _ => None,
                    })
                },
            },
            FilterField { name: "requester-vpc-info.cidr-block", values: |p, _| cidrs(&p.requester) },
            FilterField { name: "requester-vpc-info.owner-id", values: |p, _| shown(p.requester.account) },
            FilterField { name: "requester-vpc-info.vpc-id", values: |p, _| shown(p.requester.vpc) },
            FilterField { name: "status-code", values: |p, _| one(p.state.code()) },
            FilterField { name: "status-message", values: |p, _| one(render::message(p)) },
            FilterField { name: "vpc-peering-connection-id", values: |p, _| shown(p.peering) },
        ]
    }
}

fn cidrs(end: &PeeringEnd) -> Values<'_> {
    end.cidrs.iter().map(|cidr| Cow::Owned(cidr.to_string())).collect()
}

/// Whether packets may pass by it.
pub fn is_open(tables: &Tables, region: &Region, id: VpcPeeringConnectionId) -> bool {
    tables.get::<VpcPeeringConnection>(region, &id).is_some_and(|peering| peering.is_active())
}

/// Whether two VPCs may refer to each other.
pub fn meet(tables: &Tables, region: &Region, one: VpcId, other: VpcId) -> bool {
    let mut of = tables.find::<VpcPeeringConnection>(region, "vpc", one);
    of.any(|peering| peering.is_active() && peering.beyond(one).is_some_and(|end| end.vpc == other))
}

/// What a host is told of the VPCs that this one meets.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<PeeringDesired> {
    let active =
        tables.find::<VpcPeeringConnection>(region, "vpc", vpc).filter(|peering| peering.is_active());
    let shown = active.filter_map(|peering| {
        let beyond = peering.beyond(vpc)?;
        let peer = tables.get::<Vpc>(region, &beyond.vpc)?;
        Some(PeeringDesired {
            peering: peering.peering,
            peer: peer.vpc,
            cidrs: peer.cidrs().collect(),
            ipv6_cidrs: peer.ipv6_cidrs().collect(),
        })
    });
    shown.collect()
}

/// A VPC goes, and with it whatever it had agreed to or asked for.
pub fn end_all(ctx: &Context, txn: &mut Txn<'_>, vpc: VpcId) {
    let of: Vec<VpcPeeringConnectionId> =
        txn.tables().find::<VpcPeeringConnection>(&ctx.region, "vpc", vpc).map(|p| p.peering).collect();
    for id in of {
        let Some(peering) = txn.get::<VpcPeeringConnection>(&ctx.region, &id) else { continue };
        if matches!(peering.state, PeeringState::PendingAcceptance { .. } | PeeringState::Active) {
            let state = PeeringState::Deleted { at: ctx.now, by: ctx.account() };
            txn.put(&ctx.region, VpcPeeringConnection { state, ..(*peering).clone() });
        }
    }
}

/// Lets requests expire, and removes what has been described long enough.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let due = |peering: &VpcPeeringConnection| matches!(peering.state, PeeringState::PendingAcceptance { expires_at } if expires_at <= now);
    let expired: Vec<(Region, VpcPeeringConnectionId)> = {
        let tables = cloud.view.read();
        let all = tables.everywhere::<VpcPeeringConnection>().filter(|(_, peering)| due(peering));
        all.map(|(region, peering)| (region.clone(), peering.peering)).collect()
    };
    for (region, id) in expired {
        let expire = |txn: &mut Txn<'_>| {
            if let Some(peering) = txn.get::<VpcPeeringConnection>(&region, &id).filter(|p| due(p)) {
                let state = PeeringState::Expired { at: now };
                txn.put(&region, VpcPeeringConnection { state, ..(*peering).clone() });
            }
            Ok(())
        };
        cloud.transact(Mode::Shared, expire).await?;
    }
    remove::<VpcPeeringConnection>(cloud, is_over).await
}

fn is_over(peering: &VpcPeeringConnection, now: Timestamp) -> bool {
    match peering.state {
        PeeringState::PendingAcceptance { .. } | PeeringState::Active => false,
        PeeringState::Rejected { at } | PeeringState::Expired { at } => now.since(at) >= REQUEST_SHOWN,
        PeeringState::Deleted { at, .. } | PeeringState::Failed { at } => now.since(at) >= SHOWN,
    }
}

fn touched(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    crate::noun::touched::<VpcPeeringConnection>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateVpcPeeringConnection, create::touches, create::create)
        .exclusive(
            ops::AcceptVpcPeeringConnection,
            |ctx, request, tables| touched(ctx, tables, &request.vpc_peering_connection_id),
            settle::accept,
        )
        .write(
            ops::RejectVpcPeeringConnection,
            |ctx, request, tables| touched(ctx, tables, &request.vpc_peering_connection_id),
            settle::reject,
        )
        .write(
            ops::DeleteVpcPeeringConnection,
            |ctx, request, tables| touched(ctx, tables, &request.vpc_peering_connection_id),
            settle::delete,
        )
        .read(ops::DescribeVpcPeeringConnections, |_, _, _| Touched::anything(), describe::describe)
        .write(
            ops::ModifyVpcPeeringConnectionOptions,
            |ctx, request, tables| touched(ctx, tables, &request.vpc_peering_connection_id),
            options::modify,
        );
}
