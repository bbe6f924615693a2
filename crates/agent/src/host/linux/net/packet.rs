//! UDP sockets that know by which interface, and to which of the router's addresses, a packet came.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A datagram's way in.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    pub length: usize,
    pub from: SocketAddrV4,
    /// The index of the link.
    pub link: u32,
    /// The address of ours that it was sent to.
    pub to: Ipv4Addr,
}

/// Where a datagram leaves.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub to: SocketAddrV4,
    pub source: Ipv4Addr,
    /// The index of the link; 0: as the routes say.
    pub link: u32,
}

#[derive(Debug)]
pub struct PacketSocket(UdpSocket);

/// Room for one control message with an `in_pktinfo`, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Binds in the calling thread's namespace.
pub fn bind(port: u16) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    turn_on(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    Ok(socket)
}

/// Sends without UDP checksums. A guest's DHCP client reads raw frames, in which a checksum that was left to the
/// (virtual) hardware is still unfinished, and would drop them as damaged.
pub fn without_checksums(socket: std::net::UdpSocket) -> io::Result<std::net::UdpSocket> {
    turn_on(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK)?;
    Ok(socket)
}

fn turn_on(socket: &std::net::UdpSocket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    set_option(socket, level, option, &on)
}

/// Sets an option whose value is a number or a structure of the kernel's.
pub(super) fn set_option<T>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the value readable and of the given size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl PacketSocket {
    /// Within a runtime.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        UdpSocket::from_std(socket).map(Self)
    }

    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_raw_fd(), buffer)).await
    }

    pub async fn send(&self, bytes: &[u8], way: Way) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(self.0.as_raw_fd(), bytes, way)).await
    }
}

fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 64]);
    // SAFETY: an all-zero sockaddr_in and msghdr are valid values of these types.
    let (mut from, mut message): (libc::sockaddr_in, libc::msghdr) =
        unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: every pointer in the message names a live buffer of the length beside it.
    let length = unsafe { libc::recvmsg(fd, &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let (mut link, mut to) = (0, Ipv4Addr::UNSPECIFIED);
    // SAFETY: the kernel has filled the control buffer and its length; the macros walk it within that length.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::IPPROTO_IP && (*header).cmsg_type == libc::IP_PKTINFO {
                let info: libc::in_pktinfo = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                link = info.ipi_ifindex.cast_unsigned();
                to = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    let address = Ipv4Addr::from_bits(u32::from_be(from.sin_addr.s_addr));
    Ok(Received { length, from: SocketAddrV4::new(address, u16::from_be(from.sin_port)), link, to })
}

fn send(fd: RawFd, bytes: &[u8], way: Way) -> io::Result<()> {
    let mut control = Control([0; 64]);
    // SAFETY: an all-zero sockaddr_in and msghdr are valid values of these types.
    let (mut to, mut message): (libc::sockaddr_in, libc::msghdr) =
        unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
    to.sin_family = libc::AF_INET as libc::sa_family_t;
    to.sin_port = way.to.port().to_be();
    to.sin_addr.s_addr = way.to.ip().to_bits().to_be();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_name = (&raw mut to).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    let info = libc::in_pktinfo {
        ipi_ifindex: way.link.cast_signed(),
        ipi_spec_dst: libc::in_addr { s_addr: way.source.to_bits().to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    // SAFETY: the control buffer is larger than one header with an in_pktinfo, and aligned for it; the kernel only reads
    // what the message names.
    let sent = unsafe {
        let size = size_of::<libc::in_pktinfo>() as u32;
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::IPPROTO_IP;
        (*header).cmsg_type = libc::IP_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
        std::ptr::write_unaligned(libc::CMSG_DATA(header).cast(), info);
        libc::sendmsg(fd, &raw const message, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
