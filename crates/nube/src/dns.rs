//! The public DNS names of instances, answered on this host.
//!
//! `ec2-198-18-0-7.compute-1.amazonaws.com` is answered while the address is some interface's in that region, and its
//! reverse too; other names of the cloud's own addresses do not exist, and everything else is refused: this is no
//! resolver for the rest of the world. UDP and TCP, on loopback unless told otherwise; see [`crate::dns_setup`] for how
//! the host's resolver comes to ask here.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html>

use agent::link_local::dns::message::{A, ANY, Asked, NAME_ERROR, NO_ERROR, PTR, Question, REFUSED};
use agent::link_local::dns::message::{below, dashed, encode, reply, reverse};
use agent::link_local::dns::{read_framed, write_framed};
use control::{Cloud, Tables};
use ipnet::Ipv4Net;
use model::Region;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at a time, and how long one may take with its next question.
const CONNECTIONS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers until dropped. An address that cannot be had is reported and left: the cloud works without.
pub async fn serve(at: SocketAddr, cloud: Arc<Cloud>) {
    let open = async { io::Result::Ok((UdpSocket::bind(at).await?, TcpListener::bind(at).await?)) };
    match open.await {
        Ok((udp, tcp)) => {
            tracing::info!(%at, "answering public DNS names");
            tokio::join!(serve_udp(udp, &cloud), serve_tcp(tcp, &cloud));
        }
        Err(error) => tracing::error!(%at, %error, "public DNS names are not answered"),
    }
}

async fn serve_udp(socket: UdpSocket, cloud: &Cloud) {
    let mut buffer = vec![0; 4096];
    loop {
        // The refusal of an earlier answer, at worst a socket that is broken for good.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if let Some(reply) = answer(cloud, &buffer[..length]) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, cloud: &Arc<Cloud>) {
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(room) = Arc::clone(&open).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let cloud = Arc::clone(cloud);
        tokio::spawn(async move {
            converse(stream, &cloud).await;
            drop(room);
        });
    }
}

async fn converse(mut stream: TcpStream, cloud: &Cloud) {
    while let Ok(Ok(query)) = timeout(PATIENCE, read_framed(&mut stream)).await {
        let Some(reply) = answer(cloud, &query) else { return };
        if !matches!(timeout(PATIENCE, write_framed(&mut stream, &reply)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(cloud: &Cloud, query: &[u8]) -> Option<Vec<u8>> {
    let question = match Asked::of(query) {
        Asked::For(question) => question,
        Asked::Unknown(reply) => return Some(reply),
        Asked::Nothing => return None,
    };
    let regions: Vec<&Region> = cloud.settings.regions.iter().map(|settings| &settings.region).collect();
    let tables = cloud.view.read();
    let is_live = |region: &Region, address| is_live(&tables, region, address);
    let said = judge(&question, &regions, cloud.settings.public_pool, is_live);
    Some(match said {
        Said::Is { kind, data, zone } => {
            let asked = question.kind == kind || question.kind == ANY;
            reply(query, Some(&question), NO_ERROR, asked.then_some((kind, data)), Some(&zone))
        }
        Said::IsNot { zone } => reply(query, Some(&question), NAME_ERROR, None, Some(&zone)),
        Said::NotOurs => reply(query, Some(&question), REFUSED, None, None),
    })
}

/// Whether an interface in this region has the public address now.
fn is_live(tables: &Tables, region: &Region, address: Ipv4Addr) -> bool {
    ec2::network_interface::allocate::public_holder(tables, region, address).is_some()
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// The name is there, and has this one record.
    Is {
        kind: u16,
        data: Vec<u8>,
        zone: String,
    },
    IsNot {
        zone: String,
    },
    NotOurs,
}

fn judge(
    question: &Question,
    regions: &[&Region],
    pool: Ipv4Net,
    is_live: impl Fn(&Region, Ipv4Addr) -> bool,
) -> Said {
    if let Some(address) = reverse(&question.name) {
        let zone = "in-addr.arpa".to_owned();
        return match regions.iter().find(|region| is_live(region, address)) {
            Some(region) => {
                Said::Is { kind: PTR, data: encode(&ec2::instance::names::public(region, address)), zone }
            }
            None if pool.contains(&address) => Said::IsNot { zone },
            None => Said::NotOurs,
        };
    }
    for region in regions {
        let zone = region.public_domain();
        let Some(host) = below(&question.name, &zone) else { continue };
        return match dashed(host, "ec2-") {
            // One that an account brought is in no pool of ours.
            Some(address) if is_live(region, address) => {
                Said::Is { kind: A, data: address.octets().to_vec(), zone }
            }
            // Of AWS itself, perhaps: not for us to deny.
            Some(address) if !pool.contains(&address) => Said::NotOurs,
            _ => Said::IsNot { zone },
        };
    }
    Said::NotOurs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> Said {
        let regions = ["us-east-1", "eu-central-1"].map(|name| Region::parse(name).unwrap());
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(encode(name));
        query.extend([0, 1, 0, 1]);
        let Asked::For(question) = Asked::of(&query) else { panic!("{name} is no question") };
        let live = Ipv4Addr::new(198, 18, 0, 7);
        let brought = Ipv4Addr::new(203, 0, 113, 7);
        let pool = "198.18.0.0/22".parse().unwrap();
        judge(&question, &[&regions[0], &regions[1]], pool, |region, address| {
            region.as_str() == "eu-central-1" && (address == live || address == brought)
        })
    }

    #[test]
    fn a_live_address_has_its_name_in_its_own_region_alone() {
        let here = said("EC2-198-18-0-7.eu-central-1.compute.amazonaws.com");
        assert!(matches!(here, Said::Is { kind: A, data, .. } if data == [198, 18, 0, 7]));
        assert!(matches!(said("ec2-198-18-0-7.compute-1.amazonaws.com"), Said::IsNot { .. }));
        assert!(matches!(said("ec2-198-18-0-8.eu-central-1.compute.amazonaws.com"), Said::IsNot { .. }));
        let Said::Is { kind: PTR, data, .. } = said("7.0.18.198.in-addr.arpa") else { panic!("no name") };
        assert_eq!(data, encode("ec2-198-18-0-7.eu-central-1.compute.amazonaws.com"));
    }

    #[test]
    fn an_address_that_was_brought_has_its_names_while_it_is_live() {
        let here = said("ec2-203-0-113-7.eu-central-1.compute.amazonaws.com");
        assert!(matches!(here, Said::Is { kind: A, data, .. } if data == [203, 0, 113, 7]));
        assert!(matches!(said("7.113.0.203.in-addr.arpa"), Said::Is { kind: PTR, .. }));
        assert_eq!(said("8.113.0.203.in-addr.arpa"), Said::NotOurs);
    }

    #[test]
    fn what_is_not_of_this_cloud_is_refused_not_denied() {
        for name in [
            "debian.org",
            "ec2-52-1-2-3.compute-1.amazonaws.com",
            "ec2-198-18-0-7.ap-south-1.compute.amazonaws.com",
            "8.8.8.8.in-addr.arpa",
            "xcompute-1.amazonaws.com",
        ] {
            assert_eq!(said(name), Said::NotOurs, "{name}");
        }
        assert!(matches!(said("www.compute-1.amazonaws.com"), Said::IsNot { .. }));
    }
}
