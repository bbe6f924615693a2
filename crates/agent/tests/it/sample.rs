//! Small, complete objects to desire.

use ipnet::Ipv4Net;
use model::host::*;
use model::metadata::{Metadata, MetadataOptions};
use model::*;
use std::net::Ipv4Addr;

pub const REGION: &str = "us-east-1";

pub fn account() -> AccountId {
    AccountId::from_number(123_456_789_012)
}

pub fn vpc_id(n: u32) -> VpcId {
    VpcId::from_entropy(n.into())
}

pub fn group_id(n: u32) -> SecurityGroupId {
    SecurityGroupId::from_entropy(n.into())
}

pub fn volume_id(n: u32) -> VolumeId {
    VolumeId::from_entropy(n.into())
}

pub fn instance_id(n: u32) -> InstanceId {
    InstanceId::from_entropy(n.into())
}

pub fn interface_id(n: u32) -> NetworkInterfaceId {
    NetworkInterfaceId::from_entropy(n.into())
}

pub fn subnet_cidr() -> Ipv4Net {
    "172.31.0.0/20".parse().unwrap()
}

pub fn vpc(n: u32) -> VpcDesired {
    let (route_table, network_acl) =
        (RouteTableId::from_entropy(n.into()), NetworkAclId::from_entropy(n.into()));
    VpcDesired {
        ipv6_cidrs: Vec::new(),
        vpc: vpc_id(n),
        account: account(),
        region: Region::parse(REGION).unwrap(),
        cidrs: vec!["172.31.0.0/16".parse().unwrap()],
        dns_support: true,
        subnets: vec![SubnetDesired {
            ipv6_cidr: None,
            subnet: SubnetId::from_entropy(n.into()),
            cidr: Some(subnet_cidr()),
            route_table,
            network_acl,
        }],
        gateway_table: None,
        vpn_table: None,
        route_tables: vec![RouteTableDesired { route_table, routes: Vec::new() }],
        peerings: Vec::new(),
        transits: Vec::new(),
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: Vec::new(),
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
        network_acls: vec![NetworkAclDesired { network_acl, ingress: Vec::new(), egress: Vec::new() }],
    }
}

pub fn group(n: u32, vpc: u32) -> SecurityGroupDesired {
    SecurityGroupDesired { group: group_id(n), vpc: vpc_id(vpc), ingress: Vec::new(), egress: Vec::new() }
}

pub fn volume(n: u32) -> VolumeDesired {
    VolumeDesired {
        shared: false,
        fork: None,
        volume: volume_id(n),
        size: GiB(1),
        image: None,
        snapshot: None,
        limits: None,
        data_key: None,
    }
}

pub fn snapshot_id(n: u32) -> SnapshotId {
    SnapshotId::from_entropy(n.into())
}

/// Snapshot `n` of a volume.
pub fn snapshot(n: u32, volume: u32) -> SnapshotDesired {
    SnapshotDesired {
        asked: 0,
        tier: model::host::Tier::Standard,
        snapshot: snapshot_id(n),
        account: account(),
        size: GiB(1),
        source: SnapshotSource::Volume {
            volume: volume_id(volume),
            parent: None,
            together: Vec::new(),
            during: None,
        },
        data_key: None,
    }
}

/// Snapshot `n` of a set that is taken together, each with its volume.
pub fn snapshot_of(n: u32, set: &[(u32, u32)], during: Option<Downtime>) -> SnapshotDesired {
    let volume = set.iter().find(|(snapshot, _)| *snapshot == n).unwrap().1;
    let others = set.iter().filter(|(snapshot, _)| *snapshot != n);
    let together = others.map(|(snapshot, volume)| (snapshot_id(*snapshot), volume_id(*volume))).collect();
    let source = SnapshotSource::Volume { volume: volume_id(volume), parent: None, together, during };
    SnapshotDesired { source, ..snapshot(n, volume) }
}

pub fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 31, 0, 10)) + n)
}

/// Instance `n`, with volume `n` and interface `n`, in VPC 1 and group 1.
pub fn instance(n: u32) -> InstanceDesired {
    InstanceDesired {
        fork: None,
        instance: instance_id(n),
        account: account(),
        zone: Zone::parse("us-east-1a").unwrap(),
        power: Power::On,
        run: 1,
        reboots: 0,
        machine: Machine {
            instance_type: "t3.micro".into(),
            architecture: Architecture::X86_64,
            vcpus: 2,
            memory: MiB(1024),
            direct_kernel: None,
            firmware: model::host::Firmware::LegacyBios,
        },
        volumes: vec![AttachmentDesired {
            volume: volume_id(n),
            device: "/dev/xvda".into(),
            medium: Medium::Volume,
        }],
        torn_out: Vec::new(),
        interfaces: vec![InterfaceDesired {
            ipv6: Vec::new(),
            interface: interface_id(n),
            device_index: 0,
            mac: Mac::from_entropy(n.into()),
            vpc: vpc_id(1),
            subnet: SubnetId::from_entropy(1),
            subnet_cidr: Some(subnet_cidr()),
            addresses: vec![AddressDesired { private: address(n), public: None, withheld: None }],
            security_groups: vec![group_id(1)],
            source_dest_check: true,
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            hostname: format!("ip-172-31-0-{}", 10 + n),
            domain: "ec2.internal".into(),
            bandwidth: Some(Bandwidth {
                instance: instance_id(n),
                rate: Rate { base: 8_000_000, burst: Some(Burst { rate: 625_000_000, seconds: 300 }) },
            }),
        }],
        cut_off: Vec::new(),
        metadata: Metadata {
            image: ImageId::from_entropy(1),
            reservation: ReservationId::from_entropy(n.into()),
            launch_index: 0,
            pending_time: Timestamp::from_millis(1_700_000_000_000),
            public_key: None,
            user_data: None,
            group_names: [(group_id(1), "default".to_owned())].into(),
            interface_owners: [(interface_id(n), account())].into(),
            options: MetadataOptions::default(),
            hibernation: false,
            tags: None,
        },
    }
}

pub fn wish(generation: u64, body: DesiredBody) -> Desired {
    let key = match &body {
        DesiredBody::Vpc(body) => ObjectKey::Vpc(body.vpc),
        DesiredBody::SecurityGroup(body) => ObjectKey::SecurityGroup(body.group),
        DesiredBody::Volume(body) => ObjectKey::Volume(body.volume),
        DesiredBody::Snapshot(body) => ObjectKey::Snapshot(body.snapshot),
        DesiredBody::Instance(body) => ObjectKey::Instance(body.instance),
    };
    Desired { key, generation, body: Some(body) }
}

/// VPC 1, group 1, volume 1 and instance 1, as first wishes.
pub fn first_instance() -> Vec<Desired> {
    vec![
        wish(1, DesiredBody::from(instance(1))),
        wish(1, DesiredBody::from(volume(1))),
        wish(1, DesiredBody::from(group(1, 1))),
        wish(1, DesiredBody::from(vpc(1))),
    ]
}
