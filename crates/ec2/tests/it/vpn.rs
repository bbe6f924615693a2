//! Site-to-site VPN: customer gateways, virtual private gateways, connections, and the routes that come of them.

use crate::instance::{FakeHost, ROOMY, cloud};
use crate::{done, refused};
use model::host::{DesiredBody, ObjectKey, Reply, TunnelSeen, VpcDesired};
use model::{VpcId, VpnConnectionId};
use std::net::Ipv4Addr;
use std::time::Duration;
use testkit::Kit;

const CONNECTION: &str = "vpnConnectionSet/item";

async fn customer(kit: &Kit, address: &str) -> String {
    let asked = [("Type", "ipsec.1"), ("IpAddress", address), ("BgpAsn", "65010")];
    done(kit, "CreateCustomerGateway", &asked).await.one("customerGateway/customerGatewayId")
}

async fn gateway(kit: &Kit) -> String {
    done(kit, "CreateVpnGateway", &[("Type", "ipsec.1")]).await.one("vpnGateway/vpnGatewayId")
}

async fn vpc(kit: &Kit) -> (String, String) {
    let vpc = done(kit, "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await.one("vpc/vpcId");
    let asked = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let table = done(kit, "DescribeRouteTables", &asked).await.one("routeTableSet/item/routeTableId");
    (vpc, table)
}

async fn attach(kit: &Kit, gateway: &str, vpc: &str) {
    let done = done(kit, "AttachVpnGateway", &[("VpnGatewayId", gateway), ("VpcId", vpc)]).await;
    assert_eq!(done.one("attachment/state"), "attaching");
}

async fn connect(kit: &Kit, customer: &str, gateway: &str, more: &[(&str, &str)]) -> String {
    let mut asked = vec![
        ("Type", "ipsec.1"),
        ("CustomerGatewayId", customer),
        ("VpnGatewayId", gateway),
        ("Options.StaticRoutesOnly", "true"),
    ];
    asked.extend_from_slice(more);
    let made = done(kit, "CreateVpnConnection", &asked).await;
    assert_eq!(made.one("vpnConnection/state"), "pending");
    made.one("vpnConnection/vpnConnectionId")
}

fn told(kit: &Kit, vpc: &str) -> Option<VpcDesired> {
    let key = ObjectKey::Vpc(VpcId::parse(vpc).unwrap());
    let body = kit.cloud.host.wish(key, |wish| wish.body.clone()).flatten()?;
    let DesiredBody::Vpc(vpc) = body else { panic!("{body:?}") };
    Some(VpcDesired::clone(&vpc))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn a_customer_gateway_is_made_once_and_stays_while_it_is_in_use() {
    let kit = Kit::new().await;
    let id = customer(&kit, "203.0.113.9").await;
    assert_eq!(customer(&kit, "203.0.113.9").await, id, "the same again");
    assert_ne!(customer(&kit, "203.0.113.10").await, id);
    let shown = done(&kit, "DescribeCustomerGateways", &[("CustomerGatewayId.1", &id)]).await;
    let member = |name: &str| shown.one(&format!("customerGatewaySet/item/{name}"));
    assert_eq!(
        ["ipAddress", "bgpAsn", "type", "state"].map(member),
        ["203.0.113.9", "65010", "ipsec.1", "available"]
    );
    for (asked, code) in [
        (vec![("Type", "ipsec.1")], "MissingParameter"),
        (vec![("Type", "ipsec.1"), ("IpAddress", "none")], "InvalidParameterValue"),
        (vec![("Type", "ipsec.1"), ("IpAddress", "127.0.0.1")], "InvalidParameterValue"),
        (vec![("Type", "ipsec.2"), ("IpAddress", "203.0.113.9")], "InvalidParameterValue"),
        (vec![("Type", "ipsec.1"), ("IpAddress", "203.0.113.9"), ("BgpAsn", "0")], "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&kit, "CreateCustomerGateway", &asked).await, code, "{asked:?}");
    }
    let gateway = gateway(&kit).await;
    let connection = connect(&kit, &id, &gateway, &[]).await;
    let by_id = [("CustomerGatewayId", id.as_str())];
    assert_eq!(refused(&kit, "DeleteCustomerGateway", &by_id).await, "IncorrectState");
    done(&kit, "DeleteVpnConnection", &[("VpnConnectionId", &connection)]).await;
    done(&kit, "DeleteCustomerGateway", &by_id).await;
    assert_eq!(refused(&kit, "DeleteCustomerGateway", &by_id).await, "InvalidCustomerGatewayID.NotFound");
    assert_ne!(customer(&kit, "203.0.113.9").await, id);
}

#[tokio::test]
async fn a_gateway_is_attached_to_one_vpc_and_a_vpc_has_one() {
    let kit = Kit::new().await;
    let (first, second) = (gateway(&kit).await, gateway(&kit).await);
    let (near, _) = vpc(&kit).await;
    let (far, _) = vpc(&kit).await;
    attach(&kit, &first, &near).await;
    let limit = "VpnGatewayAttachmentLimitExceeded";
    for (gateway, vpc) in [(&first, &far), (&second, &near)] {
        let asked = [("VpnGatewayId", gateway.as_str()), ("VpcId", vpc.as_str())];
        assert_eq!(refused(&kit, "AttachVpnGateway", &asked).await, limit);
    }
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &near)]).await, "DependencyViolation");
    assert_eq!(refused(&kit, "DeleteVpnGateway", &[("VpnGatewayId", &first)]).await, "IncorrectState");
    let by_vpc = [("Filter.1.Name", "attachment.vpc-id"), ("Filter.1.Value.1", near.as_str())];
    let shown = done(&kit, "DescribeVpnGateways", &by_vpc).await;
    assert_eq!(shown.one("vpnGatewaySet/item/vpnGatewayId"), first);
    assert_eq!(shown.one("vpnGatewaySet/item/attachments/item/state"), "attached");
    let asked = [("VpnGatewayId", first.as_str()), ("VpcId", far.as_str())];
    assert_eq!(refused(&kit, "DetachVpnGateway", &asked).await, "InvalidVpnGatewayAttachment.NotFound");
    done(&kit, "DetachVpnGateway", &[("VpnGatewayId", &first), ("VpcId", &near)]).await;
    done(&kit, "DeleteVpc", &[("VpcId", &near)]).await;
    done(&kit, "DeleteVpnGateway", &[("VpnGatewayId", &first)]).await;
    assert_eq!(
        refused(&kit, "DeleteVpnGateway", &[("VpnGatewayId", &first)]).await,
        "InvalidVpnGatewayID.NotFound"
    );
    for _ in 0..4 {
        gateway(&kit).await;
    }
    assert_eq!(refused(&kit, "CreateVpnGateway", &[("Type", "ipsec.1")]).await, "VpnGatewayLimitExceeded");
    kit.clock.advance(Duration::from_hours(2));
    ec2::vpn_connection::sweep(&kit.cloud).await.unwrap();
    let gone = [("VpnGatewayId.1", first.as_str())];
    assert_eq!(refused(&kit, "DescribeVpnGateways", &gone).await, "InvalidVpnGatewayID.NotFound");
}

#[tokio::test]
async fn a_connection_says_what_a_device_must_know_and_nothing_once_it_is_gone() {
    let kit = Kit::new().await;
    let (customer, gateway) = (customer(&kit, "203.0.113.9").await, gateway(&kit).await);
    let own = [
        ("Options.TunnelOptions.1.PreSharedKey", "my_own.key"),
        ("Options.TunnelOptions.1.TunnelInsideCidr", "169.254.44.4/30"),
    ];
    let id = connect(&kit, &customer, &gateway, &own).await;
    let by_id = [("VpnConnectionId.1", id.as_str())];
    let shown = done(&kit, "DescribeVpnConnections", &by_id).await;
    assert_eq!(shown.one(&format!("{CONNECTION}/state")), "available");
    let options = format!("{CONNECTION}/options/tunnelOptionSet/item");
    let [outside, keys, insides] = ["outsideIpAddress", "preSharedKey", "tunnelInsideCidr"]
        .map(|name| shown.all(&format!("{options}/{name}")));
    assert_eq!((outside.len(), keys.len(), insides.len()), (2, 2, 2));
    assert_ne!(outside[0], outside[1]);
    assert_eq!((keys[0].as_str(), keys[1].len(), insides[0].as_str()), ("my_own.key", 32, "169.254.44.4/30"));
    let text = shown.one(&format!("{CONNECTION}/customerGatewayConfiguration"));
    for expected in [
        format!("<vpn_connection id=\"{id}\">"),
        format!("<pre_shared_key>{}</pre_shared_key>", keys[1]),
        format!("<ip_address>{}</ip_address>", outside[0]),
        "<ip_address>169.254.44.5</ip_address>".into(),
        "<ip_address>169.254.44.6</ip_address>".into(),
        "<ip_address>203.0.113.9</ip_address>".into(),
    ] {
        assert!(text.contains(&expected), "{expected}\n{text}");
    }
    // A key is in no filter's reach, and in no record in the clear.
    let found = [("Filter.1.Name", "customer-gateway-configuration"), ("Filter.1.Value.1", "*my_own.key*")];
    assert!(done(&kit, "DescribeVpnConnections", &found).await.all(CONNECTION).is_empty());
    let again = [
        ("Type", "ipsec.1"),
        ("CustomerGatewayId", customer.as_str()),
        ("VpnGatewayId", gateway.as_str()),
        ("Options.StaticRoutesOnly", "true"),
    ];
    assert_eq!(refused(&kit, "CreateVpnConnection", &again).await, "InvalidParameterValue");
    done(&kit, "DeleteVpnConnection", &[("VpnConnectionId", &id)]).await;
    let shown = done(&kit, "DescribeVpnConnections", &by_id).await;
    assert_eq!(shown.one(&format!("{CONNECTION}/state")), "deleted");
    assert!(shown.all(&format!("{CONNECTION}/customerGatewayConfiguration")).is_empty());
    assert!(shown.all(&format!("{options}/preSharedKey")).is_empty());
    assert_eq!(
        refused(&kit, "DeleteVpnConnection", &[("VpnConnectionId", &id)]).await,
        "InvalidVpnConnectionID.NotFound"
    );
}

#[tokio::test]
async fn what_is_not_built_or_not_fit_is_refused_before_anything_is_taken() {
    let kit = Kit::new().await;
    let (customer, gateway) = (customer(&kit, "203.0.113.9").await, gateway(&kit).await);
    let base = [("CustomerGatewayId", customer.as_str()), ("Type", "ipsec.1")];
    let with = ("VpnGatewayId", gateway.as_str());
    let fixed = ("Options.StaticRoutesOnly", "true");
    for (more, code) in [
        (vec![with], "UnsupportedOperation"),
        (vec![with, ("Options.StaticRoutesOnly", "false")], "UnsupportedOperation"),
        (vec![fixed, ("TransitGatewayId", "tgw-0123456789abcdef0")], "InvalidTransitGatewayID.NotFound"),
        (vec![with, fixed, ("TransitGatewayId", "tgw-0123456789abcdef0")], "InvalidParameterCombination"),
        (vec![fixed], "MissingParameter"),
        (vec![fixed, ("VpnGatewayId", "vgw-0123456789abcdef0")], "InvalidVpnGatewayID.NotFound"),
        (vec![with, fixed, ("Options.TunnelOptions.1.PreSharedKey", "0short")], "InvalidParameterValue"),
        (vec![with, fixed, ("Options.TunnelOptions.1.PreSharedKey", "with spaces")], "InvalidParameterValue"),
        (
            vec![with, fixed, ("Options.TunnelOptions.1.TunnelInsideCidr", "169.254.5.0/30")],
            "InvalidParameterValue",
        ),
        (
            vec![with, fixed, ("Options.TunnelOptions.1.TunnelInsideCidr", "10.0.0.0/30")],
            "InvalidParameterValue",
        ),
        (vec![with, fixed, ("Options.EnableAcceleration", "true")], "UnsupportedOperation"),
        (vec![with, fixed, ("Options.TunnelOptions.1.StartupAction", "later")], "InvalidParameterValue"),
        (vec![with, fixed, ("DryRun", "true")], "DryRunOperation"),
    ] {
        let asked = [&base[..], &more].concat();
        assert_eq!(refused(&kit, "CreateVpnConnection", &asked).await, code, "{more:?}");
    }
    assert!(done(&kit, "DescribeVpnConnections", &[]).await.all(CONNECTION).is_empty());
}

#[tokio::test]
async fn routes_lead_to_a_gateway_and_are_taken_over_from_it() {
    let cloud = cloud().await;
    let kit = &cloud.kit;
    let (vpc, table) = vpc(kit).await;
    let (customer, gateway) = (customer(kit, "203.0.113.9").await, gateway(kit).await);
    let to = |net| {
        vec![("RouteTableId", table.as_str()), ("DestinationCidrBlock", net), ("GatewayId", gateway.as_str())]
    };
    assert_eq!(refused(kit, "CreateRoute", &to("192.168.0.0/16")).await, "InvalidParameterValue");
    let propagation = [("RouteTableId", table.as_str()), ("GatewayId", gateway.as_str())];
    assert_eq!(refused(kit, "EnableVgwRoutePropagation", &propagation).await, "Gateway.NotAttached");
    attach(kit, &gateway, &vpc).await;
    assert_eq!(refused(kit, "CreateRoute", &to("10.1.5.0/24")).await, "InvalidParameterValue");
    done(kit, "CreateRoute", &to("192.168.0.0/16")).await;
    done(kit, "EnableVgwRoutePropagation", &propagation).await;
    let id = connect(kit, &customer, &gateway, &[]).await;
    let of = |net| vec![("VpnConnectionId", id.as_str()), ("DestinationCidrBlock", net)];
    for net in ["192.168.7.0/24", "192.168.0.0/16", "10.1.9.0/24"] {
        done(kit, "CreateVpnConnectionRoute", &of(net)).await;
    }
    let by_id = [("RouteTableId.1", table.as_str())];
    let shown = done(kit, "DescribeRouteTables", &by_id).await;
    assert_eq!(shown.one("routeTableSet/item/propagatingVgwSet/item/gatewayId"), gateway);
    let routes = |member: &str| shown.all(&format!("routeTableSet/item/routeSet/item/{member}"));
    assert_eq!(routes("destinationCidrBlock"), ["10.1.0.0/16", "192.168.0.0/16", "192.168.7.0/24"]);
    assert_eq!(routes("origin"), ["CreateRouteTable", "CreateRoute", "EnableVgwRoutePropagation"]);
    assert_eq!(routes("state"), ["active"; 3]);

    // The host hears of it, with the keys, though no instance is there.
    let has_keys = |vpc: &VpcDesired| {
        vpc.vpns.len() == 1 && vpc.vpns[0].tunnels.iter().all(|tunnel| tunnel.key.is_some())
    };
    until("the host is told", || {
        told(kit, &vpc).is_some_and(|vpc| has_keys(&vpc) && vpc.vpns[0].routes.len() == 3)
    })
    .await;

    done(kit, "DeleteVpnConnectionRoute", &of("10.1.9.0/24")).await;
    assert_eq!(refused(kit, "DeleteVpnConnectionRoute", &of("10.1.9.0/24")).await, "InvalidRoute.NotFound");
    done(kit, "DetachVpnGateway", &[("VpnGatewayId", &gateway), ("VpcId", &vpc)]).await;
    let shown = done(kit, "DescribeRouteTables", &by_id).await;
    assert!(shown.all("routeTableSet/item/propagatingVgwSet/item").is_empty());
    assert_eq!(shown.all("routeTableSet/item/routeSet/item/state"), ["active", "blackhole"]);
    until("the host forgets it", || told(kit, &vpc).is_none()).await;
}

#[tokio::test]
async fn what_a_host_says_of_tunnels_is_shown() {
    let kit = Kit::new().await;
    let (customer, gateway) = (customer(&kit, "203.0.113.9").await, gateway(&kit).await);
    let id = connect(&kit, &customer, &gateway, &[]).await;
    let telemetry = async |member: &str| {
        let shown = done(&kit, "DescribeVpnConnections", &[]).await;
        shown.all(&format!("{CONNECTION}/vgwTelemetry/item/{member}"))
    };
    // The host is away.
    ec2::vpn_connection::observe(&kit.cloud).await.unwrap();
    assert_eq!(telemetry("status").await, ["DOWN", "DOWN"]);
    let began = telemetry("lastStatusChange").await;
    let connection = VpnConnectionId::parse(&id).unwrap();
    let outside: Vec<Ipv4Addr> =
        telemetry("outsideIpAddress").await.iter().map(|address| address.parse().unwrap()).collect();
    let seen = |outside, up| TunnelSeen { connection, outside, up, ike_up: true };
    let tunnels = vec![seen(outside[0], true), seen(outside[1], false)];
    let host = FakeHost::connect(&kit.cloud, ROOMY, Reply::Tunnels { lack: None, tunnels });
    kit.cloud.host.connected().await;
    kit.clock.advance(Duration::from_mins(5));
    ec2::vpn_connection::observe(&kit.cloud).await.unwrap();
    assert_eq!(telemetry("status").await, ["UP", "DOWN"]);
    assert_eq!(telemetry("statusMessage").await, ["", "IPSEC IS DOWN"]);
    assert!(telemetry("lastStatusChange").await.iter().all(|at| !began.contains(at)));
    host.leave();
}

#[tokio::test]
async fn a_host_that_lacks_what_carries_vpns_gets_none() {
    let kit = Kit::new().await;
    let (customer, gateway) = (customer(&kit, "203.0.113.9").await, gateway(&kit).await);
    let reply = Reply::Tunnels { lack: Some("no daemon".into()), tunnels: Vec::new() };
    let _host = FakeHost::connect(&kit.cloud, ROOMY, reply);
    kit.cloud.host.connected().await;
    let asked = [
        ("Type", "ipsec.1"),
        ("CustomerGatewayId", customer.as_str()),
        ("VpnGatewayId", gateway.as_str()),
        ("Options.StaticRoutesOnly", "true"),
    ];
    assert_eq!(refused(&kit, "CreateVpnConnection", &asked).await, "UnsupportedOperation");
}

async fn transit(kit: &Kit) -> (String, String) {
    let made = done(kit, "CreateTransitGateway", &[]).await;
    let member = |name: &str| made.one(&format!("transitGateway/{name}"));
    (member("transitGatewayId"), member("options/associationDefaultRouteTableId"))
}

const ATTACHMENT: &str = "transitGatewayAttachments/item";

#[tokio::test]
async fn a_connection_of_a_transit_gateway_is_attached_to_it_and_has_a_network_of_its_own() {
    let cloud = cloud().await;
    let kit = &cloud.kit;
    let (customer, (gateway, table)) = (customer(kit, "203.0.113.9").await, transit(kit).await);
    let asked = [
        ("Type", "ipsec.1"),
        ("CustomerGatewayId", customer.as_str()),
        ("TransitGatewayId", gateway.as_str()),
        ("Options.StaticRoutesOnly", "true"),
    ];
    let id = done(kit, "CreateVpnConnection", &asked).await.one("vpnConnection/vpnConnectionId");
    let second = done(kit, "CreateVpnConnection", &asked).await.one("vpnConnection/vpnConnectionId");
    assert_ne!(id, second, "several to one customer gateway");
    done(kit, "DeleteVpnConnection", &[("VpnConnectionId", &second)]).await;

    let by_gateway = [("Filter.1.Name", "transit-gateway-id"), ("Filter.1.Value.1", gateway.as_str())];
    let shown = done(kit, "DescribeVpnConnections", &by_gateway).await;
    assert_eq!(shown.all(&format!("{CONNECTION}/transitGatewayId")), [gateway.as_str(); 2]);
    assert!(shown.all(&format!("{CONNECTION}/vpnGatewayId")).is_empty());
    let by_id = [("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", id.as_str())];
    let ends = done(kit, "DescribeTransitGatewayAttachments", &by_id).await;
    let member = |name: &str| ends.one(&format!("{ATTACHMENT}/{name}"));
    assert_eq!(["resourceType", "state"].map(member), ["vpn", "available"]);
    assert_eq!(member("association/transitGatewayRouteTableId"), table);
    let attachment = member("transitGatewayAttachmentId");
    let of_table = [("TransitGatewayRouteTableId", table.as_str())];
    let known = done(kit, "GetTransitGatewayRouteTablePropagations", &of_table).await;
    assert_eq!(known.one("transitGatewayRouteTablePropagations/item/resourceId"), id);
    let other = [("VpnConnectionId", id.as_str()), ("DestinationCidrBlock", "192.168.7.0/24")];
    assert_eq!(refused(kit, "CreateVpnConnectionRoute", &other).await, "UnsupportedOperation");
    let wrong = [("TransitGatewayAttachmentId", attachment.as_str())];
    assert_eq!(
        refused(kit, "DeleteTransitGatewayVpcAttachment", &wrong).await,
        "InvalidTransitGatewayAttachmentID.NotFound"
    );
    assert_eq!(
        refused(kit, "DeleteTransitGateway", &[("TransitGatewayId", &gateway)]).await,
        "IncorrectState"
    );

    // The host hears of a network for it alone, where its ends meet: what comes out of the tunnels is the gateway's.
    let connection = VpnConnectionId::parse(&id).unwrap();
    let hub = model::record::vpn::hub(connection).to_string();
    until("the host is told", || {
        told(kit, &hub).is_some_and(|hub| hub.vpns.len() == 1 && hub.transits.len() == 1)
    })
    .await;
    let network = told(kit, &hub).unwrap();
    assert!(network.vpns[0].tunnels.iter().all(|tunnel| tunnel.key.is_some()));
    assert!(network.cidrs.is_empty() && network.vpns[0].arrival.is_some());
    assert_eq!(network.transits[0].attachment.to_string(), attachment);

    // A VPC meets it where the gateway's table leads there.
    let (vpc, _) = vpc(kit).await;
    let subnet = [("VpcId", vpc.as_str()), ("CidrBlock", "10.1.1.0/24")];
    let subnet = done(kit, "CreateSubnet", &subnet).await.one("subnet/subnetId");
    let asked = [("TransitGatewayId", gateway.as_str()), ("VpcId", &vpc), ("SubnetIds.1", &subnet)];
    done(kit, "CreateTransitGatewayVpcAttachment", &asked).await;
    until("the VPC is told of", || told(kit, &hub).is_some_and(|hub| hub.transits[0].peers.len() == 1)).await;
    let site = [
        ("TransitGatewayRouteTableId", table.as_str()),
        ("DestinationCidrBlock", "192.168.7.0/24"),
        ("TransitGatewayAttachmentId", attachment.as_str()),
    ];
    done(kit, "CreateTransitGatewayRoute", &site).await;
    until("the route is told", || told(kit, &hub).is_some_and(|hub| hub.transits[0].routes.len() == 2)).await;

    done(kit, "DeleteVpnConnection", &[("VpnConnectionId", &id)]).await;
    until("the host forgets it", || told(kit, &hub).is_none()).await;
    let ends = done(kit, "DescribeTransitGatewayAttachments", &by_id).await;
    assert_eq!(ends.one(&format!("{ATTACHMENT}/state")), "deleted");
    let find = [of_table[0], ("Filter.1.Name", "type"), ("Filter.1.Value.1", "static")];
    assert_eq!(done(kit, "SearchTransitGatewayRoutes", &find).await.one("routeSet/item/state"), "blackhole");
}

#[tokio::test]
async fn a_connection_moves_between_gateways_with_its_addresses_and_keys() {
    let cloud = cloud().await;
    let kit = &cloud.kit;
    let (first, second) = (customer(kit, "203.0.113.9").await, customer(kit, "203.0.113.10").await);
    let (old, new) = (gateway(kit).await, gateway(kit).await);
    let ((near, _), (far, _)) = (vpc(kit).await, vpc(kit).await);
    attach(kit, &old, &near).await;
    attach(kit, &new, &far).await;
    let id = connect(kit, &first, &old, &[]).await;
    let route = [("VpnConnectionId", id.as_str()), ("DestinationCidrBlock", "192.168.7.0/24")];
    done(kit, "CreateVpnConnectionRoute", &route).await;
    let has = |vpc: &str| told(kit, vpc).is_some_and(|vpc| vpc.vpns.len() == 1);
    until("the host is told", || has(&near)).await;
    let show = async || done(kit, "DescribeVpnConnections", &[]).await;
    let outside = format!("{CONNECTION}/options/tunnelOptionSet/item/outsideIpAddress");
    let before = show().await.all(&outside);

    let with = |more: &[(&'static str, &str)]| {
        let mut asked = vec![("VpnConnectionId".to_owned(), id.clone())];
        asked.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        asked
    };
    let modify = async |more: &[(&'static str, &str)]| {
        let asked = with(more);
        let asked: Vec<(&str, &str)> = asked.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        done(kit, "ModifyVpnConnection", &asked).await;
    };
    for (more, code) in [
        (vec![], "InvalidParameterCombination"),
        (vec![("VpnGatewayId", "vgw-0123456789abcdef0")], "InvalidVpnGatewayID.NotFound"),
        (vec![("CustomerGatewayId", "cgw-0123456789abcdef0")], "InvalidCustomerGatewayID.NotFound"),
        (vec![("VpnGatewayId", new.as_str()), ("DryRun", "true")], "DryRunOperation"),
    ] {
        let asked = with(&more);
        let asked: Vec<(&str, &str)> = asked.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(refused(kit, "ModifyVpnConnection", &asked).await, code, "{more:?}");
    }

    modify(&[("VpnGatewayId", &new), ("CustomerGatewayId", &second)]).await;
    until("the host hears of the move", || told(kit, &near).is_none() && has(&far)).await;
    let vpn = told(kit, &far).unwrap().vpns[0].clone();
    assert_eq!((vpn.customer.to_string(), vpn.routes.len()), ("203.0.113.10".to_owned(), 1));
    assert_eq!(show().await.all(&outside), before);

    let (hub, _) = transit(kit).await;
    modify(&[("TransitGatewayId", &hub)]).await;
    let network = model::record::vpn::hub(VpnConnectionId::parse(&id).unwrap()).to_string();
    until("it is the transit gateway's", || told(kit, &far).is_none() && has(&network)).await;
    let shown = show().await;
    assert!(shown.all(&format!("{CONNECTION}/routes/item")).is_empty(), "static routes were the gateway's");
    assert_eq!(shown.all(&outside), before);
    modify(&[("VpnGatewayId", &old)]).await;
    until("it is back", || told(kit, &network).is_none() && has(&near)).await;
    done(kit, "DeleteTransitGateway", &[("TransitGatewayId", &hub)]).await;
}
