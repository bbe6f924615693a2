//! Traffic mirroring: what an interface says and hears, copied to others of its VPC.
//!
//! For each source a thread listens at its port's link as a capture does, so it gets what the machine sends before any rule
//! has seen it, and what comes to the machine after all have let it pass. The copies leave by a raw socket in the VPC's
//! namespace, marked: by the mark the rule set asks the target's gate ([`plan::mirror::MARKS`]), and no listener hears
//! them again. The thread is behind all others in line and its socket holds little: what it cannot follow is not
//! copied, and no packet of a machine waits for it.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/mirroring/traffic-mirroring-how-it-works.html>
//! Differs: while the agent is away nothing is copied; copies count at the target's bandwidth alone.

#![allow(unsafe_code)]

use super::State;
use super::packet::set_option;
use crate::host::linux::netns::Namespace;
use model::traffic_mirror::Direction;
use model::{NetworkInterfaceId, VpcId};
use parking_lot::Mutex;
use plan::mirror::{MARKS, Mirror, Offload};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The longest frame that a link carries, before it is cut.
const LONGEST: usize = 128 << 10;
/// How much the kernel keeps of what is not yet copied; it doubles it.
const KEPT: libc::c_int = 2 << 20;
/// Behind everything else of the host.
const NICE: i32 = 10;
/// How many frames are read before the thread looks whether it is to end.
const BATCH: usize = 64;
/// How often, in seconds and in frames, it tells what was lost.
const TOLD_EVERY: i64 = 60;
const TOLD_AFTER: u64 = 1_000_000;
const PACKET_VNET_HDR: libc::c_int = 15;

/// The copying of one interface. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Mirroring {
    vpc: VpcId,
    link: u32,
    what: Arc<Mutex<Arc<Mirror>>>,
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Mirroring {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked and said so.
            let _ = thread.join();
        }
    }
}

impl State {
    /// Begins, changes and ends copying as a VPC's sessions and ports are now.
    pub(super) fn mirror(&mut self, vpc: VpcId) -> io::Result<()> {
        let mut wanted: BTreeMap<NetworkInterfaceId, (u32, Mirror)> = BTreeMap::new();
        let router = self.vpcs.get(&vpc).map(|(router, _)| router);
        if let Some(router) = router
            && let Some(desired) = &router.desired
        {
            for session in &desired.mirrors {
                let (Some(port), Some(mirror)) =
                    (router.ports.get(&session.source), Mirror::of(desired, session.source))
                else {
                    continue;
                };
                wanted.insert(session.source, (port.index, mirror));
            }
        }
        self.mirrors.retain(|source, mirroring| {
            mirroring.vpc != vpc || wanted.get(source).is_some_and(|(link, _)| *link == mirroring.link)
        });
        let Some(router) = router else { return Ok(()) };
        for (source, (link, mirror)) in wanted {
            if let Some(mirroring) = self.mirrors.get(&source) {
                *mirroring.what.lock() = Arc::new(mirror);
                continue;
            }
            let mirroring = Mirroring::start(&router.namespace, vpc, (source, link), mirror)?;
            self.mirrors.insert(source, mirroring);
        }
        Ok(())
    }
}

impl Mirroring {
    fn start(
        namespace: &Namespace,
        vpc: VpcId,
        (source, link): (NetworkInterfaceId, u32),
        mirror: Mirror,
    ) -> io::Result<Self> {
        let (heard, out) = namespace.run(|| Ok((listen(link)?, [sender(MARKS[0])?, sender(MARKS[1])?])))?;
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let what = Arc::new(Mutex::new(Arc::new(mirror)));
        let copier = Copier { source, heard, out, stopped, what: Arc::clone(&what), lost: 0 };
        let thread = std::thread::Builder::new().name("mirror".into()).spawn(move || copier.run())?;
        Ok(Self { vpc, link, what, stop: Some(stop), thread: Some(thread) })
    }
}

struct Copier {
    source: NetworkInterfaceId,
    heard: OwnedFd,
    /// With a mark each.
    out: [OwnedFd; 2],
    stopped: OwnedFd,
    what: Arc<Mutex<Arc<Mirror>>>,
    lost: u64,
}

impl Copier {
    fn run(mut self) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::warn!(source = %self.source, %error, "copies are as urgent as all else");
        }
        let mut buffer = vec![0; Offload::HEADER + LONGEST];
        let mut frames = 0_u64;
        loop {
            match self.wait() {
                Ok(Waited::Stopped) => break,
                Ok(Waited::Quiet) => self.tell(),
                Ok(Waited::Heard) => {}
                Err(error) => {
                    tracing::error!(source = %self.source, %error, "mirroring has ended");
                    break;
                }
            }
            let mirror = Arc::clone(&self.what.lock());
            for _ in 0..BATCH {
                let Some((direction, length)) = self.receive(&mut buffer) else { break };
                self.copy(&mirror, direction, &mut buffer[..length]);
                frames += 1;
                if frames.is_multiple_of(TOLD_AFTER) {
                    self.tell();
                }
            }
        }
        self.tell();
    }

    fn wait(&self) -> io::Result<Waited> {
        let time = Timespec { tv_sec: TOLD_EVERY, tv_nsec: 0 };
        // The end of the pipe is a hang-up, which is always told.
        let mut fds =
            [PollFd::new(&self.stopped, PollFlags::empty()), PollFd::new(&self.heard, PollFlags::IN)];
        match poll(&mut fds, Some(&time)) {
            Ok(0) => Ok(Waited::Quiet),
            Ok(_) if !fds[0].revents().is_empty() => Ok(Waited::Stopped),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Waited::Heard),
            Err(error) => Err(error.into()),
        }
    }

    /// What there is to copy, and its length with the header before it; none: nothing now.
    fn receive(&self, buffer: &mut [u8]) -> Option<(Direction, usize)> {
        // SAFETY: an all-zero sockaddr_ll is a valid value of its type.
        let mut from: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: buffer and address are writable and of the sizes that are told.
        let length = unsafe {
            libc::recvfrom(
                self.heard.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                (&raw mut from).cast(),
                &raw mut size,
            )
        };
        // Whatever is wrong (the link went down, a segment of a kind that has no header) is told once.
        let length = usize::try_from(length).ok()?;
        let direction =
            if from.sll_pkttype == libc::PACKET_OUTGOING { Direction::Ingress } else { Direction::Egress };
        Some((direction, length))
    }

    fn copy(&mut self, mirror: &Mirror, direction: Direction, heard: &mut [u8]) {
        let Some((header, frame)) = heard.split_first_chunk_mut::<{ Offload::HEADER }>() else { return };
        let (out, mut lost) = (&self.out, 0);
        mirror.copy(direction, frame, Offload::parse(header), |session, datagram| {
            let way = usize::from(!session.within_subnet);
            match send(&out[way], datagram, session.to) {
                // The target's gate refuses it, or it has no port at present.
                Ok(()) | Err(libc::EPERM | libc::EHOSTUNREACH | libc::ENETUNREACH) => {}
                Err(_) => lost += 1,
            }
        });
        self.lost += lost;
    }

    /// Says what could not be copied since it was last told.
    fn tell(&mut self) {
        let lost = std::mem::take(&mut self.lost) + u64::from(missed(&self.heard));
        if lost > 0 {
            tracing::warn!(source = %self.source, lost, "packets were not mirrored: there were too many");
        }
    }
}

enum Waited {
    Stopped,
    Heard,
    Quiet,
}

/// How many frames the kernel has dropped since it was last asked.
fn missed(socket: &OwnedFd) -> u32 {
    let mut counts = [0_u32; 2];
    let mut size = size_of_val(&counts) as libc::socklen_t;
    // SAFETY: the buffer is writable and of the size that is told, that of the kernel's `struct tpacket_stats`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            counts.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if done == 0 { counts[1] } else { 0 }
}

/// A socket that hears all that a link of the calling thread's namespace carries, but for copies.
fn listen(link: u32) -> io::Result<OwnedFd> {
    // Without a protocol it hears nothing before it is bound, when the filter stands.
    let socket = open(libc::AF_PACKET, 0)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &KEPT)?;
    set_option(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, &1_i32)?;
    let mut filter = without_copies();
    let program = libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_mut_ptr() };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    super::capture::bind(socket.as_fd(), link)?;
    Ok(socket)
}

/// Drops what has one of the marks of copies.
fn without_copies() -> [libc::sock_filter; 5] {
    const MARK: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_MARK).cast_unsigned();
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, MARK),
        step(is, 2, 0, MARKS[0]),
        step(is, 1, 0, MARKS[1]),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

/// A socket that sends whole IPv4 packets, with a mark.
fn sender(mark: u32) -> io::Result<OwnedFd> {
    let socket = open(libc::AF_INET, libc::IPPROTO_RAW)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_MARK, &mark)?;
    Ok(socket)
}

fn open(family: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; the result is checked.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, open, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The error's number, if it is not sent.
fn send(socket: &OwnedFd, packet: &[u8], to: Ipv4Addr) -> Result<(), i32> {
    // SAFETY: an all-zero sockaddr_in is a valid value of its type.
    let mut address: libc::sockaddr_in = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = to.to_bits().to_be();
    // SAFETY: packet and address are readable and of the sizes that are told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or_default()) } else { Ok(()) }
}
