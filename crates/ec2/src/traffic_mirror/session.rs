//! `CreateTrafficMirrorSession`, `ModifyTrafficMirrorSession`, `DeleteTrafficMirrorSession`.

use super::rule::{not_both, number};
use super::{MOST, description, outside, render, retell};
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::{not_one_of, unsupported};
use api_ec2::{
    CreateTrafficMirrorSessionRequest, CreateTrafficMirrorSessionResult, DeleteTrafficMirrorSessionRequest,
    DeleteTrafficMirrorSessionResult, ModifyTrafficMirrorSessionRequest, ModifyTrafficMirrorSessionResult,
    TrafficMirrorSessionField,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::TrafficMirrorSessionId;
use model::record::network_interface::NetworkInterface;
use model::record::traffic_mirror::{TrafficMirrorFilter, TrafficMirrorSession, TrafficMirrorTarget};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many sessions a source may have.
const MOST_OF_SOURCE: usize = 3;
/// How many sources may copy to a target.
const MOST_SOURCES: usize = 100;
const LAST_NETWORK: u32 = (1 << 24) - 1;

pub fn create_touches(
    ctx: &Context,
    request: &CreateTrafficMirrorSessionRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "traffic-mirror-session")];
    all.extend(touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id]));
    all.extend(touched::<TrafficMirrorTarget>(ctx, tables, [&request.traffic_mirror_target_id]));
    all.extend(touched::<TrafficMirrorFilter>(ctx, tables, [&request.traffic_mirror_filter_id]));
    all
}

pub fn modify_touches(
    ctx: &Context,
    request: &ModifyTrafficMirrorSessionRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<TrafficMirrorSession>(ctx, tables, [&request.traffic_mirror_session_id]);
    all.extend(touched::<TrafficMirrorTarget>(ctx, tables, &request.traffic_mirror_target_id));
    all.extend(touched::<TrafficMirrorFilter>(ctx, tables, &request.traffic_mirror_filter_id));
    all
}

/// An interface that its owner may use: no service's, and with an IPv4 address, by which copies go.
pub fn own_interface(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<NetworkInterface>> {
    let interface = hold::<NetworkInterface>(ctx, txn, id)?;
    if interface.is_managed() {
        return Err(invalid_parameter_value(format!(
            "Network interface '{}' belongs to a service and can't be used for traffic mirroring.",
            interface.interface
        )));
    }
    if interface.primary().is_none() {
        return Err(invalid_parameter_value(format!(
            "Network interface '{}' is in an IPv6-only subnet and can't be used for traffic mirroring.",
            interface.interface
        )));
    }
    Ok(interface)
}

pub fn create(
    ctx: &Context,
    request: &CreateTrafficMirrorSessionRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTrafficMirrorSessionResult> {
    let number = number("SessionNumber", request.session_number)?;
    let length = request.packet_length.map(length).transpose()?;
    let network = match request.virtual_network_id {
        Some(given) => network(given)?,
        None => any_network(ctx),
    };
    let description = description(request.description.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["traffic-mirror-session"])?;
    let source = own_interface(ctx, txn, &request.network_interface_id)?;
    let target = hold::<TrafficMirrorTarget>(ctx, txn, &request.traffic_mirror_target_id)?;
    let filter = hold::<TrafficMirrorFilter>(ctx, txn, &request.traffic_mirror_filter_id)?;
    let session = TrafficMirrorSession {
        session: TrafficMirrorSessionId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc: source.vpc,
        source: source.interface,
        target: target.target,
        filter: filter.filter,
        number,
        network,
        length,
        description,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    if txn.tables().count::<TrafficMirrorSession>(&ctx.region, "account", ctx.account()) >= MOST {
        return Err(client(
            "TrafficMirrorSessionLimitExceeded",
            "The maximum number of Traffic Mirror sessions has been exceeded.",
        ));
    }
    check(ctx, txn, &session, &target)?;
    let session = txn.put(&ctx.region, session);
    // Whoever removes the source at the same time looks again.
    txn.put(&ctx.region, NetworkInterface::clone(&source));
    Ok(CreateTrafficMirrorSessionResult {
        traffic_mirror_session: Some(render::session(&session)),
        client_token: request.client_token.clone(),
    })
}

pub fn modify(
    ctx: &Context,
    request: &ModifyTrafficMirrorSessionRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyTrafficMirrorSessionResult> {
    let held = hold::<TrafficMirrorSession>(ctx, txn, &request.traffic_mirror_session_id)?;
    let mut session = TrafficMirrorSession::clone(&held);
    for field in request.remove_fields.as_deref().unwrap_or_default() {
        let given = match field {
            TrafficMirrorSessionField::PacketLength => {
                session.length = None;
                request.packet_length.is_some()
            }
            TrafficMirrorSessionField::Description => {
                session.description = None;
                request.description.is_some()
            }
            TrafficMirrorSessionField::VirtualNetworkId => {
                session.network = any_network(ctx);
                request.virtual_network_id.is_some()
            }
            TrafficMirrorSessionField::Other(other) => {
                return Err(not_one_of(
                    "RemoveFields",
                    other,
                    "packet-length, description, virtual-network-id",
                ));
            }
        };
        not_both(field.as_str(), given)?;
    }
    if let Some(given) = request.session_number {
        session.number = number("SessionNumber", given)?;
    }
    if let Some(given) = request.packet_length {
        session.length = Some(length(given)?);
    }
    if let Some(given) = request.virtual_network_id {
        session.network = network(given)?;
    }
    if request.description.is_some() {
        session.description = description(request.description.as_deref())?;
    }
    if let Some(id) = &request.traffic_mirror_filter_id {
        session.filter = hold::<TrafficMirrorFilter>(ctx, txn, id)?.filter;
    }
    if let Some(id) = &request.traffic_mirror_target_id {
        session.target = hold::<TrafficMirrorTarget>(ctx, txn, id)?.target;
    }
    let target = hold::<TrafficMirrorTarget>(ctx, txn, &session.target.to_string())?;
    if target.target == held.target {
        check_number(ctx, txn.tables(), &session)?;
    } else {
        check(ctx, txn, &session, &target)?;
    }
    let session = txn.put(&ctx.region, session);
    Ok(ModifyTrafficMirrorSessionResult { traffic_mirror_session: Some(render::session(&session)) })
}

pub fn delete(
    ctx: &Context,
    request: &DeleteTrafficMirrorSessionRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTrafficMirrorSessionResult> {
    let session = hold::<TrafficMirrorSession>(ctx, txn, &request.traffic_mirror_session_id)?;
    txn.delete::<TrafficMirrorSession>(&ctx.region, &session.session);
    retell(txn, &ctx.region, session.vpc);
    Ok(DeleteTrafficMirrorSessionResult { traffic_mirror_session_id: Some(session.session.to_string()) })
}

/// Whether source and target fit together, and both have room for the session.
fn check(
    ctx: &Context,
    txn: &mut Txn<'_>,
    session: &TrafficMirrorSession,
    target: &TrafficMirrorTarget,
) -> Result<()> {
    if target.interface == session.source {
        return Err(invalid_parameter_value(format!(
            "The source of a Traffic Mirror session can't be its target: {} is both.",
            session.source
        )));
    }
    let interface = hold::<NetworkInterface>(ctx, txn, &target.interface.to_string())?;
    if interface.vpc != session.vpc {
        return Err(unsupported("A Traffic Mirror target in another VPC than the source"));
    }
    let tables = txn.tables();
    let to_it = tables.find::<TrafficMirrorSession>(&ctx.region, "target", target.target);
    let mut sources: BTreeSet<_> = to_it.map(|other| other.source).collect();
    sources.insert(session.source);
    if sources.len() > MOST_SOURCES {
        return Err(client(
            "TrafficMirrorSourcesPerTargetLimitExceeded",
            "The maximum number of Traffic Mirror sources for the specified Traffic Mirror target has been \
             exceeded.",
        ));
    }
    check_number(ctx, tables, session)
}

fn check_number(ctx: &Context, tables: &Tables, session: &TrafficMirrorSession) -> Result<()> {
    let of_source = tables.find::<TrafficMirrorSession>(&ctx.region, "source", session.source);
    let others: Vec<u16> =
        of_source.filter(|other| other.session != session.session).map(|other| other.number).collect();
    if others.contains(&session.number) {
        return Err(invalid_parameter_value(format!(
            "The session number {} is already being used by another session of {}.",
            session.number, session.source
        )));
    }
    if others.len() >= MOST_OF_SOURCE {
        return Err(client(
            "TrafficMirrorSessionsPerInterfaceLimitExceeded",
            "The allowed number of Traffic Mirror sessions for the specified network interface has been \
             exceeded.",
        ));
    }
    Ok(())
}

fn length(given: i32) -> Result<u16> {
    let length = u16::try_from(given).ok().filter(|length| *length > 0);
    length.ok_or_else(|| outside("PacketLength", &given.to_string(), "be from 1 to 65535"))
}

fn network(given: i32) -> Result<u32> {
    let network = u32::try_from(given).ok().filter(|network| (1..=LAST_NETWORK).contains(network));
    network.ok_or_else(|| outside("VirtualNetworkId", &given.to_string(), "be from 1 to 16777215"))
}

fn any_network(ctx: &Context) -> u32 {
    (ctx.bits() as u32 & LAST_NETWORK).max(1)
}
