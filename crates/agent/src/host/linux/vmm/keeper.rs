//! What stays beside a running QEMU: keeps the last of what it writes, and how it ended.
//!
//! The keeper is the machine's unprivileged user in the machine's namespaces; all it holds is the console's directory. Its files:
//! `console` and `log` with what came last, `console.old` and `log.old` with what came before, and `exit` at the end. A pair
//! never exceeds its limit. When the disk is full the text is dropped, not the machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// What is kept of the serial console, in bytes. EC2 shows the last 64 KiB.
pub const CONSOLE_LIMIT: u64 = 1 << 20;
/// What is kept of QEMU's own messages, in bytes.
pub const LOG_LIMIT: u64 = 64 << 10;

/// The names of a pair's two files.
pub const CONSOLE: [&str; 2] = ["console", "console.old"];
pub const LOG: [&str; 2] = ["log", "log.old"];
/// `code N` or `signal N`.
pub const EXIT: &str = "exit";
/// [`EXIT`] while it is being written.
const EXIT_NEW: &str = "exit.new";

pub(super) struct Keeper {
    pub child: libc::pid_t,
    pub console: File,
    /// What the console shows first.
    pub spoken: Option<Vec<u8>>,
    pub log: File,
    pub directory: OwnedFd,
    /// Held until the keeper ends.
    pub _lock: OwnedFd,
}

impl Keeper {
    /// Lasts as long as QEMU does.
    pub fn watch(self) {
        let mut sources = [
            (Some(self.console), Pair::new(&self.directory, CONSOLE, CONSOLE_LIMIT)),
            (Some(self.log), Pair::new(&self.directory, LOG, LOG_LIMIT)),
        ];
        if let Some(spoken) = &self.spoken {
            sources[0].1.append(spoken);
        }
        let mut buffer = vec![0; 64 << 10];
        while sources.iter().any(|(pipe, _)| pipe.is_some()) {
            let mut ready = [false; 2];
            {
                let mut polled: Vec<_> = sources
                    .iter()
                    .enumerate()
                    .filter_map(|(i, (pipe, _))| pipe.as_ref().map(|p| (i, p)))
                    .map(|(i, p)| (i, rustix::event::PollFd::new(p, rustix::event::PollFlags::IN)))
                    .collect();
                let mut fds: Vec<_> = polled.iter().map(|(_, fd)| fd.clone()).collect();
                match rustix::event::poll(&mut fds, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
                for ((index, _), fd) in polled.drain(..).zip(&fds) {
                    ready[index] = !fd.revents().is_empty();
                }
            }
            for ((pipe, pair), ready) in sources.iter_mut().zip(ready) {
                let Some(open) = pipe.as_mut().filter(|_| ready) else { continue };
                match open.read(&mut buffer) {
                    Ok(0) => *pipe = None,
                    Ok(length) => pair.append(&buffer[..length]),
                    Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                    Err(_) => *pipe = None,
                }
            }
        }
        let mut status = 0;
        // SAFETY: waits for this process's own child; `status` is a valid place for the answer.
        let ended = unsafe { libc::waitpid(self.child, &raw mut status, 0) };
        if ended == self.child {
            let word = if libc::WIFSIGNALED(status) {
                format!("signal {}", libc::WTERMSIG(status))
            } else {
                format!("code {}", libc::WEXITSTATUS(status))
            };
            // Whole or not at all: a reader never finds the note half-written.
            if let Ok(mut file) = create(&self.directory, EXIT_NEW)
                && file.write_all(word.as_bytes()).is_ok()
            {
                let _ = rustix::fs::renameat(&self.directory, EXIT_NEW, &self.directory, EXIT);
            }
        }
    }
}

/// The last bytes of a stream, in two files of half the limit each.
struct Pair<'a> {
    directory: &'a OwnedFd,
    names: [&'static str; 2],
    limit: u64,
    file: Option<File>,
    written: u64,
}

impl<'a> Pair<'a> {
    fn new(directory: &'a OwnedFd, names: [&'static str; 2], limit: u64) -> Self {
        let file = create(directory, names[0]).ok();
        Self { directory, names, limit, file, written: 0 }
    }

    fn append(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.limit as usize / 4) {
            if self.written + piece.len() as u64 > self.limit / 2 {
                let _ = rustix::fs::renameat(self.directory, self.names[0], self.directory, self.names[1]);
                self.file = None;
            }
            if self.file.is_none() {
                self.file = create(self.directory, self.names[0]).ok();
                self.written = 0;
            }
            if let Some(file) = &mut self.file {
                // Counted even when it fails (a full disk): the bound must hold whatever part was written.
                let _ = file.write_all(piece);
                self.written += piece.len() as u64;
            }
        }
    }
}

fn create(directory: &impl AsFd, name: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_keeps_the_last_bytes_within_its_limit() {
        let path = std::env::temp_dir().join(format!("nube-keeper-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let directory: OwnedFd = File::open(&path).unwrap().into();
        let mut pair = Pair::new(&directory, LOG, 1024);
        for number in 0..1000 {
            pair.append(format!("line {number:04}\n").as_bytes());
            let held: u64 =
                std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
            assert!(held <= 1024, "{held}");
        }
        let text = std::fs::read_to_string(path.join("log.old")).unwrap()
            + &std::fs::read_to_string(path.join("log")).unwrap();
        assert!(text.ends_with("line 0998\nline 0999\n"));
        assert!(text.len() >= 512);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
