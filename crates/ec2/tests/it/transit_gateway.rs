//! Transit gateways: what is attached, what tables say, what VPCs are told, and what stands in the way of an end.

use crate::instance::cloud;
use crate::{done, refused};
use model::VpcId;
use model::host::{DesiredBody, ObjectKey, RouteTarget, VpcDesired};
use std::time::Duration;
use testkit::{BOB, Kit};

const ROUTES: &str = "routeSet/item";
const BY: &str = "Options.AssociationDefaultRouteTableId";

pub async fn gateway(kit: &Kit, options: &[(&str, &str)]) -> String {
    done(kit, "CreateTransitGateway", options).await.one("transitGateway/transitGatewayId")
}

/// The default table of a gateway.
pub async fn default_table(kit: &Kit, gateway: &str) -> String {
    let shown = done(kit, "DescribeTransitGateways", &[("TransitGatewayIds.1", gateway)]).await;
    shown.one("transitGatewaySet/item/options/associationDefaultRouteTableId")
}

/// A VPC of its own with one subnet.
pub async fn place(kit: &Kit, n: u8) -> (String, String) {
    let vpc = done(kit, "CreateVpc", &[("CidrBlock", &format!("10.{n}.0.0/16"))]).await.one("vpc/vpcId");
    let subnet = [
        ("VpcId", vpc.as_str()),
        ("CidrBlock", &format!("10.{n}.1.0/24")),
        ("AvailabilityZone", "us-east-1a"),
    ];
    let subnet = done(kit, "CreateSubnet", &subnet).await.one("subnet/subnetId");
    (vpc, subnet)
}

pub async fn attach(kit: &Kit, gateway: &str, vpc: &str, subnet: &str) -> String {
    let asked = [("TransitGatewayId", gateway), ("VpcId", vpc), ("SubnetIds.1", subnet)];
    let made = done(kit, "CreateTransitGatewayVpcAttachment", &asked).await;
    assert_eq!(made.one("transitGatewayVpcAttachment/state"), "pending");
    made.one("transitGatewayVpcAttachment/transitGatewayAttachmentId")
}

/// Destinations and states of a table's routes of these types.
pub async fn search(kit: &Kit, table: &str, name: &str, value: &str) -> Vec<(String, String)> {
    let asked = [("TransitGatewayRouteTableId", table), ("Filter.1.Name", name), ("Filter.1.Value.1", value)];
    let found = done(kit, "SearchTransitGatewayRoutes", &asked).await;
    let (nets, states) =
        (found.all(&format!("{ROUTES}/destinationCidrBlock")), found.all(&format!("{ROUTES}/state")));
    nets.into_iter().zip(states).collect()
}

pub fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(net, state)| ((*net).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn a_gateway_keeps_its_options_and_goes_when_nothing_is_attached() {
    let kit = Kit::new().await;
    let made =
        done(&kit, "CreateTransitGateway", &[("Description", "hub"), ("Options.AmazonSideAsn", "64999")])
            .await;
    assert_eq!(made.one("transitGateway/state"), "pending");
    let id = made.one("transitGateway/transitGatewayId");
    assert!(made.one("transitGateway/transitGatewayArn").ends_with(&format!(":transit-gateway/{id}")));
    let shown = done(&kit, "DescribeTransitGateways", &[("TransitGatewayIds.1", &id)]).await;
    let option = |name: &str| shown.one(&format!("transitGatewaySet/item/options/{name}"));
    assert_eq!(shown.one("transitGatewaySet/item/state"), "available");
    for (name, value) in [
        ("amazonSideAsn", "64999"),
        ("autoAcceptSharedAttachments", "disable"),
        ("defaultRouteTableAssociation", "enable"),
        ("defaultRouteTablePropagation", "enable"),
        ("vpnEcmpSupport", "enable"),
        ("dnsSupport", "enable"),
        ("multicastSupport", "disable"),
    ] {
        assert_eq!(option(name), value, "{name}");
    }
    assert_eq!(option("associationDefaultRouteTableId"), option("propagationDefaultRouteTableId"));
    for (name, value, code) in [
        ("Options.MulticastSupport", "enable", "UnsupportedOperation"),
        ("Options.SecurityGroupReferencingSupport", "enable", "UnsupportedOperation"),
        ("Options.TransitGatewayCidrBlocks.1", "10.0.0.0/24", "UnsupportedOperation"),
        ("Options.AmazonSideAsn", "65000000", "InvalidParameterValue"),
        ("Options.DnsSupport", "maybe", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&kit, "CreateTransitGateway", &[(name, value)]).await, code, "{name}");
    }
    let (vpc, subnet) = place(&kit, 1).await;
    let attachment = attach(&kit, &id, &vpc, &subnet).await;
    assert_eq!(refused(&kit, "DeleteTransitGateway", &[("TransitGatewayId", &id)]).await, "IncorrectState");
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &vpc)]).await, "DependencyViolation");
    assert_eq!(refused(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await, "DependencyViolation");
    let by_attachment = [("TransitGatewayAttachmentId", attachment.as_str())];
    let ended = done(&kit, "DeleteTransitGatewayVpcAttachment", &by_attachment).await;
    assert_eq!(ended.one("transitGatewayVpcAttachment/state"), "deleting");
    done(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await;
    let deleted = done(&kit, "DeleteTransitGateway", &[("TransitGatewayId", &id)]).await;
    assert_eq!(deleted.one("transitGateway/state"), "deleting");
    assert_eq!(
        refused(&kit, "DeleteTransitGateway", &[("TransitGatewayId", &id)]).await,
        "InvalidTransitGatewayID.NotFound"
    );
    let tables = done(&kit, "DescribeTransitGatewayRouteTables", &[]).await;
    assert_eq!(tables.all("transitGatewayRouteTables/item/state"), ["deleted"]);
    // What has ended is described for a while, and then no more.
    kit.clock.advance(Duration::from_hours(2));
    ec2::transit_gateway::sweep(&kit.cloud).await.unwrap();
    let by_id = [("TransitGatewayIds.1", id.as_str())];
    assert_eq!(refused(&kit, "DescribeTransitGateways", &by_id).await, "InvalidTransitGatewayID.NotFound");
    assert!(
        done(&kit, "DescribeTransitGatewayAttachments", &[])
            .await
            .all("transitGatewayAttachments/item")
            .is_empty()
    );
}

#[tokio::test]
async fn defaults_of_a_gateway_need_a_table_of_its_own() {
    let kit = Kit::new().await;
    let plain = gateway(
        &kit,
        &[
            ("Options.DefaultRouteTableAssociation", "disable"),
            ("Options.DefaultRouteTablePropagation", "disable"),
        ],
    )
    .await;
    let shown = done(&kit, "DescribeTransitGatewayRouteTables", &[]).await;
    assert!(shown.all("transitGatewayRouteTables/item").is_empty());
    let own = done(&kit, "CreateTransitGatewayRouteTable", &[("TransitGatewayId", &plain)]).await;
    let own = own.one("transitGatewayRouteTable/transitGatewayRouteTableId");
    let other = gateway(&kit, &[]).await;
    let foreign = default_table(&kit, &other).await;
    let on = ("Options.DefaultRouteTableAssociation", "enable");
    let id = ("TransitGatewayId", plain.as_str());
    assert_eq!(refused(&kit, "ModifyTransitGateway", &[id]).await, "InvalidParameterCombination");
    assert_eq!(refused(&kit, "ModifyTransitGateway", &[id, on]).await, "InvalidParameterCombination");
    assert_eq!(
        refused(&kit, "ModifyTransitGateway", &[id, on, (BY, foreign.as_str())]).await,
        "InvalidParameterValue"
    );
    done(&kit, "ModifyTransitGateway", &[id, on, (BY, own.as_str()), ("Description", "later")]).await;
    assert_eq!(default_table(&kit, &plain).await, own);
    let filter = [("Filter.1.Name", "default-association-route-table"), ("Filter.1.Value.1", "true")];
    let found = done(&kit, "DescribeTransitGatewayRouteTables", &filter).await;
    assert_eq!(found.all("transitGatewayRouteTables/item").len(), 2);
    let table = [("TransitGatewayRouteTableId", own.as_str())];
    assert_eq!(refused(&kit, "DeleteTransitGatewayRouteTable", &table).await, "IncorrectState");
    done(&kit, "ModifyTransitGateway", &[id, ("Options.DefaultRouteTableAssociation", "disable")]).await;
    done(&kit, "DeleteTransitGatewayRouteTable", &table).await;
    assert_eq!(
        refused(
            &kit,
            "CreateTransitGatewayRoute",
            &[table[0], ("DestinationCidrBlock", "10.0.0.0/8"), ("Blackhole", "true")]
        )
        .await,
        "InvalidRouteTableID.NotFound"
    );
}

#[tokio::test]
async fn an_attachment_stands_in_one_subnet_of_each_zone() {
    let kit = Kit::new().await;
    let id = gateway(&kit, &[]).await;
    let (vpc, subnet) = place(&kit, 1).await;
    let (_, foreign) = place(&kit, 2).await;
    let more = |cidr, zone| [("VpcId", vpc.as_str()), ("CidrBlock", cidr), ("AvailabilityZone", zone)];
    let same = done(&kit, "CreateSubnet", &more("10.1.2.0/24", "us-east-1a")).await.one("subnet/subnetId");
    let next = done(&kit, "CreateSubnet", &more("10.1.3.0/24", "us-east-1b")).await.one("subnet/subnetId");
    let asked =
        [("TransitGatewayId", id.as_str()), ("VpcId", vpc.as_str()), ("SubnetIds.1", subnet.as_str())];
    let create = "CreateTransitGatewayVpcAttachment";
    let with = |name, value| [asked.as_slice(), &[(name, value)]].concat();
    assert_eq!(refused(&kit, create, &with("SubnetIds.2", &same)).await, "DuplicateSubnetsInSameZone");
    assert_eq!(refused(&kit, create, &with("SubnetIds.2", &foreign)).await, "InvalidParameterValue");
    assert_eq!(
        refused(&kit, create, &with("Options.ApplianceModeSupport", "enable")).await,
        "UnsupportedOperation"
    );
    assert_eq!(refused(&kit, create, &with("Options.Ipv6Support", "enable")).await, "InvalidParameterValue");
    assert_eq!(refused(&kit, create, &with("DryRun", "true")).await, "DryRunOperation");
    let attachment = attach(&kit, &id, &vpc, &subnet).await;
    assert_eq!(refused(&kit, create, &asked).await, "DuplicateTransitGatewayAttachment");
    let by_id = ("TransitGatewayAttachmentId", attachment.as_str());
    done(&kit, "ModifyTransitGatewayVpcAttachment", &[by_id, ("AddSubnetIds.1", &next)]).await;
    let shown = done(&kit, "DescribeTransitGatewayVpcAttachments", &[]).await;
    assert_eq!(shown.one("transitGatewayVpcAttachments/item/state"), "available");
    assert_eq!(shown.all("transitGatewayVpcAttachments/item/subnetIds/item").len(), 2);
    let modify = "ModifyTransitGatewayVpcAttachment";
    assert_eq!(
        refused(&kit, modify, &[by_id, ("RemoveSubnetIds.1", &subnet), ("RemoveSubnetIds.2", &next)]).await,
        "InvalidParameterValue",
        "one must stay"
    );
    assert_eq!(
        refused(&kit, modify, &[by_id, ("AddSubnetIds.1", &same)]).await,
        "DuplicateSubnetsInSameZone"
    );
    done(&kit, modify, &[by_id, ("RemoveSubnetIds.1", &subnet), ("AddSubnetIds.1", &same)]).await;
    // Nobody else's word is waited for, and nobody else sees it.
    assert_eq!(refused(&kit, "AcceptTransitGatewayVpcAttachment", &[by_id]).await, "IncorrectState");
    assert_eq!(refused(&kit, "RejectTransitGatewayVpcAttachment", &[by_id]).await, "IncorrectState");
    let theirs = kit.call_as(BOB, "ec2", "DescribeTransitGateways", &[]).await.unwrap();
    assert!(theirs.all("transitGatewaySet/item").is_empty());
    // Each describe has its own filters.
    let filter = |name, value| [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
    for (name, value) in
        [("resource-type", "vpc"), ("resource-id", vpc.as_str()), ("association.state", "associated")]
    {
        let found = done(&kit, "DescribeTransitGatewayAttachments", &filter(name, value)).await;
        assert_eq!(found.all("transitGatewayAttachments/item/resourceId"), [vpc.as_str()], "{name}");
        assert_eq!(
            refused(&kit, "DescribeTransitGatewayVpcAttachments", &filter(name, value)).await,
            "InvalidParameterValue"
        );
    }
    let tags = [("ResourceId.1", attachment.as_str()), ("Tag.1.Key", "team"), ("Tag.1.Value", "net")];
    done(&kit, "CreateTags", &tags).await;
    let found = done(&kit, "DescribeTransitGatewayVpcAttachments", &filter("tag:team", "net")).await;
    assert_eq!(found.all("transitGatewayVpcAttachments/item/vpcId"), [vpc.as_str()]);
}

#[tokio::test]
async fn tables_know_what_propagates_and_static_routes_before_it() {
    let kit = Kit::new().await;
    let id = gateway(&kit, &[]).await;
    let table = default_table(&kit, &id).await;
    let mut attached = Vec::new();
    for n in [1, 2] {
        let (vpc, subnet) = place(&kit, n).await;
        attached.push((attach(&kit, &id, &vpc, &subnet).await, vpc));
    }
    let [(one, first), (two, _)] = attached.as_slice() else { panic!() };
    let all = search(&kit, &table, "type", "propagated").await;
    assert_eq!(all, pairs(&[("10.1.0.0/16", "active"), ("10.2.0.0/16", "active")]));
    // A further block is known at once.
    done(&kit, "AssociateVpcCidrBlock", &[("VpcId", first), ("CidrBlock", "10.101.0.0/24")]).await;
    let found = search(&kit, &table, "route-search.subnet-of-match", "10.101.0.0/16").await;
    assert_eq!(found, pairs(&[("10.101.0.0/24", "active")]));

    let to = |net, by| {
        [
            ("TransitGatewayRouteTableId", table.as_str()),
            ("DestinationCidrBlock", net),
            ("TransitGatewayAttachmentId", by),
        ]
    };
    let made = done(&kit, "CreateTransitGatewayRoute", &to("10.2.0.0/16", one)).await;
    assert_eq!((made.one("route/type"), made.one("route/state")), ("static".to_owned(), "active".to_owned()));
    assert_eq!(made.one("route/transitGatewayAttachments/item/resourceId"), *first);
    assert_eq!(
        refused(&kit, "CreateTransitGatewayRoute", &to("10.2.0.0/16", one)).await,
        "RouteAlreadyExists"
    );
    let found = search(&kit, &table, "attachment.transit-gateway-attachment-id", two).await;
    assert!(found.is_empty(), "the static one stands before it: {found:?}");
    let nowhere = [to("10.2.0.0/16", one)[0], ("DestinationCidrBlock", "10.2.0.0/16"), ("Blackhole", "true")];
    done(&kit, "ReplaceTransitGatewayRoute", &nowhere).await;
    assert_eq!(search(&kit, &table, "state", "blackhole").await, pairs(&[("10.2.0.0/16", "blackhole")]));
    let longest = search(&kit, &table, "route-search.longest-prefix-match", "10.2.3.4").await;
    assert_eq!(longest, pairs(&[("10.2.0.0/16", "blackhole")]));
    done(&kit, "DeleteTransitGatewayRoute", &nowhere[..2]).await;
    assert_eq!(refused(&kit, "DeleteTransitGatewayRoute", &nowhere[..2]).await, "InvalidRoute.NotFound");
    assert_eq!(refused(&kit, "ReplaceTransitGatewayRoute", &nowhere).await, "InvalidRoute.NotFound");
    let both = [to("10.9.0.0/16", one).as_slice(), &[("Blackhole", "true")]].concat();
    assert_eq!(refused(&kit, "CreateTransitGatewayRoute", &both).await, "InvalidParameterCombination");
    assert_eq!(
        refused(&kit, "CreateTransitGatewayRoute", &to("10.9.0.0/16", one)[..2]).await,
        "MissingParameter"
    );

    let pair = |of| [("TransitGatewayRouteTableId", table.as_str()), ("TransitGatewayAttachmentId", of)];
    assert_eq!(
        refused(&kit, "AssociateTransitGatewayRouteTable", &pair(one)).await,
        "Resource.AlreadyAssociated"
    );
    let enable = "EnableTransitGatewayRouteTablePropagation";
    assert_eq!(refused(&kit, enable, &pair(one)).await, "TransitGatewayRouteTablePropagation.Duplicate");
    let of_table = [("TransitGatewayRouteTableId", table.as_str())];
    let shown = done(&kit, "GetTransitGatewayRouteTableAssociations", &of_table).await;
    assert_eq!(shown.all("associations/item/transitGatewayAttachmentId").len(), 2);
    let disable = "DisableTransitGatewayRouteTablePropagation";
    assert_eq!(done(&kit, disable, &pair(one)).await.one("propagation/state"), "disabled");
    assert_eq!(refused(&kit, disable, &pair(one)).await, "TransitGatewayRouteTablePropagation.NotFound");
    let shown = done(&kit, "GetTransitGatewayRouteTablePropagations", &of_table).await;
    assert_eq!(
        shown.all("transitGatewayRouteTablePropagations/item/transitGatewayAttachmentId"),
        [two.as_str()]
    );
    let of_two = [("TransitGatewayAttachmentId", two.as_str())];
    let shown = done(&kit, "GetTransitGatewayAttachmentPropagations", &of_two).await;
    assert_eq!(
        shown.all("transitGatewayAttachmentPropagations/item/transitGatewayRouteTableId"),
        [table.as_str()]
    );
    done(&kit, "DisassociateTransitGatewayRouteTable", &pair(two)).await;
    assert_eq!(
        refused(&kit, "DisassociateTransitGatewayRouteTable", &pair(two)).await,
        "InvalidAssociation.NotFound"
    );
    // A route by what is gone stays and drops.
    done(&kit, "CreateTransitGatewayRoute", &to("192.0.2.0/24", two)).await;
    done(&kit, "DeleteTransitGatewayVpcAttachment", &of_two).await;
    assert_eq!(search(&kit, &table, "type", "static").await, pairs(&[("192.0.2.0/24", "blackhole")]));
    assert!(search(&kit, &table, "type", "propagated").await.is_empty());
}

#[tokio::test]
async fn a_host_is_told_of_ends_that_meet_and_of_no_others() {
    let cloud = cloud().await;
    let kit = &cloud.kit;
    let id = gateway(
        kit,
        &[
            ("Options.DefaultRouteTableAssociation", "disable"),
            ("Options.DefaultRouteTablePropagation", "disable"),
        ],
    )
    .await;
    let made = done(kit, "CreateTransitGatewayRouteTable", &[("TransitGatewayId", &id)]).await;
    let spokes = made.one("transitGatewayRouteTable/transitGatewayRouteTableId");
    let made = done(kit, "CreateTransitGatewayRouteTable", &[("TransitGatewayId", &id)]).await;
    let hubs = made.one("transitGatewayRouteTable/transitGatewayRouteTableId");
    // The default VPC, where an instance makes the host hold it, is the hub.
    cloud.running(&[]).await;
    let hub = crate::default_vpc(kit).await;
    let zone = [
        ("Filter.1.Name", "availability-zone"),
        ("Filter.1.Value.1", "us-east-1a"),
        ("Filter.2.Name", "vpc-id"),
        ("Filter.2.Value.1", hub.as_str()),
    ];
    let subnet = done(kit, "DescribeSubnets", &zone).await.one("subnetSet/item/subnetId");
    let main = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", hub.as_str())];
    let table = done(kit, "DescribeRouteTables", &main).await.one("routeTableSet/item/routeTableId");
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "10.0.0.0/8"),
        ("TransitGatewayId", id.as_str()),
    ];
    assert_eq!(cloud.code("CreateRoute", &route).await, "InvalidTransitGatewayID.NotFound", "not attached");
    let center = attach(kit, &id, &hub, &subnet).await;
    cloud.ok("CreateRoute", &route).await;
    let (vpc, place_one) = place(kit, 1).await;
    let spoke = attach(kit, &id, &vpc, &place_one).await;
    let told = async || -> VpcDesired {
        let key = ObjectKey::Vpc(VpcId::parse(&hub).unwrap());
        cloud.settled(key).await;
        match cloud.host.object(key).and_then(|desired| desired.body) {
            Some(DesiredBody::Vpc(vpc)) => VpcDesired::clone(&vpc),
            other => panic!("{other:?}"),
        }
    };
    let end = told().await.transits.remove(0);
    assert!(end.routes.is_empty() && end.peers.is_empty() && end.table.is_none(), "{end:?}");
    assert_eq!(end.served.len(), 1, "its own zone's subnet");
    for (table, attachment) in [(&hubs, &center), (&spokes, &spoke)] {
        let pair = [
            ("TransitGatewayRouteTableId", table.as_str()),
            ("TransitGatewayAttachmentId", attachment.as_str()),
        ];
        cloud.ok("AssociateTransitGatewayRouteTable", &pair).await;
    }
    let pair =
        [("TransitGatewayRouteTableId", hubs.as_str()), ("TransitGatewayAttachmentId", spoke.as_str())];
    cloud.ok("EnableTransitGatewayRouteTablePropagation", &pair).await;
    let end = told().await.transits.remove(0);
    assert_eq!(end.routes.len(), 1);
    assert_eq!(end.routes[0].to.unwrap().to_string(), spoke);
    assert_eq!(end.peers.iter().map(|peer| peer.vpc.to_string()).collect::<Vec<_>>(), [vpc.as_str()]);
    // Another VPC's further block is a route here.
    cloud.ok("AssociateVpcCidrBlock", &[("VpcId", &vpc), ("CidrBlock", "10.101.0.0/24")]).await;
    assert_eq!(told().await.transits[0].routes.len(), 2);
    let targets = async || -> Vec<RouteTarget> {
        let tables = told().await.route_tables;
        let routes = tables.into_iter().flat_map(|table| table.routes);
        routes.map(|route| route.target).filter(|target| *target != RouteTarget::InternetGateway).collect()
    };
    assert_eq!(targets().await, [RouteTarget::TransitGateway(id.parse().unwrap())]);
    cloud.ok("DeleteTransitGatewayVpcAttachment", &[("TransitGatewayAttachmentId", &center)]).await;
    assert!(told().await.transits.is_empty());
    assert_eq!(targets().await, [RouteTarget::Blackhole]);
    let shown = cloud.ok("DescribeRouteTables", &[("RouteTableId.1", &table)]).await;
    assert_eq!(shown.all("routeTableSet/item/routeSet/item/transitGatewayId"), [id.as_str()]);
    assert!(shown.all("routeTableSet/item/routeSet/item/state").contains(&"blackhole".to_owned()));
}
