use crate::{default_vpc, done, group, refused, vpc};
use testkit::{BOB, Kit};

const EVERYWHERE: &str = "0.0.0.0/0";

/// One structured permission of TCP ports.
fn tcp<'a>(group: &'a str, from: &'a str, to: &'a str, cidr: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", from),
        ("IpPermissions.1.ToPort", to),
        ("IpPermissions.1.IpRanges.1.CidrIp", cidr),
    ]
}

#[tokio::test]
async fn a_new_group_lets_everything_out_and_nothing_in() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let parameters = [
        ("GroupName", "web"),
        ("GroupDescription", "web servers"),
        ("VpcId", vpc.as_str()),
        ("TagSpecification.1.ResourceType", "security-group"),
        ("TagSpecification.1.Tag.1.Key", "tier"),
        ("TagSpecification.1.Tag.1.Value", "front"),
    ];
    let made = done(&kit, "CreateSecurityGroup", &parameters).await;
    let id = made.one("groupId");
    assert_eq!(
        made.one("securityGroupArn"),
        format!("arn:aws:ec2:us-east-1:111111111111:security-group/{id}")
    );
    let shown = done(&kit, "DescribeSecurityGroups", &[("GroupId.1", &id)]).await;
    assert_eq!(shown.one("securityGroupInfo/item/groupDescription"), "web servers");
    assert_eq!(shown.one("securityGroupInfo/item/tagSet/item/key"), "tier");
    assert!(shown.all("securityGroupInfo/item/ipPermissions/item").is_empty());
    let out = "securityGroupInfo/item/ipPermissionsEgress/item";
    assert_eq!(shown.one(&format!("{out}/ipProtocol")), "-1");
    assert_eq!(shown.one(&format!("{out}/ipRanges/item/cidrIp")), EVERYWHERE);
    assert!(shown.all(&format!("{out}/fromPort")).is_empty());
}

#[tokio::test]
async fn names_are_unique_in_a_vpc_and_come_free_again() {
    let kit = Kit::new().await;
    let vpc_id = vpc(&kit).await;
    let id = group(&kit, &vpc_id, "web").await;
    let again = [("GroupName", "WEB"), ("GroupDescription", "x"), ("VpcId", vpc_id.as_str())];
    assert_eq!(refused(&kit, "CreateSecurityGroup", &again).await, "InvalidGroup.Duplicate");
    let elsewhere = vpc(&kit).await;
    group(&kit, &elsewhere, "web").await;
    done(&kit, "DeleteSecurityGroup", &[("GroupId", &id)]).await;
    group(&kit, &vpc_id, "web").await;
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let kit = Kit::new().await;
    for (name, code) in [
        ("default", "InvalidGroup.Reserved"),
        ("sg-web", "InvalidParameterValue"),
        ("wéb", "InvalidParameterValue"),
        ("", "MissingParameter"),
    ] {
        let parameters = [("GroupName", name), ("GroupDescription", "x")];
        assert_eq!(refused(&kit, "CreateSecurityGroup", &parameters).await, code, "{name}");
    }
    let long = "x".repeat(256);
    let parameters = [("GroupName", "web"), ("GroupDescription", long.as_str())];
    assert_eq!(refused(&kit, "CreateSecurityGroup", &parameters).await, "InvalidParameterValue");
    assert_eq!(refused(&kit, "CreateSecurityGroup", &[("GroupName", "web")]).await, "MissingParameter");
}

#[tokio::test]
async fn an_authorized_rule_is_answered_and_described() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    let mut parameters = tcp(&id, "80", "81", "100.68.0.18/18");
    parameters.extend([
        ("IpPermissions.1.IpRanges.1.Description", "office"),
        ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "2001:DB8::1/32"),
        ("IpPermissions.1.Groups.1.GroupId", &id),
        ("TagSpecification.1.ResourceType", "security-group-rule"),
        ("TagSpecification.1.Tag.1.Key", "why"),
        ("TagSpecification.1.Tag.1.Value", "test"),
    ]);
    let answer = done(&kit, "AuthorizeSecurityGroupIngress", &parameters).await;
    assert_eq!(answer.one("return"), "true");
    let rule = "securityGroupRuleSet/item";
    assert_eq!(answer.all(&format!("{rule}/cidrIpv4")), ["100.68.0.0/18"]);
    assert_eq!(answer.all(&format!("{rule}/cidrIpv6")), ["2001:db8::/32"]);
    assert_eq!(answer.all(&format!("{rule}/referencedGroupInfo/groupId")), [id.as_str()]);
    assert_eq!(answer.all(&format!("{rule}/isEgress")), ["false"; 3]);
    assert_eq!(answer.all(&format!("{rule}/tagSet/item/value")), ["test"; 3]);

    let shown = done(&kit, "DescribeSecurityGroups", &[("GroupId.1", &id)]).await;
    let permission = "securityGroupInfo/item/ipPermissions/item";
    assert_eq!(shown.one(&format!("{permission}/fromPort")), "80");
    assert_eq!(shown.one(&format!("{permission}/toPort")), "81");
    assert_eq!(shown.one(&format!("{permission}/ipRanges/item/description")), "office");
    assert_eq!(shown.one(&format!("{permission}/ipv6Ranges/item/cidrIpv6")), "2001:db8::/32");
    assert_eq!(shown.one(&format!("{permission}/groups/item/groupId")), id);
    assert_eq!(shown.one(&format!("{permission}/groups/item/userId")), "111111111111");

    let canonical = tcp(&id, "80", "81", "100.68.0.0/18");
    let duplicate = refused(&kit, "AuthorizeSecurityGroupIngress", &canonical).await;
    assert_eq!(duplicate, "InvalidPermission.Duplicate");
}

#[tokio::test]
async fn a_group_is_found_by_what_its_rules_say() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let (web, db) = (group(&kit, &vpc, "web").await, group(&kit, &vpc, "db").await);
    done(&kit, "AuthorizeSecurityGroupIngress", &tcp(&web, "80", "81", EVERYWHERE)).await;
    let from_web = [
        ("GroupId", db.as_str()),
        ("IpPermissions.1.IpProtocol", "icmp"),
        ("IpPermissions.1.FromPort", "8"),
        ("IpPermissions.1.ToPort", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", web.as_str()),
    ];
    done(&kit, "AuthorizeSecurityGroupIngress", &from_web).await;
    for (filter, value, expected) in [
        ("ip-permission.from-port", "80", &web),
        ("ip-permission.to-port", "81", &web),
        ("ip-permission.cidr", EVERYWHERE, &web),
        ("ip-permission.protocol", "icmp", &db),
        ("ip-permission.group-id", web.as_str(), &db),
        ("ip-permission.group-name", "web", &db),
        ("group-name", "d?", &db),
        ("description", "for a*", &db),
    ] {
        let parameters = [("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
        let found = done(&kit, "DescribeSecurityGroups", &parameters).await;
        assert!(found.all("securityGroupInfo/item/groupId").contains(expected), "{filter}");
    }
    let nothing = [("Filter.1.Name", "ip-permission.cidr"), ("Filter.1.Value.1", "10.9.9.0/24")];
    assert!(done(&kit, "DescribeSecurityGroups", &nothing).await.all("securityGroupInfo/item").is_empty());
}

#[tokio::test]
async fn the_flat_parameters_of_old_work_by_name_in_the_default_vpc() {
    let kit = Kit::new().await;
    let parameters = [("GroupName", "old"), ("GroupDescription", "by name")];
    let id = done(&kit, "CreateSecurityGroup", &parameters).await.one("groupId");
    let flat = [
        ("GroupName", "old"),
        ("IpProtocol", "6"),
        ("FromPort", "22"),
        ("ToPort", "22"),
        ("CidrIp", EVERYWHERE),
    ];
    let answer = done(&kit, "AuthorizeSecurityGroupIngress", &flat).await;
    assert_eq!(answer.one("securityGroupRuleSet/item/ipProtocol"), "tcp");
    let by_group = [("GroupName", "old"), ("SourceSecurityGroupName", "default")];
    let answer = done(&kit, "AuthorizeSecurityGroupIngress", &by_group).await;
    assert_eq!(answer.all("securityGroupRuleSet/item/ipProtocol"), ["tcp", "udp", "icmp"]);
    let shown = done(&kit, "DescribeSecurityGroups", &[("GroupName.1", "old")]).await;
    assert_eq!(shown.one("securityGroupInfo/item/groupId"), id);
    assert_eq!(shown.one("securityGroupInfo/item/vpcId"), default_vpc(&kit).await);
    done(&kit, "RevokeSecurityGroupIngress", &flat).await;
    let missing = refused(&kit, "DescribeSecurityGroups", &[("GroupName.1", "nobody")]).await;
    assert_eq!(missing, "InvalidGroup.NotFound");
    done(&kit, "DeleteSecurityGroup", &[("GroupName", "old")]).await;
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_and_leave_no_trace() {
    let kit = Kit::new().await;
    let vpc_id = vpc(&kit).await;
    let id = group(&kit, &vpc_id, "web").await;
    let elsewhere = vpc(&kit).await;
    let foreign = group(&kit, &elsewhere, "other").await;
    let one =
        |name, value| vec![("GroupId", id.as_str()), ("IpPermissions.1.IpProtocol", "-1"), (name, value)];
    for (parameters, code) in [
        (tcp(&id, "2", "1", EVERYWHERE), "InvalidParameterValue"),
        (tcp(&id, "1", "2", "10.0.0.0"), "InvalidParameterValue"),
        (tcp("sg-0123456789abcdef0", "1", "2", EVERYWHERE), "InvalidGroup.NotFound"),
        (tcp("sg-x", "1", "2", EVERYWHERE), "InvalidGroupId.Malformed"),
        (one("IpPermissions.1.Groups.1.GroupId", &foreign), "InvalidGroup.NotFound"),
        (one("IpPermissions.1.Groups.1.GroupId", "sg-0123456789abcdef0"), "InvalidGroup.NotFound"),
        (one("IpPermissions.1.PrefixListIds.1.PrefixListId", "pl-12345678"), "InvalidPrefixListID.NotFound"),
        (one("CidrIp", EVERYWHERE), "InvalidParameterCombination"),
        (vec![("GroupId", id.as_str()), ("IpPermissions.1.IpProtocol", "-1")], "InvalidPermission.Malformed"),
        (vec![("GroupId", id.as_str())], "MissingParameter"),
        (vec![("IpProtocol", "-1"), ("CidrIp", EVERYWHERE)], "MissingParameter"),
    ] {
        let answered = refused(&kit, "AuthorizeSecurityGroupIngress", &parameters).await;
        assert_eq!(answered, code, "{parameters:?}");
    }
    let mut half = tcp(&id, "1", "2", "10.0.0.0/8");
    half.push(("IpPermissions.1.IpRanges.2.CidrIp", "nonsense"));
    assert_eq!(refused(&kit, "AuthorizeSecurityGroupIngress", &half).await, "InvalidParameterValue");
    let mut twice = tcp(&id, "1", "2", "10.0.0.0/8");
    twice.push(("IpPermissions.1.IpRanges.2.CidrIp", "10.0.0.1/8"));
    assert_eq!(refused(&kit, "AuthorizeSecurityGroupIngress", &twice).await, "InvalidParameterValue");
    let mut dry = tcp(&id, "1", "2", EVERYWHERE);
    dry.push(("DryRun", "true"));
    assert_eq!(refused(&kit, "AuthorizeSecurityGroupIngress", &dry).await, "DryRunOperation");
    let shown = done(&kit, "DescribeSecurityGroups", &[("GroupId.1", &id)]).await;
    assert!(shown.all("securityGroupInfo/item/ipPermissions/item").is_empty());
}

#[tokio::test]
async fn sixty_rules_are_the_most_in_one_direction() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    for port in 1..=60 {
        let port = port.to_string();
        done(&kit, "AuthorizeSecurityGroupIngress", &tcp(&id, &port, &port, EVERYWHERE)).await;
    }
    let one_more = refused(&kit, "AuthorizeSecurityGroupIngress", &tcp(&id, "61", "61", EVERYWHERE)).await;
    assert_eq!(one_more, "RulesPerSecurityGroupLimitExceeded");
    done(&kit, "AuthorizeSecurityGroupEgress", &tcp(&id, "61", "61", EVERYWHERE)).await;
}

#[tokio::test]
async fn revoking_what_is_not_there_fails_but_for_the_default_vpc() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    done(&kit, "AuthorizeSecurityGroupIngress", &tcp(&id, "80", "80", EVERYWHERE)).await;
    let wrong = refused(&kit, "RevokeSecurityGroupIngress", &tcp(&id, "81", "81", EVERYWHERE)).await;
    assert_eq!(wrong, "InvalidPermission.NotFound");
    let right = done(&kit, "RevokeSecurityGroupIngress", &tcp(&id, "80", "80", EVERYWHERE)).await;
    assert_eq!(right.one("revokedSecurityGroupRuleSet/item/fromPort"), "80");
    assert!(right.all("unknownIpPermissionSet/item").is_empty());

    let parameters = [("GroupName", "old"), ("GroupDescription", "x")];
    let id = done(&kit, "CreateSecurityGroup", &parameters).await.one("groupId");
    let forgiven = done(&kit, "RevokeSecurityGroupIngress", &tcp(&id, "81", "81", EVERYWHERE)).await;
    assert_eq!(forgiven.one("unknownIpPermissionSet/item/fromPort"), "81");
}

#[tokio::test]
async fn rules_are_described_changed_and_revoked_by_id() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    let made = done(&kit, "AuthorizeSecurityGroupIngress", &tcp(&id, "80", "80", EVERYWHERE)).await;
    let rule = made.one("securityGroupRuleSet/item/securityGroupRuleId");
    let filter = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", id.as_str())];
    let all = done(&kit, "DescribeSecurityGroupRules", &filter).await;
    assert_eq!(all.all("securityGroupRuleSet/item").len(), 2, "the one made and the one of the start");
    let change = [
        ("GroupId", id.as_str()),
        ("SecurityGroupRule.1.SecurityGroupRuleId", rule.as_str()),
        ("SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "-1"),
        ("SecurityGroupRule.1.SecurityGroupRule.CidrIpv4", "10.1.1.1/8"),
        ("SecurityGroupRule.1.SecurityGroupRule.Description", "changed"),
    ];
    assert_eq!(done(&kit, "ModifySecurityGroupRules", &change).await.one("return"), "true");
    let by_id = [("SecurityGroupRuleId.1", rule.as_str())];
    let shown = done(&kit, "DescribeSecurityGroupRules", &by_id).await;
    assert_eq!(shown.one("securityGroupRuleSet/item/cidrIpv4"), "10.0.0.0/8");
    assert_eq!(shown.one("securityGroupRuleSet/item/ipProtocol"), "-1");
    assert_eq!(shown.one("securityGroupRuleSet/item/fromPort"), "-1");
    assert_eq!(shown.one("securityGroupRuleSet/item/description"), "changed");
    let theirs = kit.call_as(BOB, "ec2", "DescribeSecurityGroupRules", &by_id).await.unwrap_err();
    assert_eq!(theirs.code(), "InvalidSecurityGroupRuleId.NotFound");
    let revoke = [("GroupId", id.as_str()), by_id[0]];
    assert_eq!(
        refused(&kit, "RevokeSecurityGroupEgress", &revoke).await,
        "InvalidSecurityGroupRuleId.NotFound"
    );
    done(&kit, "RevokeSecurityGroupIngress", &revoke).await;
    assert_eq!(
        refused(&kit, "DescribeSecurityGroupRules", &by_id).await,
        "InvalidSecurityGroupRuleId.NotFound"
    );
}

#[tokio::test]
async fn descriptions_are_updated_by_permission_and_by_rule() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    let made = done(&kit, "AuthorizeSecurityGroupIngress", &tcp(&id, "80", "80", EVERYWHERE)).await;
    let rule = made.one("securityGroupRuleSet/item/securityGroupRuleId");
    let mut change = tcp(&id, "80", "80", EVERYWHERE);
    change.push(("IpPermissions.1.IpRanges.1.Description", "first"));
    done(&kit, "UpdateSecurityGroupRuleDescriptionsIngress", &change).await;
    let read = async || {
        let shown = done(&kit, "DescribeSecurityGroupRules", &[("SecurityGroupRuleId.1", &rule)]).await;
        shown.all("securityGroupRuleSet/item/description")
    };
    assert_eq!(read().await, ["first"]);
    let by_rule = [
        ("GroupId", id.as_str()),
        ("SecurityGroupRuleDescription.1.SecurityGroupRuleId", rule.as_str()),
        ("SecurityGroupRuleDescription.1.Description", "second"),
    ];
    done(&kit, "UpdateSecurityGroupRuleDescriptionsIngress", &by_rule).await;
    assert_eq!(read().await, ["second"]);
    done(&kit, "UpdateSecurityGroupRuleDescriptionsIngress", &by_rule[..2]).await;
    assert!(read().await.is_empty());
    let missing = tcp(&id, "81", "81", EVERYWHERE);
    let answered = refused(&kit, "UpdateSecurityGroupRuleDescriptionsIngress", &missing).await;
    assert_eq!(answered, "InvalidPermission.NotFound");
    let mut bad = tcp(&id, "80", "80", EVERYWHERE);
    bad.push(("IpPermissions.1.IpRanges.1.Description", "a|b"));
    let answered = refused(&kit, "UpdateSecurityGroupRuleDescriptionsIngress", &bad).await;
    assert_eq!(answered, "InvalidParameterValue");
}

#[tokio::test]
async fn a_group_that_is_needed_stays() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let (web, db) = (group(&kit, &vpc, "web").await, group(&kit, &vpc, "db").await);
    let refer = [
        ("GroupId", db.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", web.as_str()),
    ];
    done(&kit, "AuthorizeSecurityGroupIngress", &refer).await;
    let delete = [("GroupId", web.as_str())];
    assert_eq!(refused(&kit, "DeleteSecurityGroup", &delete).await, "DependencyViolation");
    done(&kit, "RevokeSecurityGroupIngress", &refer).await;
    let subnet = crate::subnet(&kit, &vpc, "10.0.1.0/24").await;
    let member = [("SubnetId", subnet.as_str()), ("SecurityGroupId.1", web.as_str())];
    let made = done(&kit, "CreateNetworkInterface", &member).await;
    assert_eq!(refused(&kit, "DeleteSecurityGroup", &delete).await, "DependencyViolation");
    let interface = made.one("networkInterface/networkInterfaceId");
    done(&kit, "DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).await;
    assert_eq!(done(&kit, "DeleteSecurityGroup", &delete).await.one("groupId"), web);
    assert_eq!(refused(&kit, "DeleteSecurityGroup", &delete).await, "InvalidGroup.NotFound");
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let left = done(&kit, "DescribeSecurityGroups", &filter).await;
    let ids = left.all("securityGroupInfo/item/groupId");
    let default = ids.iter().find(|id| **id != db).unwrap();
    assert_eq!(refused(&kit, "DeleteSecurityGroup", &[("GroupId", default)]).await, "CannotDelete");
    assert_eq!(refused(&kit, "DeleteSecurityGroup", &[]).await, "MissingParameter");
}
