//! One VPC with a group of fifty rules, by the driver that serves real machines.

use agent::directory::Directory;
use agent::host::Net as _;
use agent::host::linux::net::{Limits, LinuxNet, LinuxNetConfig, purge};
use ipnet::Ipv4Net;
use model::host::*;
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// How many rules a group has. The last of them lets pass what is measured.
pub const RULES: u16 = 50;
/// The port that the last rule but one opens for TCP, and the last for UDP.
pub const OPEN: u16 = 6000;

pub struct Cloud {
    net: Option<LinuxNet>,
    pub config: LinuxNetConfig,
    pub vpc: VpcDesired,
    _directory: tempfile::TempDir,
}

impl Cloud {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = LinuxNetConfig {
            cloud: CloudTag::from_entropy(u128::from(std::process::id()) << 7),
            state_dir: directory.path().to_owned(),
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            public_pool: "198.18.0.0/20".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            uplink_nat: true,
            on_api: Arc::new(|_, _| {}),
            on_endpoint: Arc::new(|_, _| {}),
            api_names: std::collections::BTreeSet::new(),
            directory: Arc::new(Directory::default()),
            on_metadata: Arc::new(|_, listener| drop(listener)),
            upstream_dns: Vec::new(),
            flow_logs: directory.path().join("flow-logs"),
            flow_poll: None,
            bandwidth: Limits::Enforced,
        };
        let (subnet, route_table) = (SubnetId::from_entropy(1), RouteTableId::from_entropy(1));
        let network_acl = NetworkAclId::from_entropy(1);
        let cidr = "172.31.0.0/16".parse().unwrap();
        let target = RouteTarget::InternetGateway;
        let everywhere = "0.0.0.0/0".parse().unwrap();
        let open =
            vec![AclEntry { number: 100, traffic: Traffic::All, net: everywhere, action: AclAction::Allow }];
        let vpc = VpcDesired {
            transits: Vec::new(),
            ipv6_cidrs: Vec::new(),
            vpc: VpcId::from_entropy(1),
            account: AccountId::from_number(1),
            region: Region::parse("us-east-1").unwrap(),
            cidrs: vec![cidr],
            dns_support: true,
            subnets: vec![SubnetDesired {
                ipv6_cidr: None,
                subnet,
                cidr: Some(cidr),
                route_table,
                network_acl,
            }],
            gateway_table: None,
            vpn_table: None,
            route_tables: vec![RouteTableDesired {
                route_table,
                routes: vec![RouteDesired { destination: "0.0.0.0/0".parse().unwrap(), target }],
            }],
            peerings: Vec::new(),
            endpoints: Vec::new(),
            vpns: Vec::new(),
            nat_gateways: Vec::new(),
            flow_logs: Vec::new(),
            mirrors: Vec::new(),
            service_nodes: Vec::new(),
            network_acls: vec![NetworkAclDesired { network_acl, ingress: open.clone(), egress: open }],
        };
        let net = LinuxNet::open(config.clone()).await.unwrap();
        Self { net: Some(net), config, vpc, _directory: directory }
    }

    /// A group of its own number. Each of its rules has a network and a port of its own, so that no two of them are asked as
    /// one; the last two are those that let pass.
    pub fn group(&self, n: u128) -> SecurityGroupDesired {
        let peer = Peer::Net("0.0.0.0/0".parse().unwrap());
        let allow = |traffic| Allow { traffic, peer };
        let other = |port: u16| {
            let net = Ipv4Net::new(Ipv4Addr::new(100, 64, port as u8, 0), 24).unwrap();
            Allow { traffic: Traffic::Tcp { from: port, to: port }, peer: Peer::Net(net.into()) }
        };
        let mut ingress: Vec<Allow> = (1..RULES - 1).map(other).collect();
        ingress.push(allow(Traffic::Tcp { from: OPEN, to: OPEN }));
        ingress.push(allow(Traffic::Udp { from: OPEN, to: OPEN }));
        let egress = vec![allow(Traffic::All)];
        SecurityGroupDesired { group: SecurityGroupId::from_entropy(n), vpc: self.vpc.vpc, ingress, egress }
    }

    /// The nth interface, without limits.
    pub fn interface(&self, n: u32, group: SecurityGroupId) -> InterfaceDesired {
        let subnet = &self.vpc.subnets[0];
        InterfaceDesired {
            ipv6: Vec::new(),
            interface: NetworkInterfaceId::from_entropy(u128::from(n) + 1),
            device_index: 0,
            mac: Mac::from_entropy(u128::from(n)),
            vpc: self.vpc.vpc,
            subnet: subnet.subnet,
            subnet_cidr: subnet.cidr,
            addresses: vec![AddressDesired {
                private: Ipv4Addr::from_bits(0xac1f_0010 + n),
                public: (n < 4000).then(|| Ipv4Addr::from_bits(0xc612_0010 + n)),
                withheld: None,
            }],
            security_groups: vec![group],
            source_dest_check: true,
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            hostname: String::new(),
            domain: String::new(),
            bandwidth: None,
        }
    }

    pub fn net(&self) -> &LinuxNet {
        self.net.as_ref().unwrap()
    }

    /// Lets go of the driver and opens another one.
    pub async fn reopen(&mut self) {
        drop(self.net.take());
        self.net = Some(LinuxNet::open(self.config.clone()).await.unwrap());
    }

    pub async fn ensure_group(&self, group: &SecurityGroupDesired) {
        self.net().ensure_security_group(group).await.unwrap();
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Err(error) = purge(&self.config.cloud) {
            println!("something is left of the cloud {}: {error}", self.config.cloud);
        }
    }
}
