//! Security groups, network ACLs and route tables.

use super::world::*;
use agent::host::Net as _;
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use std::io::Read as _;
use std::net::Ipv4Addr;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);

#[test]
fn two_interfaces_without_a_rule_cannot_reach_each_other() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let _server = b.serve(7);
        assert!(a.connect_briefly(B, 7).is_err());
        assert!(!a.pings_briefly(B));
        assert!(!b.pings_briefly(A));
        // The port itself works: the router answers.
        assert!(a.pings(Ipv4Addr::new(172, 31, 0, 1)));
    });
}

#[test]
fn a_group_reference_lets_members_talk_and_its_removal_stops_new_flows_only() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let mut group = world.group(&vpc, vec![]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let _server = b.serve(7);
        assert!(a.connect_briefly(B, 7).is_err());

        group.ingress = vec![Allow { traffic: Traffic::All, peer: Peer::Group(group.group) }];
        world.net().ensure_security_group(&group).await.unwrap();
        let mut tracked = a.connect(B, 7).unwrap();
        assert_eq!(talk(&mut tracked, "before").unwrap(), "before");
        assert!(a.pings(B));

        group.ingress.clear();
        world.net().ensure_security_group(&group).await.unwrap();
        assert!(a.connect_briefly(B, 7).is_err());
        assert!(!a.pings_briefly(B));
        assert_eq!(talk(&mut tracked, "after").unwrap(), "after");
    });
}

#[test]
fn a_reference_to_another_group_lets_its_members_in_and_nobody_else() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let clients = world.group(&vpc, vec![]).await;
        let reference = Allow { traffic: Traffic::Tcp { from: 7, to: 7 }, peer: Peer::Group(clients.group) };
        let servers = world.group(&vpc, vec![reference]).await;
        let server = world.guest(&vpc, B, &[&servers]).await;
        let _service = server.serve(7);
        let mut client = world.guest(&vpc, A, &[&clients]).await;
        let stranger = world.guest(&vpc, PRIVATE, &[&servers]).await;
        assert!(client.connect(B, 7).is_ok());
        assert!(client.connect_briefly(B, 8).is_err());
        assert!(stranger.connect_briefly(B, 7).is_err());

        // A member that leaves the group loses what it gave.
        client.interface.security_groups = vec![servers.group];
        world.update(&client).await;
        assert!(client.connect_briefly(B, 7).is_err());
    });
}

/// The gates that a VPC's rule set holds, each a pair of chains.
fn gates(world: &World, vpc: &Vpc) -> usize {
    let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
    let rules = sh(&format!("ip netns exec {router} nft list table inet vpc"));
    let chains = |start: &str| rules.lines().filter(|line| line.trim().starts_with(start)).count();
    assert_eq!(chains("chain cgi_"), chains("chain cgo_"), "{rules}");
    chains("chain cgi_")
}

#[test]
fn interfaces_with_the_same_groups_share_their_gates_and_part_with_them() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let closed = world.group(&vpc, vec![]).await;
        let a = world.guest(&vpc, A, &[&open]).await;
        assert_eq!(gates(&world, &vpc), 1);
        let mut b = world.guest(&vpc, B, &[&open]).await;
        assert_eq!(gates(&world, &vpc), 1);
        let mut c = world.guest(&vpc, Ipv4Addr::new(172, 31, 0, 12), &[&open, &closed]).await;
        assert_eq!(gates(&world, &vpc), 2);
        // Another subnet has another border.
        let far = world.guest(&vpc, PRIVATE, &[&open]).await;
        assert_eq!(gates(&world, &vpc), 3);
        assert!(far.pings(A) && a.pings(B) && b.pings(A) && a.pings(c.address()));

        // One that leaves takes nobody along, and the order in which groups are named is none.
        b.interface.security_groups = vec![closed.group];
        c.interface.security_groups.reverse();
        world.update(&b).await;
        world.update(&c).await;
        assert_eq!(gates(&world, &vpc), 4);
        assert!(!a.pings_briefly(B) && a.pings(c.address()) && far.pings(A));

        // A driver that starts gives each the same again, and leaves nothing of what it found.
        world.restart().await;
        assert!(!a.pings_briefly(B) && a.pings(c.address()) && far.pings(A));
        world.ensure_vpc(&vpc).await;
        for guest in [&a, &b, &c, &far] {
            world.update(guest).await;
        }
        assert_eq!(gates(&world, &vpc), 4);
        assert!(!a.pings_briefly(B) && a.pings(c.address()) && far.pings(A));
        b.interface.security_groups = vec![open.group];
        world.update(&b).await;
        assert_eq!(gates(&world, &vpc), 3);
        assert!(a.pings(B));
        for guest in [&a, &b, &c, &far] {
            world.net().remove_port(guest.interface.interface).await.unwrap();
        }
        assert_eq!(gates(&world, &vpc), 0);
    });
}

#[test]
fn a_port_is_in_nobodys_class_when_its_rule_set_is_lost() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let (open, closed) =
            (world.group(&vpc, vec![all_from("0.0.0.0/0")]).await, world.group(&vpc, vec![]).await);
        let shut = world.guest(&vpc, B, &[&closed]).await;
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        // The first class that is made then is another one's, and the link still bears a number.
        sh(&format!("ip netns exec {router} nft flush ruleset"));
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        world.net().ensure_security_group(&open).await.unwrap();
        let a = world.guest(&vpc, A, &[&open]).await;
        assert!(a.pings(Ipv4Addr::new(172, 31, 0, 1)));
        assert!(!a.pings_briefly(B));
        world.net().ensure_security_group(&closed).await.unwrap();
        world.update(&shut).await;
        assert!(!a.pings_briefly(B));
        assert_eq!(gates(&world, &vpc), 2);
    });
}

#[test]
fn egress_and_ingress_are_two_independent_gates() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let mut silent = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        silent.egress.clear();
        world.net().ensure_security_group(&silent).await.unwrap();
        let (a, b) = (world.guest(&vpc, A, &[&open]).await, world.guest(&vpc, B, &[&silent]).await);
        let (_at_a, _at_b) = (a.serve(7), b.serve(7));
        assert!(b.connect_briefly(A, 7).is_err());
        // Answers are not asked again.
        assert!(a.connect(B, 7).is_ok());
    });
}

#[test]
fn the_same_range_in_two_vpcs_is_two_worlds() {
    on_a_host(|world| async move {
        let (one, other) = (world.vpc("172.31.0.0/16").await, world.vpc("172.31.0.0/16").await);
        let group = world.group(&one, vec![all_from("0.0.0.0/0")]).await;
        let theirs = world.group(&other, vec![all_from("0.0.0.0/0")]).await;
        let a = world.guest(&one, A, &[&group]).await;
        let same_address = world.guest(&other, A, &[&theirs]).await;
        let b = world.guest(&other, B, &[&theirs]).await;
        let server = b.serve(7);
        assert!(a.connect_briefly(B, 7).is_err());
        assert!(!a.pings_briefly(B));
        assert!(same_address.connect(B, 7).is_ok());
        assert_eq!(server.next_peer(), A);
        assert!(server.nobody_else());
    });
}

#[test]
fn a_network_acl_judges_at_the_subnets_border_without_state() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let far = world.guest(&vpc, PRIVATE, &[&group]).await;
        let (_near, _far) = (b.serve(7), far.serve(7));
        let mut open = a.connect(PRIVATE, 7).unwrap();
        assert_eq!(talk(&mut open, "before").unwrap(), "before");

        // Both subnets share one ACL: no answers from port 7 may enter again.
        let deny = AclEntry {
            number: 10,
            traffic: Traffic::Tcp { from: 7, to: 7 },
            net: "0.0.0.0/0".parse().unwrap(),
            action: AclAction::Deny,
        };
        vpc.desired.network_acls[0].ingress.push(deny);
        world.ensure_vpc(&vpc).await;
        assert!(a.connect_briefly(PRIVATE, 7).is_err());
        // Nor does a connection that is open already, though it was let pass unasked until now.
        open.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(talk(&mut open, "during").is_err());
        assert!(a.pings(PRIVATE));
        // Within a subnet there is no border.
        assert!(a.connect(B, 7).is_ok());

        // And back to an ACL that stops nothing.
        vpc.desired.network_acls[0].ingress.pop();
        world.ensure_vpc(&vpc).await;
        assert!(a.connect(PRIVATE, 7).is_ok());
        let mut late = [0; 6];
        open.set_read_timeout(Some(SOON)).unwrap();
        open.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"during");
    });
}

#[test]
fn a_secondary_address_comes_and_goes_with_its_interface() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let a = world.guest(&vpc, A, &[&group]).await;
        let mut b = world.guest(&vpc, B, &[&group]).await;
        let second = Ipv4Addr::new(172, 31, 0, 12);
        b.run("ip addr add 172.31.0.12/17 dev eth0");
        assert!(!a.pings_briefly(second));
        b.interface.addresses.push(model::host::AddressDesired {
            private: second,
            public: None,
            withheld: None,
        });
        world.update(&b).await;
        // The guest may still be waiting for an answer to its first question for the address.
        eventually("the second address answers", || a.pings(second));
        b.interface.addresses.pop();
        world.update(&b).await;
        assert!(!a.pings_briefly(second));
        assert!(a.pings(B));
    });
}

#[test]
fn every_address_of_a_prefix_is_its_interfaces_and_goes_with_it() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let members = Allow { traffic: Traffic::All, peer: Peer::Group(open.group) };
        let closed = world.group(&vpc, vec![members]).await;
        let (first, last) = (Ipv4Addr::new(172, 31, 0, 32), Ipv4Addr::new(172, 31, 0, 47));
        let (before, behind) = (Ipv4Addr::new(172, 31, 0, 31), Ipv4Addr::new(172, 31, 0, 48));
        let mut a = world.guest(&vpc, A, &[&open]).await;
        for address in [before, first, last, behind] {
            a.run(&format!("ip addr add {address}/32 dev eth0"));
        }
        let b = world.guest(&vpc, B, &[&closed]).await;
        let server = b.serve(7);
        let from = |own: Ipv4Addr| a.namespace.run(|| std::net::UdpSocket::bind((own, 0))).unwrap();
        let (sockets, sink) = ([first, last, before, behind].map(from), b.udp(9));
        let mut buffer = [0; 64];
        let send = |which: usize| sockets[which].send_to(b"prefix", (B, 9)).unwrap();
        assert!(!b.pings_briefly(first));

        a.interface.ipv4_prefixes.push("172.31.0.32/28".parse().unwrap());
        world.update(&a).await;
        for address in [first, last] {
            eventually("an address of the prefix answers", || b.pings(address));
        }
        assert!(!b.pings_briefly(before) && !b.pings_briefly(behind));
        // What it sends from there is a member of its group, what is beside is nobody's.
        for (which, own) in [(2, None), (3, None), (0, Some(first)), (1, Some(last))] {
            send(which);
            if let Some(own) = own {
                let (length, sender) = sink.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], sender.ip()), (&b"prefix"[..], own.into()));
            }
        }
        assert!(a.connect(B, 7).is_ok());

        a.interface.ipv4_prefixes.clear();
        world.update(&a).await;
        assert!(!b.pings_briefly(first) && !b.pings_briefly(last));
        assert!(b.pings(A));
        drop(server);
    });
}
