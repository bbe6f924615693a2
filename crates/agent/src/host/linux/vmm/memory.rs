//! A template's memory for a machine that maps it for itself: readable only, though QEMU opens it for writing.
//!
//! QEMU before 8.2 opens the file of `memory-backend-file` for reading and writing even when it maps it privately, and keeps
//! that descriptor. A machine that broke out of QEMU could then write into the memory that all later clones start from. So the
//! file is not in the sandbox at all: the one system call that wants it is suspended by a filter (seccomp user notification), and the keeper
//! answers it with a descriptor that can only be read. A private mapping needs no more.
//! Other files that QEMU opens so before are let through. After the answer the listener is closed, and the kernel refuses
//! such calls (`ENOSYS`).

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How long QEMU may take to come to its memory.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Two ends by which the one who installs the filter hands its listener to the keeper.
pub(super) fn hand_over() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Suspends this process's next opening of a file for reading and writing, and of nothing else: other openings of QEMU's have
/// more flags. The process must have given up new rights.
pub(super) fn suspend_opening(give: &OwnedFd) -> io::Result<()> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // Offsets in `struct seccomp_data`: number 0, architecture 4, lower half of the third argument 32.
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 4),
        step(EQUAL, 0, 4, ARCHITECTURE),
        step(LOAD, 0, 0, 0),
        step(EQUAL, 0, 2, libc::SYS_openat as u32),
        step(LOAD, 0, 0, 32),
        step(EQUAL, 1, 0, libc::O_RDWR as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter and its program live across the call, which copies them.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made a new descriptor, which nothing else owns.
    let listener = unsafe { OwnedFd::from_raw_fd(listener as i32) };
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let listeners = [listener.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&listeners));
    sendmsg(give, &[io::IoSlice::new(b"l")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Answers the suspended opening with this file. Also returns, with nothing done, when the process ended before.
pub(super) fn answer_opening(take: &OwnedFd, memory: &File) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let listener = receive(take)?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        if poll(&mut fds, Some(&patience))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU did not ask for its memory"));
        }
        if !fds[0].revents().contains(PollFlags::IN) {
            return Ok(());
        }
        // SAFETY: all-zero is what the kernel wants to find there.
        let mut asked: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the request fills the place that it is given.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } < 0 {
            // The process was killed in between.
            return Ok(());
        }
        if is_memory(&asked) {
            let answer = libc::seccomp_notif_addfd {
                id: asked.id,
                flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
                srcfd: memory.as_raw_fd() as u32,
                newfd: 0,
                newfd_flags: 0,
            };
            // SAFETY: the request reads the value that it is given.
            let done = unsafe {
                libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const answer)
            };
            return if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        }
        // What it may open in its sandbox, it may.
        let mut go_on = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        // SAFETY: the request reads the value that it is given.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut go_on) };
    }
}

/// Whether the name in the suspended call, in the other process's memory, is the memory's.
fn is_memory(asked: &libc::seccomp_notif) -> bool {
    const NAME: &str = plan::machine::MEMORY;
    let mut name = [0u8; NAME.len() + 1];
    let here = libc::iovec { iov_base: name.as_mut_ptr().cast(), iov_len: name.len() };
    let there = libc::iovec { iov_base: asked.data.args[1] as *mut libc::c_void, iov_len: name.len() };
    // SAFETY: the kernel writes at most as much as `here` says, and checks that the other process has `there`.
    let read = unsafe {
        libc::process_vm_readv(asked.pid as libc::pid_t, &raw const here, 1, &raw const there, 1, 0)
    };
    read == name.len() as isize && name.strip_suffix(b"\0") == Some(NAME.as_bytes())
}

fn receive(take: &OwnedFd) -> io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut byte = [0];
    let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(take, &mut [io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    descriptors.next().ok_or_else(|| io::Error::other("no listener came"))
}
