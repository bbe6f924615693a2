//! VPN connections, with a customer's device of its own beyond the host: another strongSwan, told what a device is told.

use super::forward::forwarder;
use super::world::*;
use agent::host::Net as _;
use agent::host::linux::netns::{self, Namespace};
use ipnet::Ipv4Net;
use model::host::{
    IkeVersions, PreSharedKey, RouteDesired, RouteTableDesired, RouteTarget, TransitDesired,
    TransitPeerDesired, TransitRouteDesired, TunnelSeen, VpcDesired, VpnDesired, VpnTunnelDesired,
};
use model::{
    RouteTableId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId, VpnConnectionId,
    VpnGatewayId,
};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::linux::fs::MetadataExt as _;
use std::time::{Duration, Instant};

const GUEST: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 10);
/// In the same house, and of no static route.
const CELLAR: Ipv4Addr = Ipv4Addr::new(192, 168, 99, 1);
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 20), Ipv4Addr::new(198, 18, 0, 21)];
const KEYS: [&str; 2] = ["a_key.for.the.first", "another.key_for.the.second"];

/// Negotiations take their time where much else runs.
fn at_last(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(5), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn connection() -> VpnDesired {
    let tunnels = ENDS.into_iter().zip(KEYS).enumerate().map(|(at, (outside, key))| VpnTunnelDesired {
        outside,
        inside: Ipv4Net::new(Ipv4Addr::new(169, 254, 40, 4 * at as u8), 30).unwrap(),
        versions: IkeVersions::BOTH,
        initiates: false,
        key: Some(PreSharedKey::new(key)),
    });
    VpnDesired {
        connection: VpnConnectionId::from_entropy(unique()),
        gateway: VpnGatewayId::from_entropy(unique()),
        arrival: None,
        customer: OUTSIDE,
        routes: vec!["192.168.7.0/24".parse().unwrap()],
        tunnels: tunnels.collect(),
    }
}

/// The customer's device, in the namespace outside the host.
struct Device<'a> {
    place: &'a Namespace,
    files: tempfile::TempDir,
}

impl<'a> Device<'a> {
    fn start(place: &'a Namespace) -> Self {
        let files = tempfile::tempdir().unwrap();
        let settings = "charon {
            load = random nonce aes sha1 sha2 hmac kdf gcm openssl kernel-libipsec kernel-netlink socket-default vici
            routing_table_prio = 40000
            retransmit_tries = 2
            retransmit_timeout = 1.0
            plugins { kernel-libipsec { load = yes } vici { socket = tcp://127.0.0.1:4502 } }
        }";
        std::fs::write(files.path().join("strongswan.conf"), settings).unwrap();
        let mut text = String::from("connections {\n");
        for (at, end) in ENDS.iter().enumerate() {
            let _ = writeln!(
                text,
                "t{at} {{ version = 2\n local_addrs = {OUTSIDE}\n remote_addrs = {end}\n dpd_delay = 2s\n keyingtries = 0
                local {{ auth = psk\n id = {OUTSIDE} }}\n remote {{ auth = psk\n id = {end} }}
                children {{ t{at} {{ local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n start_action = start
                dpd_action = restart\n close_action = start }} }} }}"
            );
        }
        text.push_str("}\nsecrets {\n");
        for (at, (end, key)) in ENDS.iter().zip(KEYS).enumerate() {
            let _ = writeln!(text, "ike-{at} {{ id = {end}\n secret = \"{key}\" }}");
        }
        text.push_str("}\n");
        std::fs::write(files.path().join("swanctl.conf"), text).unwrap();
        let device = Self { place, files };
        device.run(
            "setsid --fork env STRONGSWAN_CONF=$PWD/strongswan.conf charon-systemd </dev/null >log 2>&1",
        );
        at_last("the device's daemon", || device.tries("swanctl --stats --uri tcp://127.0.0.1:4502"));
        device.run("swanctl --load-all --file swanctl.conf --uri tcp://127.0.0.1:4502");
        device.run(&format!(
            "ip addr add {OFFICE}/32 dev lo; ip addr add {CELLAR}/32 dev lo; ip link set ipsec0 up
             ip route replace 172.31.0.0/16 dev ipsec0 src {OFFICE}"
        ));
        device
    }

    fn run(&self, command: &str) -> String {
        let command = format!("cd {}; {command}", self.files.path().display());
        self.place.run(|| Ok(sh(&command))).unwrap()
    }

    fn tries(&self, command: &str) -> bool {
        let command =
            format!("cd {}; if {command} >/dev/null 2>&1; then echo yes; fi", self.files.path().display());
        self.place.run(|| Ok(sh(&command) == "yes\n")).unwrap()
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        end_all(self.place);
    }
}

fn processes(place: &Namespace) -> Vec<i32> {
    use std::os::fd::AsFd as _;
    let inode = rustix::fs::fstat(place.as_fd()).unwrap().st_ino;
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let lives = |pid: &i32| {
        let theirs = std::fs::metadata(format!("/proc/{pid}/ns/net"));
        theirs.is_ok_and(|theirs| theirs.st_ino() == inode)
    };
    all.filter(lives).collect()
}

fn end_all(place: &Namespace) {
    for pid in processes(place) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

async fn seen(world: &World) -> Vec<TunnelSeen> {
    let tunnels = world.net().tunnels().await.unwrap();
    assert_eq!(tunnels.lack, None);
    tunnels.seen
}

async fn all_up(world: &World, count: usize) {
    let start = Instant::now();
    loop {
        let now = seen(world).await;
        if now.iter().filter(|tunnel| tunnel.up && tunnel.ike_up).count() == count {
            return;
        }
        assert!(start.elapsed() < Duration::from_mins(5), "{count} tunnels up did not happen: {now:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn led_to(vpn: &VpnDesired) -> RouteDesired {
    let destination = "192.168.0.0/16".parse().unwrap();
    RouteDesired { destination, target: RouteTarget::VpnGateway(vpn.gateway) }
}

#[test]
fn an_office_and_a_vpc_meet_through_a_tunnel_and_nobody_else_does() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        let vpn = connection();
        vpc.desired.route_tables[0].routes.push(led_to(&vpn));
        vpc.desired.vpns.push(vpn.clone());
        world.ensure_vpc(&vpc).await;
        let mut group = world.group(&vpc, vec![all_from("192.168.0.0/16")]).await;
        let guest = world.guest(&vpc, GUEST, &[&group]).await;
        assert!(!guest.pings_briefly(OFFICE), "no device has called yet");
        let outside = world.outside.run(Namespace::current).unwrap();
        let device = Device::start(&outside);
        all_up(&world, 2).await;

        // Both ways.
        at_last("the office reaches the guest", || pings_briefly(&outside, GUEST));
        assert!(guest.pings(OFFICE));
        let served = guest.serve(7000);
        let mut stream = connect(&outside, GUEST, 7000).unwrap();
        assert!(talk(&mut stream, "hello").is_ok());
        assert_eq!(served.next_peer(), OFFICE);
        let desk = Echo::start(&outside, 7001);
        let mut stream = guest.connect(OFFICE, 7001).unwrap();
        assert!(talk(&mut stream, "hello").is_ok());
        assert_eq!(desk.next_peer(), GUEST);

        // What is none of the connection's routes, or one of the VPC's own, does not come in.
        device.run(&format!("ip route replace 172.31.0.0/16 dev ipsec0 src {CELLAR}"));
        assert!(!pings_briefly(&outside, GUEST));
        device.run(
            "ip addr add 172.31.0.77/32 dev lo; ip route replace 172.31.0.0/16 dev ipsec0 src 172.31.0.77",
        );
        assert!(!pings_briefly(&outside, GUEST));
        device.run(&format!("ip route replace 172.31.0.0/16 dev ipsec0 src {OFFICE}"));
        assert!(pings_briefly(&outside, GUEST));
        // Nor does it get anything but the VPC.
        device.run(&format!("ip route replace {HOST}/32 dev ipsec0 src {OFFICE}"));
        assert!(!pings_briefly(&outside, HOST));
        device.run(&format!("ip route del {HOST}/32 dev ipsec0"));

        // Groups and ACLs judge as ever.
        group.ingress.clear();
        world.net_group(&group).await;
        assert!(connect_briefly(&outside, GUEST, 7000).is_err());
        assert!(guest.connect(OFFICE, 7001).is_ok(), "what the guest begins");
        group.ingress = vec![tcp_from(7000, "192.168.7.0/24")];
        world.net_group(&group).await;
        assert!(connect(&outside, GUEST, 7000).is_ok());
        let open = std::mem::take(&mut vpc.desired.network_acls[0].ingress);
        world.ensure_vpc(&vpc).await;
        assert!(connect_briefly(&outside, GUEST, 7000).is_err());
        vpc.desired.network_acls[0].ingress = open;
        world.ensure_vpc(&vpc).await;
        assert!(connect(&outside, GUEST, 7000).is_ok());

        // Large packets pass, both ways.
        let mut stream = connect(&outside, GUEST, 7000).unwrap();
        let long = "x".repeat(20_000);
        assert!(talk(&mut stream, &long).is_ok());
        let name = plan::net::names::vpn_namespace(&world.config.cloud, vpn.connection);
        outlives(&mut world, &vpc, &outside, &name, &guest).await;

        // Without the connection nothing passes and nothing is left.
        let inside = Namespace::open(&name).unwrap();
        vpc.desired.vpns.clear();
        world.ensure_vpc(&vpc).await;
        assert!(connect_briefly(&outside, GUEST, 7000).is_err());
        assert!(seen(&world).await.is_empty());
        assert!(processes(&inside).is_empty());
        let left = netns::names(&plan::net::names::namespace_prefix(&world.config.cloud)).unwrap();
        assert!(!left.contains(&name), "{left:?}");
        drop(device);
    });
}

/// The daemon goes on without the agent, and is started again when it ends; a tunnel stands in for the other.
async fn outlives(world: &mut World, vpc: &Vpc, outside: &Namespace, name: &str, guest: &Guest) {
    let inside = Namespace::open(name).unwrap();
    let before = processes(&inside);
    assert_eq!(before.len(), 1, "{before:?}");
    world.restart().await;
    assert!(connect(outside, GUEST, 7000).is_ok(), "nobody has told the new driver anything yet");
    world.ensure_vpc(vpc).await;
    all_up(world, 2).await;
    assert!(connect(outside, GUEST, 7000).is_ok());
    assert_eq!(processes(&inside), before);

    end_all(&inside);
    at_last("another daemon", || processes(&inside).len() == 1);
    at_last("the tunnels come back", || guest.pings_briefly(OFFICE));
    all_up(world, 2).await;

    outside
        .run(|| {
            sh("swanctl --uri tcp://127.0.0.1:4502 --terminate --ike t0 >/dev/null 2>&1 || true");
            Ok(())
        })
        .unwrap();
    at_last("packets pass all the same", || guest.pings_briefly(OFFICE));
}

#[test]
fn what_comes_by_a_tunnel_goes_by_the_machine_that_the_gateways_table_names() {
    on_a_host(|world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        let vpn = connection();
        vpc.desired.route_tables[0].routes.push(led_to(&vpn));
        vpc.desired.vpns.push(vpn.clone());
        world.ensure_vpc(&vpc).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        // The office knows the machine's subnet by the gateway alone; the guarded one by the machine.
        let machine = forwarder(&world, &vpc, &[&open]).await;
        let (guest, behind) = (
            world.guest(&vpc, GUEST, &[&open]).await,
            world.guest(&vpc, Ipv4Addr::new(172, 31, 128, 10), &[&open]).await,
        );
        let by_machine = RouteTarget::Interface(machine.interface.interface);
        let to =
            |destination: &str, target| RouteDesired { destination: destination.parse().unwrap(), target };
        vpc.desired.route_tables[1].routes = vec![to("192.168.0.0/16", by_machine.clone())];
        let table = RouteTableId::from_entropy(unique());
        let routes = vec![to("172.31.128.0/17", by_machine)];
        vpc.desired.route_tables.push(RouteTableDesired { route_table: table, routes });
        vpc.desired.vpn_table = Some(table);
        world.ensure_vpc(&vpc).await;
        let outside = world.outside.run(Namespace::current).unwrap();
        let device = Device::start(&outside);
        all_up(&world, 2).await;
        at_last("the office reaches the guest", || pings_briefly(&outside, GUEST));

        let passed =
            |end: &str| machine.heard.lock().unwrap().iter().any(|frame| frame.ends_with(end.as_bytes()));
        // Both ways, whoever begins.
        let served = behind.serve(7000);
        let mut inward = connect(&outside, behind.address(), 7000).unwrap();
        assert_eq!(talk(&mut inward, "inward").unwrap(), "inward");
        assert_eq!(served.next_peer(), OFFICE);
        let desk = Echo::start(&outside, 7001);
        let mut outward = behind.connect(OFFICE, 7001).unwrap();
        assert_eq!(talk(&mut outward, "outward").unwrap(), "outward");
        assert_eq!(desk.next_peer(), behind.address());
        assert!(passed("inward") && passed("outward"));
        // What is for others, and for the machine itself, comes straight.
        let (_served, _own) = (guest.serve(7000), machine.serve(7000));
        let mut straight = connect(&outside, GUEST, 7000).unwrap();
        assert_eq!(talk(&mut straight, "straight").unwrap(), "straight");
        assert!(!passed("straight"));
        assert!(connect(&outside, machine.address(), 7000).is_ok());

        // It speaks for that subnet alone.
        let desk = udp(&outside, 9);
        let ends = |from| (SocketAddrV4::new(from, 1), SocketAddrV4::new(OFFICE, 9));
        let say = |from: Ipv4Addr, what: &[u8]| {
            let packet = ipv4_udp(ends(from).0, ends(from).1, what);
            machine.inject(&ethernet(plan::net::GATEWAY_MAC, machine.interface.mac.0, 0x0800, &packet));
        };
        for forged in [GUEST, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(172, 31, 0, 99)] {
            say(forged, b"forged");
        }
        say(behind.address(), b"in its name");
        let mut heard = [0; 64];
        let (length, from) = desk.recv_from(&mut heard).unwrap();
        assert_eq!((&heard[..length], from.ip()), (&b"in its name"[..], behind.address().into()));

        // Without the machine nothing takes the short way; without the table all does.
        world.net_remove_port(machine.interface.interface).await;
        assert!(connect_briefly(&outside, behind.address(), 7000).is_err());
        vpc.desired.vpn_table = None;
        vpc.desired.route_tables.truncate(2);
        vpc.desired.route_tables[1].routes = vec![led_to(&vpn)];
        world.ensure_vpc(&vpc).await;
        let mut again = connect(&outside, behind.address(), 7000).unwrap();
        assert_eq!(talk(&mut again, "again").unwrap(), "again");
        assert!(!passed("again"));
        drop(device);
    });
}

/// A VPC and a connection's own network at one gateway, whose table leads each to the other.
fn at_transit(vpc: &mut Vpc, vpn: &VpnDesired) -> VpcDesired {
    let gateway = TransitGatewayId::from_entropy(unique());
    let [near, far] = [(); 2].map(|()| TransitGatewayAttachmentId::from_entropy(unique()));
    let table = Some(TransitGatewayRouteTableId::from_entropy(unique()));
    let routes = vec![
        TransitRouteDesired { destination: "172.31.0.0/16".parse().unwrap(), to: Some(near) },
        TransitRouteDesired { destination: "192.168.7.0/24".parse().unwrap(), to: Some(far) },
    ];
    vpc.desired.transits.push(TransitDesired {
        gateway,
        attachment: near,
        ipv6: false,
        arrival: vpc.desired.subnets[0].subnet,
        served: vpc.desired.subnets.iter().map(|subnet| subnet.subnet).collect(),
        table,
        routes: routes.clone(),
        peers: vec![TransitPeerDesired { attachment: far, vpc: model::record::vpn::hub(vpn.connection) }],
    });
    let target = RouteTarget::TransitGateway(gateway);
    let destination = "192.168.0.0/16".parse().unwrap();
    vpc.desired.route_tables[0].routes.push(RouteDesired { destination, target });
    let subnets = plan::net::vpn::hub_of(vpn.connection);
    let end = TransitDesired {
        gateway,
        attachment: far,
        ipv6: false,
        arrival: subnets.outward,
        served: vec![subnets.inward],
        table,
        routes,
        peers: vec![TransitPeerDesired { attachment: near, vpc: vpc.desired.vpc }],
    };
    let place = (vpc.desired.account, vpc.desired.region.clone());
    plan::net::vpn::hub(place, vpn.clone(), (gateway, Some(end)))
}

#[test]
fn an_office_at_a_transit_gateway_meets_what_the_gateways_table_says() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        let vpn = connection();
        let mut hub = at_transit(&mut vpc, &vpn);
        world.ensure_vpc(&vpc).await;
        world.net().ensure_vpc(&hub).await.unwrap();
        let group = world.group(&vpc, vec![all_from("192.168.0.0/16")]).await;
        let guest = world.guest(&vpc, GUEST, &[&group]).await;
        let outside = world.outside.run(Namespace::current).unwrap();
        let device = Device::start(&outside);
        all_up(&world, 2).await;

        // Both ways.
        at_last("the office reaches the guest", || pings_briefly(&outside, GUEST));
        assert!(guest.pings(OFFICE));
        let served = guest.serve(7000);
        let mut stream = connect(&outside, GUEST, 7000).unwrap();
        assert!(talk(&mut stream, &"x".repeat(20_000)).is_ok());
        assert_eq!(served.next_peer(), OFFICE);
        let desk = Echo::start(&outside, 7001);
        let mut stream = guest.connect(OFFICE, 7001).unwrap();
        assert!(talk(&mut stream, "hello").is_ok());
        assert_eq!(desk.next_peer(), GUEST);

        // Who claims to be of the VPC does not come in, and nobody gets to the host or its services.
        device.run(
            "ip addr add 172.31.0.77/32 dev lo; ip route replace 172.31.0.0/16 dev ipsec0 src 172.31.0.77",
        );
        assert!(!pings_briefly(&outside, GUEST));
        device.run(&format!("ip route replace 172.31.0.0/16 dev ipsec0 src {OFFICE}"));
        for nobody in [HOST, plan::net::METADATA] {
            device.run(&format!("ip route replace {nobody}/32 dev ipsec0 src {OFFICE}"));
            assert!(!pings_briefly(&outside, nobody));
            device.run(&format!("ip route del {nobody}/32 dev ipsec0"));
        }

        // A new driver finds all of it.
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        world.net().ensure_vpc(&hub).await.unwrap();
        all_up(&world, 2).await;
        assert!(connect(&outside, GUEST, 7000).is_ok());

        // The table that what comes from the office asks leads nowhere: a blackhole.
        let led = std::mem::take(&mut hub.transits[0].routes);
        world.net().ensure_vpc(&hub).await.unwrap();
        assert!(connect_briefly(&outside, GUEST, 7000).is_err());
        hub.transits[0].routes = led;
        world.net().ensure_vpc(&hub).await.unwrap();
        assert!(connect(&outside, GUEST, 7000).is_ok());

        // Without the connection nothing is left.
        world.net().remove_vpc(hub.vpc).await.unwrap();
        assert!(connect_briefly(&outside, GUEST, 7000).is_err());
        let name = plan::net::names::vpn_namespace(&world.config.cloud, vpn.connection);
        let left = netns::names(&plan::net::names::namespace_prefix(&world.config.cloud)).unwrap();
        assert!(!left.contains(&name), "{left:?}");
        drop(device);
    });
}
