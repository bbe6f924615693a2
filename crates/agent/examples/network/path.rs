//! The way between two interfaces of a VPC, beside the same way by a router without rules.
//!
//! Namespaces with the kernel's own stack stand for guests. Each has one end of a veth pair; the other end takes the name, the
//! addresses and the routes of the port that the driver has made, so packets meet the same rules, and segmentation is left to
//! the far end as virtio does it. What QEMU and guests cost is not in it.

use crate::cloud::{Cloud, OPEN};
use crate::table;
use agent::host::Net as _;
use agent::host::linux::netns::{self, Namespace};
use model::host::{Bandwidth, Burst, InterfaceDesired, Rate};
use model::{InstanceId, Mac};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
const WINDOW: Duration = Duration::from_millis(500);
/// Twice as fast as any single connection here, so it is counted and never in the way.
const LIMIT: Rate = Rate { base: 6_000_000_000, burst: Some(Burst { rate: 12_000_000_000, seconds: 5 }) };

struct Way {
    name: &'static str,
    from: Namespace,
    to: Namespace,
    at: SocketAddr,
    /// Whatever must stay for it to stand.
    _router: Namespace,
}

struct Kind {
    what: &'static str,
    /// What happens in a second.
    measure: fn(&Way) -> f64,
    unit: (f64, &'static str),
}

const KINDS: [Kind; 3] = [
    Kind { what: "TCP, one connection", measure: throughput, unit: (1e9, "Gbit/s") },
    Kind { what: "UDP, 64 bytes", measure: packets, unit: (1e3, "thousand/s") },
    Kind { what: "new TCP connections", measure: connections, unit: (1e3, "thousand/s") },
];

pub async fn measure() {
    let mut cloud = Cloud::new().await;
    cloud.net().ensure_vpc(&cloud.vpc).await.unwrap();
    cloud.ensure_group(&cloud.group(1)).await;
    let (free, held) = (ends(&cloud, 0, None), ends(&cloud, 2, Some(LIMIT)));
    let ways = [
        bare("bare routing", ""),
        bare("routing, connections tracked", TRACKED),
        through_vpc(&cloud, "VPC", &free).await,
        through_vpc(&cloud, "VPC, held to a bandwidth", &held).await,
    ];
    // A driver that starts finds the links in the ports' places, and puts there what belongs to ports.
    cloud.reopen().await;
    cloud.net().ensure_vpc(&cloud.vpc).await.unwrap();
    cloud.ensure_group(&cloud.group(1)).await;
    for interface in free.iter().chain(&held) {
        cloud.net().ensure_port(interface).await.unwrap();
    }
    let mut rows = Vec::new();
    for kind in KINDS {
        let mut found = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            for (way, found) in ways.iter().zip(&mut found) {
                found.push((kind.measure)(way));
            }
        }
        let medians = found.map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[ROUNDS / 2]
        });
        for (way, median) in ways.iter().zip(medians) {
            rows.push(vec![
                format!("{}: {}", kind.what, way.name),
                format!("{:.2} {}", median / kind.unit.0, kind.unit.1),
                format!("{:.2}", median / medians[0]),
            ]);
        }
    }
    let title = format!("path: between two namespaces, medians of {ROUNDS} rounds of {WINDOW:?}");
    table::print(&title, &["", "", "to bare routing"], &rows);
}

fn run(commands: &str) {
    let mut shell = Command::new("sh").args(["-e"]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{commands}");
}

fn in_namespace(namespace: &Namespace, commands: &str) {
    namespace
        .run(|| {
            run(commands);
            Ok(())
        })
        .unwrap();
}

/// A guest behind a link of the router, which has its address there.
fn join(
    router: &Namespace,
    (link, class, number): (&str, &str, &str),
    mac: Mac,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Namespace {
    let guest = netns::apart(Namespace::current).unwrap();
    let place = format!("/proc/{}/fd/{}", std::process::id(), guest.as_fd().as_raw_fd());
    let ours = plan::net::GATEWAY_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let mut commands = String::new();
    let _ = write!(
        commands,
        "ip link add name {link} address {ours}{number} type veth peer name eth0 address {mac} netns {place}\n\
         echo 0 > /proc/sys/net/ipv4/conf/{link}/rp_filter\n\
         echo 0 > /proc/sys/net/ipv4/conf/{link}/send_redirects\n\
         ip addr add {gateway}/32 dev {link}\n\
         ip link set {link} group {class}\n\
         ip link set {link} up\n\
         ip route add {address}/32 dev {link}\n\
         ip neigh replace {address} lladdr {mac} dev {link} nud permanent\n"
    );
    in_namespace(router, &commands);
    commands.clear();
    let _ = write!(
        commands,
        "ip link set lo up\n\
         ip addr add {address}/32 dev eth0\n\
         ip link set eth0 up\n\
         ip route add {gateway} dev eth0\n\
         ip route add default via {gateway}\n\
         ip neigh replace {gateway} lladdr {ours} dev eth0 nud permanent\n"
    );
    in_namespace(&guest, &commands);
    guest
}

/// What every stateful filter costs at least: the kernel keeps track of connections, and one rule asks whether it does.
const TRACKED: &str = "table inet bench {
    chain passing {
        type filter hook forward priority filter; policy accept;
        ct state invalid drop
    }
    chain coming {
        type nat hook prerouting priority dstnat; policy accept;
    }
    chain going {
        type nat hook postrouting priority srcnat; policy accept;
    }
}";

fn bare(name: &'static str, rules: &str) -> Way {
    let router = netns::apart(Namespace::current).unwrap();
    in_namespace(
        &router,
        "echo 1 > /proc/sys/net/ipv4/ip_forward\n\
         echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter\n\
         echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects\n",
    );
    in_namespace(&router, &format!("nft -f - <<'END'\n{rules}\nEND\n"));
    let gateway = Ipv4Addr::new(10, 0, 0, 1);
    let addresses = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3)];
    let from = join(&router, ("t1", "0", ""), Mac::from_entropy(1), addresses[0], gateway);
    let to = join(&router, ("t2", "0", ""), Mac::from_entropy(2), addresses[1], gateway);
    Way { name, from, to, at: (addresses[1], OPEN).into(), _router: router }
}

/// The nth interface and the next.
fn ends(cloud: &Cloud, n: u32, limit: Option<Rate>) -> [InterfaceDesired; 2] {
    [n, n + 1].map(|n| {
        let instance = InstanceId::from_entropy(u128::from(n) + 1);
        let bandwidth = limit.map(|rate| Bandwidth { instance, rate });
        InterfaceDesired { bandwidth, ..cloud.interface(n, cloud.group(1).group) }
    })
}

/// Between two interfaces.
async fn through_vpc(cloud: &Cloud, name: &'static str, interfaces: &[InterfaceDesired; 2]) -> Way {
    let router = plan::net::names::vpc_namespace(&cloud.config.cloud, cloud.vpc.vpc);
    let router = Namespace::open(&router).unwrap();
    let mut ends = Vec::new();
    for interface in interfaces {
        let tap = cloud.net().open_port(interface).await.unwrap();
        let alias = interface.interface.to_string();
        let (link, class, number) = link_of(&router, &alias);
        // Its machine lets go of it; the rules that name it stay.
        drop(tap);
        let gateway = plan::net::gateway(interface.subnet_cidr.unwrap());
        let address = interface.addresses[0].private;
        let number = format!(" index {number}");
        ends.push((join(&router, (&link, &class, &number), interface.mac, address, gateway), address));
        in_namespace(&router, &format!("ip link set {link} alias {alias}\n"));
    }
    let ((to, at), (from, _)) = (ends.pop().unwrap(), ends.pop().unwrap());
    Way { name, from, to, at: (at, OPEN).into(), _router: router }
}

/// The name of a port's link, the class that it bears, and its number.
fn link_of(router: &Namespace, alias: &str) -> (String, String, String) {
    let links = router.run(|| Command::new("ip").args(["-o", "link"]).output()).unwrap().stdout;
    let links = String::from_utf8(links).unwrap();
    let line = links.lines().find(|line| line.contains(alias)).unwrap();
    let class = line.split(" group ").nth(1).unwrap().split(' ').next().unwrap();
    let mut words = line.split([':', '@']).map(|word| word.trim().to_owned());
    let (number, name) = (words.next().unwrap(), words.next().unwrap());
    (name, class.to_owned(), number)
}

/// Bits per second that one connection carries.
fn throughput(way: &Way) -> f64 {
    let listener = way.to.run(|| TcpListener::bind(way.at)).unwrap();
    let mut stream = way.from.run(|| TcpStream::connect(way.at)).unwrap();
    let (mut end, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0u64);
        while let Ok(length @ 1..) = end.read(&mut buffer) {
            bytes += length as u64;
        }
        bytes
    });
    let (start, block) = (Instant::now(), vec![0; 1 << 17]);
    while start.elapsed() < WINDOW {
        stream.write_all(&block).unwrap();
    }
    drop(stream);
    reader.join().unwrap() as f64 * 8.0 / start.elapsed().as_secs_f64()
}

/// Small packets per second that come to the far end's stack.
fn packets(way: &Way) -> f64 {
    // Bound, so that nobody answers, and never read: the stack counts what it drops here.
    let _end = way.to.run(|| UdpSocket::bind(way.at)).unwrap();
    let socket = way.from.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    socket.connect(way.at).unwrap();
    let before = arrived(&way.to);
    let start = Instant::now();
    while start.elapsed() < WINDOW {
        for _ in 0..64 {
            let _ = socket.send(&[0; 64]);
        }
    }
    let elapsed = start.elapsed();
    (arrived(&way.to) - before) as f64 / elapsed.as_secs_f64()
}

/// The packets that UDP has taken and those that it had no room for.
fn arrived(namespace: &Namespace) -> u64 {
    let text = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap();
    let lines: Vec<Vec<&str>> =
        text.lines().filter(|l| l.starts_with("Udp:")).map(|l| l.split(' ').collect()).collect();
    let of = |name: &str| {
        let at = lines[0].iter().position(|word| *word == name).unwrap();
        lines[1][at].parse::<u64>().unwrap()
    };
    of("InDatagrams") + of("InErrors")
}

/// Connections per second, each begun when the one before is accepted.
fn connections(way: &Way) -> f64 {
    let listener = way.to.run(|| TcpListener::bind(way.at)).unwrap();
    let counted = way.from.run(|| {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < WINDOW {
            let stream = TcpStream::connect(way.at)?;
            drop(listener.accept()?);
            // A reset: nothing lingers, and no port is used up.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    });
    counted.unwrap()
}
