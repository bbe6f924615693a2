//! Connections, frames and those who answer: what tests send, and how they know what arrived.

use super::world::{A_MOMENT, SOON, eventually, unique};
use agent::host::linux::netns::Namespace;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub fn connect(namespace: &Namespace, to: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    connect_within(namespace, to, port, SOON)
}

/// For what should not work.
pub fn connect_briefly(namespace: &Namespace, to: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    connect_within(namespace, to, port, A_MOMENT)
}

fn connect_within(namespace: &Namespace, to: Ipv4Addr, port: u16, limit: Duration) -> io::Result<TcpStream> {
    namespace.run(|| {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((to, port)), limit)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    })
}

/// Sends a line and reads it back.
pub fn talk(stream: &mut TcpStream, line: &str) -> io::Result<String> {
    stream.write_all(line.as_bytes())?;
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

pub fn udp(namespace: &Namespace, port: u16) -> UdpSocket {
    namespace
        .run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
            socket.set_read_timeout(Some(SOON))?;
            Ok(socket)
        })
        .unwrap()
}

/// One echo request, and whether its answer comes within a moment.
pub fn pings_briefly(namespace: &Namespace, to: Ipv4Addr) -> bool {
    let socket = namespace
        .run(|| {
            let socket = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(ipproto::ICMP),
            )?;
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(A_MOMENT))?;
            Ok(socket)
        })
        .unwrap();
    let id = (unique() as u16).to_be_bytes();
    let mut packet = [8, 0, 0, 0, id[0], id[1], 0, 1];
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    if rustix::net::sendto(&socket, &packet, SendFlags::empty(), &SocketAddrV4::new(to, 0)).is_err() {
        return false;
    }
    let start = Instant::now();
    let mut buffer = [0; 512];
    while start.elapsed() < A_MOMENT {
        let Ok((length, _)) = rustix::net::recv(&socket, &mut buffer, RecvFlags::empty()) else {
            return false;
        };
        let reply = &buffer[..length];
        if length >= 28 && reply[20] == 0 && reply[24..26] == id && reply[12..16] == to.octets() {
            return true;
        }
    }
    false
}

pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Frames for [`Guest::inject`].
pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

pub fn ipv4_udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let total = (28 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&from.port().to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&(total - 20).to_be_bytes());
    // No checksum: allowed over IPv4.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// Data of a connection whose beginning nobody saw; the checksum of TCP is left to the kernel.
pub fn ipv4_tcp(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4_udp(SocketAddrV4::new(from, 4000), SocketAddrV4::new(to, 4001), &[]);
    packet.truncate(24);
    let total = (40 + payload.len()) as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[9] = 6;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// A TCP server that says everything back and remembers who came.
pub struct Echo {
    peers: Arc<Mutex<VecDeque<Ipv4Addr>>>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(namespace: &Namespace, port: u16) -> Self {
        let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
        let peers: Arc<Mutex<VecDeque<Ipv4Addr>>> = Arc::default();
        let (accepting, seen) = (listener.try_clone().unwrap(), Arc::clone(&peers));
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, from)) = accepting.accept() {
                if let SocketAddr::V4(from) = from {
                    seen.lock().unwrap().push_back(*from.ip());
                }
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { peers, listener, thread: Some(thread) }
    }

    /// Who came next.
    pub fn next_peer(&self) -> Ipv4Addr {
        eventually("a connection", || !self.nobody_else());
        self.peers.lock().unwrap().pop_front().unwrap()
    }

    pub fn nobody_else(&self) -> bool {
        self.peers.lock().unwrap().is_empty()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
