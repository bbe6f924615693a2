//! Peerings of transit gateways: each side's attachment, what becomes of a request, and what VPCs are told across.

use crate::instance::{Cloud, cloud};
use crate::transit_gateway::{attach, default_table, gateway, pairs, place, search};
use crate::{done, refused};
use ipnet::IpNet;
use model::VpcId;
use model::host::{DesiredBody, ObjectKey, TransitDesired, VpcDesired};
use std::time::Duration;
use testkit::{ALICE, Answer, BOB, Kit};

const MADE: &str = "transitGatewayPeeringAttachment";
const SHOWN: &str = "transitGatewayPeeringAttachments/item";
const CREATE: &str = "CreateTransitGatewayPeeringAttachment";
const ACCEPT: &str = "AcceptTransitGatewayPeeringAttachment";
const REJECT: &str = "RejectTransitGatewayPeeringAttachment";
const DELETE: &str = "DeleteTransitGatewayPeeringAttachment";
const DESCRIBE: &str = "DescribeTransitGatewayPeeringAttachments";
const ROUTE: &str = "CreateTransitGatewayRoute";

/// What a request for a peering with Alice's own gateway says.
fn asking<'a>(gateway: &'a str, peer: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("TransitGatewayId", gateway),
        ("PeerTransitGatewayId", peer),
        ("PeerAccountId", "111111111111"),
        ("PeerRegion", "us-east-1"),
    ]
}

fn by(id: &str) -> [(&str, &str); 1] {
    [("TransitGatewayAttachmentId", id)]
}

/// Both ends of a request: the requester's and the accepter's.
async fn request(kit: &Kit, gateway: &str, peer: &str) -> [String; 2] {
    let made = done(kit, CREATE, &asking(gateway, peer)).await;
    assert_eq!(made.one(&format!("{MADE}/state")), "initiatingRequest");
    ["transitGatewayAttachmentId", "accepterTransitGatewayAttachmentId"]
        .map(|name| made.one(&format!("{MADE}/{name}")))
}

async fn peer(kit: &Kit, gateway: &str, other: &str) -> [String; 2] {
    let [near, far] = request(kit, gateway, other).await;
    let accepted = done(kit, ACCEPT, &by(&far)).await;
    assert_eq!(accepted.one(&format!("{MADE}/state")), "pending");
    [near, far]
}

async fn described(kit: &Kit, id: &str) -> Answer {
    done(kit, DESCRIBE, &[("TransitGatewayAttachmentIds.1", id)]).await
}

async fn states(kit: &Kit, ids: &[String; 2]) -> [String; 2] {
    let [near, far] = ids;
    let of = async |id| described(kit, id).await.one(&format!("{SHOWN}/state"));
    [of(near).await, of(far).await]
}

fn leading<'a>(table: &'a str, net: &'a str, by: &'a str) -> [(&'a str, &'a str); 3] {
    [("TransitGatewayRouteTableId", table), ("DestinationCidrBlock", net), ("TransitGatewayAttachmentId", by)]
}

#[tokio::test]
async fn each_gateway_has_an_end_of_its_own_and_either_ends_both() {
    let kit = Kit::new().await;
    let (one, two) = (gateway(&kit, &[]).await, gateway(&kit, &[]).await);
    let tables = [default_table(&kit, &one).await, default_table(&kit, &two).await];
    let [near, far] = request(&kit, &one, &two).await;
    assert_ne!(near, far);
    let both = [near.clone(), far.clone()];
    assert_eq!(states(&kit, &both).await, ["pendingAcceptance", "pendingAcceptance"]);
    for id in &both {
        let shown = described(&kit, id).await;
        assert_eq!(shown.one(&format!("{SHOWN}/accepterTransitGatewayAttachmentId")), far);
        assert_eq!(shown.one(&format!("{SHOWN}/requesterTgwInfo/transitGatewayId")), one);
        assert_eq!(shown.one(&format!("{SHOWN}/accepterTgwInfo/transitGatewayId")), two);
        assert_eq!(shown.one(&format!("{SHOWN}/accepterTgwInfo/region")), "us-east-1");
    }
    for asked in [asking(&one, &two), asking(&two, &one)] {
        assert_eq!(refused(&kit, CREATE, &asked).await, "DuplicateTransitGatewayAttachment");
    }
    // Nothing is led by what is not accepted.
    assert_eq!(refused(&kit, ROUTE, &leading(&tables[0], "10.2.0.0/16", &near)).await, "IncorrectState");
    for verb in [ACCEPT, REJECT] {
        assert_eq!(refused(&kit, verb, &by(&near)).await, "InvalidParameterValue", "its own request");
    }
    done(&kit, ACCEPT, &by(&far)).await;
    assert_eq!(states(&kit, &both).await, ["available", "available"]);
    for verb in [ACCEPT, REJECT] {
        assert_eq!(refused(&kit, verb, &by(&far)).await, "IncorrectState");
    }

    let found = done(
        &kit,
        "DescribeTransitGatewayAttachments",
        &[("Filter.1.Name", "resource-type"), ("Filter.1.Value.1", "peering")],
    )
    .await;
    let item = |name: &str| found.all(&format!("transitGatewayAttachments/item/{name}"));
    for (at, id) in item("transitGatewayAttachmentId").iter().enumerate() {
        let [own, beyond, table] =
            if *id == near { [&one, &two, &tables[0]] } else { [&two, &one, &tables[1]] };
        assert_eq!((&item("transitGatewayId")[at], &item("resourceId")[at]), (own, beyond));
        assert_eq!(&item("association/transitGatewayRouteTableId")[at], table, "the default one");
    }
    assert_eq!(item("resourceOwnerId"), ["111111111111", "111111111111"]);
    for (name, value, count) in [
        ("transit-gateway-id", one.as_str(), 1),
        ("remote-owner-id", "111111111111", 2),
        ("state", "available", 2),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(done(&kit, DESCRIBE, &filter).await.all(SHOWN).len(), count, "{name}");
    }
    let foreign = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", "vpc-1")];
    assert_eq!(refused(&kit, DESCRIBE, &foreign).await, "InvalidParameterValue");
    // To operations on VPCs' attachments it is none.
    let missing = "InvalidTransitGatewayAttachmentID.NotFound";
    assert_eq!(refused(&kit, "DeleteTransitGatewayVpcAttachment", &by(&near)).await, missing);
    let named = [("TransitGatewayAttachmentIds.1", near.as_str())];
    assert_eq!(refused(&kit, "DescribeTransitGatewayVpcAttachments", &named).await, missing);
    let vpcs = done(&kit, "DescribeTransitGatewayVpcAttachments", &[]).await;
    assert!(vpcs.all("transitGatewayVpcAttachments/item").is_empty());
    let (vpc, subnet) = place(&kit, 1).await;
    let attachment = attach(&kit, &one, &vpc, &subnet).await;
    assert_eq!(refused(&kit, DELETE, &by(&attachment)).await, missing);
    assert_eq!(refused(&kit, DESCRIBE, &[("TransitGatewayAttachmentIds.1", &attachment)]).await, missing);

    let pair =
        [("TransitGatewayRouteTableId", tables[0].as_str()), ("TransitGatewayAttachmentId", near.as_str())];
    assert_eq!(
        refused(&kit, "EnableTransitGatewayRouteTablePropagation", &pair).await,
        "UnsupportedOperation",
        "static routes alone"
    );
    assert_eq!(
        refused(&kit, ROUTE, &leading(&tables[0], "10.2.0.0/16", &far)).await,
        "InvalidParameterValue",
        "the other gateway's end"
    );
    let made = done(&kit, ROUTE, &leading(&tables[0], "10.2.0.0/16", &near)).await;
    assert_eq!(made.one("route/state"), "active");
    assert_eq!(made.one("route/transitGatewayAttachments/item/resourceType"), "peering");
    let led = search(&kit, &tables[0], "attachment.resource-type", "peering").await;
    assert_eq!(led, pairs(&[("10.2.0.0/16", "active")]));
    let of_table = [("TransitGatewayRouteTableId", tables[1].as_str())];
    let shown = done(&kit, "GetTransitGatewayRouteTableAssociations", &of_table).await;
    assert_eq!(shown.all("associations/item/resourceId"), [one.as_str()]);
    done(&kit, "DisassociateTransitGatewayRouteTable", &pair).await;
    done(&kit, "AssociateTransitGatewayRouteTable", &pair).await;
    let tags = [("ResourceId.1", near.as_str()), ("Tag.1.Key", "team"), ("Tag.1.Value", "net")];
    done(&kit, "CreateTags", &tags).await;
    let tagged = [("Filter.1.Name", "tag:team"), ("Filter.1.Value.1", "net")];
    let found = done(&kit, DESCRIBE, &tagged).await;
    assert_eq!(found.all(&format!("{SHOWN}/transitGatewayAttachmentId")), [near.as_str()]);

    assert_eq!(refused(&kit, "DeleteTransitGateway", &[("TransitGatewayId", &two)]).await, "IncorrectState");
    assert_eq!(done(&kit, DELETE, &by(&far)).await.one(&format!("{MADE}/state")), "deleting");
    assert_eq!(states(&kit, &both).await, ["deleted", "deleted"]);
    assert_eq!(refused(&kit, DELETE, &by(&near)).await, missing);
    assert_eq!(search(&kit, &tables[0], "type", "static").await, pairs(&[("10.2.0.0/16", "blackhole")]));
    done(&kit, "DeleteTransitGateway", &[("TransitGatewayId", &two)]).await;
    kit.clock.advance(Duration::from_hours(2));
    ec2::transit_gateway::sweep(&kit.cloud).await.unwrap();
    assert!(done(&kit, DESCRIBE, &[]).await.all(SHOWN).is_empty());
}

#[tokio::test]
async fn a_request_is_rejected_taken_back_or_fails() {
    let kit = Kit::new().await;
    let (one, two) = (gateway(&kit, &[]).await, gateway(&kit, &[]).await);
    let both = request(&kit, &one, &two).await;
    assert_eq!(refused(&kit, DELETE, &by(&both[1])).await, "IncorrectState", "it is the requester's");
    assert_eq!(done(&kit, REJECT, &by(&both[1])).await.one(&format!("{MADE}/state")), "rejecting");
    assert_eq!(states(&kit, &both).await, ["rejected", "rejected"]);
    assert_eq!(refused(&kit, ACCEPT, &by(&both[1])).await, "IncorrectState");
    let both = request(&kit, &one, &two).await;
    done(&kit, DELETE, &by(&both[0])).await;
    assert_eq!(states(&kit, &both).await, ["deleted", "deleted"]);

    let with = |at: usize, value| {
        let mut asked = asking(&one, &two);
        asked[at].1 = value;
        asked
    };
    // One that is not there, and one that is not theirs.
    for asked in [with(1, "tgw-0123456789abcdef0"), with(2, "222222222222")] {
        let made = done(&kit, CREATE, &asked).await;
        assert!(made.all(&format!("{MADE}/accepterTransitGatewayAttachmentId")).is_empty());
        let id = made.one(&format!("{MADE}/transitGatewayAttachmentId"));
        assert_eq!(described(&kit, &id).await.one(&format!("{SHOWN}/state")), "failed");
    }
    let theirs = kit.call_as(BOB, "ec2", DESCRIBE, &[]).await.unwrap();
    assert!(theirs.all(SHOWN).is_empty(), "nobody was asked");
    for (at, value, code) in [
        (0, "tgw-0123456789abcdef0", "InvalidTransitGatewayID.NotFound"),
        (1, one.as_str(), "InvalidParameterValue"),
        (1, "tgw-x", "InvalidTransitGatewayID.Malformed"),
        (2, "bob", "InvalidParameterValue"),
        (3, "us-west-2", "UnsupportedOperation"),
        (3, "", "MissingParameter"),
    ] {
        assert_eq!(refused(&kit, CREATE, &with(at, value)).await, code, "{value}");
    }
    let asked = [asking(&one, &two).as_slice(), &[("Options.DynamicRouting", "enable")]].concat();
    assert_eq!(refused(&kit, CREATE, &asked).await, "UnsupportedOperation");
    let asked = [asking(&one, &two).as_slice(), &[("DryRun", "true")]].concat();
    assert_eq!(refused(&kit, CREATE, &asked).await, "DryRunOperation");
}

#[tokio::test]
async fn another_accounts_gateway_is_its_owners_to_join() {
    let kit = Kit::new().await;
    let one = gateway(&kit, &[]).await;
    let theirs = kit.call_as(BOB, "ec2", "CreateTransitGateway", &[]).await.unwrap();
    let theirs = theirs.one("transitGateway/transitGatewayId");
    let bob = BOB.to_string();
    let mut asked = asking(&one, &theirs);
    asked[2].1 = &bob;
    let tag = [
        ("TagSpecification.1.ResourceType", "transit-gateway-attachment"),
        ("TagSpecification.1.Tag.1.Key", "side"),
        ("TagSpecification.1.Tag.1.Value", "ours"),
    ];
    let made = done(&kit, CREATE, &[asked.as_slice(), &tag].concat()).await;
    let near = made.one(&format!("{MADE}/transitGatewayAttachmentId"));
    let seen = kit.call_as(BOB, "ec2", DESCRIBE, &[]).await.unwrap();
    let far = seen.one(&format!("{SHOWN}/transitGatewayAttachmentId"));
    assert_eq!(far, made.one(&format!("{MADE}/accepterTransitGatewayAttachmentId")));
    assert_eq!(seen.one(&format!("{SHOWN}/requesterTgwInfo/ownerId")), ALICE.to_string());
    assert!(seen.all(&format!("{SHOWN}/tagSet/item")).is_empty(), "tags are each side's own");
    // Each sees its own end alone.
    let missing = "InvalidTransitGatewayAttachmentID.NotFound";
    for verb in [ACCEPT, REJECT, DELETE] {
        assert_eq!(refused(&kit, verb, &by(&far)).await, missing);
        let error = kit.call_as(BOB, "ec2", verb, &by(&near)).await.unwrap_err();
        assert_eq!(error.code(), missing);
    }
    kit.call_as(BOB, "ec2", ACCEPT, &by(&far)).await.unwrap();
    let shown = described(&kit, &near).await;
    assert_eq!(shown.one(&format!("{SHOWN}/state")), "available");
    assert_eq!(shown.one(&format!("{SHOWN}/tagSet/item/value")), "ours");
    let all = kit.call_as(BOB, "ec2", "DescribeTransitGatewayAttachments", &[]).await.unwrap();
    let item = |name: &str| all.one(&format!("transitGatewayAttachments/item/{name}"));
    assert_eq!((item("transitGatewayOwnerId"), item("resourceOwnerId")), (bob.clone(), ALICE.to_string()));
    assert_eq!((item("resourceId"), item("association/state")), (one, "associated".to_owned()));
    kit.call_as(BOB, "ec2", DELETE, &by(&far)).await.unwrap();
    assert_eq!(described(&kit, &near).await.one(&format!("{SHOWN}/state")), "deleted");
    kit.call_as(BOB, "ec2", "DeleteTransitGateway", &[("TransitGatewayId", &theirs)]).await.unwrap();
}

/// What the host of the default VPC is told of its end at a gateway.
async fn told(cloud: &Cloud, vpc: &str) -> TransitDesired {
    let key = ObjectKey::Vpc(VpcId::parse(vpc).unwrap());
    cloud.settled(key).await;
    match cloud.host.object(key).and_then(|desired| desired.body) {
        Some(DesiredBody::Vpc(vpc)) => VpcDesired::clone(&vpc).transits.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Its routes, and the VPCs that it meets.
fn ways(end: &TransitDesired) -> (Vec<(String, String)>, Vec<String>) {
    let to = |to: Option<model::TransitGatewayAttachmentId>| to.map_or("drop".into(), |to| to.to_string());
    let routes = end.routes.iter().map(|route| (IpNet::to_string(&route.destination), to(route.to)));
    (routes.collect(), end.peers.iter().map(|peer| peer.vpc.to_string()).collect())
}

#[tokio::test]
async fn a_host_is_told_of_vpcs_behind_peered_gateways_as_all_tables_say() {
    let cloud = cloud().await;
    let kit = &cloud.kit;
    cloud.running(&[]).await;
    let hub = crate::default_vpc(kit).await;
    let zone = [
        ("Filter.1.Name", "availability-zone"),
        ("Filter.1.Value.1", "us-east-1a"),
        ("Filter.2.Name", "vpc-id"),
        ("Filter.2.Value.1", hub.as_str()),
    ];
    let subnet = done(kit, "DescribeSubnets", &zone).await.one("subnetSet/item/subnetId");
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(gateway(kit, &[]).await);
    }
    let [one, two, three] = gateways.as_slice() else { panic!() };
    let center = attach(kit, one, &hub, &subnet).await;
    let (second, subnet_two) = place(kit, 2).await;
    let beyond = attach(kit, two, &second, &subnet_two).await;
    let (third, subnet_three) = place(kit, 3).await;
    let farthest = attach(kit, three, &third, &subnet_three).await;
    let own = ("172.31.0.0/16".to_owned(), center);
    assert_eq!(ways(&told(&cloud, &hub).await), (vec![own.clone()], vec![]));
    let [out, back] = peer(kit, one, two).await;
    let [onward, homeward] = peer(kit, two, three).await;
    let tables = [default_table(kit, one).await, default_table(kit, two).await];
    let last = default_table(kit, three).await;
    let is = |net: &str, to: &str| (net.to_owned(), to.to_owned());
    assert_eq!(ways(&told(&cloud, &hub).await), (vec![own.clone()], vec![]), "nothing leads there");
    done(kit, ROUTE, &leading(&tables[0], "10.0.0.0/8", &out)).await;
    assert_eq!(
        ways(&told(&cloud, &hub).await),
        (vec![is("10.0.0.0/8", "drop"), is("10.2.0.0/16", &beyond), own.clone()], vec![second.clone()])
    );
    // On through the second gateway to the third, and nothing comes back without a way of its own.
    done(kit, ROUTE, &leading(&tables[1], "10.3.0.0/16", &onward)).await;
    let mut expected = vec![second.clone(), third.clone()];
    expected.sort();
    let (routes, mut met) = ways(&told(&cloud, &hub).await);
    met.sort();
    assert_eq!(routes[2..], [is("10.3.0.0/16", &farthest), own.clone()]);
    assert_eq!(met, expected);
    // A VPC that only leads here is met as well, so that it may be answered.
    let here = [
        ("TransitGatewayRouteTableId", tables[0].as_str()),
        ("DestinationCidrBlock", "10.3.0.0/16"),
        ("Blackhole", "true"),
    ];
    done(kit, ROUTE, &here).await;
    assert_eq!(ways(&told(&cloud, &hub).await).1, vec![second.clone()]);
    done(kit, ROUTE, &leading(&last, "172.31.0.0/16", &homeward)).await;
    assert_eq!(
        ways(&told(&cloud, &hub).await).1,
        vec![second.clone()],
        "the second gateway does not lead on"
    );
    done(kit, ROUTE, &leading(&tables[1], "172.31.0.0/16", &back)).await;
    assert_eq!(ways(&told(&cloud, &hub).await).1.len(), 2);
    // What a far VPC, a far table and a far association become is known here.
    done(kit, "AssociateVpcCidrBlock", &[("VpcId", &second), ("CidrBlock", "10.102.0.0/24")]).await;
    assert!(ways(&told(&cloud, &hub).await).0.contains(&is("10.102.0.0/24", &beyond)));
    let far = [("TransitGatewayRouteTableId", tables[1].as_str()), ("TransitGatewayAttachmentId", &back)];
    done(kit, "DisassociateTransitGatewayRouteTable", &far).await;
    let dropped = vec![is("10.0.0.0/8", "drop"), is("10.3.0.0/16", "drop"), own.clone()];
    assert_eq!(ways(&told(&cloud, &hub).await).0, dropped);
    done(kit, "AssociateTransitGatewayRouteTable", &far).await;
    assert!(ways(&told(&cloud, &hub).await).0.contains(&is("10.2.0.0/16", &beyond)));
    done(kit, DELETE, &by(&back)).await;
    assert_eq!(ways(&told(&cloud, &hub).await), (dropped, vec![]));
}
