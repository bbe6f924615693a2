//! The system calls that the standard library lacks: the only unsafe code of the guest.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The group whose members may use `sudo`.
pub const WHEEL: u32 = 10;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Is this process a setuid-root run by someone else?
pub fn is_setuid() -> bool {
    // SAFETY: these calls take nothing and cannot fail.
    unsafe { libc::geteuid() != libc::getuid() }
}

/// The real user of this process.
pub fn user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getuid() }
}

/// The groups of this process.
pub fn groups() -> io::Result<Vec<u32>> {
    // SAFETY: a zero size only asks for the number.
    let count = check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0u32; count as usize];
    // SAFETY: the buffer holds `count` entries.
    let count = check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    groups.truncate(count as usize);
    // SAFETY: takes nothing, cannot fail.
    groups.push(unsafe { libc::getgid() });
    Ok(groups)
}

/// Becomes another user for good.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one slice; the other calls take plain numbers.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setgid(gid))?;
        check(libc::setuid(uid))?;
    }
    Ok(())
}

/// Mounts `source` on `target`; an empty `kind` is for moves and remounts.
pub fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong) -> io::Result<()> {
    mount_with(source, target, kind, flags, "")
}

/// The same with options of the filesystem.
pub fn mount_with(
    source: &str,
    target: &str,
    kind: &str,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let options = c_string(options)?;
    let (source, target, kind) = (c_string(source)?, c_string(target)?, c_string(kind)?);
    // SAFETY: strings ended by NUL that live across the call.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    })
    .map(drop)
}

/// Unmounts `target`.
pub fn unmount(target: &str) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: a string ended by NUL.
    check(unsafe { libc::umount2(target.as_ptr(), 0) }).map(drop)
}

/// Inserts a kernel module; one that is there already is fine.
pub fn insert_module(file: &File) -> io::Result<()> {
    // SAFETY: an open descriptor, an empty parameter string, no flags.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    match check(result as libc::c_int) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other.map(drop),
    }
}

/// Flushes the filesystem that this file is on.
pub fn flush_filesystem(file: &File) -> io::Result<()> {
    // SAFETY: an open descriptor.
    check(unsafe { libc::syncfs(file.as_raw_fd()) }).map(drop)
}

/// Flushes every filesystem.
pub fn sync() {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::sync() }
}

/// Asks the kernel to restart or to power off (`libc::RB_…`).
pub fn restart(how: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain number.
    check(unsafe { libc::reboot(how) }).map(drop)
}

/// Sets the host name.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Grows a mounted ext4 filesystem to `blocks` blocks (`EXT4_IOC_RESIZE_FS`); smaller or equal sizes change nothing.
pub fn grow_ext4(root: &File, blocks: u64) -> io::Result<()> {
    const EXT4_IOC_RESIZE_FS: libc::c_ulong = 0x4008_6610;
    // SAFETY: the request reads one u64.
    check(unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_RESIZE_FS as _, &raw const blocks) }).map(drop)
}

/// Mixes `seed` into the kernel's random pool, credits it fully, and reseeds the generator.
pub fn seed_random(device: &File, seed: [u8; 32]) -> io::Result<()> {
    const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    #[repr(C)]
    struct Pool {
        bits: libc::c_int,
        bytes: libc::c_int,
        seed: [u8; 32],
    }
    let pool = Pool { bits: 256, bytes: 32, seed };
    // SAFETY: the layout is `struct rand_pool_info` with 32 bytes of data; the second request takes no argument.
    unsafe {
        check(libc::ioctl(device.as_raw_fd(), RNDADDENTROPY as _, &raw const pool))?;
        check(libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG as _, 0)).map(drop)
    }
}

/// Random bytes from the kernel.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: pointer and length of one array; up to 256 bytes are never short.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    bytes
}

fn read_clock(which: libc::clockid_t) -> Duration {
    // SAFETY: an all-zero timespec is valid and is written by the call.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

/// Time since the kernel started, sleep included.
pub fn uptime() -> Duration {
    read_clock(libc::CLOCK_BOOTTIME)
}

/// Time since 1970.
pub fn wall_clock() -> Duration {
    read_clock(libc::CLOCK_REALTIME)
}

/// What a real-time clock shows, as the time since 1970; it counts in UTC.
pub fn hardware_clock(device: &File) -> io::Result<Duration> {
    const RTC_RD_TIME: libc::c_ulong = 0x8024_7009;
    // SAFETY: `struct rtc_time` is the first nine fields of `tm`, which all-zero is valid and larger.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: the request writes a `struct rtc_time` into the place above.
    check(unsafe { libc::ioctl(device.as_raw_fd(), RTC_RD_TIME as _, &raw mut time) })?;
    // SAFETY: the pointer is to the value above.
    let seconds = unsafe { libc::timegm(&raw mut time) };
    u64::try_from(seconds).map(Duration::from_secs).map_err(io::Error::other)
}

/// Steps the wall clock.
pub fn set_wall_clock(time: Duration) -> io::Result<()> {
    // SAFETY: an all-zero timespec is valid.
    let mut spec: libc::timespec = unsafe { mem::zeroed() };
    spec.tv_sec = time.as_secs() as _;
    spec.tv_nsec = time.subsec_nanos() as _;
    // SAFETY: the pointer is to a timespec of ours.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const spec) }).map(drop)
}

/// A netlink socket subscribed to `groups`.
pub fn netlink_socket(protocol: libc::c_int, groups: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; a descriptor that came back is owned by nobody else.
    let fd = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        ))?)
    };
    // SAFETY: an all-zero sockaddr_nl is valid.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = groups;
    // SAFETY: pointer and size of the address above.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), mem::size_of_val(&address) as u32)
    })?;
    Ok(fd)
}

fn link_address(interface: u32) -> libc::sockaddr_ll {
    // SAFETY: an all-zero sockaddr_ll is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = interface as i32;
    address.sll_halen = 6;
    address.sll_addr[..6].fill(0xff);
    address
}

/// A packet socket that carries IPv4 packets of one interface, without their link headers.
pub fn packet_socket(interface: u32) -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: plain numbers; a descriptor that came back is owned by nobody else.
    let fd = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            protocol.into(),
        ))?)
    };
    let address = link_address(interface);
    // SAFETY: pointer and size of the address above.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), mem::size_of_val(&address) as u32)
    })?;
    Ok(fd)
}

/// Broadcasts an IPv4 packet on the link.
pub fn broadcast(socket: &OwnedFd, interface: u32, packet: &[u8]) -> io::Result<()> {
    let address = link_address(interface);
    // SAFETY: pointers and sizes of a slice and of the address above.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            mem::size_of_val(&address) as u32,
        )
    };
    check(sent as libc::c_int).map(drop)
}

/// Sends on a connected or kernel-bound socket.
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) } as libc::c_int)
        .map(drop)
}

/// Receives one message; `None` when nothing came in time.
pub fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
    timeout: Option<Duration>,
) -> io::Result<Option<&'a [u8]>> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = timeout.map_or(-1, |timeout| timeout.as_millis().clamp(1, i32::MAX as u128) as i32);
    // SAFETY: one pollfd of ours.
    if check(unsafe { libc::poll(&raw mut poll, 1, millis) })? == 0 {
        return Ok(None);
    }
    // SAFETY: pointer and length of one slice.
    let length =
        check(unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) }
            as libc::c_int)?;
    Ok(Some(&buffer[..length as usize]))
}

/// A UDP socket on `port` of `address`, bound to one interface and allowed to broadcast.
pub fn udp_on_interface(name: &str, address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    // SAFETY: plain numbers; a descriptor that came back is owned by nobody else.
    let fd = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?)
    };
    let on: libc::c_int = 1;
    // SAFETY: an all-zero sockaddr_in is valid.
    let mut local: libc::sockaddr_in = unsafe { mem::zeroed() };
    local.sin_family = libc::AF_INET as u16;
    local.sin_port = port.to_be();
    local.sin_addr.s_addr = u32::from(address).to_be();
    // SAFETY: pointers and sizes of the values above, each of the type its option wants.
    unsafe {
        for option in [libc::SO_BROADCAST, libc::SO_REUSEADDR] {
            check(libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const on).cast(), 4))?;
        }
        check(libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            name.len() as u32,
        ))?;
        check(libc::bind(fd.as_raw_fd(), (&raw const local).cast(), mem::size_of_val(&local) as u32))?;
    }
    Ok(UdpSocket::from(fd))
}

/// The signals that process 1 waits for, blocked in this thread.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks `signals`, so that [`Signals::wait`] sees them and nothing else is interrupted.
    pub fn block(signals: &[libc::c_int]) -> Signals {
        // SAFETY: an all-zero set is storage that sigemptyset then initialises; the pointers are to that set.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Signals(set)
        }
    }

    /// Lets this process have all signals again: what is blocked is inherited by programs that are started.
    pub fn unblock_all() {
        // SAFETY: an all-zero set is storage that sigemptyset then initialises; the pointer is to that set.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
    }

    /// The next signal, or `None` after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<libc::c_int> {
        // SAFETY: an all-zero timespec is valid.
        let mut limit: libc::timespec = unsafe { mem::zeroed() };
        limit.tv_sec = timeout.as_secs() as _;
        limit.tv_nsec = timeout.subsec_nanos() as _;
        // SAFETY: the pointers are to the set and to the timespec above; no siginfo is wanted.
        let signal = unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const limit) };
        (signal > 0).then_some(signal)
    }
}

/// What [`reap`] found.
pub enum Reaped {
    /// This child ended.
    Child(u32),
    /// Children run, none has ended.
    Running,
    /// There are no children.
    None,
}

/// Collects one ended child without waiting.
pub fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the pointer is to an int of ours.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Reaped::Running,
        pid if pid > 0 => Reaped::Child(pid as u32),
        _ => Reaped::None,
    }
}

/// Sends a signal to a process, or to all but process 1 and the caller when `pid` is -1.
pub fn kill(pid: i32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}
