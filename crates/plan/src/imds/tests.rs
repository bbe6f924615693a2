use super::*;
use model::host::*;
use model::metadata::{Metadata, MetadataOptions, PublicKey};
use model::*;

fn sample() -> InstanceDesired {
    let interface = |n: u128, public: Option<&str>| InterfaceDesired {
        ipv6: Vec::new(),
        interface: NetworkInterfaceId::from_entropy(n),
        device_index: if n == 1 { 0 } else { n as u32 },
        mac: Mac([10, 0, 0, 0, 0, n as u8]),
        vpc: VpcId::from_entropy(1),
        subnet: SubnetId::from_entropy(1),
        subnet_cidr: Some("172.31.0.0/20".parse().unwrap()),
        addresses: vec![AddressDesired {
            private: format!("172.31.0.{}", 4 + n).parse().unwrap(),
            public: public.map(|p| p.parse().unwrap()),
            withheld: None,
        }],
        security_groups: vec![SecurityGroupId::from_entropy(1), SecurityGroupId::from_entropy(2)],
        source_dest_check: true,
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        hostname: format!("ip-172-31-0-{}", 4 + n),
        domain: "ec2.internal".into(),
        bandwidth: None,
    };
    let volume = |n, device: &str| AttachmentDesired {
        volume: VolumeId::from_entropy(n),
        device: device.to_owned(),
        medium: Medium::Volume,
    };
    InstanceDesired {
        fork: None,
        instance: InstanceId::from_entropy(0xabc),
        account: AccountId::from_number(123_456_789_012),
        zone: Zone::parse("us-east-1b").unwrap(),
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
        volumes: vec![volume(1, "/dev/xvda"), volume(2, "/dev/sdf")],
        torn_out: Vec::new(),
        interfaces: vec![interface(1, Some("198.18.0.5")), interface(2, None)],
        cut_off: Vec::new(),
        metadata: Metadata {
            image: ImageId::from_entropy(7),
            reservation: ReservationId::from_entropy(8),
            launch_index: 3,
            pending_time: Timestamp::from_millis(1_700_000_000_000),
            public_key: Some(PublicKey { name: "my-key".into(), openssh: "ssh-ed25519 AAAA my-key".into() }),
            user_data: Some(b"#!/bin/sh\n\xff".to_vec().into()),
            group_names: [
                (SecurityGroupId::from_entropy(1), "web".to_owned()),
                (SecurityGroupId::from_entropy(2), "ssh".to_owned()),
            ]
            .into(),
            interface_owners: [].into(),
            hibernation: true,
            options: MetadataOptions { instance_tags: true, ..MetadataOptions::default() },
            tags: Some([("Name".to_owned(), "example".to_owned()), ("a b".to_owned(), String::new())].into()),
        },
    }
}

fn vpc() -> VpcDesired {
    VpcDesired {
        ipv6_cidrs: Vec::new(),
        vpc: VpcId::from_entropy(1),
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec!["172.31.0.0/16".parse().unwrap(), "10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        subnets: Vec::new(),
        gateway_table: None,
        vpn_table: None,
        route_tables: Vec::new(),
        peerings: Vec::new(),
        transits: Vec::new(),
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: Vec::new(),
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
        network_acls: Vec::new(),
    }
}

fn ask_of(instance: &InstanceDesired, path: &str) -> Answer {
    let vpc = vpc();
    answer(path, instance, |_| Some(&vpc), None)
}

fn ask(path: &str) -> String {
    match ask_of(&sample(), path) {
        Answer::Text(text) => text,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn prefixes_are_told_beside_the_addresses() {
    let mut instance = sample();
    instance.interfaces[0].ipv4_prefixes =
        ["172.31.0.32/28", "172.31.0.64/28"].map(|prefix| prefix.parse().unwrap()).to_vec();
    instance.interfaces[0].ipv6_prefixes = vec!["2001:db8:0:1:5::/80".parse().unwrap()];
    let of = |n: usize, what: &str| {
        let mac = instance.interfaces[n].mac;
        ask_of(&instance, &format!("/latest/meta-data/network/interfaces/macs/{mac}/{what}"))
    };
    assert_eq!(of(0, "ipv4-prefix"), Answer::Text("172.31.0.32/28\n172.31.0.64/28".into()));
    assert_eq!(of(0, "local-ipv4s"), Answer::Text("172.31.0.5".into()));
    assert_eq!(of(0, "ipv6-prefix"), Answer::Text("2001:db8:0:1:5::/80".into()));
    for what in ["ipv4-prefix", "ipv6-prefix"] {
        assert!(!matches!(of(1, what), Answer::Text(_)), "{what}");
    }
}

#[test]
fn values_are_those_of_the_instance() {
    for (path, value) in [
        ("ami-id", "ami-00000000000000007"),
        ("ami-launch-index", "3"),
        ("block-device-mapping/ami", "xvda"),
        ("block-device-mapping/ebs1", "sdf"),
        ("block-device-mapping/root", "/dev/xvda"),
        ("hibernation/configured", "true"),
        ("hostname", "ip-172-31-0-5.ec2.internal"),
        ("instance-id", "i-00000000000000abc"),
        ("instance-type", "t3.micro"),
        ("local-ipv4", "172.31.0.5"),
        ("mac", "0a:00:00:00:00:01"),
        ("placement/availability-zone", "us-east-1b"),
        ("placement/availability-zone-id", "use1-az2"),
        ("placement/region", "us-east-1"),
        ("public-hostname", "ec2-198-18-0-5.compute-1.amazonaws.com"),
        ("public-ipv4", "198.18.0.5"),
        ("public-keys/0/openssh-key", "ssh-ed25519 AAAA my-key"),
        ("security-groups", "web\nssh"),
        ("services/domain", "amazonaws.com"),
        ("tags/instance/Name", "example"),
        ("tags/instance/a%20b", ""),
        ("network/interfaces/macs/0a:00:00:00:00:01/ipv4-associations/198.18.0.5", "172.31.0.5"),
        ("network/interfaces/macs/0a:00:00:00:00:02/device-number", "2"),
        ("network/interfaces/macs/0a:00:00:00:00:02/owner-id", "123456789012"),
        ("network/interfaces/macs/0a:00:00:00:00:02/subnet-ipv4-cidr-block", "172.31.0.0/20"),
        ("network/interfaces/macs/0a:00:00:00:00:02/vpc-ipv4-cidr-blocks", "172.31.0.0/16\n10.0.0.0/16"),
    ] {
        assert_eq!(ask(&format!("/latest/meta-data/{path}")), value, "{path}");
        assert_eq!(ask(&format!("/2009-04-04/meta-data/{path}")), value, "{path}");
    }
}

#[test]
fn listings_show_directories_with_a_slash_and_keys_by_name() {
    assert!(ask("/").starts_with("1.0\n2007-01-19\n") && ask("/").ends_with("\nlatest"));
    assert_eq!(ask("/latest"), "dynamic\nmeta-data\nuser-data");
    assert_eq!(ask("/latest/meta-data/"), ask("/latest/meta-data"));
    assert_eq!(ask("/latest/meta-data/public-keys/"), "0=my-key");
    assert_eq!(ask("/latest/meta-data/public-keys/0/"), "openssh-key");
    assert_eq!(ask("/latest/meta-data/network/interfaces/macs/"), "0a:00:00:00:00:01/\n0a:00:00:00:00:02/");
    assert_eq!(ask("/latest/dynamic/"), "instance-identity/\nvolumes/");
    assert_eq!(ask("/latest/dynamic/instance-identity/"), "document\npkcs7\nrsa2048\nsignature");
    assert!(ask("/latest/meta-data/").contains("\nplacement/\nprofile\n"));
}

#[test]
fn a_disk_learns_its_device_name_by_its_serial_number() {
    let instance = sample();
    let serials = ask("/latest/dynamic/volumes/");
    let names: Vec<String> =
        serials.lines().map(|serial| ask(&format!("/latest/dynamic/volumes/{serial}"))).collect();
    assert_eq!(names, instance.volumes.iter().map(|volume| volume.device.clone()).collect::<Vec<_>>());
    assert_eq!(ask_of(&instance, "/latest/dynamic/volumes/vol0"), Answer::NotFound);
}

#[test]
fn a_listing_is_sorted_and_lists_only_what_answers() {
    fn walk(path: &str) {
        for label in ask(path).lines() {
            let name = label.split('=').next().unwrap();
            if label.ends_with('/') || label.contains('=') {
                walk(&format!("{path}{}/", name.trim_end_matches('/')));
            } else {
                let leaf = format!("{path}{}", name.replace(' ', "%20"));
                assert_ne!(ask_of(&sample(), &leaf), Answer::NotFound, "{leaf}");
            }
        }
    }
    walk("/latest/meta-data/");
    walk("/latest/dynamic/");
    assert!(ask("/latest/meta-data/").lines().is_sorted());
}

#[test]
fn what_is_not_there_is_not_found() {
    for path in [
        "/latest/meta-data/nothing",
        "/latest/meta-data/instance-id/more",
        "/1999-01-01/meta-data/",
        "/latest/meta-data/%zz",
        "/latest/meta-data/%ff",
        "/meta-data",
        "/latest/meta-data/..",
    ] {
        assert_eq!(ask_of(&sample(), path), Answer::NotFound, "{path}");
    }
    let mut bare = sample();
    bare.metadata.user_data = None;
    bare.metadata.public_key = None;
    bare.metadata.options.instance_tags = false;
    bare.interfaces[0].addresses[0].public = None;
    for path in [
        "/latest/user-data",
        "/latest/meta-data/public-keys/",
        "/latest/meta-data/tags/instance/Name",
        "/latest/meta-data/public-ipv4",
    ] {
        assert_eq!(ask_of(&bare, path), Answer::NotFound, "{path}");
    }
}

#[test]
fn an_instance_without_ipv4_is_told_of_none() {
    let mut native = sample();
    native.interfaces.truncate(1);
    let interface = &mut native.interfaces[0];
    (interface.subnet_cidr, interface.addresses) = (None, Vec::new());
    (interface.ipv6, interface.hostname) = (vec!["2001:db8::7".parse().unwrap()], "i-abc".into());
    let mac = "/latest/meta-data/network/interfaces/macs/0a:00:00:00:00:01";
    let text = |path: &str| match ask_of(&native, path) {
        Answer::Text(text) => text,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(text("/latest/meta-data/ipv6"), "2001:db8::7");
    assert_eq!(text("/latest/meta-data/local-hostname"), "i-abc.ec2.internal");
    assert_eq!(text(&format!("{mac}/ipv6s")), "2001:db8::7");
    assert_eq!(text(&format!("{mac}/local-hostname")), "i-abc.ec2.internal");
    for path in ["/latest/meta-data/local-ipv4", "/latest/meta-data/public-ipv4"]
        .map(str::to_owned)
        .into_iter()
        .chain(["local-ipv4s", "subnet-ipv4-cidr-block", "ipv4-associations"].map(|n| format!("{mac}/{n}")))
    {
        assert_eq!(ask_of(&native, &path), Answer::NotFound, "{path}");
    }
    assert!(text("/latest/dynamic/instance-identity/document").contains("\"privateIp\" : null"));
}

#[test]
fn an_address_that_nobody_reaches_yet_is_told_as_any() {
    let mut silent = sample();
    let address = &mut silent.interfaces[0].addresses[0];
    (address.public, address.withheld) = (None, address.public);
    for path in ["/latest/meta-data/public-ipv4", "/latest/meta-data/public-hostname"] {
        assert_eq!(ask_of(&silent, path), ask_of(&sample(), path), "{path}");
    }
}

#[test]
fn user_data_comes_back_byte_for_byte() {
    let Answer::Bytes(bytes) = ask_of(&sample(), "/latest/user-data") else { panic!("no user data") };
    assert_eq!(bytes.as_slice(), b"#!/bin/sh\n\xff");
}

#[test]
fn the_identity_document_has_the_keys_and_order_of_ec2s() {
    assert_eq!(
        ask("/latest/dynamic/instance-identity/document"),
        r#"{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1b",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-00000000000000007",
  "instanceId" : "i-00000000000000abc",
  "instanceType" : "t3.micro",
  "kernelId" : null,
  "pendingTime" : "2023-11-14T22:13:20Z",
  "privateIp" : "172.31.0.5",
  "ramdiskId" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}"#
    );
}

#[test]
fn a_cloud_that_tells_of_its_api_lists_it_and_one_without_tls_has_no_authority() {
    let vpc = vpc();
    let ask = |api: Option<&super::Api>, path: &str| answer(path, &sample(), |_| Some(&vpc), api);
    let text = |text: &str| Answer::Text(text.to_owned());
    let plain = super::Api { endpoint: "http://api.nube.internal".into(), authority: None };
    assert_eq!(ask(Some(&plain), "/latest/dynamic/nube/endpoint"), text("http://api.nube.internal"));
    assert_eq!(ask(Some(&plain), "/latest/dynamic/nube/ca.pem"), Answer::NotFound);
    let tls = super::Api { endpoint: "https://api.nube.internal".into(), authority: Some("PEM".into()) };
    assert_eq!(ask(Some(&tls), "/latest/dynamic/nube/"), text("endpoint\nca.pem"));
    assert_eq!(ask(Some(&tls), "/latest/dynamic"), text("instance-identity/\nnube/\nvolumes/"));
    assert_eq!(ask(None, "/latest/dynamic"), text("instance-identity/\nvolumes/"));
}
