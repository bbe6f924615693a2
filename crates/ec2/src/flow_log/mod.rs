//! Flow logs: what went to and from the interfaces of a VPC, a subnet, or one interface, written to files.
//!
//! A log names a bucket, as on AWS; there is no object store behind it yet, so hosts write AWS's layout below a directory of
//! the cloud's own. What they write is in `plan::flow_log`; [`desired`] tells them, as part of the VPC.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
//! Differs: to S3 destinations alone, as files on the host; fields of versions 2 to 5; plain text; no logs of transit gateways.

mod create;
mod delete;
mod describe;
mod render;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Service, Tables, Touched};
use model::flow_log::{Field, FlowLogDesired};
use model::record::flow_log::FlowLog;
use model::record::vpc::Subnet;
use model::{Region, VpcId};

impl Noun for FlowLog {
    const RESOURCE_TYPE: &'static str = "vpc-flow-log";
    const ERRORS: IdErrors = errors::FLOW_LOG;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "deliver-log-status", values: |_, _| one("SUCCESS") },
            FilterField { name: "flow-log-id", values: |l, _| shown(l.log) },
            FilterField { name: "log-destination-type", values: |_, _| one("s3") },
            FilterField { name: "log-group-name", values: |_, _| Vec::new() },
            FilterField { name: "resource-id", values: |l, _| one(render::resource(l)) },
            FilterField {
                name: "traffic-type",
                values: |l, _| one(render::traffic(l.kept).as_str().to_owned()),
            },
        ]
    }
}

/// What a host is told of a VPC's logs.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<FlowLogDesired> {
    let logs = tables.find::<FlowLog>(region, "vpc", vpc);
    let told = logs.map(|log| {
        let subnets = log.fields.contains(&Field::AzId).then(|| tables.find::<Subnet>(region, "vpc", vpc));
        let zones = subnets.into_iter().flatten().map(|subnet| (subnet.subnet, subnet.zone.id()));
        FlowLogDesired {
            log: log.log,
            scope: log.scope,
            kept: log.kept,
            interval: log.interval,
            fields: log.fields.clone(),
            destination: log.destination.clone(),
            zones: zones.collect(),
        }
    });
    told.collect()
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateFlowLogs, create::touches, create::create)
        .exclusive(
            ops::DeleteFlowLogs,
            |ctx, request, tables| touched::<FlowLog>(ctx, tables, &request.flow_log_ids),
            delete::delete,
        )
        .read(ops::DescribeFlowLogs, |_, _, _| Touched::anything(), describe::describe);
}
