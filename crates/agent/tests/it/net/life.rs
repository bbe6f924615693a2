//! What outlives the driver, and what a cloud leaves behind: nothing.

use super::world::*;
use agent::host::Net as _;
use agent::host::linux::net::purge;
use model::NetworkInterfaceId;
use model::net::{Allow, Peer, Traffic};
use std::net::Ipv4Addr;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const PUBLIC_A: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);

#[test]
fn a_new_driver_finds_the_ports_of_running_machines_and_no_flow_notices() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let mut group = world.group(&vpc, vec![]).await;
        group.ingress =
            vec![Allow { traffic: Traffic::All, peer: Peer::Group(group.group) }, tcp_from(22, "0.0.0.0/0")];
        world.net().ensure_security_group(&group).await.unwrap();
        let mut interface = vpc.interface(A, &[&group]);
        interface.addresses[0].public = Some(PUBLIC_A);
        let a = world.guest_with(interface).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        let (_ssh, _server) = (a.serve(22), b.serve(7));
        let mut inside = a.connect(B, 7).unwrap();
        let mut outside = connect(&world.outside, PUBLIC_A, 22).unwrap();
        let before = world.net().standing().await.unwrap();

        world.restart().await;
        assert_eq!(world.net().standing().await.unwrap(), before);
        assert_eq!(talk(&mut inside, "still").unwrap(), "still");
        assert_eq!(talk(&mut outside, "here").unwrap(), "here");
        // New flows too, and the services, before anybody has told the new driver anything.
        assert!(a.connect(B, 7).is_ok());
        assert!(connect(&world.outside, PUBLIC_A, 22).is_ok());
        assert!(a.connect(Ipv4Addr::new(169, 254, 169, 254), 80).is_ok());

        // Told the same again, nothing changes; told less, less stands.
        world.ensure_vpc(&vpc).await;
        world.net().ensure_security_group(&group).await.unwrap();
        world.update(&a).await;
        assert_eq!(talk(&mut outside, "again").unwrap(), "again");
        assert!(connect(&world.outside, PUBLIC_A, 22).is_ok());
        world.net().remove_port(b.interface.interface).await.unwrap();
        assert_eq!(world.net().standing().await.unwrap().ports, [a.interface.interface]);
        assert!(a.connect_briefly(B, 7).is_err());
    });
}

#[test]
fn a_port_answers_for_all_neighbours_at_once_and_judges_no_source() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let _guest = world.guest(&vpc, A, &[&group]).await;
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        let settings = "conf/t*/proxy_arp conf/t*/rp_filter conf/t*/send_redirects neigh/t*/proxy_delay";
        let read = format!("cd /proc/sys/net/ipv4 && cat {settings}");
        assert_eq!(sh(&format!("ip netns exec {router} sh -c '{read}'")), "1\n0\n0\n0\n");
    });
}

#[test]
fn the_ports_of_machines_that_ended_unseen_are_cleared_away() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let interface = b.interface.clone();
        b.end();
        world.restart().await;
        assert_eq!(world.net().standing().await.unwrap().ports, [a.interface.interface]);
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        assert!(!sh(&format!("ip netns exec {router} nft list ruleset")).contains("172.31.0.11"));
        // It comes back by a new port, under a new name.
        world.ensure_vpc(&vpc).await;
        let b = world.guest_with(interface).await;
        assert!(a.pings(b.address()));
    });
}

#[test]
fn a_port_that_was_left_unused_is_replaced() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let interface = vpc.interface(A, &[&group]);
        let unused = world.net().open_port(&interface).await.unwrap();
        let guest = world.guest_with(interface).await;
        drop(unused);
        assert!(guest.pings(Ipv4Addr::new(172, 31, 0, 1)));
        assert_eq!(world.net().standing().await.unwrap().ports.len(), 1);
    });
}

#[test]
fn what_is_not_there_is_removed_without_complaint_and_what_is_missing_is_a_transient_failure() {
    on_a_host(|world| async move {
        let vpc = Vpc::new("172.31.0.0/16");
        world.net().remove_vpc(vpc.desired.vpc).await.unwrap();
        world.net().remove_port(NetworkInterfaceId::from_entropy(unique())).await.unwrap();
        let group = world.group(&world.vpc("10.0.0.0/16").await, vec![]).await;
        world.net().remove_security_group(group.group).await.unwrap();
        world.net().remove_security_group(group.group).await.unwrap();
        let interface = vpc.interface(A, &[&group]);
        let error = world.net().open_port(&interface).await.unwrap_err();
        assert_eq!(error.fault, agent::host::Fault::Transient);
        world.ensure_vpc(&vpc).await;
        let error = world.net().ensure_port(&interface).await.unwrap_err();
        assert_eq!(error.fault, agent::host::Fault::Transient);
    });
}

#[test]
fn a_purge_leaves_nothing_even_of_a_cloud_that_is_half_gone() {
    on_a_host(|mut world| async move {
        purge(&world.config.cloud).unwrap();
        // Other tests have clouds of their own at the same time; this host's view has only ours.
        let tag = world.config.cloud.to_string();
        let ours = |inventory: String| -> Vec<String> {
            inventory
                .lines()
                .filter(|line| !line.is_empty() && (line.contains(&tag) || !line.starts_with("nube-")))
                .map(str::to_owned)
                .collect()
        };
        let before = ours(inventory());
        world.restart().await;
        for broken in [false, true] {
            let vpc = world.vpc("172.31.0.0/16").await;
            let group = world.group(&vpc, vec![]).await;
            let mut interface = vpc.interface(A, &[&group]);
            interface.addresses[0].public = Some(PUBLIC_A);
            let _guest = world.guest_with(interface).await;
            if broken {
                let edge = plan::net::names::edge_namespace(&world.config.cloud);
                sh(&format!("ip link del nb-{}; umount -l /run/netns/{edge}", world.config.cloud));
            }
            purge(&world.config.cloud).unwrap();
            assert_eq!(ours(inventory()), before);
            purge(&world.config.cloud).unwrap();
            world.restart().await;
        }
    });
}

#[test]
fn a_vpc_that_is_removed_takes_its_namespace_along() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let mut interface = vpc.interface(A, &[&group]);
        interface.addresses[0].public = Some(PUBLIC_A);
        let guest = world.guest_with(interface).await;
        world.net().remove_port(guest.interface.interface).await.unwrap();
        world.net().remove_security_group(group.group).await.unwrap();
        world.net().remove_vpc(vpc.desired.vpc).await.unwrap();
        assert_eq!(world.net().standing().await.unwrap(), agent::host::Standing::default());
        let name = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
        // The same VPC again is as good as new.
        world.ensure_vpc(&vpc).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        assert!(guest.pings(Ipv4Addr::new(172, 31, 0, 1)));
    });
}

#[test]
fn two_clouds_on_one_host_do_not_meet() {
    on_a_host(|world| async move {
        let other = agent::host::linux::net::LinuxNetConfig {
            cloud: model::CloudTag::from_entropy(unique()),
            state_dir: world.config.state_dir.join("other"),
            public_pool: "198.19.0.0/24".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            ..world.config.clone()
        };
        let net = agent::host::linux::net::LinuxNet::open(other.clone()).await.unwrap();
        let vpc = world.vpc("172.31.0.0/16").await;
        net.ensure_vpc(&vpc.desired).await.unwrap();
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        assert!(net.standing().await.unwrap().ports.is_empty());
        drop(net);
        purge(&other.cloud).unwrap();
        assert!(guest.pings(Ipv4Addr::new(172, 31, 0, 1)));
        assert_eq!(world.net().standing().await.unwrap().vpcs, [vpc.desired.vpc]);
    });
}

#[test]
fn a_port_whose_groups_rules_have_not_come_yet_lets_nothing_in() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let late = model::host::SecurityGroupDesired {
            group: model::SecurityGroupId::from_entropy(unique()),
            ..open.clone()
        };
        let (a, b) = (world.guest(&vpc, A, &[&open]).await, world.guest(&vpc, B, &[&late]).await);
        assert!(!a.pings_briefly(B));
        // A group that a port still names is not taken away under it.
        let error = world.net().remove_security_group(late.group).await.unwrap_err();
        assert_eq!(error.fault, agent::host::Fault::Transient);
        world.net().ensure_security_group(&late).await.unwrap();
        assert!(a.pings(B));
        drop(b);
    });
}

#[test]
fn a_damaged_rule_set_is_whole_again_after_a_restart() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![tcp_from(22, "0.0.0.0/0")]).await;
        let mut interface = vpc.interface(A, &[&group]);
        interface.addresses[0].public = Some(PUBLIC_A);
        let guest = world.guest_with(interface).await;
        let _server = guest.serve(22);
        let tag = world.config.cloud.clone();
        let router = plan::net::names::vpc_namespace(&tag, vpc.desired.vpc);
        // Gone, and there but of another shape, and as an earlier program made it.
        let (other, earlier) = (
            "nft 'table inet vpc { set taps { type ipv4_addr; }; }'",
            "nft 'table inet vpc { map bw_out { type ifname : limit; }; chain bandwidth { }; }'",
        );
        for shape in ["", other, earlier] {
            sh(&format!("ip netns exec {router} sh -c \"nft flush ruleset; {shape}\""));
            sh(&format!("nft delete table inet nube_{tag}; ip link del nb-{tag}"));
            world.restart().await;
            world.ensure_vpc(&vpc).await;
            world.net().ensure_security_group(&group).await.unwrap();
            world.update(&guest).await;
            assert!(connect(&world.outside, PUBLIC_A, 22).is_ok());
            assert!(connect_briefly(&world.outside, PUBLIC_A, 23).is_err());
            let rules = sh(&format!("ip netns exec {router} nft list ruleset"));
            assert!(!rules.contains("bandwidth") && !rules.contains("bw_out"), "{rules}");
        }
    });
}
