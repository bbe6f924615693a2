//! Named network namespaces, as `ip netns` keeps them: a bind mount under `/run/netns`.
//!
//! Work inside a namespace runs on a thread of its own, which enters it and ends; the sockets that it opens stay in the
//! namespace and are used from anywhere.

#![allow(unsafe_code)]

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/run/netns";
/// The type of the file system that namespaces live on.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// The calling thread's.
    pub fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    pub fn open(name: &str) -> io::Result<Self> {
        let file = File::open(path(name))?;
        // A file whose mount is gone (an interrupted removal, a reboot) is no namespace.
        let kind = rustix::fs::fstatfs(&file)?.f_type;
        if kind != NSFS_MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{name} is not a network namespace"),
            ));
        }
        Ok(Self(file))
    }

    pub fn create(name: &str) -> io::Result<Self> {
        prepare_directory()?;
        let target = path(name);
        if !target.exists() {
            File::create(&target)?;
        }
        let made = on_thread({
            let target = target.clone();
            move || {
                // SAFETY: the thread is ours, shares no file descriptor table assumptions, and ends right after; a new
                // network namespace changes nothing but which network its later calls see.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
                mount_bind("/proc/thread-self/ns/net", &target)?;
                Ok(())
            }
        });
        if let Err(error) = made {
            let _ = std::fs::remove_file(&target);
            return Err(error);
        }
        Self::open(name)
    }

    /// Runs `work` inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `work` in a namespace that nobody else has. It lives on while something is open in it.
pub fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_thread(|| {
        // SAFETY: as in `Namespace::create`.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
        work()
    })
}

/// Forgets a namespace. It lives on while something is open in it. What is not there is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let target = path(name);
    while unmount(&target, UnmountFlags::DETACH).is_ok() {}
    match std::fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names of all namespaces that start so.
pub fn names(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    Ok(names)
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Shared propagation lets a removal reach the mount namespaces that copied ours.
fn prepare_directory() -> io::Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    let share = || mount_change(DIRECTORY, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    if share().is_err() {
        mount_bind(DIRECTORY, DIRECTORY)?;
        share()?;
    }
    Ok(())
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the work in a namespace panicked")))
    })
}
