//! `CreateFlowLogs`: one for each resource that the request names.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html>

use crate::errors::{client, missing_parameter};
use crate::noun::{created, find, find_all, given_tags, touched};
use crate::parameter::{not_one_of, refuse, unsupported};
use api_ec2::{
    CreateFlowLogsRequest, CreateFlowLogsResult, DestinationFileFormat, FlowLogsResourceType,
    LogDestinationType, TrafficType, UnsuccessfulItem, UnsuccessfulItemError,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::flow_log::{Destination, Field, Kept, Scope};
use model::record::flow_log::FlowLog;
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{Subnet, Vpc};
use model::{FlowLogId, VpcId};
use wire::ApiError;

/// How many resources one request may name.
const MAX_RESOURCES: usize = 1000;
const INTERVALS: [i32; 2] = [60, 600];

pub fn touches(ctx: &Context, request: &CreateFlowLogsRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "vpc-flow-log")];
    all.extend(match request.resource_type {
        FlowLogsResourceType::Vpc => touched::<Vpc>(ctx, tables, &request.resource_ids),
        FlowLogsResourceType::Subnet => touched::<Subnet>(ctx, tables, &request.resource_ids),
        _ => touched::<NetworkInterface>(ctx, tables, &request.resource_ids),
    });
    all
}

fn invalid(message: impl Into<String>) -> ApiError {
    client("InvalidParameter", message)
}

pub fn create(
    ctx: &Context,
    request: &CreateFlowLogsRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateFlowLogsResult> {
    let kept = match request.traffic_type.as_ref() {
        Some(TrafficType::Accept) => Kept::Accept,
        Some(TrafficType::Reject) => Kept::Reject,
        Some(TrafficType::All) => Kept::All,
        Some(TrafficType::Other(other)) => {
            return Err(not_one_of("TrafficType", other, "ACCEPT, REJECT, ALL"));
        }
        None => return Err(missing_parameter("TrafficType")),
    };
    let (destination_arn, destination) = destination(request)?;
    let interval = request.max_aggregation_interval.unwrap_or(600);
    if !INTERVALS.contains(&interval) {
        return Err(invalid(format!(
            "Invalid Flow Log Max Aggregation Interval: {interval}. It must be 60 or 600 seconds."
        )));
    }
    let fields = fields(request.log_format.as_deref())?;
    let resources = resources(ctx, txn.tables(), request)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpc-flow-log"])?;
    let tags = tags.into_values().next().unwrap_or_default();
    let (mut ids, mut unsuccessful) = (Vec::new(), Vec::new());
    for (id, vpc, scope) in resources {
        let mut of_vpc = txn.tables().find::<FlowLog>(&ctx.region, "vpc", vpc);
        let same = of_vpc.any(|log| {
            log.scope == scope
                && log.kept == kept
                && log.destination_arn == destination_arn
                && log.fields == fields
        });
        if same {
            let error = UnsuccessfulItemError {
                code: Some("FlowLogAlreadyExists".into()),
                message: Some(
                    "Error. There is an existing Flow Log with the same configuration and log destination."
                        .into(),
                ),
            };
            unsuccessful.push(UnsuccessfulItem { error: Some(error), resource_id: Some(id) });
            continue;
        }
        let log = FlowLog {
            log: FlowLogId::from_entropy(ctx.bits()),
            account: ctx.account(),
            created_at: ctx.now,
            vpc,
            scope,
            kept,
            interval: interval as u32,
            fields: fields.clone(),
            destination_arn: destination_arn.clone(),
            destination: destination.clone(),
            tags: tags.clone(),
        };
        ids.push(txn.put(&ctx.region, log).log.to_string());
    }
    Ok(CreateFlowLogsResult {
        client_token: request.client_token.clone(),
        flow_log_ids: Some(ids),
        unsuccessful: Some(unsuccessful),
    })
}

/// The resources, each with its VPC. All must be there.
fn resources(
    ctx: &Context,
    tables: &Tables,
    request: &CreateFlowLogsRequest,
) -> Result<Vec<(String, VpcId, Scope)>> {
    let ids = &request.resource_ids;
    if ids.is_empty() {
        return Err(missing_parameter("ResourceId"));
    }
    if ids.len() > MAX_RESOURCES {
        return Err(invalid(format!("A request may name up to {MAX_RESOURCES} resources.")));
    }
    match &request.resource_type {
        FlowLogsResourceType::Vpc => {
            find_all::<Vpc>(ctx, tables, ids)?;
            let one = |id: &String| Ok((id.clone(), find::<Vpc>(ctx, tables, id)?.vpc, Scope::Vpc));
            ids.iter().map(one).collect()
        }
        FlowLogsResourceType::Subnet => {
            find_all::<Subnet>(ctx, tables, ids)?;
            let one = |id: &String| {
                let subnet = find::<Subnet>(ctx, tables, id)?;
                Ok((id.clone(), subnet.vpc, Scope::Subnet(subnet.subnet)))
            };
            ids.iter().map(one).collect()
        }
        FlowLogsResourceType::NetworkInterface => {
            find_all::<NetworkInterface>(ctx, tables, ids)?;
            let one = |id: &String| {
                let interface = find::<NetworkInterface>(ctx, tables, id)?;
                Ok((id.clone(), interface.vpc, Scope::Interface(interface.interface)))
            };
            ids.iter().map(one).collect()
        }
        FlowLogsResourceType::Other(other) => {
            Err(not_one_of("ResourceType", other, "VPC, Subnet, NetworkInterface"))
        }
        other => Err(unsupported(&format!("The ResourceType {}", other.as_str()))),
    }
}

/// The ARN as it was given, and where files go.
fn destination(request: &CreateFlowLogsRequest) -> Result<(String, Destination)> {
    match &request.log_destination_type {
        Some(LogDestinationType::S3) => {}
        // What the API takes for granted when nothing is said.
        None | Some(LogDestinationType::CloudWatchLogs) => {
            return Err(unsupported("The LogDestinationType cloud-watch-logs"));
        }
        Some(other) => return Err(unsupported(&format!("The LogDestinationType {}", other.as_str()))),
    }
    let some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if some(&request.log_group_name) || some(&request.deliver_logs_permission_arn) {
        return Err(invalid(
            "LogGroupName and DeliverLogsPermissionArn can't be given if LogDestinationType is s3.",
        ));
    }
    let options = request.destination_options.as_ref();
    let format = options.and_then(|options| options.file_format.as_ref());
    refuse(&[
        ("DeliverCrossAccountRole", some(&request.deliver_cross_account_role)),
        (
            "DestinationOptions.FileFormat parquet",
            format.is_some_and(|format| !matches!(format, DestinationFileFormat::PlainText)),
        ),
    ])?;
    let arn = request.log_destination.as_deref().unwrap_or_default();
    if arn.is_empty() {
        return Err(invalid("LogDestination can't be empty if LogGroupName is not provided."));
    }
    let malformed = || {
        let shown: String = arn.chars().take(128).collect();
        invalid(format!("LogDestination: {shown} is not the ARN of a bucket or of a folder in one."))
    };
    let place = arn.strip_prefix("arn:aws:s3:::").ok_or_else(malformed)?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_end_matches('/');
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bucket.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !bucket.contains("..");
    // It becomes a path of files: every part is a name.
    let is_name = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!-_.*'()=+ ".contains(&b);
        !matches!(part, "" | "." | "..") && part.len() <= 255 && part.bytes().all(fits)
    };
    let is_prefix = prefix.is_empty() || prefix.split('/').all(is_name);
    if !is_bucket || !is_prefix || prefix.len() > 512 || prefix.split('/').any(|part| part == "AWSLogs") {
        return Err(malformed());
    }
    let set = |choice: Option<bool>| choice.unwrap_or(false);
    let destination = Destination {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        hive: set(options.and_then(|options| options.hive_compatible_partitions)),
        per_hour: set(options.and_then(|options| options.per_hour_partition)),
    };
    Ok((arn.to_owned(), destination))
}

/// `${srcaddr} ${dstaddr} …`
fn fields(format: Option<&str>) -> Result<Vec<Field>> {
    let Some(format) = format.filter(|format| !format.trim().is_empty()) else {
        return Ok(Field::default_format());
    };
    let mut fields = Vec::new();
    for word in format.split_whitespace() {
        let name = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let shown: String = word.chars().take(64).collect();
        let field = name.and_then(Field::parse).ok_or_else(|| {
            invalid(format!("LogFormat: {shown} is no field of this cloud's flow logs (versions 2 to 5)."))
        })?;
        if fields.contains(&field) {
            return Err(invalid(format!("LogFormat: {shown} is there twice.")));
        }
        fields.push(field);
    }
    Ok(fields)
}
