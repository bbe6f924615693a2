//! Tags on resources of all kinds.

use testkit::{BOB, Kit};

/// A default VPC and one of its subnets.
async fn kit() -> (Kit, String, String) {
    let kit = Kit::new().await;
    let vpc = kit.call("DescribeVpcs", &[]).await.unwrap().one("vpcSet/item/vpcId");
    let subnet = kit.call("DescribeSubnets", &[]).await.unwrap().all("subnetSet/item/subnetId").remove(0);
    (kit, vpc, subnet)
}

async fn tag(kit: &Kit, resource: &str, key: &str, value: &str) -> Result<(), wire::ApiError> {
    let asked = [("ResourceId.1", resource), ("Tag.1.Key", key), ("Tag.1.Value", value)];
    kit.call("CreateTags", &asked).await.map(drop)
}

async fn shown(kit: &Kit, parameters: &[(&str, &str)]) -> Vec<String> {
    let answer = kit.call("DescribeTags", parameters).await.unwrap();
    let (keys, values) = (answer.all("tagSet/item/key"), answer.all("tagSet/item/value"));
    keys.iter().zip(values).map(|(key, value)| format!("{key}={value}")).collect()
}

#[tokio::test]
async fn one_call_tags_resources_of_several_kinds() {
    let (kit, vpc, subnet) = kit().await;
    let key = kit.call("CreateKeyPair", &[("KeyName", "k"), ("KeyType", "ed25519")]).await.unwrap();
    let group = kit.call("DescribeSecurityGroups", &[]).await.unwrap();
    let group = group.one("securityGroupInfo/item/groupId");
    let tables = kit.call("DescribeRouteTables", &[]).await.unwrap().one("routeTableSet/item/routeTableId");
    let ids = [&vpc, &subnet, &key.one("keyPairId"), &group, &tables];
    let names: Vec<String> = (1..=ids.len()).map(|n| format!("ResourceId.{n}")).collect();
    let mut asked = vec![("Tag.1.Key", "team"), ("Tag.1.Value", "web")];
    asked.extend(names.iter().zip(ids).map(|(name, id)| (name.as_str(), id.as_str())));
    kit.call("CreateTags", &asked).await.unwrap();
    let answer = kit.call("DescribeTags", &[]).await.unwrap();
    let mut kinds = answer.all("tagSet/item/resourceType");
    kinds.sort();
    assert_eq!(kinds, ["key-pair", "route-table", "security-group", "subnet", "vpc"]);
    let vpcs = kit.call("DescribeVpcs", &[("Filter.1.Name", "tag:team"), ("Filter.1.Value.1", "web")]);
    assert_eq!(vpcs.await.unwrap().one("vpcSet/item/vpcId"), vpc);
}

#[tokio::test]
async fn the_rules_of_a_security_group_have_tags_of_their_own() {
    let (kit, ..) = kit().await;
    let rules = kit.call("DescribeSecurityGroupRules", &[]).await.unwrap();
    let rule = rules.all("securityGroupRuleSet/item/securityGroupRuleId").remove(0);
    tag(&kit, &rule, "why", "because").await.unwrap();
    let only = [("Filter.1.Name", "resource-type"), ("Filter.1.Value.1", "security-group-rule")];
    assert_eq!(shown(&kit, &only).await, ["why=because"]);
    let gone = tag(&kit, "sgr-00000000000000000", "a", "b").await.unwrap_err();
    assert_eq!(gone.code(), "InvalidSecurityGroupRuleId.NotFound");
}

#[tokio::test]
async fn a_call_that_names_something_unknown_tags_nothing() {
    let (kit, vpc, _) = kit().await;
    for (id, code) in [
        ("subnet-00000000000000000", "InvalidSubnetID.NotFound"),
        ("subnet-xyz", "InvalidSubnetId.Malformed"),
        ("i-00000000000000000", "InvalidInstanceID.NotFound"),
        ("toaster-00000000000000000", "InvalidID"),
        ("nonsense", "InvalidID"),
    ] {
        let asked = [("ResourceId.1", vpc.as_str()), ("ResourceId.2", id), ("Tag.1.Key", "a")];
        assert_eq!(kit.call("CreateTags", &asked).await.unwrap_err().code(), code, "{id}");
    }
    let asked = [("ResourceId.1", vpc.as_str()), ("Tag.1.Key", "a")];
    let refused = kit.call_as(BOB, "ec2", "CreateTags", &asked).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidVpcID.NotFound");
    assert!(shown(&kit, &[]).await.is_empty());
}

#[tokio::test]
async fn tags_keep_to_their_limits() {
    let (kit, vpc, _) = kit().await;
    let (long_key, long_value) = ("k".repeat(128), "v".repeat(256));
    for (key, value) in [("", "x"), ("aws:x", "x"), ("AWS:x", "x"), (&long_key, "x"), ("x", &long_value)] {
        assert_eq!(tag(&kit, &vpc, key, value).await.unwrap_err().code(), "InvalidParameterValue", "{key}");
    }
    let twice = [("ResourceId.1", vpc.as_str()), ("Tag.1.Key", "a"), ("Tag.2.Key", "a")];
    assert_eq!(kit.call("CreateTags", &twice).await.unwrap_err().code(), "InvalidParameterValue");
    for number in 0..50 {
        tag(&kit, &vpc, &format!("key-{number}"), "").await.unwrap();
    }
    assert_eq!(tag(&kit, &vpc, "one-more", "").await.unwrap_err().code(), "TagLimitExceeded");
    tag(&kit, &vpc, "key-7", "changed").await.unwrap();
    let names: Vec<String> = (1..=1001).map(|n| format!("ResourceId.{n}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), vpc.as_str())).collect();
    many.push(("Tag.1.Key", "key-7"));
    assert_eq!(kit.call("CreateTags", &many).await.unwrap_err().code(), "InvalidParameterValue");
}

#[tokio::test]
async fn tags_are_deleted_by_key_by_key_and_value_or_all() {
    let (kit, vpc, _) = kit().await;
    for (key, value) in [("a", "1"), ("b", "2"), ("c", ""), ("d", "4")] {
        tag(&kit, &vpc, key, value).await.unwrap();
    }
    let delete = async |more: &[(&str, &str)]| {
        let asked = [&[("ResourceId.1", vpc.as_str())], more].concat();
        kit.call("DeleteTags", &asked).await.unwrap();
        shown(&kit, &[]).await
    };
    assert_eq!(delete(&[("Tag.1.Key", "a"), ("Tag.1.Value", "other")]).await, ["a=1", "b=2", "c=", "d=4"]);
    assert_eq!(delete(&[("Tag.1.Key", "a"), ("Tag.1.Value", "1")]).await, ["b=2", "c=", "d=4"]);
    assert_eq!(delete(&[("Tag.1.Key", "b"), ("Tag.2.Key", "unknown")]).await, ["c=", "d=4"]);
    assert_eq!(delete(&[("Tag.1.Key", "c"), ("Tag.1.Value", "")]).await, ["d=4"]);
    assert!(delete(&[]).await.is_empty());
}

#[tokio::test]
async fn tags_are_filtered_and_paged() {
    let (kit, vpc, subnet) = kit().await;
    for number in 0..6 {
        tag(&kit, &vpc, &format!("key-{number}"), "v").await.unwrap();
    }
    tag(&kit, &subnet, "Name", "front").await.unwrap();
    for (name, value, expected) in [
        ("key", "Name", vec!["Name=front"]),
        ("value", "fr*", vec!["Name=front"]),
        ("resource-id", subnet.as_str(), vec!["Name=front"]),
        ("resource-type", "subnet", vec!["Name=front"]),
        ("tag:Name", "front", vec!["Name=front"]),
        ("tag:Name", "back", vec![]),
    ] {
        let found = shown(&kit, &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]).await;
        assert_eq!(found, expected, "{name}={value}");
    }
    let first = kit.call("DescribeTags", &[("MaxResults", "5")]).await.unwrap();
    let token = first.one("nextToken");
    let second = kit.call("DescribeTags", &[("MaxResults", "5"), ("NextToken", &token)]).await.unwrap();
    let seen = [first.all("tagSet/item/key"), second.all("tagSet/item/key")].concat();
    assert_eq!(seen.len(), 7);
    assert_eq!(shown(&kit, &[]).await.len(), 7);
    let others = kit.call_as(BOB, "ec2", "DescribeTags", &[]).await.unwrap();
    assert!(others.all("tagSet/item").is_empty());
}
