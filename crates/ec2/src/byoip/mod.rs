//! Public addresses that accounts bring along (BYOIP): ranges, each of which is a pool of elastic addresses.
//!
//! Who may bring what is the operator's word (`Settings::byoip`); what becomes of a range is decided in
//! [`plan::net::byoip`]. An address of a range that is not advertised is withheld from packets, see
//! [`address::desired`](crate::address::desired).
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-byoip.html>
//! Differs: IPv4 alone; what AWS takes days for is done at once, the answers still say `pending-…`; the signature of an
//! authorization is not verified; no ASNs of one's own, no IPAM.

mod change;
mod describe;
mod pool;
mod provision;

use crate::address;
use crate::errors::{self, IdErrors, client, invalid_parameter_value};
use crate::noun::Noun;
use crate::parameter::{ipv4_block, unsupported};
use api_ec2 as api;
use api_ec2::{ByoipCidrState, ops};
use control::filter::FilterField;
use control::{Cloud, Context, Result, Service, Tables, Touched};
use ipnet::{IpNet, Ipv4Net};
use model::host::ObjectKey;
use model::record::address::Address;
use model::record::byoip::{ByoipCidr, ByoipPhase};
use model::{PublicIpv4PoolId, Region, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How long a range that was given up is described.
const SHOWN: Duration = Duration::from_hours(1);
/// How many ranges an account may have in a region.
const MAX_RANGES: usize = 5;

/// As a pool: what is none does not exist under its pool's id.
impl Noun for ByoipCidr {
    const RESOURCE_TYPE: &'static str = "ipv4pool-ec2";
    const ERRORS: IdErrors = errors::PUBLIC_IPV4_POOL;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=10;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[]
    }

    fn visible_to(&self, ctx: &Context) -> bool {
        self.account == ctx.account() && self.is_pool()
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        ranges(ctx, tables).filter(|range| range.is_pool()).collect()
    }
}

/// The caller's, those that came to nothing too.
fn ranges<'a>(ctx: &'a Context, tables: &'a Tables) -> impl Iterator<Item = &'a Arc<ByoipCidr>> {
    tables.find::<ByoipCidr>(&ctx.region, "account", ctx.account())
}

/// The caller's range that has not ended; `InvalidParameterValue` when there is none.
fn by_cidr<'a>(ctx: &'a Context, tables: &'a Tables, text: &str) -> Result<&'a Arc<ByoipCidr>> {
    let cidr = block(text)?;
    let mut own = ranges(ctx, tables).filter(|range| !range.is_over());
    own.find(|range| range.cidr == cidr).ok_or_else(|| {
        invalid_parameter_value(format!("The address range '{cidr}' is not provisioned in {}.", ctx.region))
    })
}

fn block(text: &str) -> Result<Ipv4Net> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V6(_)) => Err(unsupported("Bringing IPv6 addresses along")),
        Ok(IpNet::V4(_)) | Err(_) => ipv4_block("Cidr", text),
    }
}

/// Whether whoever is outside may reach the addresses of a pool.
pub fn is_advertised(tables: &Tables, region: &Region, pool: PublicIpv4PoolId) -> bool {
    let range = tables.get::<ByoipCidr>(region, &pool);
    range.is_some_and(|range| matches!(range.phase, ByoipPhase::Advertised))
}

/// What of a host hangs on whether a range is advertised.
pub fn concerned(tables: &Tables, region: &Region, id: &str) -> Vec<ObjectKey> {
    let Ok(pool) = PublicIpv4PoolId::parse(id) else { return Vec::new() };
    let interfaces =
        tables.find::<Address>(region, "pool", pool).filter_map(|a| address::interface(tables, a));
    let keys = interfaces.flat_map(|interface| {
        let instance = interface.attachment.as_ref().map(|a| ObjectKey::Instance(a.instance));
        // The VPC's part tells of NAT gateways.
        [ObjectKey::Vpc(interface.vpc)].into_iter().chain(instance)
    });
    keys.collect()
}

/// How many addresses of a pool are allocated.
fn allocated(tables: &Tables, region: &Region, pool: PublicIpv4PoolId) -> usize {
    tables.find::<Address>(region, "pool", pool).count()
}

fn render(ctx: &Context, range: &ByoipCidr, state: ByoipCidrState) -> api::ByoipCidr {
    let message = match range.phase {
        ByoipPhase::Provisioned | ByoipPhase::Advertised => Some(range.pool.to_string()),
        ByoipPhase::Failed => Some(format!(
            "The operator of this cloud does not let account {} bring {}.",
            range.account, range.cidr
        )),
        ByoipPhase::Deprovisioned { .. } => None,
    };
    api::ByoipCidr {
        cidr: Some(range.cidr.to_string()),
        description: range.description.clone(),
        status_message: message,
        state: Some(state),
        network_border_group: Some(ctx.region.to_string()),
        ..Default::default()
    }
}

fn state(range: &ByoipCidr) -> ByoipCidrState {
    match range.phase {
        ByoipPhase::Provisioned if range.advertisable => ByoipCidrState::Provisioned,
        ByoipPhase::Provisioned => ByoipCidrState::ProvisionedNotPubliclyAdvertisable,
        ByoipPhase::Advertised => ByoipCidrState::Advertised,
        ByoipPhase::Failed => ByoipCidrState::FailedProvision,
        ByoipPhase::Deprovisioned { .. } => ByoipCidrState::Deprovisioned,
    }
}

fn incorrect_state(range: &ByoipCidr) -> wire::ApiError {
    let state = state(range);
    client("IncorrectState", format!("The address range '{}' is {}.", range.cidr, state.as_str()))
}

/// Removes those that were given up long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let over = |range: &ByoipCidr, now: Timestamp| match range.phase {
        ByoipPhase::Deprovisioned { at } => now.since(at) >= SHOWN,
        ByoipPhase::Provisioned | ByoipPhase::Advertised | ByoipPhase::Failed => false,
    };
    crate::sweep::remove::<ByoipCidr>(cloud, over).await
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::ProvisionByoipCidr, |_, _, _| Touched::anything(), provision::provision)
        .exclusive(ops::DeprovisionByoipCidr, |_, _, _| Touched::anything(), change::deprovision)
        .write(ops::AdvertiseByoipCidr, |_, _, _| Touched::anything(), change::advertise)
        .write(ops::WithdrawByoipCidr, |_, _, _| Touched::anything(), change::withdraw)
        .read(ops::DescribeByoipCidrs, |_, _, _| Touched::anything(), describe::describe)
        .read(ops::DescribePublicIpv4Pools, |_, _, _| Touched::anything(), pool::describe);
}
