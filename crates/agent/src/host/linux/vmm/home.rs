//! A machine's own directory: `<state>/<instance>/`, root's, closed to all others.
//!
//! ```text
//! uid          the machine's user id; it is the machine's until the directory goes
//! lock         locked by keeper and QEMU for as long as they live
//! monitor.sock QEMU's monitor
//! disks        the disks that were given to the machine's user, one path a line
//! unborn       there while the process waits to be resumed from a template
//! forking      there while it may stand still, so that its memory can be written
//! waking       there from the moment that its memory is not kept any more until it has its links
//! memory/      what is kept of it while it hibernates
//! forked       of a machine that goes on from a fork: how far it has come to an identity of its own
//! origin       how the machine was last started, for whoever asks
//! console/     the keeper's files, owned by the machine's user
//! lazy/        sockets by which the machine asks for what its volumes lack; shown in the sandbox
//! serves       of a process that serves a volume to machines ([`super::serving`]): which one
//! top          the inode of the file that it writes to, or is about to
//! door.sock    where it listens
//! root/        where the sandbox mounts its root; empty as the host sees it
//! ```

use super::keeper;
use crate::host::linux::block::is_shared;
use model::{InstanceId, Timestamp, VolumeId};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "lock";
pub(super) const MONITOR: &str = "monitor.sock";
pub(super) const CONSOLE: &str = "console";
pub(super) const ROOT: &str = "root";
/// Where a process that serves a volume listens.
pub(super) const SOCKET: &str = "door.sock";
pub(super) const UID: &str = "uid";
const DISKS: &str = "disks";
const UNBORN: &str = "unborn";
const ORIGIN: &str = "origin";
const LAZY: &str = "lazy";
const FORKING: &str = "forking";
const FORKED: &str = "forked";
const WAKING: &str = "waking";
const SERVES: &str = "serves";
const TOP: &str = "top";

/// How far a machine that goes on from a fork has come. It says so on the disk: what was born never begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its guest is its parent's copy. It has no link.
    Nameless,
    /// Its guest is itself. It may have its link.
    Named,
    /// It has its link.
    Born,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Nameless, Self::Named, Self::Born];

    const fn name(self) -> &'static str {
        match self {
            Self::Nameless => "nameless",
            Self::Named => "named",
            Self::Born => "born",
        }
    }
}

/// A machine's directory, there or not.
#[derive(Debug, Clone)]
pub(super) struct Home(PathBuf);

impl Home {
    pub fn of(state_dir: &Path, instance: InstanceId) -> Self {
        Self(state_dir.join(instance.to_string()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn make(&self) -> io::Result<()> {
        private_directory(&self.0)
    }

    pub fn lazy(&self) -> PathBuf {
        self.0.join(LAZY)
    }

    /// The machine's user may pass it, and no more: each socket in it says whose it is.
    pub fn make_lazy(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        private_directory(&self.lazy())?;
        fs::set_permissions(self.lazy(), fs::Permissions::from_mode(0o711))
    }

    pub fn uid(&self) -> io::Result<Option<u32>> {
        match fs::read_to_string(self.0.join(UID)) {
            Ok(text) => {
                text.trim().parse().map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn set_uid(&self, uid: u32) -> io::Result<()> {
        replace(&self.0.join(UID), uid.to_string().as_bytes())
    }

    /// A directory of this path, for a machine that is no instance's.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Notes that the process to come is nobody's yet: it is resumed later, or was made in vain. A process never
    /// outlives the host, so this need not reach the disk.
    pub fn expect_birth(&self) -> io::Result<()> {
        fs::write(self.0.join(UNBORN), b"")
    }

    pub fn is_born(&self) {
        let _ = fs::remove_file(self.0.join(UNBORN));
    }

    pub fn is_unborn(&self) -> bool {
        self.0.join(UNBORN).exists()
    }

    /// Notes that the machine may stand still, for a fork or to hibernate. It never outlives the host, nor needs this.
    pub fn expect_fork(&self) -> io::Result<()> {
        fs::write(self.0.join(FORKING), b"")
    }

    pub fn is_forked_from(&self) {
        let _ = fs::remove_file(self.0.join(FORKING));
    }

    pub fn is_forking(&self) -> bool {
        self.0.join(FORKING).exists()
    }

    /// Notes that the machine has read its memory, which is not kept any more. It never outlives the host, nor needs this.
    pub fn expect_to_wake(&self) -> io::Result<()> {
        fs::write(self.0.join(WAKING), b"")
    }

    pub fn is_awake(&self) {
        let _ = fs::remove_file(self.0.join(WAKING));
    }

    pub fn is_waking(&self) -> bool {
        self.0.join(WAKING).exists()
    }

    pub fn set_stage(&self, stage: Stage) -> io::Result<()> {
        replace(&self.0.join(FORKED), stage.name().as_bytes())
    }

    /// None: it does not go on from a fork.
    pub fn stage(&self) -> Option<Stage> {
        let text = fs::read_to_string(self.0.join(FORKED)).ok()?;
        Stage::ALL.into_iter().find(|stage| stage.name() == text)
    }

    /// Notes that its process is no instance's.
    pub fn set_serves(&self, volume: VolumeId) -> io::Result<()> {
        replace(&self.0.join(SERVES), volume.to_string().as_bytes())
    }

    pub fn serves(&self) -> Option<VolumeId> {
        VolumeId::parse(&fs::read_to_string(self.0.join(SERVES)).ok()?).ok()
    }

    /// Notes to which of a volume's files its process writes from here on, by inode.
    pub fn set_top(&self, inode: u64) -> io::Result<()> {
        replace(&self.0.join(TOP), inode.to_string().as_bytes())
    }

    pub fn top(&self) -> Option<u64> {
        fs::read_to_string(self.0.join(TOP)).ok()?.parse().ok()
    }

    /// Notes how the machine was started, in a few words.
    pub fn set_origin(&self, origin: &str) {
        let _ = fs::write(self.0.join(ORIGIN), origin);
    }

    pub fn origin(&self) -> Option<String> {
        fs::read_to_string(self.0.join(ORIGIN)).ok()
    }

    /// Whether some process of the machine lives: it holds the lock.
    pub fn alive(&self) -> io::Result<bool> {
        use rustix::fs::FlockOperation::NonBlockingLockShared;
        let lock = match File::open(self.0.join(LOCK)) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        match rustix::fs::flock(&lock, NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// Gives the disks to the machine's user, after noting which they are.
    pub fn lend(&self, disks: &[PathBuf], uid: u32) -> io::Result<()> {
        self.take_back()?;
        self.note(disks)?;
        disks.iter().try_for_each(|disk| give(disk, uid))
    }

    /// The same for one disk more.
    pub fn lend_one(&self, disk: &Path, uid: u32) -> io::Result<()> {
        let mut disks = self.lent()?;
        if !disks.iter().any(|lent| lent == disk) {
            disks.push(disk.to_owned());
            self.note(&disks)?;
        }
        give(disk, uid)
    }

    /// The disks that the machine's user has, or may have.
    pub fn lent(&self) -> io::Result<Vec<PathBuf>> {
        use std::os::unix::ffi::OsStrExt;
        let list = match fs::read(self.0.join(DISKS)) {
            Ok(list) => list,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let names = list.split(|b| *b == b'\n').filter(|name| !name.is_empty());
        Ok(names.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name))).collect())
    }

    /// Gives the disks back to root. Disks that are gone need nothing, and disks that another machine has by now stay.
    pub fn take_back(&self) -> io::Result<()> {
        let uid = self.uid()?;
        self.lent()?.iter().try_for_each(|disk| own_again(disk, uid))?;
        match fs::remove_file(self.0.join(DISKS)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// The same for one of them.
    pub fn take_back_one(&self, disk: &Path) -> io::Result<()> {
        let mut disks = self.lent()?;
        own_again(disk, self.uid()?)?;
        let before = disks.len();
        disks.retain(|lent| lent != disk);
        if disks.len() < before { self.note(&disks) } else { Ok(()) }
    }

    fn note(&self, disks: &[PathBuf]) -> io::Result<()> {
        let mut list = Vec::new();
        for disk in disks {
            list.extend_from_slice(disk.as_os_str().as_encoded_bytes());
            list.push(b'\n');
        }
        replace(&self.0.join(DISKS), &list)
    }

    /// The last `limit` bytes of the serial console, and when it was last written.
    pub fn console(&self, limit: usize) -> io::Result<(Vec<u8>, Option<Timestamp>)> {
        let (text, at) = self.tail(keeper::CONSOLE, limit)?;
        Ok((text, at))
    }

    /// What QEMU last complained of.
    pub fn log(&self) -> String {
        let text = self.tail(keeper::LOG, 4096).map(|(text, _)| text).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// How the last process ended, as the keeper noted.
    pub fn exit(&self) -> Option<String> {
        fs::read_to_string(self.0.join(CONSOLE).join(keeper::EXIT)).ok()
    }

    fn tail(&self, names: [&str; 2], limit: usize) -> io::Result<(Vec<u8>, Option<Timestamp>)> {
        let directory = self.0.join(CONSOLE);
        let open = |name: &str| match fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(directory.join(name))
        {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        // The keeper may move the newer file over the older one between the two openings; then the same file is opened
        // twice, and another look settles it.
        for _ in 0..8 {
            let (newer, older) = (open(names[0])?, open(names[1])?);
            let (newer_meta, older_meta) = (meta(newer.as_ref())?, meta(older.as_ref())?);
            let same = |a: &Option<fs::Metadata>, b: &Option<fs::Metadata>| match (a, b) {
                (Some(a), Some(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
                _ => false,
            };
            if same(&newer_meta, &older_meta) {
                continue;
            }
            let at = newer_meta.filter(|m| m.size() > 0).or(older_meta).filter(|m| m.size() > 0);
            let at = at.map(|m| Timestamp::from_millis(m.mtime() * 1000 + m.mtime_nsec() / 1_000_000));
            let mut text = Vec::new();
            for file in [older, newer].into_iter().flatten() {
                file.take(keeper::CONSOLE_LIMIT).read_to_end(&mut text)?;
            }
            let from = text.len().saturating_sub(limit);
            return Ok((text.split_off(from), at));
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the console is written faster than it can be read"))
    }

    /// Removes all of it.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// One that others may have too stays root's: the machine has a descriptor of it, or asks another process.
fn give(disk: &Path, uid: u32) -> io::Result<()> {
    if is_shared(disk) { Ok(()) } else { chown(disk, Some(uid), Some(uid)) }
}

fn own_again(disk: &Path, uid: Option<u32>) -> io::Result<()> {
    match fs::symlink_metadata(disk) {
        Ok(found) if Some(found.uid()) == uid => chown(disk, Some(0), Some(0)),
        _ => Ok(()),
    }
}

fn meta(file: Option<&File>) -> io::Result<Option<fs::Metadata>> {
    file.map(File::metadata).transpose()
}

/// Makes a directory that only its owner may enter, with its parents.
pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file so that a crash leaves the old or the new one, whole.
pub(in crate::host::linux) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
