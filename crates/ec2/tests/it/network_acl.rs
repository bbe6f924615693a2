use crate::{done, refused, subnet, vpc};
use testkit::Kit;

async fn acl(kit: &Kit, vpc: &str) -> String {
    done(kit, "CreateNetworkAcl", &[("VpcId", vpc)]).await.one("networkAcl/networkAclId")
}

fn entry<'a>(acl: &'a str, number: &'a str, cidr: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("NetworkAclId", acl),
        ("RuleNumber", number),
        ("Protocol", "tcp"),
        ("RuleAction", "allow"),
        ("Egress", "false"),
        ("CidrBlock", cidr),
        ("PortRange.From", "80"),
        ("PortRange.To", "81"),
    ]
}

#[tokio::test]
async fn a_new_acl_denies_everything() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let made = done(&kit, "CreateNetworkAcl", &[("VpcId", &vpc)]).await;
    assert_eq!(made.one("networkAcl/default"), "false");
    assert_eq!(made.all("networkAcl/entrySet/item/ruleNumber"), ["32767", "32767"]);
    assert_eq!(made.all("networkAcl/entrySet/item/ruleAction"), ["deny", "deny"]);
}

#[tokio::test]
async fn entries_are_made_replaced_and_removed_by_number() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let acl = acl(&kit, &vpc).await;
    done(&kit, "CreateNetworkAclEntry", &entry(&acl, "200", "10.9.8.7/8")).await;
    done(&kit, "CreateNetworkAclEntry", &entry(&acl, "100", "0.0.0.0/0")).await;
    let again = refused(&kit, "CreateNetworkAclEntry", &entry(&acl, "100", "0.0.0.0/0")).await;
    assert_eq!(again, "NetworkAclEntryAlreadyExists");
    let shown = done(&kit, "DescribeNetworkAcls", &[("NetworkAclId.1", &acl)]).await;
    let numbers = shown.all("networkAclSet/item/entrySet/item/ruleNumber");
    assert_eq!(numbers, ["32767", "100", "200", "32767"]);
    assert_eq!(shown.all("networkAclSet/item/entrySet/item/protocol"), ["-1", "6", "6", "-1"]);
    assert_eq!(shown.all("networkAclSet/item/entrySet/item/portRange/to"), ["81", "81"]);
    let cidrs = shown.all("networkAclSet/item/entrySet/item/cidrBlock");
    assert_eq!(cidrs, ["0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/8", "0.0.0.0/0"]);
    done(&kit, "ReplaceNetworkAclEntry", &entry(&acl, "200", "10.1.0.0/16")).await;
    let missing = refused(&kit, "ReplaceNetworkAclEntry", &entry(&acl, "300", "0.0.0.0/0")).await;
    assert_eq!(missing, "InvalidNetworkAclEntry.NotFound");
    let filter = [("Filter.1.Name", "entry.cidr"), ("Filter.1.Value.1", "10.1.0.0/16")];
    let found = done(&kit, "DescribeNetworkAcls", &filter).await;
    assert_eq!(found.one("networkAclSet/item/networkAclId"), acl);
    let which = [("NetworkAclId", acl.as_str()), ("RuleNumber", "200"), ("Egress", "false")];
    done(&kit, "DeleteNetworkAclEntry", &which).await;
    assert_eq!(refused(&kit, "DeleteNetworkAclEntry", &which).await, "InvalidNetworkAclEntry.NotFound");
}

#[tokio::test]
async fn entries_that_cannot_be_are_refused() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let acl = acl(&kit, &vpc).await;
    for number in ["0", "32767", "-1", "70000"] {
        let code = refused(&kit, "CreateNetworkAclEntry", &entry(&acl, number, "0.0.0.0/0")).await;
        assert_eq!(code, "InvalidParameterValue", "{number}");
    }
    let no_ports = entry(&acl, "1", "0.0.0.0/0")[..6].to_vec();
    assert_eq!(refused(&kit, "CreateNetworkAclEntry", &no_ports).await, "MissingParameter");
    let mut no_block = entry(&acl, "1", "0.0.0.0/0");
    no_block.remove(5);
    assert_eq!(refused(&kit, "CreateNetworkAclEntry", &no_block).await, "MissingParameter");
    for number in 1..=20 {
        done(&kit, "CreateNetworkAclEntry", &entry(&acl, &number.to_string(), "0.0.0.0/0")).await;
    }
    let one_more = refused(&kit, "CreateNetworkAclEntry", &entry(&acl, "21", "0.0.0.0/0")).await;
    assert_eq!(one_more, "NetworkAclEntryLimitExceeded");
}

#[tokio::test]
async fn a_subnet_always_has_one_acl() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let subnet = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let filter = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", subnet.as_str())];
    let default = done(&kit, "DescribeNetworkAcls", &filter).await;
    assert_eq!(default.one("networkAclSet/item/default"), "true");
    let association = default.one("networkAclSet/item/associationSet/item/networkAclAssociationId");
    let acl = acl(&kit, &vpc).await;
    let move_it = [("AssociationId", association.as_str()), ("NetworkAclId", acl.as_str())];
    let moved = done(&kit, "ReplaceNetworkAclAssociation", &move_it).await.one("newAssociationId");
    assert_ne!(moved, association);
    let gone = refused(&kit, "ReplaceNetworkAclAssociation", &move_it).await;
    assert_eq!(gone, "InvalidAssociationID.NotFound");
    assert_eq!(done(&kit, "DescribeNetworkAcls", &filter).await.one("networkAclSet/item/networkAclId"), acl);
    assert_eq!(refused(&kit, "DeleteNetworkAcl", &[("NetworkAclId", &acl)]).await, "DependencyViolation");
    let default = default.one("networkAclSet/item/networkAclId");
    let refused = refused(&kit, "DeleteNetworkAcl", &[("NetworkAclId", &default)]).await;
    assert_eq!(refused, "InvalidParameterValue");
    done(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await;
    done(&kit, "DeleteNetworkAcl", &[("NetworkAclId", &acl)]).await;
}
