//! VPC endpoints: who reaches one is decided by the same gates as for guests, and behind it stands nothing but the API.

use super::ipv6::{connect6, fails, reaches, six};
use super::world::*;
use agent::host::linux::netns;
use model::VpcEndpointId;
use model::host::{
    EndpointDesired, EndpointLead, EndpointName, PeeringDesired, RouteDesired, RouteTarget,
    SecurityGroupDesired,
};
use model::net::{Allow, Peer, Traffic};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, TcpStream};

const DOOR: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 50);
const NEAR: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const FAR: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
const NAME: &str = "vpce-1-abc.ec2.us-east-1.vpce.amazonaws.com";

/// With an interface in the first subnet.
fn open_door(vpc: &mut Vpc, groups: &[&SecurityGroupDesired]) -> VpcEndpointId {
    let endpoint = VpcEndpointId::from_entropy(unique());
    let name =
        |name: &str, private| EndpointName { name: name.to_owned(), addresses: vec![DOOR.into()], private };
    let names = vec![name(NAME, false), name("ec2.us-east-1.amazonaws.com", true)];
    let interfaces = vec![vpc.interface(DOOR, groups)];
    vpc.desired.endpoints.push(EndpointDesired { endpoint, interfaces, names, lead: EndpointLead::Api });
    endpoint
}

fn read(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn tcp_of(port: u16, group: &SecurityGroupDesired) -> Allow {
    Allow { traffic: Traffic::Tcp { from: port, to: port }, peer: Peer::Group(group.group) }
}

#[test]
fn an_endpoint_answers_whom_its_groups_let_in_and_at_its_ports_alone() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        world.ensure_vpc(&vpc).await;
        let clients = world.group(&vpc, vec![]).await;
        let others = world.group(&vpc, vec![]).await;
        let mut door = world.group(&vpc, vec![tcp_of(443, &clients), tcp_of(22, &clients)]).await;
        let endpoint = open_door(&mut vpc, &[&door]);
        world.ensure_vpc(&vpc).await;
        let near = world.guest(&vpc, NEAR, &[&clients]).await;
        let far = world.guest(&vpc, FAR, &[&clients]).await;
        for (guest, address) in [(&near, NEAR), (&far, FAR)] {
            assert_eq!(read(guest.connect(DOOR, 443).unwrap()), format!("{endpoint} {address}\n"));
            assert!(guest.connect_briefly(DOOR, 80).is_err(), "no rule");
            let refused = guest.connect_briefly(DOOR, 22).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "nobody listens");
        }
        // What it would answer is none of a guest's business, whatever rules say.
        door.ingress.push(all_from("0.0.0.0/0"));
        world.net_group(&door).await;
        assert!(!near.pings_briefly(DOOR));
        assert_eq!(read(near.connect(DOOR, 80).unwrap()), format!("{endpoint} {NEAR}\n"));
        door.ingress.truncate(1);
        world.net_group(&door).await;

        let mut stranger = world.guest(&vpc, Ipv4Addr::new(172, 31, 0, 11), &[&others]).await;
        assert!(stranger.connect_briefly(DOOR, 443).is_err());
        stranger.interface.security_groups = vec![clients.group];
        world.update(&stranger).await;
        assert!(stranger.connect(DOOR, 443).is_ok());
        // The sender's own gate.
        let shut = SecurityGroupDesired { egress: vec![], ..clients.clone() };
        world.net_group(&shut).await;
        assert!(stranger.connect_briefly(DOOR, 443).is_err());
        world.net_group(&clients).await;

        // Nobody asks for these ports as for machines', and they are not reported as such.
        assert!(!standing(&world).await.contains(&vpc.desired.endpoints[0].interfaces[0].interface));
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert_eq!(read(far.connect(DOOR, 443).unwrap()), format!("{endpoint} {FAR}\n"));
        assert!(!standing(&world).await.contains(&vpc.desired.endpoints[0].interfaces[0].interface));

        // Other groups, and in the end none at all.
        vpc.desired.endpoints[0].interfaces[0].security_groups = vec![others.group];
        world.ensure_vpc(&vpc).await;
        assert!(far.connect_briefly(DOOR, 443).is_err());
        vpc.desired.endpoints.clear();
        world.ensure_vpc(&vpc).await;
        assert!(far.connect_briefly(DOOR, 443).is_err());
        let prefix = plan::net::names::namespace_prefix(&world.config.cloud);
        let left = netns::names(&prefix).unwrap();
        assert!(!left.iter().any(|name| name.contains("-eni-")), "{left:?}");
    });
}

async fn standing(world: &World) -> Vec<model::NetworkInterfaceId> {
    agent::host::Net::standing(world.net()).await.unwrap().ports
}

#[test]
fn an_acl_stands_before_an_endpoint_and_a_vpc_takes_it_along() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        world.ensure_vpc(&vpc).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        open_door(&mut vpc, &[&open]);
        world.ensure_vpc(&vpc).await;
        let near = world.guest(&vpc, NEAR, &[&open]).await;
        let far = world.guest(&vpc, FAR, &[&open]).await;
        assert!(far.connect(DOOR, 80).is_ok());
        let mut closed = vpc.desired.network_acls[0].clone();
        closed.network_acl = model::NetworkAclId::from_entropy(unique());
        closed.ingress.clear();
        vpc.desired.subnets[0].network_acl = closed.network_acl;
        vpc.desired.network_acls.push(closed);
        world.ensure_vpc(&vpc).await;
        assert!(far.connect_briefly(DOOR, 80).is_err());
        assert!(near.connect(DOOR, 80).is_ok(), "within the subnet no ACL judges");

        near.end();
        far.end();
        world.net_remove_vpc(&vpc).await;
        let prefix = plan::net::names::namespace_prefix(&world.config.cloud);
        assert!(netns::names(&prefix).unwrap().iter().all(|name| name.ends_with("-edge")));
        // What an interrupted removal leaves is gone with the next start.
        let orphan = model::NetworkInterfaceId::from_entropy(unique());
        let orphan = plan::net::names::endpoint_namespace(&world.config.cloud, orphan);
        drop(netns::Namespace::create(&orphan).unwrap());
        world.restart().await;
        assert!(!netns::names(&prefix).unwrap().contains(&orphan));
    });
}

#[test]
fn an_endpoint_is_reached_over_a_peering_and_found_by_its_own_name_there() {
    on_a_host(|world| async move {
        let (mut vpc, mut other) = (Vpc::new("172.31.0.0/16"), Vpc::new("10.2.0.0/16"));
        let peering = model::VpcPeeringConnectionId::from_entropy(unique());
        let side = |of: &Vpc| PeeringDesired {
            ipv6_cidrs: Vec::new(),
            peering,
            peer: of.desired.vpc,
            cidrs: of.desired.cidrs.clone(),
        };
        let (here, there) = (side(&vpc), side(&other));
        vpc.desired.peerings.push(there);
        other.desired.peerings.push(here);
        for (vpc, to) in [(&mut vpc, "10.2.0.0/16"), (&mut other, "172.31.0.0/16")] {
            for table in &mut vpc.desired.route_tables {
                let target = RouteTarget::Peering(peering);
                table.routes.push(RouteDesired { destination: to.parse().unwrap(), target });
            }
        }
        world.ensure_vpc(&vpc).await;
        world.ensure_vpc(&other).await;
        let door = world.group(&vpc, vec![tcp_from(443, "10.2.0.0/16")]).await;
        let clients = world.group(&other, vec![]).await;
        let endpoint = open_door(&mut vpc, &[&door]);
        world.ensure_vpc(&vpc).await;
        let guest = world.guest(&other, PEER, &[&clients]).await;
        assert_eq!(read(guest.connect(DOOR, 443).unwrap()), format!("{endpoint} {PEER}\n"));
        assert!(guest.connect_briefly(DOOR, 80).is_err());
        let resolver = plan::net::RESOLVER;
        assert!(super::services::ask(&guest, resolver, NAME).ends_with(&DOOR.octets()));
        let private = super::services::ask(&guest, resolver, "ec2.us-east-1.amazonaws.com");
        assert!(!private.ends_with(&DOOR.octets()), "that name is the other VPC's own");
    });
}

#[test]
fn an_endpoint_answers_by_ipv6_too_and_by_it_alone() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16").with_ipv6("2001:db8:5:aa00::/56");
        world.ensure_vpc(&vpc).await;
        let clients = world.group(&vpc, vec![]).await;
        let door = world.group(&vpc, vec![tcp_of(443, &clients)]).await;
        let endpoint = open_door(&mut vpc, &[&door]);
        let [v4, v6] = {
            let interface = &vpc.desired.endpoints[0].interfaces[0];
            [interface.addresses[0].private.into(), IpAddr::V6(interface.ipv6[0])]
        };
        let IpAddr::V6(at) = v6 else { panic!("{v6}") };
        vpc.desired.endpoints[0].names[0].addresses = vec![v4, v6];
        world.ensure_vpc(&vpc).await;
        let near = world.guest(&vpc, NEAR, &[&clients]).await;
        let far = world.guest(&vpc, FAR, &[&clients]).await;
        for guest in [&near, &far] {
            let answer = read(connect6(&guest.namespace, at, 443, SOON).unwrap());
            assert_eq!(answer, format!("{endpoint} {}\n", six(guest)));
            assert_eq!(read(guest.connect(DOOR, 443).unwrap()), format!("{endpoint} {}\n", guest.address()));
            assert!(fails(&guest.namespace, at, 80), "no rule");
        }
        let stranger = world.guest(&vpc, Ipv4Addr::new(172, 31, 0, 11), &[&door]).await;
        assert!(fails(&stranger.namespace, at, 443));

        // Its addresses come and go.
        let whole = vpc.desired.endpoints[0].interfaces[0].clone();
        vpc.desired.endpoints[0].interfaces[0].ipv6.clear();
        world.ensure_vpc(&vpc).await;
        assert!(fails(&far.namespace, at, 443));
        assert_eq!(read(far.connect(DOOR, 443).unwrap()), format!("{endpoint} {FAR}\n"));
        vpc.desired.endpoints[0].interfaces[0] = whole;
        world.ensure_vpc(&vpc).await;
        assert!(reaches(&far.namespace, at, 443));
        vpc.desired.endpoints[0].interfaces[0].addresses.clear();
        world.ensure_vpc(&vpc).await;
        assert!(far.connect_briefly(DOOR, 443).is_err());
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert!(reaches(&far.namespace, at, 443));
    });
}
