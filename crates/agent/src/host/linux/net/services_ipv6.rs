//! The sockets of a VPC's services by IPv6: advertisements, DHCPv6, DNS and time.
//!
//! A guest's link-local address is scoped to its port's link, which tells the interface. The packet filter has checked both
//! before a packet comes up, and has led what clients send to all servers to the router's own address.

#![allow(unsafe_code)]

use super::services::Context;
use crate::link_local::{dns, ipv6, ntp};
use model::clock::SystemClock;
use model::{Clock as _, NetworkInterfaceId};
use plan::net::ipv6 as plan6;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::collections::HashMap;
use std::io;
use std::mem::size_of;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

/// How often a router speaks unasked, and how soon of interfaces that have just got IPv6.
const UNASKED: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_secs(2);

pub struct Sockets {
    advertisements: OwnedFd,
    dhcp: std::net::UdpSocket,
    dns: std::net::UdpSocket,
    pub dns_tcp: TcpListener,
    ntp: std::net::UdpSocket,
    pub metadata: TcpListener,
}

impl Sockets {
    /// In the calling thread's namespace. The services' addresses need not be there yet.
    pub fn open(
        patiently: impl Fn(&mut dyn FnMut() -> io::Result<OwnedFd>) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let udp = |address: Ipv6Addr, port: u16| -> io::Result<std::net::UdpSocket> {
            let socket = patiently(&mut || Ok(std::net::UdpSocket::bind((address, port))?.into()))?;
            let socket = std::net::UdpSocket::from(socket);
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let tcp = |address: Ipv6Addr, port: u16| -> io::Result<TcpListener> {
            let listener = patiently(&mut || Ok(TcpListener::bind((address, port))?.into()))?;
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        Ok(Self {
            advertisements: solicitations()?,
            dhcp: udp(Ipv6Addr::UNSPECIFIED, 547)?,
            dns: udp(plan6::RESOLVER, 53)?,
            dns_tcp: tcp(plan6::RESOLVER, 53)?,
            ntp: udp(plan6::TIME, 123)?,
            metadata: tcp(plan6::METADATA, 80)?,
        })
    }

    /// Serves what needs no other's help, within a runtime.
    pub fn serve(
        advertisements: OwnedFd,
        [dhcp, dns, ntp]: [std::net::UdpSocket; 3],
        context: &Arc<Context>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let dns = Arc::new(UdpSocket::from_std(dns)?);
        // SAFETY: the descriptor is owned by what is registered, open and the same until that is dropped.
        let advertisements = unsafe { AsyncFd::register(advertisements)? };
        Ok(vec![
            tokio::spawn(advertise(Arc::clone(context), advertisements)),
            tokio::spawn(serve_dhcp(Arc::clone(context), UdpSocket::from_std(dhcp)?)),
            tokio::spawn(serve_dns(Arc::clone(context), dns)),
            tokio::spawn(serve_ntp(UdpSocket::from_std(ntp)?)),
        ])
    }

    pub fn split(self) -> (OwnedFd, [std::net::UdpSocket; 3], TcpListener, TcpListener) {
        (self.advertisements, [self.dhcp, self.dns, self.ntp], self.dns_tcp, self.metadata)
    }
}

/// A socket that hears router solicitations and nothing else, and whose packets are what neighbours' must be.
fn solicitations() -> io::Result<OwnedFd> {
    /// From linux/icmpv6.h: a bit for each type, set for those that are kept out.
    const ICMP6_FILTER: libc::c_int = 1;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6))?;
    sockopt::set_ipv6_unicast_hops(&socket, Some(255))?;
    let mut filter = [u32::MAX; 8];
    let wanted = usize::from(ipv6::ROUTER_SOLICITATION);
    filter[wanted / 32] &= !(1 << (wanted % 32));
    // SAFETY: the descriptor is open and the option's value is an array of eight words of the given size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMP6_FILTER,
            filter.as_ptr().cast(),
            size_of::<[u32; 8]>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// The interface behind a link-local sender.
fn interface(context: &Context, from: &SocketAddrV6) -> Option<NetworkInterfaceId> {
    context.ports.read().get(&from.scope_id()).copied()
}

/// Tells each interface that has IPv6 of its router: when it asks, when it has just got IPv6, and now and then.
async fn advertise(context: Arc<Context>, socket: AsyncFd<OwnedFd>) {
    let mut told: HashMap<u32, Instant> = HashMap::new();
    let mut buffer = [0; 256];
    loop {
        let asked = socket.async_io(Interest::READABLE, |fd| {
            let (_, _, from) = rustix::net::recvfrom(fd, &mut buffer[..], rustix::net::RecvFlags::empty())?;
            Ok(from.and_then(|from| SocketAddrV6::try_from(from).ok()))
        });
        match timeout(LOOK, asked).await {
            Ok(Ok(Some(from))) => {
                if interface(&context, &from).is_some_and(|id| tell(&context, &socket, from.scope_id(), id)) {
                    told.insert(from.scope_id(), Instant::now());
                }
            }
            Ok(_) => {}
            Err(_) => {
                let ports: Vec<(u32, NetworkInterfaceId)> =
                    context.ports.read().iter().map(|(link, id)| (*link, *id)).collect();
                told.retain(|link, _| ports.iter().any(|(port, _)| port == link));
                for (link, id) in ports {
                    let due = told.get(&link).is_none_or(|last| last.elapsed() >= UNASKED);
                    if due && tell(&context, &socket, link, id) {
                        told.insert(link, Instant::now());
                    }
                }
            }
        }
    }
}

/// Whether the interface has IPv6, and was told so.
fn tell(context: &Context, socket: &AsyncFd<OwnedFd>, link: u32, id: NetworkInterfaceId) -> bool {
    let Some(occupant) = context.config.directory.behind(id) else { return false };
    let interface = occupant.interface();
    if !interface.has_ipv6() {
        return false;
    }
    let to = SocketAddrV6::new(plan6::link_local(interface.mac), 0, 0, link);
    let flags = rustix::net::SendFlags::DONTWAIT;
    rustix::net::sendto(socket.get_ref(), &ipv6::advertisement(), flags, &to).is_ok()
}

async fn serve_dhcp(context: Arc<Context>, socket: UdpSocket) {
    let mut buffer = vec![0; 2048];
    loop {
        let Ok((length, SocketAddr::V6(from))) = socket.recv_from(&mut buffer).await else { continue };
        let Some(interface) = interface(&context, &from) else { continue };
        let Some(lease) = ipv6::lease(&context.config.directory, interface) else { continue };
        let Some(reply) = ipv6::answer(&buffer[..length], *from.ip(), &lease) else { continue };
        if let Err(error) = socket.send_to(&reply, from).await {
            tracing::debug!(%interface, %error, "a DHCPv6 answer was not sent");
        }
    }
}

async fn serve_dns(context: Arc<Context>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if !context.limit.admits(from.ip(), Instant::now()) {
            continue;
        }
        let query = &buffer[..length];
        match context.local(query) {
            dns::Local::Reply(reply) => {
                let _ = socket.send_to(&reply, from).await;
            }
            dns::Local::Ignore => {}
            dns::Local::Ask => {
                let (context, socket, query) = (Arc::clone(&context), Arc::clone(&socket), query.to_vec());
                tokio::spawn(async move {
                    let _ = socket.send_to(&context.ask(&query).await, from).await;
                });
            }
        }
    }
}

async fn serve_ntp(socket: UdpSocket) {
    let mut buffer = vec![0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(reply) = ntp::answer(&buffer[..length], SystemClock.now()) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}
