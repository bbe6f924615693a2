//! Reservations: parts of a subnet that are kept out of automatic assignment.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html>
//! Differs: an IPv6 block cannot be taken from a subnet while it has a reservation.

use crate::errors::{self, IdErrors, invalid_parameter_value};
use crate::network_interface::prefix;
use crate::noun::{Noun, created, find, given_tags, hold, parse_filters, render_tags, touched};
use api_ec2 as api;
use control::filter::{FilterField, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::record::vpc::{ReservationKind, Subnet, SubnetCidrReservation};
use model::{Region, SubnetCidrReservationId, SubnetId};
use plan::net::{ipv6, overlap};
use std::sync::Arc;

impl Noun for SubnetCidrReservation {
    const RESOURCE_TYPE: &'static str = "subnet-cidr-reservation";
    const ERRORS: IdErrors = errors::SUBNET_CIDR_RESERVATION;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "reservationType", values: |r, _| one(kind(r.kind).as_str().to_owned()) },
            FilterField { name: "subnet-id", values: |r, _| shown(r.subnet) },
        ]
    }
}

const fn kind(kind: ReservationKind) -> api::SubnetCidrReservationType {
    match kind {
        ReservationKind::Prefix => api::SubnetCidrReservationType::Prefix,
        ReservationKind::Explicit => api::SubnetCidrReservationType::Explicit,
    }
}

fn render(reservation: &SubnetCidrReservation) -> api::SubnetCidrReservation {
    api::SubnetCidrReservation {
        subnet_cidr_reservation_id: Some(reservation.reservation.to_string()),
        subnet_id: Some(reservation.subnet.to_string()),
        cidr: Some(reservation.cidr.to_string()),
        reservation_type: Some(kind(reservation.kind)),
        owner_id: Some(reservation.account.to_string()),
        description: reservation.description.clone(),
        tags: render_tags(&reservation.tags),
    }
}

pub fn create_touches(
    ctx: &Context,
    request: &api::CreateSubnetCidrReservationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "subnet-cidr-reservation")];
    all.extend(touched::<Subnet>(ctx, tables, [&request.subnet_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &api::CreateSubnetCidrReservationRequest,
    txn: &mut Txn<'_>,
) -> Result<api::CreateSubnetCidrReservationResult> {
    let subnet = hold::<Subnet>(ctx, txn, &request.subnet_id)?;
    let shown: String = request.cidr.chars().take(64).collect();
    let kind = match &request.reservation_type {
        api::SubnetCidrReservationType::Prefix => ReservationKind::Prefix,
        api::SubnetCidrReservationType::Explicit => ReservationKind::Explicit,
        api::SubnetCidrReservationType::Other(text) => {
            return Err(invalid_parameter_value(format!(
                "Value ({text}) for parameter reservationType is invalid. Use prefix or explicit."
            )));
        }
    };
    let cidr = match request.cidr.parse::<IpNet>() {
        Ok(cidr) => cidr.trunc(),
        Err(_) => {
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter cidr is invalid. This is not a valid CIDR block."
            )));
        }
    };
    if !subnet.nets().any(|own| own.contains(&cidr)) {
        let blocks: Vec<String> = subnet.nets().map(|own| own.to_string()).collect();
        return Err(invalid_parameter_value(format!(
            "The CIDR '{cidr}' does not lie in a block of the subnet: {}.",
            blocks.join(", ")
        )));
    }
    let prefix = match cidr {
        IpNet::V4(_) => prefix::LENGTH,
        IpNet::V6(_) => ipv6::PREFIX,
    };
    if kind == ReservationKind::Prefix && cidr.prefix_len() > prefix {
        return Err(invalid_parameter_value(format!("The CIDR '{cidr}' holds no /{prefix} prefix.")));
    }
    let mut siblings = txn.tables().find::<SubnetCidrReservation>(&ctx.region, "subnet", subnet.subnet);
    if let Some(other) = siblings.find(|other| overlap(other.cidr, cidr)) {
        return Err(invalid_parameter_value(format!(
            "The CIDR '{cidr}' overlaps the reservation {} of {}.",
            other.reservation, other.cidr
        )));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["subnet-cidr-reservation"])?;
    let reservation = SubnetCidrReservation {
        reservation: SubnetCidrReservationId::from_entropy(ctx.bits()),
        account: ctx.account(),
        subnet: subnet.subnet,
        cidr,
        kind,
        description: request.description.clone().filter(|text| !text.is_empty()),
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let reservation = txn.put(&ctx.region, reservation);
    Ok(api::CreateSubnetCidrReservationResult { subnet_cidr_reservation: Some(render(&reservation)) })
}

pub fn delete_touches(
    ctx: &Context,
    request: &api::DeleteSubnetCidrReservationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<SubnetCidrReservation>(ctx, tables, [&request.subnet_cidr_reservation_id])
}

pub fn delete(
    ctx: &Context,
    request: &api::DeleteSubnetCidrReservationRequest,
    txn: &mut Txn<'_>,
) -> Result<api::DeleteSubnetCidrReservationResult> {
    let reservation = hold::<SubnetCidrReservation>(ctx, txn, &request.subnet_cidr_reservation_id)?;
    txn.delete::<SubnetCidrReservation>(&ctx.region, &reservation.reservation);
    Ok(api::DeleteSubnetCidrReservationResult { deleted_subnet_cidr_reservation: Some(render(&reservation)) })
}

pub fn get_touches(
    ctx: &Context,
    request: &api::GetSubnetCidrReservationsRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Subnet>(ctx, tables, [&request.subnet_id])
}

pub fn get(
    ctx: &Context,
    request: &api::GetSubnetCidrReservationsRequest,
    tables: &Tables,
) -> Result<api::GetSubnetCidrReservationsResult> {
    let subnet = find::<Subnet>(ctx, tables, &request.subnet_id)?.subnet;
    let paging = Paging::<SubnetCidrReservationId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::Absent,
    )?;
    let filters = parse_filters::<SubnetCidrReservation>(request.filters.as_deref())?;
    let all = tables.find::<SubnetCidrReservation>(&ctx.region, "subnet", subnet);
    let matching = all.filter(|reservation| filters.accept(reservation, &reservation.tags, tables));
    let (page, next_token) = page::cut(matching, &paging, |reservation| reservation.reservation);
    let (v4, v6): (Vec<_>, Vec<_>) = page.into_iter().partition(|found| matches!(found.cidr, IpNet::V4(_)));
    let rendered =
        |found: Vec<&Arc<SubnetCidrReservation>>| Some(found.into_iter().map(|r| render(r)).collect());
    Ok(api::GetSubnetCidrReservationsResult {
        subnet_ipv4_cidr_reservations: rendered(v4),
        subnet_ipv6_cidr_reservations: rendered(v6),
        next_token,
    })
}

/// The IPv4 reservations of a subnet.
pub fn ipv4(tables: &Tables, region: &Region, subnet: SubnetId) -> Vec<(Ipv4Net, ReservationKind)> {
    let only = |r: &Arc<SubnetCidrReservation>| match r.cidr {
        IpNet::V4(cidr) => Some((cidr, r.kind)),
        IpNet::V6(_) => None,
    };
    tables.find::<SubnetCidrReservation>(region, "subnet", subnet).filter_map(only).collect()
}

/// The IPv6 reservations of a subnet.
pub fn ipv6(tables: &Tables, region: &Region, subnet: SubnetId) -> Vec<(Ipv6Net, ReservationKind)> {
    let only = |r: &Arc<SubnetCidrReservation>| match r.cidr {
        IpNet::V4(_) => None,
        IpNet::V6(cidr) => Some((cidr, r.kind)),
    };
    tables.find::<SubnetCidrReservation>(region, "subnet", subnet).filter_map(only).collect()
}
