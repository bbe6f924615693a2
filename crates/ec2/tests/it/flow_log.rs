//! Flow logs as their owner sees them, and what hosts are told.

use crate::instance::cloud;
use crate::network_interface_attach::default_subnet;
use model::VpcId;
use model::flow_log::{Field, Kept, Scope};
use model::host::{DesiredBody, ObjectKey};

const S3: [(&str, &str); 2] =
    [("LogDestinationType", "s3"), ("LogDestination", "arn:aws:s3:::logs/of/vpcs/")];

async fn default_vpc(cloud: &crate::instance::Cloud) -> String {
    let filter = [("Filter.1.Name", "is-default"), ("Filter.1.Value.1", "true")];
    cloud.ok("DescribeVpcs", &filter).await.one("vpcSet/item/vpcId")
}

#[tokio::test]
async fn a_log_is_described_tagged_and_told_to_the_host_until_it_is_deleted() {
    let cloud = cloud().await;
    cloud.running(&[]).await;
    let vpc = default_vpc(&cloud).await;
    let mut asked = vec![
        ("ResourceType", "VPC"),
        ("ResourceId.1", vpc.as_str()),
        ("TrafficType", "REJECT"),
        ("MaxAggregationInterval", "60"),
        ("LogFormat", "${srcaddr} ${az-id}"),
        ("TagSpecification.1.ResourceType", "vpc-flow-log"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "all"),
    ];
    asked.extend(S3);
    let id = cloud.ok("CreateFlowLogs", &asked).await.one("flowLogIdSet/item");
    let again = cloud.ok("CreateFlowLogs", &asked).await;
    assert_eq!(again.one("unsuccessful/item/error/code"), "FlowLogAlreadyExists");
    assert_eq!(again.one("unsuccessful/item/resourceId"), vpc);
    let one = "flowLogSet/item";
    for (name, value) in [
        ("resource-id", vpc.as_str()),
        ("traffic-type", "REJECT"),
        ("log-destination-type", "s3"),
        ("tag:Name", "all"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeFlowLogs", &filter).await;
        assert_eq!(found.all(&format!("{one}/flowLogId")), [id.as_str()], "{name}");
    }
    let shown = cloud.ok("DescribeFlowLogs", &[("FlowLogId.1", &id)]).await;
    assert_eq!(shown.one(&format!("{one}/flowLogStatus")), "ACTIVE");
    assert_eq!(shown.one(&format!("{one}/logDestination")), "arn:aws:s3:::logs/of/vpcs/");
    assert_eq!(shown.one(&format!("{one}/logFormat")), "${srcaddr} ${az-id}");
    assert_eq!(shown.one(&format!("{one}/maxAggregationInterval")), "60");

    let key = ObjectKey::Vpc(VpcId::parse(&vpc).unwrap());
    let told = || match cloud.host.object(key).and_then(|desired| desired.body) {
        Some(DesiredBody::Vpc(vpc)) => vpc.flow_logs.clone(),
        _ => panic!("the host is not told of the VPC"),
    };
    cloud.settled(key).await;
    let logs = told();
    assert_eq!((logs.len(), logs[0].scope, logs[0].kept), (1, Scope::Vpc, Kept::Reject));
    assert_eq!(logs[0].fields, [Field::SrcAddr, Field::AzId]);
    assert_eq!(logs[0].destination.prefix, "of/vpcs");
    assert_eq!(logs[0].zones.len(), 3);

    cloud.ok("DeleteFlowLogs", &[("FlowLogId.1", &id)]).await;
    assert_eq!(cloud.code("DescribeFlowLogs", &[("FlowLogId.1", &id)]).await, "InvalidFlowLogId.NotFound");
    cloud.settled(key).await;
    assert!(told().is_empty());
    assert_eq!(cloud.code("DeleteFlowLogs", &[("FlowLogId.1", &id)]).await, "InvalidFlowLogId.NotFound");
}

#[tokio::test]
async fn what_is_not_built_is_refused_by_name_and_what_is_not_there_too() {
    let cloud = cloud().await;
    let subnet = default_subnet(&cloud, "us-east-1a").await;
    let base = [("ResourceType", "Subnet"), ("ResourceId.1", subnet.as_str()), ("TrafficType", "ALL")];
    let with = |more: &[(&'static str, &'static str)]| [base.as_slice(), more].concat();
    assert_eq!(cloud.code("CreateFlowLogs", &with(&[])).await, "UnsupportedOperation");
    let group = [("LogDestinationType", "cloud-watch-logs"), ("LogGroupName", "group")];
    assert_eq!(cloud.code("CreateFlowLogs", &with(&group)).await, "UnsupportedOperation");
    for (name, value, code) in [
        ("LogDestination", "arn:aws:s3:::logs/../../etc", "InvalidParameter"),
        ("LogDestination", "arn:aws:s3:::Logs", "InvalidParameter"),
        ("LogDestination", "/tmp/logs", "InvalidParameter"),
    ] {
        let asked = with(&[("LogDestinationType", "s3"), (name, value)]);
        assert_eq!(cloud.code("CreateFlowLogs", &asked).await, code, "{value}");
    }
    for (name, value, code) in [
        ("MaxAggregationInterval", "61", "InvalidParameter"),
        ("LogFormat", "${srcaddr} ${nothing}", "InvalidParameter"),
        ("DestinationOptions.FileFormat", "parquet", "UnsupportedOperation"),
    ] {
        let asked = [with(&S3), vec![(name, value)]].concat();
        assert_eq!(cloud.code("CreateFlowLogs", &asked).await, code, "{value}");
    }
    let missing = [
        ("ResourceType", "NetworkInterface"),
        ("ResourceId.1", "eni-0123456789abcdef0"),
        ("TrafficType", "ALL"),
        S3[0],
        S3[1],
    ];
    assert_eq!(cloud.code("CreateFlowLogs", &missing).await, "InvalidNetworkInterfaceID.NotFound");
    let made = cloud.ok("CreateFlowLogs", &with(&S3)).await;
    assert_eq!(made.all("flowLogIdSet/item").len(), 1);
}
