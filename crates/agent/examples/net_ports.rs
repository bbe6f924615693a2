//! What one more port costs when there are 10, and when there are 1,000: medians over the ports of one VPC.
//!
//! `cargo run --release -p agent --example net_ports` as root; it works in a network namespace of its own and leaves
//! nothing behind.

#![allow(unsafe_code, reason = "a network namespace of its own")]
#![allow(clippy::unwrap_used, reason = "a measurement may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use agent::directory::Directory;
use agent::host::Net as _;
use agent::host::linux::net::{Limits, LinuxNet, LinuxNetConfig, purge};
use model::host::*;
use model::net::{Allow, Peer, Traffic};
use model::*;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STEPS: [usize; 3] = [10, 100, 1000];

fn main() {
    // SAFETY: the process has one thread, which sees another network from here on.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("this needs root");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

async fn measure() {
    let directory = std::env::temp_dir().join(format!("net-ports-{}", std::process::id()));
    let config = LinuxNetConfig {
        cloud: CloudTag::from_entropy(u128::from(std::process::id()) << 7),
        state_dir: directory.clone(),
        public_pool: "198.18.0.0/20".parse().unwrap(),
        ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
        uplink_nat: true,
        on_api: Arc::new(|_, _| {}),
        api_names: std::collections::BTreeSet::new(),
        directory: Arc::new(Directory::default()),
        on_metadata: Arc::new(|_, listener| drop(listener)),
        upstream_dns: Vec::new(),
        flow_logs: directory.join("flow-logs"),
        flow_poll: None,
        bandwidth: Limits::Ignored,
    };
    let net = LinuxNet::open(config.clone()).await.unwrap();
    let (vpc, subnet) = (VpcId::from_entropy(1), SubnetId::from_entropy(1));
    let (route_table, network_acl) = (RouteTableId::from_entropy(1), NetworkAclId::from_entropy(1));
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let cidr = "172.31.0.0/16".parse().unwrap();
    let start = Instant::now();
    net.ensure_vpc(&VpcDesired {
        ipv6_cidrs: Vec::new(),
        vpc,
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec![cidr],
        dns_support: true,
        subnets: vec![SubnetDesired { ipv6_cidr: None, subnet, cidr, route_table, network_acl }],
        route_tables: vec![RouteTableDesired {
            route_table,
            routes: vec![RouteDesired { destination: everywhere, target: RouteTarget::InternetGateway }],
        }],
        peerings: Vec::new(),
        nat_gateways: Vec::new(),
        flow_logs: Vec::new(),
        network_acls: vec![],
    })
    .await
    .unwrap();
    println!("VPC                          {:8.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let mut group = SecurityGroupDesired {
        group: SecurityGroupId::from_entropy(1),
        vpc,
        ingress: (0..50)
            .map(|n| Allow { traffic: Traffic::Tcp { from: n, to: n }, peer: Peer::Net(everywhere) })
            .collect(),
        egress: vec![Allow { traffic: Traffic::All, peer: Peer::Net(everywhere) }],
    };
    let start = Instant::now();
    net.ensure_security_group(&group).await.unwrap();
    println!("group of 50 rules            {:8.2} ms", start.elapsed().as_secs_f64() * 1e3);

    let (mut taps, mut interfaces) = (Vec::new(), Vec::new());
    for target in STEPS {
        let mut opened = Vec::new();
        while taps.len() < target {
            let n = taps.len() as u32;
            let interface = InterfaceDesired {
                ipv6: Vec::new(),
                interface: NetworkInterfaceId::from_entropy(u128::from(n) + 1),
                device_index: 0,
                mac: Mac::from_entropy(u128::from(n)),
                vpc,
                subnet,
                subnet_cidr: cidr,
                addresses: vec![AddressDesired {
                    private: Ipv4Addr::from_bits(0xac1f_0010 + n),
                    public: Some(Ipv4Addr::from_bits(0xc612_0010 + n)),
                }],
                security_groups: vec![group.group],
                source_dest_check: true,
                hostname: String::new(),
                domain: String::new(),
                bandwidth: None,
            };
            let start = Instant::now();
            taps.push(net.open_port(&interface).await.unwrap());
            opened.push(start.elapsed());
            interfaces.push(interface);
        }
        let last = opened.len().saturating_sub(100);
        let mut ensured = Vec::new();
        for interface in interfaces.iter().rev().take(100) {
            let start = Instant::now();
            net.ensure_port(interface).await.unwrap();
            ensured.push(start.elapsed());
        }
        group.ingress.rotate_left(1);
        let start = Instant::now();
        net.ensure_security_group(&group).await.unwrap();
        let changed = start.elapsed().as_secs_f64() * 1e3;
        println!(
            "at {target:5} ports: open a port {:8.2} ms, ensure it again {:8.2} ms, change the group {changed:8.2} ms",
            median(&mut opened[last..]),
            median(&mut ensured),
        );
    }
    let mut removed = Vec::new();
    for interface in interfaces.iter().rev().take(100) {
        let start = Instant::now();
        net.remove_port(interface.interface).await.unwrap();
        removed.push(start.elapsed());
    }
    println!("remove one of 1,000          {:8.2} ms", median(&mut removed));
    drop(net);
    let start = Instant::now();
    let net = LinuxNet::open(config.clone()).await.unwrap();
    let ports = net.standing().await.unwrap().ports.len();
    println!("open the driver on {ports} ports  {:8.2} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(net);
    purge(&config.cloud).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
