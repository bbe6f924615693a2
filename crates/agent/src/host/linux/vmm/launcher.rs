//! Builds a machine's sandbox and starts its process in it. Runs as a program of its own (`nube vm-exec`), never inside
//! the agent: it forks, and only a process of one thread may.
//!
//! ```text
//! agent ──spec on stdin──► launcher ──fork──► keeper (new session) ──fork──► QEMU
//!                             │ waits for "started" or the reason why not        │ console, log: pipes
//!                             └ ends                 keeper ◄────────────────────┘
//! ```
//! Step by step, in the keeper: a session of its own; the machine's lock (a file lock that keeper and QEMU hold for as long
//! as they live, so two launches never overlap); the control groups; the monitor's socket, bound here because QEMU has no
//! directory to make it in; empty mount, network and IPC namespaces; a root of memory holding `/usr` read-only, the disks,
//! their images read-only and a few device nodes; then the fork. QEMU's side puts the descriptors where
//! [`plan::machine`] says, closes all others, gives up every capability (bounding set included), takes the machine's own user
//! id, promises never to gain rights again, and becomes QEMU, which adds its system-call filter.
//!
//! The keeper stays, as the same unprivileged user: it reads the console and log pipes and keeps their last bytes in files
//! of bounded size, so that a guest that spews cannot fill the disk and its last words are there whether or not an
//! agent runs and however QEMU ended. It writes down how QEMU ended, then ends itself. Should the keeper die, the
//! machine runs on without a console.

use super::{keeper, memory};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Everything that a launch needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchSpec {
    pub program: String,
    pub arguments: Vec<String>,
    /// The machine's own directory, by its names in [`super::home`].
    pub home: PathBuf,
    /// User and group id.
    pub uid: u32,
    /// The `cgroup.procs` files to join.
    pub cgroups: Vec<PathBuf>,
    pub binds: Vec<Bind>,
    pub kvm: Kvm,
    /// The interfaces' descriptors as the launcher inherits them, in device order.
    pub interfaces: Vec<RawFd>,
    /// A template's memory, which the process gets to read where it asks for its memory's file. See [`super::memory`].
    #[serde(default)]
    pub memory: Option<PathBuf>,
    /// What the console shows before the machine's own words.
    #[serde(default)]
    pub console: Option<PathBuf>,
    #[serde(default)]
    pub priority: Priority,
}

/// How the process stands to others that want the processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priority {
    #[default]
    Usual,
    /// Nobody waits for it.
    Background,
}

/// A file that the sandbox holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    pub from: PathBuf,
    /// Absolute, as the process sees it.
    pub to: PathBuf,
    pub access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kvm {
    Present,
    Absent,
}

/// What went wrong, and at which step.
#[derive(Debug)]
struct Failed(String);

trait Step<T> {
    fn step(self, what: impl std::fmt::Display) -> Result<T, Failed>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, what: impl std::fmt::Display) -> Result<T, Failed> {
        self.map_err(|e| Failed(format!("{what}: {e}")))
    }
}

/// The launcher's whole life: reads a [`LaunchSpec`] as JSON from standard input, and ends with success once QEMU's
/// program runs, or with a sentence on standard error. To be called first in a program, before any thread exists.
pub fn main() -> ExitCode {
    match launch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(reason)) => {
            let _ = writeln!(io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn launch() -> Result<(), Failed> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).step("reading what to launch")?;
    let spec: LaunchSpec =
        serde_json::from_str(&text).map_err(|e| Failed(format!("understanding what to launch: {e}")))?;
    close_strangers(&spec.interfaces);
    let (mut news, report) = pipe().step("making a pipe")?;
    // SAFETY: this process has one thread (the contract of `main`), so the child may do whatever a process may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).step("forking the keeper"),
        0 => {
            drop(news);
            keep(&spec, report);
            // SAFETY: ends the child without running what its copy of the parent would run at its end.
            unsafe { libc::_exit(0) }
        }
        _ => {
            drop(report);
            let mut word = String::new();
            news.read_to_string(&mut word).step("waiting for the keeper")?;
            match word.as_str() {
                STARTED => Ok(()),
                "" => Err(Failed("the keeper ended without a word".into())),
                reason => Err(Failed(reason.to_owned())),
            }
        }
    }
}

/// Closes what else was inherited: the keeper lives for as long as its machine, and a lock or a pipe of whoever happened
/// to start the agent must not live that long.
fn close_strangers(wanted: &[RawFd]) {
    let mut first = libc::STDERR_FILENO + 1;
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    for end in wanted.into_iter().chain([RawFd::MAX]) {
        if first < end {
            // SAFETY: nothing has opened a descriptor yet, so none of these belongs to a value of this process.
            unsafe {
                libc::syscall(libc::SYS_close_range, first as libc::c_uint, end as libc::c_uint - 1, 0)
            };
        }
        first = first.max(end.saturating_add(1));
    }
}

const STARTED: &str = "started";

/// The keeper's life.
fn keep(spec: &LaunchSpec, mut report: fs::File) {
    match start(spec) {
        Ok(kept) => {
            let _ = report.write_all(STARTED.as_bytes());
            drop(report);
            kept.watch();
        }
        Err(Failed(reason)) => {
            let _ = report.write_all(reason.as_bytes());
        }
    }
}

/// From a fork of the launcher to a running QEMU.
fn start(spec: &LaunchSpec) -> Result<keeper::Keeper, Failed> {
    rustix::process::setsid().map_err(io::Error::from).step("making a session")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").step("opening /dev/null")?;
    for standard in 0..3 {
        duplicate(null.as_raw_fd(), standard).step("closing standard output")?;
    }
    let lock = lock(&spec.home.join(super::home::LOCK))?;
    for procs in &spec.cgroups {
        fs::write(procs, std::process::id().to_string()).step(format_args!("joining {}", procs.display()))?;
    }
    // Out of the way of the numbers that they will get.
    let interfaces = spec
        .interfaces
        .iter()
        .map(|fd| above(*fd))
        .collect::<io::Result<Vec<OwnedFd>>>()
        .step("taking the interfaces")?;
    for fd in &spec.interfaces {
        // SAFETY: these numbers were inherited for this purpose and nothing in this process owns them.
        unsafe { libc::close(*fd) };
    }
    // Opened while the host's files are in sight.
    let memory = spec.memory.as_ref().map(|path| open_above(path)).transpose().step("opening the memory")?;
    let spoken = spec.console.as_ref().map(fs::read).transpose().step("reading the template's console")?;
    let (take, give) = memory::hand_over().step("making a socket")?;
    let (take, give) = (above(take.as_raw_fd()), above(give.as_raw_fd()));
    let (take, give) = (take.step("keeping a socket")?, give.step("keeping a socket")?);
    if spec.priority == Priority::Background {
        // SAFETY: plain numbers; the answer may be -1 for success, and a failure does no harm.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    }
    let monitor = monitor_socket(&spec.home).step("making the monitor's socket")?;
    let console_dir = console_directory(&spec.home, spec.uid).step("making the console's directory")?;

    unshare()?;
    build_root(spec)?;

    let (console, console_end) = pipe().step("making the console's pipe")?;
    let (log, log_end) = pipe().step("making the log's pipe")?;
    let (mut news, report) = pipe().step("making a pipe")?;
    // SAFETY: still a process of one thread.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()).step("forking QEMU"),
        0 => {
            let mut descriptors: Vec<RawFd> = vec![0, console_end.as_raw_fd(), log_end.as_raw_fd()];
            descriptors.extend([monitor.as_raw_fd(), lock.as_raw_fd()]);
            descriptors.extend(interfaces.iter().map(AsRawFd::as_raw_fd));
            let reason = match become_qemu(spec, &descriptors, memory.as_ref().map(|_| &give), report) {
                Ok(never) => match never {},
                Err((mut report, Failed(reason))) => {
                    let _ = report.write_all(reason.as_bytes());
                    127
                }
            };
            // SAFETY: ends the child without running what its copy of the parent would run at its end.
            unsafe { libc::_exit(reason) }
        }
        pid => pid,
    };
    drop((report, console_end, log_end, monitor, interfaces, give));
    let mut reason = String::new();
    news.read_to_string(&mut reason).step("waiting for QEMU's program")?;
    if !reason.is_empty() {
        return Err(Failed(reason));
    }
    if let Some(memory) = &memory {
        memory::answer_opening(&take, memory).step("giving QEMU its memory")?;
    }
    drop_rights(spec.uid)?;
    // The same user runs QEMU, and must not reach into this process, which has no system-call filter.
    control(libc::PR_SET_DUMPABLE, 0).step("hiding the keeper's memory")?;
    Ok(keeper::Keeper { child, console, spoken, log, directory: console_dir, _lock: lock })
}

/// Waits a little for an earlier launch of the same machine to end.
fn lock(path: &Path) -> Result<OwnedFd, Failed> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .step("opening the machine's lock")?;
    for _ in 0..100 {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return above(file.as_raw_fd()).step("keeping the machine's lock"),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(50)),
            Err(e) => return Err(io::Error::from(e)).step("taking the machine's lock"),
        }
    }
    Err(Failed("the machine's process is already there".into()))
}

/// Binds without listening: QEMU's process listens, so that the kernel names it to whoever connects.
fn monitor_socket(home: &Path) -> io::Result<OwnedFd> {
    // By its short name, as socket addresses hold 108 bytes.
    std::env::set_current_dir(home)?;
    match fs::remove_file(super::home::MONITOR) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(super::home::MONITOR)?)?;
    above(socket.as_raw_fd())
}

/// Starts the console afresh, in a directory that the keeper's user may write.
fn console_directory(home: &Path, uid: u32) -> io::Result<OwnedFd> {
    let path = home.join(super::home::CONSOLE);
    match fs::remove_dir_all(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    chown(&path, Some(uid), Some(uid))?;
    let directory = fs::File::open(&path)?;
    Ok(directory.into())
}

fn unshare() -> Result<(), Failed> {
    // SAFETY: plain system calls without pointers.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC) };
    result(done).step("making namespaces")
}

/// Makes a root of memory and moves into it.
fn build_root(spec: &LaunchSpec) -> Result<(), Failed> {
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None).step("detaching mounts")?;
    let root = spec.home.join(super::home::ROOT);
    match fs::create_dir(&root) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(e).step(format_args!("making {}", root.display()));
        }
        _ => {}
    }
    mount(
        Some(Path::new("nube")),
        &root,
        Some("tmpfs"),
        libc::MS_NOSUID | libc::MS_NOEXEC,
        Some("mode=0755,size=1m"),
    )
    .step("mounting the root")?;

    let system = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    bind(Path::new("/usr"), &root.join("usr"), system).step("showing /usr")?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let (host, inside) = (Path::new("/").join(name), root.join(name));
        match fs::symlink_metadata(&host) {
            Ok(m) if m.is_symlink() => {
                let target = fs::read_link(&host).step(format_args!("reading /{name}"))?;
                std::os::unix::fs::symlink(target, &inside).step(format_args!("linking /{name}"))?;
            }
            Ok(_) => bind(&host, &inside, system).step(format_args!("showing /{name}"))?,
            Err(_) => {}
        }
    }
    let loader = Path::new("/etc/ld.so.cache");
    if loader.exists() {
        bind(loader, &root.join("etc/ld.so.cache"), system | libc::MS_NOEXEC)
            .step("showing the loader's cache")?;
    }
    for name in ["null", "zero", "random", "urandom"] {
        let host = Path::new("/dev").join(name);
        bind(&host, &root.join("dev").join(name), libc::MS_NOSUID | libc::MS_NOEXEC)
            .step(format_args!("showing /dev/{name}"))?;
    }
    if spec.kvm == Kvm::Present {
        own_device(Path::new("/dev/kvm"), &root.join("dev/kvm"), spec.uid).step("making /dev/kvm")?;
    }
    for held in &spec.binds {
        let inside = root.join(held.to.strip_prefix("/").unwrap_or(&held.to));
        let mut flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        if held.access == Access::Read {
            flags |= libc::MS_RDONLY;
        }
        bind(&held.from, &inside, flags).step(format_args!("showing {}", held.from.display()))?;
    }

    std::env::set_current_dir(&root).step("entering the root")?;
    rustix::process::pivot_root(".", ".").map_err(io::Error::from).step("changing the root")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
        .map_err(io::Error::from)
        .step("leaving the host's root")?;
    std::env::set_current_dir("/").step("entering the root")?;
    let fixed = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NOEXEC;
    mount(None, Path::new("/"), None, fixed, None).step("fixing the root")
}

/// Shows a file or directory of the host at another place, which is made.
fn bind(from: &Path, to: &Path, flags: libc::c_ulong) -> io::Result<()> {
    make_directory(to.parent().unwrap_or(Path::new("/")))?;
    if fs::metadata(from)?.is_dir() {
        make_directory(to)?;
    } else if !to.exists() {
        fs::File::create(to)?;
    }
    mount(Some(from), to, None, libc::MS_BIND, None)?;
    mount(None, to, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None)
}

/// With every directory on the way, all passable whatever the umask.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_directory(path.parent().unwrap_or(Path::new("/")))?;
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// A device node of the machine's own, since the host's belongs to a group of the host.
fn own_device(host: &Path, inside: &Path, uid: u32) -> io::Result<()> {
    let number = fs::metadata(host)?.rdev();
    let path = c_path(inside)?;
    // SAFETY: `path` is a terminated string that outlives the call.
    result(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, number) })?;
    chown(inside, Some(uid), Some(uid))
}

enum Never {}

/// Never returns but with a failure, which goes to the keeper by `report`.
fn become_qemu(
    spec: &LaunchSpec,
    descriptors: &[RawFd],
    suspended: Option<&OwnedFd>,
    report: fs::File,
) -> Result<Never, (fs::File, Failed)> {
    let prepare = || -> Result<(CString, Vec<CString>), Failed> {
        for (number, fd) in descriptors.iter().enumerate() {
            // All sources lie above all targets, so none is overwritten before its turn.
            duplicate(*fd, number as RawFd).step("placing the descriptors")?;
        }
        let first = descriptors.len() as libc::c_uint;
        // SAFETY: marks descriptors to be closed by exec; no pointers.
        let marked = unsafe {
            libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        result(marked as libc::c_int).step("closing descriptors")?;
        drop_rights(spec.uid)?;
        // SAFETY: no pointers.
        result(unsafe { libc::listen(plan::machine::MONITOR_FD, 8) }).step("listening for the agent")?;
        let program = c_string(spec.program.as_bytes()).step("naming QEMU")?;
        let arguments = std::iter::once(&spec.program)
            .chain(&spec.arguments)
            .map(|a| c_string(a.as_bytes()))
            .collect::<io::Result<Vec<_>>>()
            .step("naming QEMU's arguments")?;
        if let Some(give) = suspended {
            memory::suspend_opening(give).step("watching for the memory")?;
        }
        Ok((program, arguments))
    };
    let (program, arguments) = match prepare() {
        Ok(prepared) => prepared,
        Err(failed) => return Err((report, failed)),
    };
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment = [c"PATH=/usr/bin:/bin".as_ptr(), c"LC_ALL=C".as_ptr(), std::ptr::null()];
    // SAFETY: all strings are terminated and both arrays end with a null; they live until the program is replaced.
    unsafe { libc::execve(program.as_ptr(), pointers.as_ptr(), environment.as_ptr()) };
    let failure = Failed(format!("executing {}: {}", spec.program, io::Error::last_os_error()));
    Err((report, failure))
}

/// Becomes the machine's user, for good.
fn drop_rights(uid: u32) -> Result<(), Failed> {
    limit(libc::RLIMIT_CORE, 0).step("forbidding core dumps")?;
    limit(libc::RLIMIT_NOFILE, 4096).step("limiting descriptors")?;
    limit(libc::RLIMIT_MSGQUEUE, 0).step("limiting message queues")?;
    for capability in 0..64 {
        // The kernel answers EINVAL behind its last capability.
        match control(libc::PR_CAPBSET_DROP, capability) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.step("dropping capabilities")?,
        }
    }
    // SAFETY: no groups are read through the null pointer when their number is zero; the rest takes no pointers.
    unsafe {
        result(libc::setgroups(0, std::ptr::null())).step("leaving the groups")?;
        result(libc::setresgid(uid, uid, uid)).step(format_args!("becoming group {uid}"))?;
        result(libc::setresuid(uid, uid, uid)).step(format_args!("becoming user {uid}"))?;
    }
    control(libc::PR_SET_NO_NEW_PRIVS, 1).step("renouncing new rights")
}

fn limit(resource: libc::__rlimit_resource_t, at_most: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a valid place for the answer, then a valid value to read.
    unsafe {
        result(libc::getrlimit(resource, &raw mut now))?;
        let value = at_most.min(now.rlim_max);
        result(libc::setrlimit(resource, &libc::rlimit { rlim_cur: value, rlim_max: value }))
    }
}

fn control(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take numbers, no pointers.
    result(unsafe { libc::prctl(option, value, 0, 0, 0) })
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    data: Option<&str>,
) -> io::Result<()> {
    let source = source.map(c_path).transpose()?;
    let target = c_path(target)?;
    let kind = kind.map(|k| c_string(k.as_bytes())).transpose()?;
    let data = data.map(|d| c_string(d.as_bytes())).transpose()?;
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr());
    // SAFETY: every pointer is null, where the call allows it, or a terminated string that outlives the call.
    result(unsafe {
        libc::mount(pointer(&source), target.as_ptr(), pointer(&kind), flags, pointer(&data).cast())
    })
}

/// A copy of a descriptor with a number above all that QEMU gets, closed by exec.
fn above(fd: RawFd) -> io::Result<OwnedFd> {
    const FIRST_FREE: libc::c_int = 128;
    // SAFETY: fcntl makes a new descriptor, which nothing else owns.
    unsafe {
        let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FIRST_FREE);
        result(copy)?;
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

/// Opens a file for reading, out of the way as well.
fn open_above(path: &Path) -> io::Result<fs::File> {
    Ok(above(fs::File::open(path)?.as_raw_fd())?.into())
}

/// Makes `to` mean the same as `from`, and survive exec.
fn duplicate(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: `to` is a number below those that this process's own values hold (see `above`).
    result(unsafe { libc::dup2(from, to) })
}

/// A pipe whose ends are closed by exec and lie above QEMU's descriptors.
fn pipe() -> io::Result<(fs::File, fs::File)> {
    let (read, write) = io::pipe()?;
    Ok((above(read.as_raw_fd())?.into(), above(write.as_raw_fd())?.into()))
}

fn c_path(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

fn result(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
