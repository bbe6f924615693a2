//! The VPC's resolver: private names by rule, everything else from the host's own resolvers.
//!
//! `ip-10-0-0-5.ec2.internal` and its reverse are computed, so they hold for every address of the VPC and need no table. The
//! names of instances without an IPv4 address, `i-….ec2.internal`, are looked up.
//! What is private and unknown is denied at once, and a silent upstream is given up quickly and left alone for a while:
//! a guest that boots must never wait for names.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>
//! Differs: public names of instances resolve to their public address inside the VPC too.

pub mod message;

use ipnet::Ipv4Net;
use message::*;
use model::host::VpcDesired;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, timeout};

/// How long one upstream may take.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long an upstream that stayed silent twice in a row is left alone.
const REST: Duration = Duration::from_secs(5);

/// What the resolver itself knows of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// The whole reply.
    Reply(Vec<u8>),
    /// Somebody else has to answer.
    Ask,
    /// Not a query: no answer at all.
    Ignore,
}

/// Where public addresses are from.
#[derive(Debug, Clone, Copy)]
pub struct Publics<'a> {
    /// The cloud's pool.
    pub pool: Ipv4Net,
    /// What accounts may bring: their names are answered here, their numbers asked for elsewhere, where they have an owner.
    pub brought: &'a [Ipv4Net],
}

/// Answers what follows from the VPC alone, and the names of the cloud's own API.
///
/// `elsewhere` knows the names of endpoints of other VPCs, and of instances that have no other name.
pub fn local(
    query: &[u8],
    vpc: Option<&VpcDesired>,
    publics: Publics<'_>,
    api_names: &BTreeSet<String>,
    elsewhere: impl Fn(&str) -> Option<Vec<IpAddr>>,
) -> Local {
    let question = match Asked::of(query) {
        Asked::For(question) => question,
        Asked::Unknown(reply) => return Local::Reply(reply),
        Asked::Nothing => return Local::Ignore,
    };
    let Some(vpc) = vpc else {
        return Local::Reply(reply(query, Some(&question), SERVER_FAILURE, None, None));
    };
    let internal = vpc.region.internal_domain();
    let inside = |address: &Ipv4Addr| vpc.cidrs.iter().any(|cidr| cidr.contains(address));
    let found = |kind: u16, data: Vec<u8>, zone: &str| {
        let asked = question.kind == kind || question.kind == ANY;
        let answer = asked.then_some((kind, data));
        Local::Reply(reply(query, Some(&question), NO_ERROR, answer, Some(zone)))
    };
    let denied = |zone: &str| Local::Reply(reply(query, Some(&question), NAME_ERROR, None, Some(zone)));

    if let Some(address) = reverse(&question.name) {
        if inside(&address) {
            return found(PTR, encode(&format!("{}.{internal}", host(address))), "in-addr.arpa");
        }
        // Nobody outside can know a private address, and the question would tell them ours.
        if address.is_private()
            || address.is_link_local()
            || address.is_loopback()
            || publics.pool.contains(&address)
        {
            return denied("in-addr.arpa");
        }
        return Local::Ask;
    }
    let own = vpc.endpoints.iter().flat_map(|endpoint| &endpoint.names);
    let own = own.filter(|name| name.name == question.name).map(|name| name.addresses.iter()).next();
    let own = own.map(|own| own.copied().collect());
    if let Some(addresses) = own.or_else(|| elsewhere(&question.name)) {
        let answers = addresses.into_iter().map(|address| match address {
            IpAddr::V4(v4) => (A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
        });
        let answers = answers.filter(|(kind, _)| [*kind, ANY].contains(&question.kind));
        let zone = Some(question.name.as_str());
        return Local::Reply(reply_all(query, Some(&question), NO_ERROR, answers, zone));
    }
    if api_names.contains(&question.name) {
        return found(A, plan::net::API.octets().to_vec(), &question.name);
    }
    if let Some(host) = below(&question.name, &internal) {
        return match dashed(host, "ip-").filter(inside) {
            Some(address) => found(A, address.octets().to_vec(), &internal),
            None if host.is_empty() => found(SOA, Vec::new(), &internal),
            None => denied(&internal),
        };
    }
    let public = vpc.region.public_domain();
    if let Some(address) = below(&question.name, &public).and_then(|host| dashed(host, "ec2-"))
        && [publics.pool].iter().chain(publics.brought).any(|range| range.contains(&address))
    {
        return found(A, address.octets().to_vec(), &public);
    }
    let last = question.name.rsplit('.').next().unwrap_or_default();
    if ["internal", "local", "localdomain", "home", "lan"].contains(&last) {
        return denied(last);
    }
    Local::Ask
}

/// The reply of a resolver that could not find out.
pub fn failure(query: &[u8]) -> Vec<u8> {
    reply(query, parse(query).as_ref(), SERVER_FAILURE, None, None)
}

fn host(address: Ipv4Addr) -> String {
    format!("ip-{}", address.to_string().replace('.', "-"))
}

/// The host's own resolvers, in the order of their choice.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<Server>,
    /// Questions that wait at the same time.
    room: Semaphore,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    silence: Mutex<Silence>,
}

#[derive(Debug, Default)]
struct Silence {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Upstream {
    pub fn new(servers: Vec<SocketAddr>) -> Arc<Self> {
        let servers =
            servers.into_iter().map(|address| Server { address, silence: Mutex::default() }).collect();
        Arc::new(Self { servers, room: Semaphore::new(512) })
    }

    /// Passes a UDP query on; a failure is an answer too, within a second.
    pub async fn ask(&self, query: &[u8]) -> Vec<u8> {
        let Ok(_room) = self.room.try_acquire() else { return failure(query) };
        let search = async {
            for server in self.servers.iter().filter(|server| server.is_awake()) {
                let outcome = timeout(PATIENCE, exchange(server.address, query)).await;
                server.heard(outcome.is_ok());
                if let Ok(Ok(answer)) = outcome {
                    return Some(answer);
                }
            }
            None
        };
        timeout(Duration::from_secs(1), search).await.ok().flatten().unwrap_or_else(|| failure(query))
    }

    /// Passes a query on by TCP, for answers that do not fit into a datagram.
    pub async fn ask_by_tcp(&self, query: &[u8]) -> Vec<u8> {
        let Ok(_room) = self.room.try_acquire() else { return failure(query) };
        for server in self.servers.iter().filter(|server| server.is_awake()) {
            let outcome = timeout(PATIENCE, exchange_by_tcp(server.address, query)).await;
            server.heard(outcome.is_ok());
            if let Ok(Ok(answer)) = outcome {
                return answer;
            }
        }
        failure(query)
    }
}

impl Server {
    fn is_awake(&self) -> bool {
        self.silence.lock().until.is_none_or(|until| Instant::now() >= until)
    }

    fn heard(&self, something: bool) {
        let mut silence = self.silence.lock();
        if something {
            *silence = Silence::default();
        } else {
            silence.in_a_row += 1;
            silence.until = (silence.in_a_row >= 2).then(|| Instant::now() + REST);
        }
    }
}

async fn exchange(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(&buffer[..length], query) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn exchange_by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if belongs(&answer, query) { Ok(answer) } else { Err(io::Error::other("an answer to another question")) }
}

/// Whether the answer has the query's id and repeats its question.
fn belongs(answer: &[u8], query: &[u8]) -> bool {
    let same_question = match (parse(answer), parse(query)) {
        (Some(a), Some(q)) => (a.name, a.kind, a.class) == (q.name, q.kind, q.class),
        _ => false,
    };
    answer.len() >= HEADER && answer[2] & 0x80 != 0 && answer[..2] == query[..2] && same_question
}

pub async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountId, Region, VpcId};
    use proptest::prelude::*;

    fn vpc() -> VpcDesired {
        VpcDesired {
            ipv6_cidrs: Vec::new(),
            vpc: VpcId::from_entropy(1),
            account: AccountId::from_number(1),
            region: Region::parse("us-east-1").unwrap(),
            cidrs: vec!["172.31.0.0/16".parse().unwrap()],
            dns_support: true,
            subnets: vec![],
            gateway_table: None,
            vpn_table: None,
            route_tables: vec![],
            peerings: Vec::new(),
            transits: Vec::new(),
            endpoints: Vec::new(),
            vpns: Vec::new(),
            nat_gateways: Vec::new(),
            flow_logs: Vec::new(),
            mirrors: Vec::new(),
            service_nodes: Vec::new(),
            network_acls: vec![],
        }
    }

    fn publics() -> Publics<'static> {
        static BROUGHT: [Ipv4Net; 1] = [Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24)];
        Publics { pool: "198.18.0.0/22".parse().unwrap(), brought: &BROUGHT }
    }

    fn api() -> BTreeSet<String> {
        [plan::net::API_NAME, "ec2.us-east-1.amazonaws.com"].map(str::to_owned).into()
    }

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(encode(name));
        bytes.extend(kind.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        bytes
    }

    fn answered(name: &str, kind: u16) -> Vec<u8> {
        match local(&query(name, kind), Some(&vpc()), publics(), &api(), |_| None) {
            Local::Reply(reply) => reply,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn the_names_of_endpoints_lead_to_their_interfaces() {
        let addresses: Vec<IpAddr> =
            ["2001:db8::5", "172.31.0.50", "172.31.16.50"].iter().map(|text| text.parse().unwrap()).collect();
        let name = |name: &str, private| model::host::EndpointName {
            name: name.to_owned(),
            addresses: addresses.clone(),
            private,
        };
        let mut vpc = vpc();
        vpc.endpoints.push(model::host::EndpointDesired {
            endpoint: model::VpcEndpointId::from_entropy(1),
            interfaces: Vec::new(),
            names: vec![name("ec2.us-east-1.amazonaws.com", true), name("vpce-1.ec2.example", false)],
            lead: model::host::EndpointLead::Api,
        });
        let asked = |name: &str, kind, vpc: &VpcDesired| {
            let elsewhere =
                |name: &str| (name == "vpce-2.ec2.example").then(|| vec![Ipv4Addr::new(10, 0, 0, 9).into()]);
            local(&query(name, kind), Some(vpc), publics(), &api(), elsewhere)
        };
        // Before the name of the API that is there in every VPC.
        for name in ["EC2.us-east-1.amazonaws.com", "vpce-1.ec2.example"] {
            let Local::Reply(reply) = asked(name, A, &vpc) else { panic!("{name}") };
            assert_eq!((reply[3] & 15, reply[7], reply[9]), (NO_ERROR, 2, 0), "{name}");
            assert!(reply.ends_with(&[172, 31, 16, 50]));
        }
        let Local::Reply(reply) = asked("vpce-1.ec2.example", AAAA, &vpc) else { panic!() };
        assert_eq!((reply[3] & 15, reply[7], reply[9], reply.last()), (NO_ERROR, 1, 0, Some(&5)));
        vpc.endpoints[0].names[1].addresses.remove(0);
        let Local::Reply(reply) = asked("vpce-1.ec2.example", AAAA, &vpc) else { panic!() };
        assert_eq!((reply[3] & 15, reply[7], reply[9]), (NO_ERROR, 0, 1), "no IPv6 address, and no denial");
        let Local::Reply(reply) = asked("vpce-2.ec2.example", A, &vpc) else { panic!() };
        assert!(reply.ends_with(&[10, 0, 0, 9]));
        vpc.endpoints.clear();
        let Local::Reply(reply) = asked("ec2.us-east-1.amazonaws.com", A, &vpc) else { panic!() };
        assert!(reply.ends_with(&plan::net::API.octets()));
        assert_eq!(asked("vpce-1.ec2.example", A, &vpc), Local::Ask);
    }

    #[test]
    fn private_names_are_computed_both_ways() {
        let reply = answered("IP-172-31-0-5.EC2.internal", A);
        assert_eq!((reply[3] & 15, reply[7]), (NO_ERROR, 1));
        assert!(reply.ends_with(&[0, 4, 172, 31, 0, 5]));
        let reply = answered("5.0.31.172.in-addr.arpa", PTR);
        assert!(reply.ends_with(&encode("ip-172-31-0-5.ec2.internal")));
    }

    #[test]
    fn an_instance_without_ipv4_is_found_by_its_id() {
        let address: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        let elsewhere = |name: &str| (name == "i-1.ec2.internal").then(|| vec![address.into()]);
        let asked = |name: &str, kind| {
            let Local::Reply(reply) = local(&query(name, kind), Some(&vpc()), publics(), &api(), elsewhere)
            else {
                panic!("{name}")
            };
            reply
        };
        let reply = asked("I-1.ec2.internal", AAAA);
        assert_eq!((reply[3] & 15, reply[7]), (NO_ERROR, 1));
        assert!(reply.ends_with(&address.octets()));
        let reply = asked("i-1.ec2.internal", A);
        assert_eq!((reply[3] & 15, reply[7], reply[9]), (NO_ERROR, 0, 1), "no IPv4 address, and no denial");
        assert_eq!(asked("i-2.ec2.internal", AAAA)[3] & 15, NAME_ERROR);
    }

    #[test]
    fn a_known_name_without_a_record_of_that_kind_is_no_error() {
        let reply = answered("ip-172-31-0-5.ec2.internal", 28);
        assert_eq!((reply[3] & 15, reply[7], reply[9]), (NO_ERROR, 0, 1));
    }

    #[test]
    fn private_and_unknown_is_denied_at_once() {
        for name in [
            "nobody.ec2.internal",
            "ip-10-0-0-1.ec2.internal",
            "ip-172-31-0-05.ec2.internal",
            "1.0.0.10.in-addr.arpa",
            "metadata.google.internal",
            "printer.local",
        ] {
            assert_eq!(answered(name, A)[3] & 15, NAME_ERROR, "{name}");
        }
    }

    #[test]
    fn public_names_are_asked_elsewhere() {
        for name in ["debian.org", "notec2.internal.example", "8.8.8.8.in-addr.arpa"] {
            assert_eq!(
                local(&query(name, A), Some(&vpc()), publics(), &api(), |_| None),
                Local::Ask,
                "{name}"
            );
        }
    }

    #[test]
    fn an_instances_public_name_is_its_public_address() {
        let reply = answered("ec2-198-18-0-9.compute-1.amazonaws.com", A);
        assert!(reply.ends_with(&[198, 18, 0, 9]));
    }

    #[test]
    fn the_api_has_its_names_and_other_services_are_not_ours() {
        for name in ["api.nube.internal", "EC2.us-east-1.amazonaws.com"] {
            assert!(answered(name, A).ends_with(&[169, 254, 169, 252]), "{name}");
            // No IPv6, said at once: clients ask for both.
            let reply = answered(name, 28);
            assert_eq!((reply[3] & 15, reply[7], reply[9]), (NO_ERROR, 0, 1));
        }
        assert_eq!(answered("other.nube.internal", A)[3] & 15, NAME_ERROR);
        let elsewhere = query("ec2.eu-west-1.amazonaws.com", A);
        assert_eq!(local(&elsewhere, Some(&vpc()), publics(), &api(), |_| None), Local::Ask);
    }

    #[test]
    fn a_response_is_never_answered() {
        let mut bytes = query("debian.org", A);
        bytes[2] |= 0x80;
        assert_eq!(local(&bytes, Some(&vpc()), publics(), &api(), |_| None), Local::Ignore);
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_resolver_fail(bytes in prop::collection::vec(any::<u8>(), 0..600), flags in 0u8..0x80) {
            let _ = local(&bytes, Some(&vpc()), publics(), &api(), |_| None);
            let _ = failure(&bytes);
            let mut query = query("a.b", A);
            query[2] = flags;
            query.truncate(HEADER);
            query.extend_from_slice(&bytes);
            let _ = local(&query, Some(&vpc()), publics(), &api(), |_| None);
            let _ = belongs(&query, &bytes);
        }
    }
}
