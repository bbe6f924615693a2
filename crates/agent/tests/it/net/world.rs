//! A host in a namespace, guests behind its ports, and what they can say to each other.

pub use super::traffic::*;
use agent::directory::Directory;
use agent::host::linux::net::{Limits, LinuxNet, LinuxNetConfig, purge};
use agent::host::linux::netns::{self, Namespace};
use agent::host::{Net as _, Tap};
use agent::link_local::endpoint::EndpointPlace;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::host::*;
use model::metadata::{Metadata, MetadataOptions};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long something that should happen may take, and how long something that should not is watched for.
pub const SOON: Duration = Duration::from_mins(1);
pub const A_MOMENT: Duration = Duration::from_millis(400);

pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A number that no other test of this run has, in this or another process.
pub fn unique() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    (u128::from(std::process::id()) << 20) | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a test on a thread with a network namespace of its own, which is its host.
pub fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(World) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        enter_new_namespace();
        sh("ip link set lo up");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move { test(World::new().await).await });
        runtime.shutdown_timeout(Duration::from_secs(2));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter_new_namespace() {
    // SAFETY: the thread is the caller's own; only its later calls see another network.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
        .expect("these tests need root: they make network namespaces");
}

/// A namespace that nobody else can name.
pub fn anonymous_namespace() -> Namespace {
    let made = std::thread::spawn(|| {
        enter_new_namespace();
        sh("ip link set lo up");
        Namespace::current().unwrap()
    });
    made.join().unwrap()
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct World {
    pub config: LinuxNetConfig,
    net: Option<LinuxNet>,
    pub outside: Namespace,
    _state: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let config = LinuxNetConfig {
            cloud: CloudTag::from_entropy(unique()),
            state_dir: state.path().join("net"),
            byoip: vec!["198.51.100.0/24".parse().unwrap()],
            gateway_services: Vec::new(),
            public_pool: "198.18.0.0/22".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            uplink_nat: true,
            directory: Arc::new(Directory::default()),
            on_metadata: Arc::new(|_, listener| {
                tokio::spawn(stand_in_metadata(listener));
            }),
            on_api: Arc::new(|_, listener| {
                tokio::spawn(stand_in_metadata(listener));
            }),
            on_endpoint: Arc::new(|place, listener| {
                tokio::spawn(stand_in_endpoint(place, listener));
            }),
            api_names: BTreeSet::from([plan::net::API_NAME.to_owned()]),
            upstream_dns: vec!["192.0.2.53:53".parse().unwrap()],
            flow_logs: state.path().join("flow-logs"),
            flow_poll: None,
            bandwidth: Limits::Enforced,
        };
        let outside = anonymous_namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), outside.as_fd().as_raw_fd());
        sh(&format!("ip link add uplink type veth peer name eth0 netns {path}"));
        sh(&format!(
            "ip addr add {HOST}/24 dev uplink; ip link set uplink up; ip route add default via {OUTSIDE}"
        ));
        outside
            .run(|| {
                sh(&format!(
                    "ip addr add {OUTSIDE}/24 dev eth0; ip link set eth0 up; ip route add default via {HOST}"
                ));
                Ok(())
            })
            .unwrap();
        let net = LinuxNet::open(config.clone()).await.unwrap();
        Self { config, net: Some(net), outside, _state: state }
    }

    pub fn net(&self) -> &LinuxNet {
        self.net.as_ref().unwrap()
    }

    /// What a new agent does: the old driver is gone, another one opens.
    pub async fn restart(&mut self) {
        drop(self.net.take());
        self.net = Some(LinuxNet::open(self.config.clone()).await.unwrap());
    }

    pub async fn vpc(&self, cidr: &str) -> Vpc {
        let vpc = Vpc::new(cidr);
        self.ensure_vpc(&vpc).await;
        vpc
    }

    pub async fn ensure_vpc(&self, vpc: &Vpc) {
        self.config.directory.set_vpc(Arc::new(vpc.desired.clone()));
        self.net().ensure_vpc(&vpc.desired).await.unwrap();
    }

    pub async fn group(&self, vpc: &Vpc, ingress: Vec<Allow>) -> SecurityGroupDesired {
        let group = SecurityGroupDesired {
            group: SecurityGroupId::from_entropy(unique()),
            vpc: vpc.desired.vpc,
            ingress,
            egress: vec![all_from("0.0.0.0/0"), all_from("::/0")],
        };
        self.net().ensure_security_group(&group).await.unwrap();
        group
    }

    /// A guest with these last two octets in its VPC.
    pub async fn guest(&self, vpc: &Vpc, address: Ipv4Addr, groups: &[&SecurityGroupDesired]) -> Guest {
        self.guest_with(vpc.interface(address, groups)).await
    }

    pub async fn guest_with(&self, interface: InterfaceDesired) -> Guest {
        self.config.directory.set_instance(Arc::new(instance(interface.clone())));
        let tap = self.net().open_port(&interface).await.unwrap();
        Guest::start(interface, tap)
    }

    /// Brings a group's rules to what they say now.
    pub async fn net_group(&self, group: &SecurityGroupDesired) {
        self.net().ensure_security_group(group).await.unwrap();
    }

    pub async fn net_remove_vpc(&self, vpc: &Vpc) {
        self.net().remove_vpc(vpc.desired.vpc).await.unwrap();
    }

    pub async fn net_remove_port(&self, interface: NetworkInterfaceId) {
        self.net().remove_port(interface).await.unwrap();
    }

    /// Brings a guest's port to what its interface says now.
    pub async fn update(&self, guest: &Guest) {
        self.config.directory.set_instance(Arc::new(instance(guest.interface.clone())));
        self.net().ensure_port(&guest.interface).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        purge(&self.config.cloud).unwrap();
    }
}

/// Answers every connection with the address that it came from, and ends when its VPC does.
async fn stand_in_metadata(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, from)) = listener.accept().await {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{}\n", from.ip()).as_bytes()).await;
    }
}

/// Answers every connection with the endpoint that it came to and the address that it came from.
async fn stand_in_endpoint(place: EndpointPlace, listener: tokio::net::TcpListener) {
    while let Ok((mut stream, from)) = listener.accept().await {
        let said = format!("{} {}\n", place.endpoint, from.ip());
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, said.as_bytes()).await;
    }
}

pub fn all_from(net: &str) -> Allow {
    Allow { traffic: Traffic::All, peer: Peer::Net(net.parse().unwrap()) }
}

pub fn tcp_from(port: u16, net: &str) -> Allow {
    Allow { traffic: Traffic::Tcp { from: port, to: port }, peer: Peer::Net(net.parse().unwrap()) }
}

/// A VPC with two subnets: the first half of its range is public, the second private.
pub struct Vpc {
    pub desired: VpcDesired,
}

impl Vpc {
    pub fn new(cidr: &str) -> Self {
        let cidr: Ipv4Net = cidr.parse().unwrap();
        let halves: Vec<Ipv4Net> = cidr.subnets(cidr.prefix_len() + 1).unwrap().collect();
        let (public, private) = (RouteTableId::from_entropy(unique()), RouteTableId::from_entropy(unique()));
        let acl = NetworkAclId::from_entropy(unique());
        let open = vec![AclEntry {
            number: 100,
            traffic: Traffic::All,
            net: "0.0.0.0/0".parse().unwrap(),
            action: AclAction::Allow,
        }];
        let subnet = |cidr, route_table| SubnetDesired {
            ipv6_cidr: None,
            subnet: SubnetId::from_entropy(unique()),
            cidr: Some(cidr),
            route_table,
            network_acl: acl,
        };
        let everywhere =
            RouteDesired { destination: "0.0.0.0/0".parse().unwrap(), target: RouteTarget::InternetGateway };
        Self {
            desired: VpcDesired {
                ipv6_cidrs: Vec::new(),
                vpc: VpcId::from_entropy(unique()),
                account: AccountId::from_number(1),
                region: Region::parse("us-east-1").unwrap(),
                cidrs: vec![cidr],
                dns_support: true,
                subnets: vec![subnet(halves[0], public), subnet(halves[1], private)],
                gateway_table: None,
                vpn_table: None,
                route_tables: vec![
                    RouteTableDesired { route_table: public, routes: vec![everywhere] },
                    RouteTableDesired { route_table: private, routes: vec![] },
                ],
                peerings: Vec::new(),
                transits: Vec::new(),
                endpoints: Vec::new(),
                vpns: Vec::new(),
                nat_gateways: Vec::new(),
                flow_logs: Vec::new(),
                mirrors: Vec::new(),
                service_nodes: Vec::new(),
                network_acls: vec![NetworkAclDesired {
                    network_acl: acl,
                    ingress: open.clone(),
                    egress: open,
                }],
            },
        }
    }

    /// The same with an IPv6 block: a /64 for each subnet, the first one public by it too.
    pub fn with_ipv6(mut self, block: &str) -> Self {
        let block: Ipv6Net = block.parse().unwrap();
        self.desired.ipv6_cidrs = vec![block];
        for (subnet, cidr) in self.desired.subnets.iter_mut().zip(block.subnets(64).unwrap()) {
            subnet.ipv6_cidr = Some(cidr);
        }
        let everywhere: IpNet = "::/0".parse().unwrap();
        let target = RouteTarget::InternetGateway;
        self.desired.route_tables[0].routes.push(RouteDesired { destination: everywhere, target });
        for acl in &mut self.desired.network_acls {
            let open =
                AclEntry { number: 101, traffic: Traffic::All, net: everywhere, action: AclAction::Allow };
            acl.ingress.push(open);
            acl.egress.push(open);
        }
        self
    }

    /// The IPv6 address of the same number as an IPv4 one, if the subnet has a block.
    fn ipv6(subnet: &SubnetDesired, address: Ipv4Addr) -> Vec<Ipv6Addr> {
        let number = subnet.cidr.map(|cidr| address.to_bits() - cidr.network().to_bits());
        let number = u128::from(number.unwrap_or_default());
        subnet.ipv6_cidr.iter().map(|cidr| Ipv6Addr::from_bits(cidr.network().to_bits() | number)).collect()
    }

    pub fn interface(&self, address: Ipv4Addr, groups: &[&SecurityGroupDesired]) -> InterfaceDesired {
        let subnet =
            self.desired.subnets.iter().find(|s| s.cidr.is_some_and(|cidr| cidr.contains(&address))).unwrap();
        InterfaceDesired {
            ipv6: Self::ipv6(subnet, address),
            interface: NetworkInterfaceId::from_entropy(unique()),
            device_index: 0,
            mac: Mac::from_entropy(unique()),
            vpc: self.desired.vpc,
            subnet: subnet.subnet,
            subnet_cidr: subnet.cidr,
            addresses: vec![AddressDesired { private: address, public: None, withheld: None }],
            security_groups: groups.iter().map(|g| g.group).collect(),
            source_dest_check: true,
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            hostname: format!("ip-{}", address.to_string().replace('.', "-")),
            domain: "ec2.internal".into(),
            bandwidth: None,
        }
    }
}

fn instance(interface: InterfaceDesired) -> InstanceDesired {
    InstanceDesired {
        fork: None,
        // One instance an interface, told apart by it.
        instance: InstanceId::from_entropy(interface.interface.bits()),
        account: AccountId::from_number(1),
        zone: Zone::parse("us-east-1a").unwrap(),
        power: Power::On,
        run: 1,
        reboots: 0,
        machine: Machine {
            instance_type: "t3.micro".into(),
            architecture: Architecture::X86_64,
            vcpus: 1,
            memory: MiB(128),
            direct_kernel: None,
            firmware: model::host::Firmware::LegacyBios,
        },
        volumes: vec![],
        torn_out: Vec::new(),
        interfaces: vec![interface],
        cut_off: Vec::new(),
        metadata: Metadata {
            image: ImageId::from_entropy(1),
            reservation: ReservationId::from_entropy(1),
            launch_index: 0,
            pending_time: Timestamp::default(),
            public_key: None,
            user_data: None,
            group_names: BTreeMap::new(),
            interface_owners: BTreeMap::new(),
            options: MetadataOptions::default(),
            hibernation: false,
            tags: None,
        },
    }
}

/// A whole network stack behind a port: a namespace with a TAP of its own, and a thread that carries frames between both.
pub struct Guest {
    pub interface: InterfaceDesired,
    pub namespace: Arc<Namespace>,
    port: Arc<OwnedFd>,
    /// Every frame that the port has given to the guest.
    pub heard: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

const VNET_HEADER: usize = 10;

impl Guest {
    fn start(interface: InterfaceDesired, tap: Tap) -> Self {
        let namespace = Arc::new(anonymous_namespace());
        let inner = namespace.run(|| Ok(own_tap())).unwrap();
        let mut guest = Self {
            interface,
            namespace,
            port: Arc::new(tap.fd.unwrap()),
            heard: Arc::default(),
            stop: Arc::default(),
            pump: None,
        };
        guest.run("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad");
        guest.run(&format!("ip link set eth0 address {} mtu {} up", guest.interface.mac, tap.mtu));
        let (port, heard, stop) =
            (Arc::clone(&guest.port), Arc::clone(&guest.heard), Arc::clone(&guest.stop));
        let pump = std::thread::spawn(move || pump(&port, &inner, &heard, &stop));
        guest.pump = Some(pump);
        guest.configure();
        guest
    }

    /// As DHCP would.
    fn configure(&self) {
        if let Some(cidr) = self.interface.subnet_cidr {
            for address in &self.interface.addresses {
                self.run(&format!("ip addr add {}/{} dev eth0", address.private, cidr.prefix_len()));
            }
            self.run(&format!("ip route add default via {}", plan::net::gateway(cidr)));
        }
        for address in &self.interface.ipv6 {
            self.run(&format!("ip -6 addr add {address}/128 dev eth0 nodad"));
        }
        if !self.interface.ipv6.is_empty() {
            self.run("ip -6 route replace default via fe80::1 dev eth0 metric 5");
        }
    }

    pub fn address(&self) -> Ipv4Addr {
        self.interface.addresses[0].private
    }

    pub fn run(&self, command: &str) -> String {
        self.namespace.run(|| Ok(sh(command))).unwrap()
    }

    pub fn connect(&self, to: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        connect(&self.namespace, to, port)
    }

    /// For what should not work.
    pub fn connect_briefly(&self, to: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        connect_briefly(&self.namespace, to, port)
    }

    /// Whether an echo request is answered soon; a lost one is sent again.
    pub fn pings(&self, to: Ipv4Addr) -> bool {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if pings_briefly(&self.namespace, to) {
                return true;
            }
        }
        false
    }

    pub fn pings_briefly(&self, to: Ipv4Addr) -> bool {
        pings_briefly(&self.namespace, to)
    }

    pub fn serve(&self, port: u16) -> Echo {
        Echo::start(&self.namespace, port)
    }

    pub fn udp(&self, port: u16) -> UdpSocket {
        udp(&self.namespace, port)
    }

    /// Puts a frame on the wire, past the guest's own stack.
    pub fn inject(&self, frame: &[u8]) {
        let mut bytes = vec![0; VNET_HEADER];
        bytes.extend_from_slice(frame);
        rustix::io::write(&self.port, &bytes).unwrap();
    }

    /// The same with a TCP packet that is segmented on its way, as a guest with offloads sends it.
    pub fn inject_whole(&self, frame: &[u8], segment: u16) {
        const NEEDS_CHECKSUM: u8 = 1;
        const TCP_OVER_IPV4: u8 = 1;
        let mut bytes = vec![NEEDS_CHECKSUM, TCP_OVER_IPV4];
        // Headers, segment, where the checksum begins and where it is put.
        for number in [54, segment, 34, 16] {
            bytes.extend_from_slice(&u16::to_ne_bytes(number));
        }
        bytes.extend_from_slice(frame);
        rustix::io::write(&self.port, &bytes).unwrap();
    }

    /// Lets go of the port, as a machine's process does when it ends.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(pump) = self.pump.take() {
            pump.join().unwrap();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.finish();
    }
}

fn own_tap() -> OwnedFd {
    let fd = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0u8; 40];
    request[..4].copy_from_slice(b"eth0");
    request[16..18].copy_from_slice(&(0x0002u16 | 0x1000 | 0x4000).to_ne_bytes());
    // SAFETY: the descriptor is open; the request has the size of the kernel's `struct ifreq`.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), 0x4004_54ca, request.as_ptr()) };
    assert_eq!(done, 0, "TUNSETIFF: {}", io::Error::last_os_error());
    fd.into()
}

fn pump(port: &OwnedFd, inner: &OwnedFd, heard: &Mutex<Vec<Vec<u8>>>, stop: &AtomicBool) {
    let mut buffer = vec![0; 70_000];
    let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !stop.load(Ordering::SeqCst) {
        let mut fds = [PollFd::new(port, PollFlags::IN), PollFd::new(inner, PollFlags::IN)];
        if poll(&mut fds, Some(&tick)).is_err() {
            continue;
        }
        let ready = [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()];
        if ready[0] {
            match rustix::io::read(port, buffer.as_mut_slice()) {
                Ok(length) => {
                    heard.lock().unwrap().push(buffer[VNET_HEADER.min(length)..length].to_vec());
                    let _ = rustix::io::write(inner, &buffer[..length]);
                }
                Err(rustix::io::Errno::AGAIN) => {}
                // The link was deleted under us.
                Err(_) => return,
            }
        }
        if ready[1]
            && let Ok(length) = rustix::io::read(inner, buffer.as_mut_slice())
        {
            let _ = rustix::io::write(port, &buffer[..length]);
        }
    }
}

/// Everything of the host and of the named namespaces that a cloud could leave behind.
pub fn inventory() -> String {
    let namespaces: Vec<String> = netns::names("nube-").unwrap();
    let views = ["ip -br link", "ip -4 route show table all", "ip rule", "nft list ruleset"].map(sh);
    format!("{}\n{}", namespaces.join("\n"), views.join("\n"))
}
