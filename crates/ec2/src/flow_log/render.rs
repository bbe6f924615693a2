//! A flow log as the API shows it.

use crate::noun::{render_tags, wire_time};
use api_ec2 as api;
use model::flow_log::{Field, Kept, Scope};
use model::record::flow_log::FlowLog;

pub const fn traffic(kept: Kept) -> api::TrafficType {
    match kept {
        Kept::Accept => api::TrafficType::Accept,
        Kept::Reject => api::TrafficType::Reject,
        Kept::All => api::TrafficType::All,
    }
}

pub fn resource(log: &FlowLog) -> String {
    match log.scope {
        Scope::Vpc => log.vpc.to_string(),
        Scope::Subnet(subnet) => subnet.to_string(),
        Scope::Interface(interface) => interface.to_string(),
    }
}

pub fn format(fields: &[Field]) -> String {
    let names: Vec<String> = fields.iter().map(|field| format!("${{{}}}", field.as_str())).collect();
    names.join(" ")
}

pub fn flow_log(log: &FlowLog) -> api::FlowLog {
    api::FlowLog {
        creation_time: Some(wire_time(log.created_at)),
        deliver_logs_status: Some("SUCCESS".into()),
        flow_log_id: Some(log.log.to_string()),
        flow_log_status: Some("ACTIVE".into()),
        resource_id: Some(resource(log)),
        traffic_type: Some(traffic(log.kept)),
        log_destination_type: Some(api::LogDestinationType::S3),
        log_destination: Some(log.destination_arn.clone()),
        log_format: Some(format(&log.fields)),
        tags: render_tags(&log.tags),
        max_aggregation_interval: Some(log.interval as i32),
        destination_options: Some(api::DestinationOptionsResponse {
            file_format: Some(api::DestinationFileFormat::PlainText),
            hive_compatible_partitions: Some(log.destination.hive),
            per_hour_partition: Some(log.destination.per_hour),
        }),
        ..Default::default()
    }
}
