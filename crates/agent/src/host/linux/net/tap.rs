//! TAP devices: a port's link, which lives as long as somebody holds its descriptor.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETIFINDEX: libc::Ioctl = 0x4004_54da;
const TAP: u16 = 0x0002;
const NO_PACKET_INFO: u16 = 0x1000;
const VNET_HEADER: u16 = 0x4000;

#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes a TAP with virtio headers in the calling thread's namespace. Its link has the number, which no other may have there;
/// none: the kernel finds one.
pub fn create(name: &str, number: Option<u32>) -> io::Result<OwnedFd> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: TAP | NO_PACKET_INFO | VNET_HEADER, rest: [0; 22] };
    if name.len() > 15 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link's name has 15 bytes at most"));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let number = number.unwrap_or(0);
    // SAFETY: the descriptor is open, and the number is what the call reads.
    let numbered = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFINDEX, &raw const number) };
    if numbered != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open and the request has the size and layout of the kernel's `struct ifreq`.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw const request) };
    if done == 0 { Ok(file.into()) } else { Err(io::Error::last_os_error()) }
}
