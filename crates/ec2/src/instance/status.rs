//! DescribeInstanceStatus: what the status checks say of running instances.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html>
//! Differs: an instance counts as initializing for its first ten seconds (at once simulated), not minutes. The system's status is
//! `insufficient-data` while its host's agent is not connected.

use super::render;
use crate::noun::find_all;
use api_ec2::{
    DescribeInstanceStatusRequest, DescribeInstanceStatusResult, InstanceStatus, InstanceStatusDetails,
    InstanceStatusSummary, StatusName, StatusType, SummaryStatus,
};
use control::filter::{FilterField, Filters, maybe, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::record::instance::{Instance, Phase};
use model::{InstanceId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a status depends on beside the instance.
struct Now {
    at: Timestamp,
    connected: bool,
    /// How long checks take.
    checks: Duration,
}

fn system(instance: &Instance, now: &Now) -> SummaryStatus {
    match instance.phase {
        Phase::Running { .. } if !now.connected => SummaryStatus::InsufficientData,
        Phase::Running { .. } => reachability(instance, now),
        Phase::Pending
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::ShuttingDown { .. }
        | Phase::Terminated { .. } => SummaryStatus::NotApplicable,
    }
}

fn reachability(instance: &Instance, now: &Now) -> SummaryStatus {
    match instance.phase {
        Phase::Running { since } if now.at.since(since) < now.checks => SummaryStatus::Initializing,
        Phase::Running { .. } => SummaryStatus::Ok,
        Phase::Pending
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::ShuttingDown { .. }
        | Phase::Terminated { .. } => SummaryStatus::NotApplicable,
    }
}

fn detail(status: &SummaryStatus) -> Option<StatusType> {
    match status {
        SummaryStatus::Ok => Some(StatusType::Passed),
        SummaryStatus::Initializing => Some(StatusType::Initializing),
        SummaryStatus::InsufficientData => Some(StatusType::InsufficientData),
        SummaryStatus::Impaired => Some(StatusType::Failed),
        SummaryStatus::NotApplicable | SummaryStatus::Other(_) => None,
    }
}

fn summary(status: SummaryStatus) -> InstanceStatusSummary {
    let details = detail(&status).map(|detail| {
        vec![InstanceStatusDetails {
            name: Some(StatusName::Reachability),
            status: Some(detail),
            ..InstanceStatusDetails::default()
        }]
    });
    InstanceStatusSummary { details, status: Some(status) }
}

static FIELDS: &[FilterField<Instance, Now>] = &[
    FilterField { name: "availability-zone", values: |i, _| shown(&i.zone) },
    FilterField { name: "availability-zone-id", values: |i, _| one(i.zone.id()) },
    FilterField { name: "event.code", values: |_, _| Vec::new() },
    FilterField { name: "event.description", values: |_, _| Vec::new() },
    FilterField { name: "event.instance-event-id", values: |_, _| Vec::new() },
    FilterField { name: "event.not-after", values: |_, _| Vec::new() },
    FilterField { name: "event.not-before", values: |_, _| Vec::new() },
    FilterField { name: "event.not-before-deadline", values: |_, _| Vec::new() },
    FilterField { name: "instance-state-code", values: |i, _| shown(i.phase.code()) },
    FilterField { name: "instance-state-name", values: |i, _| one(i.phase.name()) },
    FilterField {
        name: "instance-status.reachability",
        values: |i, now| maybe(detail(&reachability(i, now)).map(|d| d.as_str().to_owned())),
    },
    FilterField {
        name: "instance-status.status",
        values: |i, now| one(reachability(i, now).as_str().to_owned()),
    },
    FilterField { name: "operator.managed", values: |_, _| one("false") },
    FilterField {
        name: "system-status.reachability",
        values: |i, now| maybe(detail(&system(i, now)).map(|d| d.as_str().to_owned())),
    },
    FilterField { name: "system-status.status", values: |i, now| one(system(i, now).as_str().to_owned()) },
];

pub fn run(
    ctx: &Context,
    request: &DescribeInstanceStatusRequest,
    tables: &Tables,
) -> Result<DescribeInstanceStatusResult> {
    let now = Now {
        at: ctx.now,
        connected: ctx.cloud.host.is_connected(),
        checks: ctx.cloud.settings.status_checks,
    };
    let paging = Paging::<InstanceId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::from(&request.instance_ids),
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FIELDS)?;
    let instances: BTreeMap<InstanceId, &Arc<Instance>> = match request.instance_ids.as_deref() {
        Some(ids) if !ids.is_empty() => {
            find_all::<Instance>(ctx, tables, ids)?.into_iter().map(|i| (i.instance, i)).collect()
        }
        _ => {
            tables.find::<Instance>(&ctx.region, "account", ctx.account()).map(|i| (i.instance, i)).collect()
        }
    };
    let all = request.include_all_instances == Some(true);
    let matching = instances
        .into_values()
        .filter(|i| all || matches!(i.phase, Phase::Running { .. }))
        .filter(|i| filters.accept(i, &i.tags, &now));
    let (page, next_token) = page::cut(matching, &paging, |i| i.instance);
    let statuses = page.into_iter().map(|i| InstanceStatus {
        availability_zone: Some(i.zone.to_string()),
        availability_zone_id: Some(i.zone.id()),
        operator: Some(render::not_managed()),
        instance_id: Some(i.instance.to_string()),
        instance_state: Some(render::state(i.phase)),
        instance_status: Some(summary(reachability(i, &now))),
        system_status: Some(summary(system(i, &now))),
        ..InstanceStatus::default()
    });
    Ok(DescribeInstanceStatusResult { instance_statuses: Some(statuses.collect()), next_token })
}
