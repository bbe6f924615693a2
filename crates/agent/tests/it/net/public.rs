//! Public addresses, the edge, the way out and the host's own protection.

use super::world::*;
use agent::host::Net as _;
use model::host::{InterfaceDesired, RouteDesired, RouteTarget, SecurityGroupDesired};
use std::net::Ipv4Addr;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const PUBLIC_A: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
const PUBLIC_B: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 11);

fn with_public(
    vpc: &Vpc,
    private: Ipv4Addr,
    public: Ipv4Addr,
    groups: &[&SecurityGroupDesired],
) -> InterfaceDesired {
    let mut interface = vpc.interface(private, groups);
    interface.addresses[0].public = Some(public);
    interface
}

#[test]
fn the_host_reaches_an_instance_by_its_public_address_and_not_the_other_way_round() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![tcp_from(22, "0.0.0.0/0")]).await;
        let guest = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let server = guest.serve(22);
        let host = agent::host::linux::netns::Namespace::current().unwrap();
        let mut session = connect(&host, PUBLIC_A, 22).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), Ipv4Addr::new(198, 18, 0, 1));
        assert!(connect_briefly(&host, PUBLIC_A, 23).is_err());

        let at_host = Echo::start(&host, 4566);
        for address in [HOST, Ipv4Addr::new(198, 18, 0, 1)] {
            assert!(guest.connect_briefly(address, 4566).is_err(), "{address}");
        }
        assert!(at_host.nobody_else());
    });
}

#[test]
fn an_instance_with_a_public_address_reaches_the_outside_as_the_host() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let bare = world.guest(&vpc, B, &[&group]).await;
        let server = Echo::start(&world.outside, 80);
        assert!(guest.connect(OUTSIDE, 80).is_ok());
        assert_eq!(server.next_peer(), HOST);
        assert!(guest.pings(OUTSIDE));
        // Without a public address there is no way out.
        assert!(bare.connect_briefly(OUTSIDE, 80).is_err());
    });
}

#[test]
fn the_outside_reaches_a_public_address_with_its_own() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![tcp_from(80, "203.0.113.0/24")]).await;
        let guest = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let server = guest.serve(80);
        assert!(connect(&world.outside, PUBLIC_A, 80).is_ok());
        assert_eq!(server.next_peer(), OUTSIDE);
        assert!(connect_briefly(&world.outside, PUBLIC_A, 81).is_err());
        // A private address is nobody's outside of its VPC.
        assert!(connect_briefly(&world.outside, A, 80).is_err());
    });
}

#[test]
fn public_addresses_meet_at_the_edge_within_a_vpc_and_across_vpcs() {
    on_a_host(|world| async move {
        let (one, other) = (world.vpc("172.31.0.0/16").await, world.vpc("172.31.0.0/16").await);
        let group = world.group(&one, vec![tcp_from(7, "198.18.0.0/22")]).await;
        let theirs = world.group(&other, vec![tcp_from(7, "198.18.0.10/32")]).await;
        let a = world.guest_with(with_public(&one, A, PUBLIC_A, &[&group])).await;
        let b = world.guest_with(with_public(&one, B, PUBLIC_B, &[&group])).await;
        let far_public = Ipv4Addr::new(198, 18, 0, 12);
        let far = world.guest_with(with_public(&other, A, far_public, &[&theirs])).await;
        let (at_b, at_far, at_a) = (b.serve(7), far.serve(7), a.serve(7));

        assert!(a.connect(PUBLIC_B, 7).is_ok());
        assert_eq!(at_b.next_peer(), PUBLIC_A);
        assert!(a.connect(far_public, 7).is_ok());
        assert_eq!(at_far.next_peer(), PUBLIC_A);
        assert!(b.connect_briefly(far_public, 7).is_err());
        // By its own public address an instance meets itself.
        assert!(a.connect(PUBLIC_A, 7).is_ok());
        assert_eq!(at_a.next_peer(), PUBLIC_A);
    });
}

#[test]
fn an_address_that_was_brought_leads_here_while_it_is_mapped_and_elsewhere_otherwise() {
    on_a_host(|mut world| async move {
        let brought = Ipv4Addr::new(198, 51, 100, 255);
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let mut guest = world.guest(&vpc, A, &[&group]).await;
        let near = world.guest_with(with_public(&vpc, B, PUBLIC_B, &[&group])).await;
        let (at_guest, at_near) = (guest.serve(7), near.serve(7));
        let web = Echo::start(&world.outside, 80);
        let host = agent::host::linux::netns::Namespace::current().unwrap();
        let routes = || sh("ip route show to root 198.51.100.0/24");
        guest.interface.addresses[0].withheld = Some(brought);
        world.update(&guest).await;
        assert_eq!(routes(), "");
        assert!(guest.connect_briefly(OUTSIDE, 80).is_err());
        assert!(connect_briefly(&world.outside, brought, 7).is_err());

        guest.interface.addresses[0].withheld = None;
        guest.interface.addresses[0].public = Some(brought);
        for _ in 0..2 {
            world.update(&guest).await;
            assert_eq!(routes().lines().count(), 1, "{}", routes());
            connect(&world.outside, brought, 7).unwrap();
            assert_eq!(at_guest.next_peer(), OUTSIDE);
            connect(&host, brought, 7).unwrap();
            assert_eq!(at_guest.next_peer(), Ipv4Addr::new(198, 18, 0, 1));
            guest.connect(OUTSIDE, 80).unwrap();
            assert_eq!(web.next_peer(), HOST);
            near.connect(brought, 7).unwrap();
            assert_eq!(at_guest.next_peer(), PUBLIC_B);
            guest.connect(PUBLIC_B, 7).unwrap();
            assert_eq!(at_near.next_peer(), brought);
            // A new agent finds it, and what was ours and nobody holds any more goes.
            sh(
                "ip route add 198.51.100.9/32 proto 158 dev $(ip -o route show to root 198.51.100.0/24 | grep -o 'nb-[^ ]*')",
            );
            world.restart().await;
            world.ensure_vpc(&vpc).await;
        }

        guest.interface.addresses[0].public = None;
        world.update(&guest).await;
        assert_eq!(routes().lines().filter(|route| route.contains("198.51.100.255")).count(), 0);
        assert!(connect_briefly(&world.outside, brought, 7).is_err());
    });
}

#[test]
fn a_subnet_is_public_only_while_its_route_table_leads_to_the_internet_gateway() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let guest = world.guest_with(with_public(&vpc, PRIVATE, PUBLIC_A, &[&group])).await;
        let _server = guest.serve(7);
        let _web = Echo::start(&world.outside, 80);
        assert!(connect_briefly(&world.outside, PUBLIC_A, 7).is_err());
        assert!(guest.connect_briefly(OUTSIDE, 80).is_err());

        let destination = "0.0.0.0/0".parse().unwrap();
        let table = vpc.desired.route_tables.iter_mut().find(|t| t.routes.is_empty()).unwrap();
        table.routes.push(RouteDesired { destination, target: RouteTarget::InternetGateway });
        world.ensure_vpc(&vpc).await;
        assert!(connect(&world.outside, PUBLIC_A, 7).is_ok());
        assert!(guest.connect(OUTSIDE, 80).is_ok());

        // The longest prefix wins, and what is gone swallows packets.
        let table = &mut vpc.desired.route_tables[1];
        table.routes.push(RouteDesired {
            destination: "203.0.113.0/24".parse().unwrap(),
            target: RouteTarget::Blackhole,
        });
        world.ensure_vpc(&vpc).await;
        assert!(guest.connect_briefly(OUTSIDE, 80).is_err());
    });
}

#[test]
fn a_public_address_that_moves_takes_its_flows_along() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let mut a = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let mut b = world.guest(&vpc, B, &[&group]).await;
        let (at_a, at_b) = (a.serve(7), b.serve(7));
        let mut tracked = connect(&world.outside, PUBLIC_A, 7).unwrap();
        assert_eq!(talk(&mut tracked, "one").unwrap(), "one");

        // The new holder is told first, as may happen.
        b.interface.addresses[0].public = Some(PUBLIC_A);
        world.update(&b).await;
        a.interface.addresses[0].public = None;
        world.update(&a).await;
        connect(&world.outside, PUBLIC_A, 7).unwrap();
        assert_eq!(at_b.next_peer(), OUTSIDE);
        assert_eq!(at_a.next_peer(), OUTSIDE);
        assert!(at_a.nobody_else());
        tracked.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(talk(&mut tracked, "two").is_err());

        // And to another VPC.
        let other = world.vpc("10.0.0.0/16").await;
        let theirs = world.group(&other, vec![all_from("0.0.0.0/0")]).await;
        let far =
            world.guest_with(with_public(&other, Ipv4Addr::new(10, 0, 0, 9), PUBLIC_A, &[&theirs])).await;
        let at_far = far.serve(7);
        b.interface.addresses[0].public = None;
        world.update(&b).await;
        connect(&world.outside, PUBLIC_A, 7).unwrap();
        assert_eq!(at_far.next_peer(), OUTSIDE);
    });
}

#[test]
fn a_foreign_filter_that_drops_forwarded_packets_lets_instances_pass() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![tcp_from(22, "0.0.0.0/0")]).await;
        let guest = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let (_ssh, _web) = (guest.serve(22), Echo::start(&world.outside, 80));
        sh(
            "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; counter; }; }'",
        );
        sh(
            "nft 'table inet strict { chain onward { type filter hook forward priority 10; policy accept; counter reject; }; }'",
        );
        assert!(guest.connect_briefly(OUTSIDE, 80).is_err());
        // The next pass over the VPC notices, and notices only once.
        for _ in 0..2 {
            world.net().ensure_vpc(&vpc.desired).await.unwrap();
        }
        assert!(guest.connect(OUTSIDE, 80).is_ok());
        assert!(connect(&world.outside, PUBLIC_A, 22).is_ok());
        let accepts =
            sh("nft list ruleset").matches(&format!("comment \"nube {}\"", world.config.cloud)).count();
        assert_eq!(accepts, 4);
        agent::host::linux::net::purge(&world.config.cloud).unwrap();
        let left = sh("nft list ruleset");
        assert!(!left.contains("nube") && left.contains("strict") && left.contains("FORWARD"), "{left}");
    });
}

#[test]
fn the_old_iptables_lets_instances_pass_too_and_forgets_them_afterwards() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![tcp_from(22, "0.0.0.0/0")]).await;
        let guest = world.guest_with(with_public(&vpc, A, PUBLIC_A, &[&group])).await;
        let (_ssh, _web) = (guest.serve(22), Echo::start(&world.outside, 80));
        // Of the Debian package iptables.
        sh("iptables-legacy -P FORWARD DROP");
        assert!(guest.connect_briefly(OUTSIDE, 80).is_err());
        for _ in 0..2 {
            world.net().ensure_vpc(&vpc.desired).await.unwrap();
        }
        assert!(guest.connect(OUTSIDE, 80).is_ok());
        assert!(connect(&world.outside, PUBLIC_A, 22).is_ok());
        assert_eq!(sh("iptables-legacy -S FORWARD").matches("nube").count(), 2);
        agent::host::linux::net::purge(&world.config.cloud).unwrap();
        assert_eq!(sh("iptables-legacy -S FORWARD"), "-P FORWARD DROP\n");
    });
}

#[test]
fn two_clouds_share_the_head_of_a_foreign_filter_in_peace() {
    on_a_host(|world| async move {
        sh(
            "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; counter; }; }'",
        );
        let other = agent::host::linux::net::LinuxNetConfig {
            cloud: model::CloudTag::from_entropy(unique()),
            state_dir: world.config.state_dir.join("other"),
            public_pool: "198.19.0.0/24".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            ..world.config.clone()
        };
        let net = agent::host::linux::net::LinuxNet::open(other.clone()).await.unwrap();
        let vpc = world.vpc("172.31.0.0/16").await;
        let handles = || sh("nft -a list chain ip filter FORWARD | grep -o 'nube .*'");
        let before = handles();
        assert_eq!(before.lines().count(), 4);
        world.net().ensure_vpc(&vpc.desired).await.unwrap();
        net.ensure_vpc(&vpc.desired).await.unwrap();
        assert_eq!(handles(), before);
        agent::host::linux::net::purge(&other.cloud).unwrap();
        assert_eq!(handles().lines().count(), 2);
    });
}
