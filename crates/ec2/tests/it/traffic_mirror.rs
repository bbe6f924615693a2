//! Traffic mirroring as its owner sees it, and what hosts are told.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::made;
use model::VpcId;
use model::host::{DesiredBody, ObjectKey};
use model::traffic_mirror::{Action, MirrorDesired, Ports};
use testkit::Answer;

const ANY: [(&str, &str); 2] = [("SourceCidrBlock", "0.0.0.0/0"), ("DestinationCidrBlock", "0.0.0.0/0")];

async fn target(cloud: &Cloud, interface: &str) -> String {
    let made = cloud.ok("CreateTrafficMirrorTarget", &[("NetworkInterfaceId", interface)]).await;
    made.one("trafficMirrorTarget/trafficMirrorTargetId")
}

async fn filter(cloud: &Cloud) -> String {
    let made = cloud.ok("CreateTrafficMirrorFilter", &[]).await;
    made.one("trafficMirrorFilter/trafficMirrorFilterId")
}

fn rule_of<'a>(filter: &'a str, direction: &'a str, number: &'a str) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("TrafficMirrorFilterId", filter),
        ("TrafficDirection", direction),
        ("RuleNumber", number),
        ("RuleAction", "accept"),
    ];
    [own.as_slice(), &ANY].concat()
}

async fn rule(cloud: &Cloud, filter: &str, direction: &str, number: &str) -> String {
    let made = cloud.ok("CreateTrafficMirrorFilterRule", &rule_of(filter, direction, number)).await;
    made.one("trafficMirrorFilterRule/trafficMirrorFilterRuleId")
}

/// Source, target and filter of a session.
fn between<'a>([source, target, filter]: [&'a str; 3], number: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("NetworkInterfaceId", source),
        ("TrafficMirrorTargetId", target),
        ("TrafficMirrorFilterId", filter),
        ("SessionNumber", number),
    ]
}

async fn session(cloud: &Cloud, ends: [&str; 3], number: &str) -> String {
    let made = cloud.ok("CreateTrafficMirrorSession", &between(ends, number)).await;
    made.one("trafficMirrorSession/trafficMirrorSessionId")
}

async fn vpc_of(cloud: &Cloud, interface: &str) -> ObjectKey {
    let shown = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await;
    ObjectKey::Vpc(VpcId::parse(&shown.one("networkInterfaceSet/item/vpcId")).unwrap())
}

async fn told(cloud: &Cloud, vpc: ObjectKey) -> Vec<MirrorDesired> {
    cloud.settled(vpc).await;
    match cloud.host.object(vpc).and_then(|desired| desired.body) {
        Some(DesiredBody::Vpc(vpc)) => vpc.mirrors.clone(),
        _ => panic!("the host is not told of the VPC"),
    }
}

async fn private(cloud: &Cloud, interface: &str) -> String {
    let shown = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await;
    shown.one("networkInterfaceSet/item/privateIpAddress")
}

#[tokio::test]
async fn a_session_is_told_to_the_host_as_it_and_its_filter_change_until_its_source_goes() {
    let cloud = cloud().await;
    cloud.running(&[]).await;
    let source = made(&cloud, "us-east-1a", &[]).await;
    let (near, far) = (made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1b", &[]).await);
    let vpc = vpc_of(&cloud, &source).await;
    let (first, second) = (target(&cloud, &near).await, target(&cloud, &far).await);
    let filter = filter(&cloud).await;
    let mut asked = between([&source, &first, &filter], "7");
    asked.extend([
        ("PacketLength", "100"),
        ("VirtualNetworkId", "4711"),
        ("Description", "what it says"),
        ("TagSpecification.1.ResourceType", "traffic-mirror-session"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "seen"),
    ]);
    let dry = [asked.clone(), vec![("DryRun", "true")]].concat();
    assert_eq!(cloud.code("CreateTrafficMirrorSession", &dry).await, "DryRunOperation");
    let answer = cloud.ok("CreateTrafficMirrorSession", &asked).await;
    let id = answer.one("trafficMirrorSession/trafficMirrorSessionId");
    let path = |member: &str| format!("trafficMirrorSessionSet/item/{member}");
    for (name, value) in [
        ("description", "what*"),
        ("network-interface-id", source.as_str()),
        ("packet-length", "100"),
        ("session-number", "7"),
        ("traffic-mirror-filter-id", filter.as_str()),
        ("traffic-mirror-session-id", id.as_str()),
        ("traffic-mirror-target-id", first.as_str()),
        ("virtual-network-id", "4711"),
        ("tag:Name", "seen"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeTrafficMirrorSessions", &filter).await;
        assert_eq!(found.all(&path("trafficMirrorSessionId")), [id.as_str()], "{name}");
    }

    let [mirror] = told(&cloud, vpc).await.try_into().unwrap();
    assert_eq!((mirror.number, mirror.network, mirror.length), (7, 4711, Some(100)));
    assert_eq!(mirror.source.to_string(), source);
    assert_eq!(
        [mirror.from.to_string(), mirror.to.to_string()],
        [private(&cloud, &source).await, private(&cloud, &near).await]
    );
    assert!(mirror.within_subnet && mirror.filter.ingress.is_empty() && !mirror.filter.dns);

    let high = rule(&cloud, &filter, "ingress", "20").await;
    rule(&cloud, &filter, "ingress", "10").await;
    rule(&cloud, &filter, "egress", "10").await;
    let services = [("TrafficMirrorFilterId", filter.as_str()), ("AddNetworkService.1", "amazon-dns")];
    let shown = cloud.ok("ModifyTrafficMirrorFilterNetworkServices", &services).await;
    assert_eq!(shown.one("trafficMirrorFilter/networkServiceSet/item"), "amazon-dns");
    assert_eq!(shown.all("trafficMirrorFilter/ingressFilterRuleSet/item/ruleNumber"), ["10", "20"]);
    let [mirror] = told(&cloud, vpc).await.try_into().unwrap();
    let numbers: Vec<u16> = mirror.filter.ingress.iter().map(|rule| rule.number).collect();
    assert_eq!((numbers, mirror.filter.egress.len(), mirror.filter.dns), (vec![10, 20], 1, true));

    let changed = [
        ("TrafficMirrorFilterRuleId", high.as_str()),
        ("RuleAction", "reject"),
        ("RuleNumber", "5"),
        ("Protocol", "17"),
        ("DestinationPortRange.FromPort", "1"),
        ("DestinationPortRange.ToPort", "9"),
        ("SourceCidrBlock", "10.0.0.1/8"),
    ];
    let shown = cloud.ok("ModifyTrafficMirrorFilterRule", &changed).await;
    assert_eq!(shown.one("trafficMirrorFilterRule/sourceCidrBlock"), "10.0.0.0/8");
    let [mirror] = told(&cloud, vpc).await.try_into().unwrap();
    let first_rule = &mirror.filter.ingress[0];
    assert_eq!((first_rule.number, first_rule.action, first_rule.protocol), (5, Action::Reject, Some(17)));
    assert_eq!(first_rule.destination_ports, Some(Ports { from: 1, to: 9 }));
    cloud.ok("DeleteTrafficMirrorFilterRule", &[("TrafficMirrorFilterRuleId", &high)]).await;
    assert_eq!(told(&cloud, vpc).await[0].filter.ingress.len(), 1);

    let changed = [
        ("TrafficMirrorSessionId", id.as_str()),
        ("TrafficMirrorTargetId", second.as_str()),
        ("RemoveField.1", "packet-length"),
        ("RemoveField.2", "description"),
        ("SessionNumber", "3"),
    ];
    cloud.ok("ModifyTrafficMirrorSession", &changed).await;
    let [mirror] = told(&cloud, vpc).await.try_into().unwrap();
    assert_eq!((mirror.number, mirror.length, mirror.within_subnet), (3, None, false));
    assert_eq!(mirror.to.to_string(), private(&cloud, &far).await);
    // What goes to an interface that is gone goes nowhere; the session stays.
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &far)]).await;
    assert!(told(&cloud, vpc).await.is_empty());
    cloud.ok("ModifyTrafficMirrorSession", &[changed[0], ("TrafficMirrorTargetId", first.as_str())]).await;
    assert_eq!(told(&cloud, vpc).await.len(), 1);

    // The source takes its session along.
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &source)]).await;
    assert!(told(&cloud, vpc).await.is_empty());
    let gone = [("TrafficMirrorSessionId.1", id.as_str())];
    assert_eq!(
        cloud.code("DescribeTrafficMirrorSessions", &gone).await,
        "InvalidTrafficMirrorSessionId.NotFound"
    );
}

#[tokio::test]
async fn targets_and_filters_stay_while_they_are_used() {
    let cloud = cloud().await;
    cloud.running(&[]).await;
    let [source, end] = [made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1a", &[]).await];
    let (target, filter) = (target(&cloud, &end).await, filter(&cloud).await);
    let rule = rule(&cloud, &filter, "egress", "1").await;
    let session = session(&cloud, [&source, &target, &filter], "1").await;
    for (action, name, id, code) in [
        ("DeleteTrafficMirrorTarget", "TrafficMirrorTargetId", &target, "TrafficMirrorTargetInUse"),
        ("DeleteTrafficMirrorFilter", "TrafficMirrorFilterId", &filter, "TrafficMirrorFilterInUse"),
    ] {
        assert_eq!(cloud.code(action, &[(name, id)]).await, code);
    }
    let vpc = vpc_of(&cloud, &source).await;
    assert_eq!(told(&cloud, vpc).await.len(), 1);
    cloud.ok("DeleteTrafficMirrorSession", &[("TrafficMirrorSessionId", &session)]).await;
    assert!(told(&cloud, vpc).await.is_empty());
    cloud.ok("DeleteTrafficMirrorTarget", &[("TrafficMirrorTargetId", &target)]).await;
    cloud.ok("DeleteTrafficMirrorFilter", &[("TrafficMirrorFilterId", &filter)]).await;
    for (action, name, id, code) in [
        (
            "DeleteTrafficMirrorTarget",
            "TrafficMirrorTargetId",
            &target,
            "InvalidTrafficMirrorTargetId.NotFound",
        ),
        (
            "DeleteTrafficMirrorFilter",
            "TrafficMirrorFilterId",
            &filter,
            "InvalidTrafficMirrorFilterId.NotFound",
        ),
        (
            "DeleteTrafficMirrorFilterRule",
            "TrafficMirrorFilterRuleId",
            &rule,
            "InvalidTrafficMirrorFilterRuleId.NotFound",
        ),
        (
            "DeleteTrafficMirrorSession",
            "TrafficMirrorSessionId",
            &session,
            "InvalidTrafficMirrorSessionId.NotFound",
        ),
    ] {
        assert_eq!(cloud.code(action, &[(name, id)]).await, code);
    }
}

#[tokio::test]
async fn rules_are_found_by_their_filter_tagged_and_paged() {
    let cloud = cloud().await;
    let (own, other) = (filter(&cloud).await, filter(&cloud).await);
    for number in ["1", "2", "3", "4", "5", "6"] {
        rule(&cloud, &own, "ingress", number).await;
    }
    let mut tagged = rule_of(&other, "egress", "9");
    tagged.extend([
        ("TagSpecification.1.ResourceType", "traffic-mirror-filter-rule"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "last"),
    ]);
    let made = cloud.ok("CreateTrafficMirrorFilterRule", &tagged).await;
    let id = made.one("trafficMirrorFilterRule/trafficMirrorFilterRuleId");
    assert!(id.starts_with("tmfr-"));
    let path = "trafficMirrorFilterRuleSet/item/trafficMirrorFilterRuleId";
    let of = |answer: &Answer| answer.all(path);
    let by_filter = cloud.ok("DescribeTrafficMirrorFilterRules", &[("TrafficMirrorFilterId", &other)]).await;
    assert_eq!(of(&by_filter), [id.as_str()]);
    for (name, value) in [("tag:Name", "last"), ("traffic-direction", "egress"), ("rule-number", "9")] {
        let asked = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(of(&cloud.ok("DescribeTrafficMirrorFilterRules", &asked).await), [id.as_str()], "{name}");
    }
    let first = cloud.ok("DescribeTrafficMirrorFilterRules", &[("MaxResults", "5")]).await;
    let token = first.one("nextToken");
    let next = [("MaxResults", "5"), ("NextToken", token.as_str())];
    let second = cloud.ok("DescribeTrafficMirrorFilterRules", &next).await;
    assert_eq!((of(&first).len(), of(&second).len()), (5, 2));
    cloud.ok("CreateTags", &[("ResourceId.1", &own), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")]).await;
    let by_tag = [("Filter.1.Name", "tag:k"), ("Filter.1.Value.1", "v")];
    let found = cloud.ok("DescribeTrafficMirrorFilters", &by_tag).await;
    assert_eq!(found.all("trafficMirrorFilterSet/item/trafficMirrorFilterId"), [own.as_str()]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_changes() {
    let cloud = cloud().await;
    let [source, end] = [made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1a", &[]).await];
    let (own, filter) = (target(&cloud, &source).await, filter(&cloud).await);
    let target = target(&cloud, &end).await;
    for (name, value, code) in [
        ("NetworkLoadBalancerArn", "arn:aws:elasticloadbalancing:x", "UnsupportedOperation"),
        ("GatewayLoadBalancerEndpointId", "vpce-0123456789abcdef0", "UnsupportedOperation"),
        ("NetworkInterfaceId", "eni-0123456789abcdef0", "InvalidNetworkInterfaceID.NotFound"),
        ("Description", "nothing else", "MissingParameter"),
    ] {
        assert_eq!(cloud.code("CreateTrafficMirrorTarget", &[(name, value)]).await, code, "{name}");
    }
    let base = rule_of(&filter, "ingress", "1");
    for (name, value, code) in [
        ("RuleNumber", "0", "InvalidParameterValue"),
        ("RuleNumber", "32767", "InvalidParameterValue"),
        ("Protocol", "256", "InvalidParameterValue"),
        ("SourceCidrBlock", "10.0.0.0", "InvalidParameterValue"),
        ("SourceCidrBlock", "::/0", "InvalidParameterValue"),
        ("RuleAction", "drop", "InvalidParameterValue"),
        ("TrafficDirection", "both", "InvalidParameterValue"),
        ("TrafficMirrorFilterId", "tmf-0123456789abcdef0", "InvalidTrafficMirrorFilterId.NotFound"),
        ("TrafficMirrorFilterId", "tmfr-0123456789abcdef0", "InvalidTrafficMirrorFilterId.Malformed"),
    ] {
        let mut asked: Vec<_> = base.iter().filter(|(given, _)| *given != name).copied().collect();
        asked.push((name, value));
        assert_eq!(cloud.code("CreateTrafficMirrorFilterRule", &asked).await, code, "{name} {value}");
    }
    let ports = [("DestinationPortRange.FromPort", "80"), ("DestinationPortRange.ToPort", "80")];
    let asked = [base.as_slice(), &ports].concat();
    assert_eq!(cloud.code("CreateTrafficMirrorFilterRule", &asked).await, "InvalidParameterCombination");
    let first = rule(&cloud, &filter, "ingress", "1").await;
    assert_eq!(
        cloud.code("CreateTrafficMirrorFilterRule", &base).await,
        "TrafficMirrorFilterRuleAlreadyExists"
    );
    for number in 2..=10 {
        rule(&cloud, &filter, "ingress", &number.to_string()).await;
    }
    let eleventh = rule_of(&filter, "ingress", "11");
    assert_eq!(
        cloud.code("CreateTrafficMirrorFilterRule", &eleventh).await,
        "TrafficMirrorFilterRuleLimitExceeded"
    );
    let both =
        [("TrafficMirrorFilterRuleId", first.as_str()), ("Protocol", "6"), ("RemoveField.1", "protocol")];
    assert_eq!(cloud.code("ModifyTrafficMirrorFilterRule", &both).await, "InvalidParameterCombination");

    let ends = [source.as_str(), target.as_str(), filter.as_str()];
    let more = |name: &'static str, value: &'static str| [between(ends, "1"), vec![(name, value)]].concat();
    for asked in [
        between(ends, "0"),
        between(ends, "32767"),
        between([&source, &own, &filter], "1"),
        more("VirtualNetworkId", "16777216"),
        more("PacketLength", "0"),
    ] {
        assert_eq!(
            cloud.code("CreateTrafficMirrorSession", &asked).await,
            "InvalidParameterValue",
            "{asked:?}"
        );
    }
    session(&cloud, ends, "1").await;
    assert_eq!(cloud.code("CreateTrafficMirrorSession", &between(ends, "1")).await, "InvalidParameterValue");
    session(&cloud, ends, "2").await;
    let third = session(&cloud, ends, "3").await;
    assert_eq!(
        cloud.code("CreateTrafficMirrorSession", &between(ends, "4")).await,
        "TrafficMirrorSessionsPerInterfaceLimitExceeded"
    );
    let taken = [("TrafficMirrorSessionId", third.as_str()), ("SessionNumber", "2")];
    assert_eq!(cloud.code("ModifyTrafficMirrorSession", &taken).await, "InvalidParameterValue");

    let vpc = cloud.ok("CreateVpc", &[("CidrBlock", "10.8.0.0/16")]).await.one("vpc/vpcId");
    let asked = [("VpcId", vpc.as_str()), ("CidrBlock", "10.8.0.0/24")];
    let subnet = cloud.ok("CreateSubnet", &asked).await.one("subnet/subnetId");
    let beyond = cloud.ok("CreateNetworkInterface", &[("SubnetId", &subnet)]).await;
    let beyond = beyond.one("networkInterface/networkInterfaceId");
    let asked = between([&beyond, &target, &filter], "1");
    assert_eq!(cloud.code("CreateTrafficMirrorSession", &asked).await, "UnsupportedOperation");
}

#[tokio::test]
async fn a_session_ends_with_the_instance_whose_interface_it_copies() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let source = cloud.shown_all(&instance, "networkInterfaceSet/item/networkInterfaceId").await.remove(0);
    let end = made(&cloud, "us-east-1a", &[]).await;
    let (target, filter) = (target(&cloud, &end).await, filter(&cloud).await);
    session(&cloud, [&source, &target, &filter], "1").await;
    let vpc = vpc_of(&cloud, &end).await;
    assert_eq!(told(&cloud, vpc).await.len(), 1);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance)]).await;
    cloud.gone(&instance).await;
    assert_eq!(cloud.state(&instance).await, "terminated");
    let left = cloud.ok("DescribeTrafficMirrorSessions", &[]).await;
    assert!(left.all("trafficMirrorSessionSet/item/trafficMirrorSessionId").is_empty());
    cloud.ok("DeleteTrafficMirrorTarget", &[("TrafficMirrorTargetId", &target)]).await;
}
