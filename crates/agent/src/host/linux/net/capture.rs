//! Captures: every frame of a port as a pcap, while its machine runs.
//!
//! A packet socket listens at the port's link in its VPC's namespace; nothing about the port changes, and the agent is not
//! asked. What a guest's hardware would have finished (checksums, the cutting of large segments) is unfinished in it.
//! Source of the format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>

#![allow(unsafe_code)]

use super::rtnl::Rtnl;
use crate::host::linux::netns::{self, Namespace};
use model::{CloudTag, NetworkInterfaceId};
use plan::net::names;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, Write};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Nanoseconds, in this host's byte order.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// The longest frame that is kept whole; a large segment is shorter.
const LONGEST: usize = 256 << 10;
const ETHERNET: u32 = 1;

/// When a capture ends by itself; what is not said never ends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub frames: Option<u64>,
    pub time: Option<Duration>,
}

/// A port that is listened at.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Capture {
    /// Listens at an interface's port; none: it has none on this host. Needs root.
    pub fn open(cloud: &CloudTag, interface: NetworkInterfaceId) -> io::Result<Option<Self>> {
        let alias = interface.to_string();
        for name in netns::names(&names::namespace_prefix(cloud))? {
            if names::vpc_of_namespace(cloud, &name).is_none() {
                continue;
            }
            let namespace = match Namespace::open(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                namespace => namespace?,
            };
            let socket = namespace.run(|| {
                let links = Rtnl::open()?.links()?;
                let link = links
                    .into_iter()
                    .find(|link| names::is_tap(&link.name) && link.alias.as_ref() == Some(&alias));
                link.map(|link| listen(link.index)).transpose()
            })?;
            if let Some(socket) = socket {
                return Ok(Some(Self { socket, buffer: vec![0; LONGEST] }));
            }
        }
        Ok(None)
    }

    /// Writes what passes until a limit is reached or the port goes. Returns how many frames that were.
    pub fn write(&mut self, limits: Limits, out: &mut impl Write) -> io::Result<u64> {
        write_header(out)?;
        out.flush()?;
        let start = now();
        let mut frames = 0;
        while limits.frames.is_none_or(|most| frames < most) {
            let left = match limits.time {
                None => None,
                Some(time) => match time.checked_sub(now().saturating_sub(start)) {
                    Some(left) if !left.is_zero() => Some(left),
                    _ => break,
                },
            };
            if !self.waits(Some(Duration::ZERO))? {
                // Whoever reads along sees all that there is.
                out.flush()?;
                if !self.waits(left)? {
                    continue;
                }
            }
            let length = match rustix::io::read(&self.socket, self.buffer.as_mut_slice()) {
                Ok(length) => length,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                Err(rustix::io::Errno::NETDOWN | rustix::io::Errno::NODEV | rustix::io::Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            write_frame(out, now(), &self.buffer[..length])?;
            frames += 1;
        }
        out.flush()?;
        Ok(frames)
    }

    /// Whether a frame is there within this time.
    fn waits(&self, time: Option<Duration>) -> io::Result<bool> {
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut fds, time.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The time of day.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Realtime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

fn write_header(out: &mut impl Write) -> io::Result<()> {
    let mut header = MAGIC.to_ne_bytes().to_vec();
    header.extend(VERSION.iter().flat_map(|part| part.to_ne_bytes()));
    header.extend([0; 8]);
    header.extend((LONGEST as u32).to_ne_bytes());
    header.extend(ETHERNET.to_ne_bytes());
    out.write_all(&header)
}

fn write_frame(out: &mut impl Write, at: Duration, frame: &[u8]) -> io::Result<()> {
    let length = frame.len() as u32;
    let header = [at.as_secs() as u32, at.subsec_nanos(), length, length];
    out.write_all(&header.map(u32::to_ne_bytes).concat())?;
    out.write_all(frame)
}

/// A socket that hears all that a link of the calling thread's namespace carries, both ways.
fn listen(link: u32) -> io::Result<OwnedFd> {
    // Without a protocol it hears nothing before it is bound.
    // SAFETY: plain numbers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, open, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    bind(socket.as_fd(), link)?;
    Ok(socket)
}

/// Lets a packet socket hear all that a link carries, both ways.
pub(super) fn bind(socket: BorrowedFd<'_>, link: u32) -> io::Result<()> {
    const EVERYTHING: u16 = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: an all-zero sockaddr_ll is a valid value of its type.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = EVERYTHING;
    address.sll_ifindex = link.cast_signed();
    // SAFETY: the address is a whole sockaddr_ll of the size that is told.
    let done = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
