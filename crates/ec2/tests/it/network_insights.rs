//! The reachability analyzer: paths, what analyses find, and what they name when they find none.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::made;
use testkit::Answer;

pub async fn path(cloud: &Cloud, parameters: &[(&str, &str)]) -> String {
    let token = format!("token-{}", parameters.iter().map(|(_, value)| *value).collect::<Vec<_>>().join("-"));
    let token: String = token.chars().take(64).collect();
    let mut all = vec![("ClientToken", token.as_str())];
    all.extend(parameters);
    let made = cloud.ok("CreateNetworkInsightsPath", &all).await;
    made.one("networkInsightsPath/networkInsightsPathId")
}

/// Starts an analysis and describes it.
pub async fn analyze(cloud: &Cloud, path: &str, token: &str) -> Answer {
    let asked = [("NetworkInsightsPathId", path), ("ClientToken", token)];
    let started = cloud.ok("StartNetworkInsightsAnalysis", &asked).await;
    assert_eq!(started.one("networkInsightsAnalysis/status"), "running");
    let id = started.one("networkInsightsAnalysis/networkInsightsAnalysisId");
    cloud.ok("DescribeNetworkInsightsAnalyses", &[("NetworkInsightsAnalysisId.1", &id)]).await
}

pub const ONE: &str = "networkInsightsAnalysisSet/item";

pub fn codes(found: &Answer) -> Vec<String> {
    found.all(&format!("{ONE}/explanationSet/item/explanationCode"))
}

fn on_the_way(found: &Answer, direction: &str) -> Vec<String> {
    let ids = found.all(&format!("{ONE}/{direction}PathComponentSet/item/component/id"));
    ids.iter().map(|id| id.rsplit_once('-').unwrap().0.to_owned()).collect()
}

pub async fn default_group(cloud: &Cloud) -> String {
    let filter = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
    cloud.ok("DescribeSecurityGroups", &filter).await.one("securityGroupInfo/item/groupId")
}

async fn open(cloud: &Cloud, group: &str, port: &str) {
    let rule = [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", port),
        ("IpPermissions.1.ToPort", port),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    cloud.ok("AuthorizeSecurityGroupIngress", &rule).await;
}

async fn gateway(cloud: &Cloud) -> String {
    cloud.ok("DescribeInternetGateways", &[]).await.one("internetGatewaySet/item/internetGatewayId")
}

#[tokio::test]
async fn the_world_reaches_an_instance_once_its_group_lets_it_in() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let (gateway, group) = (gateway(&cloud).await, default_group(&cloud).await);
    let path = path(
        &cloud,
        &[("Source", &gateway), ("Destination", &instance), ("Protocol", "tcp"), ("DestinationPort", "22")],
    )
    .await;
    let refused = analyze(&cloud, &path, "first").await;
    assert_eq!(refused.one(&format!("{ONE}/status")), "succeeded");
    assert_eq!(refused.one(&format!("{ONE}/networkPathFound")), "false");
    assert_eq!(codes(&refused), ["ENI_SG_RULES_MISMATCH"]);
    let named = refused.one(&format!("{ONE}/explanationSet/item/securityGroup/id"));
    assert_eq!(named, group);
    assert_eq!(refused.one(&format!("{ONE}/explanationSet/item/direction")), "ingress");

    open(&cloud, &group, "22").await;
    let found = analyze(&cloud, &path, "second").await;
    assert_eq!(found.one(&format!("{ONE}/networkPathFound")), "true");
    assert_eq!(on_the_way(&found, "forward"), ["igw", "acl", "sg", "eni", "i"]);
    assert_eq!(on_the_way(&found, "return"), ["i", "eni", "acl", "rtb", "igw"]);
    let rule = format!("{ONE}/forwardPathComponentSet/item/securityGroupRule");
    assert_eq!(found.one(&format!("{rule}/cidr")), "0.0.0.0/0");
    assert_eq!(found.one(&format!("{rule}/protocol")), "tcp");
    assert_eq!(found.one(&format!("{rule}/portRange/from")), "22");
    let numbers = found.all(&format!("{ONE}/forwardPathComponentSet/item/sequenceNumber"));
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
    // What was found stays what it was.
    let all = cloud.ok("DescribeNetworkInsightsAnalyses", &[("NetworkInsightsPathId", &path)]).await;
    let mut results = all.all(&format!("{ONE}/networkPathFound"));
    results.sort_unstable();
    assert_eq!(results, ["false", "true"]);
    let filter = [("Filter.1.Name", "path-found"), ("Filter.1.Value.1", "true")];
    let one = cloud.ok("DescribeNetworkInsightsAnalyses", &filter).await;
    assert_eq!(one.all(&format!("{ONE}/networkPathFound")), ["true"]);
}

#[tokio::test]
async fn an_acl_entry_that_denies_is_named() {
    let cloud = cloud().await;
    let (a, b) = (made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1b", &[]).await);
    let path =
        path(&cloud, &[("Source", &a), ("Destination", &b), ("Protocol", "tcp"), ("DestinationPort", "443")])
            .await;
    let found = analyze(&cloud, &path, "before").await;
    assert_eq!(found.one(&format!("{ONE}/networkPathFound")), "true");
    assert_eq!(on_the_way(&found, "forward"), ["eni", "sg", "acl", "rtb", "acl", "sg", "eni"]);
    let acl = cloud.ok("DescribeNetworkAcls", &[]).await.one("networkAclSet/item/networkAclId");
    let entry = [
        ("NetworkAclId", acl.as_str()),
        ("RuleNumber", "7"),
        ("Protocol", "6"),
        ("RuleAction", "deny"),
        ("Egress", "false"),
        ("CidrBlock", "0.0.0.0/0"),
        ("PortRange.From", "443"),
        ("PortRange.To", "443"),
    ];
    cloud.ok("CreateNetworkAclEntry", &entry).await;
    let found = analyze(&cloud, &path, "after").await;
    assert_eq!(codes(&found), ["SUBNET_ACL_RESTRICTION"]);
    let rule = format!("{ONE}/explanationSet/item/aclRule");
    assert_eq!(found.one(&format!("{rule}/ruleNumber")), "7");
    assert_eq!(found.one(&format!("{rule}/ruleAction")), "deny");
    assert_eq!(found.one(&format!("{ONE}/explanationSet/item/acl/id")), acl);
}

#[tokio::test]
async fn a_table_that_leads_nowhere_is_named_and_an_interface_without_a_public_address_too() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let (gateway, alone) = (gateway(&cloud).await, made(&cloud, "us-east-1c", &[]).await);
    let out = path(
        &cloud,
        &[
            ("Source", &instance),
            ("Destination", &gateway),
            ("Protocol", "tcp"),
            ("FilterAtSource.DestinationAddress", "203.0.113.9/32"),
            ("FilterAtSource.DestinationPortRange.FromPort", "443"),
            ("FilterAtSource.DestinationPortRange.ToPort", "443"),
        ],
    )
    .await;
    let found = analyze(&cloud, &out, "open").await;
    assert_eq!(found.one(&format!("{ONE}/networkPathFound")), "true");
    assert_eq!(on_the_way(&found, "forward"), ["i", "eni", "sg", "acl", "rtb", "igw"]);
    let table = cloud.ok("DescribeRouteTables", &[]).await.one("routeTableSet/item/routeTableId");
    let route = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0")];
    cloud.ok("DeleteRoute", &route).await;
    let found = analyze(&cloud, &out, "closed").await;
    assert_eq!(codes(&found), ["NO_ROUTE_TO_DESTINATION"]);
    assert_eq!(found.one(&format!("{ONE}/explanationSet/item/routeTable/id")), table);

    let arn = format!("arn:aws:ec2:us-east-1:111111111111:network-interface/{alone}");
    let inward = path(
        &cloud,
        &[("Source", &gateway), ("Destination", &arn), ("Protocol", "udp"), ("DestinationPort", "53")],
    )
    .await;
    let found = analyze(&cloud, &inward, "inward").await;
    assert_eq!(codes(&found), ["IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS"]);
    assert_eq!(found.one(&format!("{ONE}/explanationSet/item/internetGateway/id")), gateway);
}

#[tokio::test]
async fn a_way_is_held_against_what_it_must_pass() {
    let cloud = cloud().await;
    let (a, b) = (made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1b", &[]).await);
    let path = path(&cloud, &[("Source", &a), ("Destination", &b), ("Protocol", "tcp")]).await;
    let gateway = gateway(&cloud).await;
    let arn = format!("arn:aws:ec2:us-east-1:111111111111:internet-gateway/{gateway}");
    let asked = [("NetworkInsightsPathId", path.as_str()), ("ClientToken", "in"), ("FilterInArn.1", &arn)];
    let started = cloud.ok("StartNetworkInsightsAnalysis", &asked).await;
    let id = started.one("networkInsightsAnalysis/networkInsightsAnalysisId");
    let found = cloud.ok("DescribeNetworkInsightsAnalyses", &[("NetworkInsightsAnalysisId.1", &id)]).await;
    assert_eq!(found.one(&format!("{ONE}/networkPathFound")), "false");
    assert_eq!(codes(&found), ["COMPONENT_FILTER_RESTRICTION"]);
}

#[tokio::test]
async fn paths_are_described_tagged_and_deleted_when_nothing_was_found_by_them() {
    let cloud = cloud().await;
    let (a, b) = (made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1b", &[]).await);
    let path = path(
        &cloud,
        &[
            ("Source", &a),
            ("Destination", &b),
            ("Protocol", "tcp"),
            ("DestinationPort", "80"),
            ("TagSpecification.1.ResourceType", "network-insights-path"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "web"),
        ],
    )
    .await;
    let described = cloud.ok("DescribeNetworkInsightsPaths", &[("NetworkInsightsPathId.1", &path)]).await;
    let one = "networkInsightsPathSet/item";
    assert_eq!(described.one(&format!("{one}/source")), a);
    assert_eq!(described.one(&format!("{one}/destinationPort")), "80");
    let arn = format!("arn:aws:ec2:us-east-1:111111111111:network-insights-path/{path}");
    assert_eq!(described.one(&format!("{one}/networkInsightsPathArn")), arn);
    for (name, value) in
        [("source", a.as_str()), ("destination", &b), ("protocol", "tcp"), ("tag:Name", "web")]
    {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeNetworkInsightsPaths", &filter).await;
        assert_eq!(found.all(&format!("{one}/networkInsightsPathId")), [path.as_str()], "{name}");
    }
    cloud.ok("CreateTags", &[("ResourceId.1", &path), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")]).await;
    let found = analyze(&cloud, &path, "one").await;
    let analysis = found.one(&format!("{ONE}/networkInsightsAnalysisId"));
    let delete = [("NetworkInsightsPathId", path.as_str())];
    assert_eq!(
        cloud.code("DeleteNetworkInsightsPath", &delete).await,
        "AnalysisExistsForNetworkInsightsPath"
    );
    cloud.ok("DeleteNetworkInsightsAnalysis", &[("NetworkInsightsAnalysisId", &analysis)]).await;
    assert_eq!(cloud.ok("DeleteNetworkInsightsPath", &delete).await.one("networkInsightsPathId"), path);
    assert_eq!(
        cloud.code("DeleteNetworkInsightsPath", &delete).await,
        "InvalidNetworkInsightsPathId.NotFound"
    );
    let gone = [("NetworkInsightsAnalysisId", analysis.as_str())];
    assert_eq!(
        cloud.code("DeleteNetworkInsightsAnalysis", &gone).await,
        "InvalidNetworkInsightsAnalysisId.NotFound"
    );
    let other = [("Source", a.as_str()), ("Destination", "tgw-0123456789abcdef0"), ("Protocol", "tcp")];
    let other = [other.as_slice(), &[("ClientToken", "t")]].concat();
    assert_eq!(cloud.code("CreateNetworkInsightsPath", &other).await, "UnsupportedOperation");
}
