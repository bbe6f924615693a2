//! Peerings: the way from a request to its end, routes and groups across, and what a host is told.

use crate::instance::cloud;
use crate::route_target::{Place, place, shown, told};
use crate::{done, refused, vpc};
use model::host::RouteTarget;
use std::time::Duration;
use testkit::{ALICE, BOB, Kit};

const INFO: &str = "vpcPeeringConnection";

async fn request(kit: &Kit, vpc: &str, peer: &str) -> String {
    let asked = [("VpcId", vpc), ("PeerVpcId", peer)];
    done(kit, "CreateVpcPeeringConnection", &asked).await.one("vpcPeeringConnection/vpcPeeringConnectionId")
}

async fn state(kit: &Kit, peering: &str) -> String {
    let asked = [("VpcPeeringConnectionId.1", peering)];
    let answer = done(kit, "DescribeVpcPeeringConnections", &asked).await;
    answer.one("vpcPeeringConnectionSet/item/status/code")
}

async fn other(kit: &Kit, cidr: &str) -> String {
    done(kit, "CreateVpc", &[("CidrBlock", cidr)]).await.one("vpc/vpcId")
}

#[tokio::test]
async fn a_request_is_accepted_once_and_ends_when_either_says_so() {
    let kit = Kit::new().await;
    let (one, two) = (vpc(&kit).await, other(&kit, "10.1.0.0/16").await);
    let asked = [("VpcId", one.as_str()), ("PeerVpcId", two.as_str())];
    let answer = done(&kit, "CreateVpcPeeringConnection", &asked).await;
    assert_eq!(answer.one(&format!("{INFO}/status/code")), "pending-acceptance");
    assert_eq!(answer.one(&format!("{INFO}/accepterVpcInfo/cidrBlock")), "10.1.0.0/16");
    assert_eq!(answer.all(&format!("{INFO}/expirationTime")).len(), 1);
    let id = answer.one(&format!("{INFO}/vpcPeeringConnectionId"));
    assert_eq!(
        refused(&kit, "CreateVpcPeeringConnection", &[("VpcId", &two), ("PeerVpcId", &one)]).await,
        "VpcPeeringConnectionAlreadyExists"
    );
    let by_id = [("VpcPeeringConnectionId", id.as_str())];
    let accepted = done(&kit, "AcceptVpcPeeringConnection", &by_id).await;
    assert_eq!(accepted.one(&format!("{INFO}/status/code")), "active");
    assert_eq!(refused(&kit, "AcceptVpcPeeringConnection", &by_id).await, "InvalidStateTransition");
    assert_eq!(refused(&kit, "RejectVpcPeeringConnection", &by_id).await, "InvalidStateTransition");
    let options = [
        ("VpcPeeringConnectionId", id.as_str()),
        ("RequesterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc", "true"),
    ];
    let set = done(&kit, "ModifyVpcPeeringConnectionOptions", &options).await;
    assert_eq!(set.one("requesterPeeringConnectionOptions/allowDnsResolutionFromRemoteVpc"), "true");
    for (name, value) in [
        ("status-code", "active"),
        ("requester-vpc-info.vpc-id", one.as_str()),
        ("accepter-vpc-info.cidr-block", "10.1.0.0/16"),
        ("requester-vpc-info.owner-id", "111111111111"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = done(&kit, "DescribeVpcPeeringConnections", &filter).await;
        assert_eq!(found.all("vpcPeeringConnectionSet/item/vpcPeeringConnectionId"), [id.as_str()], "{name}");
    }
    assert_eq!(done(&kit, "DeleteVpcPeeringConnection", &by_id).await.one("return"), "true");
    assert_eq!(state(&kit, &id).await, "deleted");
    // What has ended is described for a while, and then no more.
    kit.clock.advance(Duration::from_hours(3));
    ec2::vpc_peering_connection::sweep(&kit.cloud).await.unwrap();
    assert_eq!(
        refused(&kit, "DescribeVpcPeeringConnections", &[("VpcPeeringConnectionId.1", &id)]).await,
        "InvalidVpcPeeringConnectionID.NotFound"
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_fails_and_one_that_waits_too_long_expires() {
    let kit = Kit::new().await;
    let one = vpc(&kit).await;
    let overlapping = other(&kit, "10.0.128.0/17").await;
    for peer in [overlapping.as_str(), "vpc-0123456789abcdef0", &one] {
        let id = request(&kit, &one, peer).await;
        assert_eq!(state(&kit, &id).await, "failed", "{peer}");
        let by_id = [("VpcPeeringConnectionId", id.as_str())];
        assert_eq!(refused(&kit, "AcceptVpcPeeringConnection", &by_id).await, "InvalidStateTransition");
    }
    let two = other(&kit, "10.1.0.0/16").await;
    let id = request(&kit, &one, &two).await;
    kit.clock.advance(Duration::from_hours(8 * 24));
    let by_id = [("VpcPeeringConnectionId", id.as_str())];
    assert_eq!(refused(&kit, "AcceptVpcPeeringConnection", &by_id).await, "InvalidStateTransition");
    ec2::vpc_peering_connection::sweep(&kit.cloud).await.unwrap();
    assert_eq!(state(&kit, &id).await, "expired");
    let id = request(&kit, &one, &two).await;
    done(&kit, "RejectVpcPeeringConnection", &[("VpcPeeringConnectionId", &id)]).await;
    assert_eq!(state(&kit, &id).await, "rejected");
    let far = [("VpcId", one.as_str()), ("PeerVpcId", two.as_str()), ("PeerRegion", "eu-west-1")];
    assert_eq!(refused(&kit, "CreateVpcPeeringConnection", &far).await, "UnsupportedOperation");
    assert_eq!(refused(&kit, "CreateVpcPeeringConnection", &[("VpcId", &one)]).await, "MissingParameter");
}

#[tokio::test]
async fn another_accounts_vpc_is_its_owners_to_accept() {
    let kit = Kit::new().await;
    let one = vpc(&kit).await;
    let theirs = kit.call_as(BOB, "ec2", "CreateVpc", &[("CidrBlock", "10.7.0.0/16")]).await.unwrap();
    let theirs = theirs.one("vpc/vpcId");
    let bob = BOB.to_string();
    let asked = [("VpcId", one.as_str()), ("PeerVpcId", theirs.as_str()), ("PeerOwnerId", bob.as_str())];
    let id =
        done(&kit, "CreateVpcPeeringConnection", &asked).await.one(&format!("{INFO}/vpcPeeringConnectionId"));
    let by_id = [("VpcPeeringConnectionId", id.as_str())];
    assert_eq!(refused(&kit, "AcceptVpcPeeringConnection", &by_id).await, "OperationNotPermitted");
    let seen = kit.call_as(BOB, "ec2", "DescribeVpcPeeringConnections", &[]).await.unwrap();
    assert_eq!(seen.one("vpcPeeringConnectionSet/item/requesterVpcInfo/ownerId"), ALICE.to_string());
    kit.call_as(BOB, "ec2", "AcceptVpcPeeringConnection", &by_id).await.unwrap();
    assert_eq!(state(&kit, &id).await, "active");
    // Its VPC goes, and with it the peering.
    kit.call_as(BOB, "ec2", "DeleteVpc", &[("VpcId", &theirs)]).await.unwrap();
    assert_eq!(state(&kit, &id).await, "deleted");
    let unknown = kit.call_as(BOB, "ec2", "CreateVpc", &[("CidrBlock", "10.8.0.0/16")]).await.unwrap();
    let unknown = unknown.one("vpc/vpcId");
    let id = request(&kit, &one, &unknown).await;
    assert_eq!(state(&kit, &id).await, "failed", "it is not the caller's own");
    let seen = kit.call_as(BOB, "ec2", "DescribeVpcPeeringConnections", &[]).await.unwrap();
    assert_eq!(seen.all("vpcPeeringConnectionSet/item").len(), 1, "nobody was asked");
}

#[tokio::test]
async fn routes_and_groups_reach_over_a_peering_while_it_is_active() {
    let cloud = cloud().await;
    cloud.running(&[]).await;
    let Place { vpc, table } = place(&cloud).await;
    let kit = &cloud.kit;
    let two = other(kit, "10.1.0.0/16").await;
    let id = request(kit, &vpc, &two).await;
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "10.1.0.0/16"),
        ("VpcPeeringConnectionId", id.as_str()),
    ];
    cloud.ok("CreateRoute", &route).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"]);
    let group = crate::group(kit, &vpc, "near").await;
    let far = crate::group(kit, &two, "far").await;
    let allow = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", far.as_str()),
    ];
    assert_eq!(cloud.code("AuthorizeSecurityGroupIngress", &allow).await, "InvalidGroup.NotFound");
    cloud.ok("AcceptVpcPeeringConnection", &[("VpcPeeringConnectionId", &id)]).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "active"]);
    assert_eq!(shown(&cloud, &table, "vpcPeeringConnectionId").await, [id.as_str()]);
    let target = RouteTarget::Peering(id.parse().unwrap());
    assert_eq!(told(&cloud, &vpc).await, [target]);
    cloud.ok("AuthorizeSecurityGroupIngress", &allow).await;
    let by_peering =
        [("Filter.1.Name", "route.vpc-peering-connection-id"), ("Filter.1.Value.1", id.as_str())];
    let found = cloud.ok("DescribeRouteTables", &by_peering).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), table);
    let third = other(kit, "10.2.0.0/16").await;
    let tables = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", third.as_str())];
    let third = cloud.ok("DescribeRouteTables", &tables).await.one("routeTableSet/item/routeTableId");
    let foreign = [("RouteTableId", third.as_str()), route[1], route[2]];
    assert_eq!(cloud.code("CreateRoute", &foreign).await, "InvalidParameterValue");
    cloud.ok("DeleteVpcPeeringConnection", &[("VpcPeeringConnectionId", &id)]).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"]);
    assert_eq!(told(&cloud, &vpc).await, [RouteTarget::Blackhole]);
}
