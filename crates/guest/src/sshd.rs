//! The ssh server (Dropbear): its host key, and keeping it alive.
//!
//! The ed25519 key is made once for each instance ([`host_key`]); keys of other types only when a client asks for one (`-R`),
//! because an RSA key costs many seconds on an emulated processor. No passwords, ever.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::console::report;
use crate::host_key::{self, Public};
use crate::{exec, files, forked, sys};

const FOLDER: &str = "/etc/dropbear";
const KEY: &str = "/etc/dropbear/dropbear_ed25519_host_key";
const NEW_KEY: &str = "/etc/dropbear/.new";
const SOCKETS: &str = "/proc/net/tcp";

/// Process number of the running server, if there is one; `Some(0)` while it is being started.
static SERVER: Mutex<Option<u32>> = Mutex::new(None);
/// While it is set no server is started.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// Only one thread makes a key at a time.
static HOST_KEY: Mutex<Option<HostKey>> = Mutex::new(None);

/// The public half of the host key.
#[derive(Clone)]
pub struct HostKey {
    /// As in `known_hosts`: type and key.
    pub public: String,
    /// `SHA256:…`
    pub fingerprint: String,
}

/// Makes the host key if there is none.
pub fn ensure_host_key() -> io::Result<HostKey> {
    let mut known = HOST_KEY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = known.clone() {
        return Ok(key);
    }
    files::ensure_folder(FOLDER, files::Access { mode: 0o700, owner: 0 })?;
    // One that cannot be read was cut short by a kill, and nobody has seen it.
    let there = fs::read(KEY).ok().and_then(|file| host_key::read(&file));
    let public = match there {
        Some(public) => public,
        None => make_host_key()?,
    };
    let key = HostKey { public: public.line(), fingerprint: public.fingerprint() };
    *known = Some(key.clone());
    Ok(key)
}

fn make_host_key() -> io::Result<Public> {
    for leftover in [NEW_KEY, KEY] {
        let _ = fs::remove_file(leftover);
    }
    let (file, public) = host_key::make(sys::random());
    files::write(NEW_KEY, &file, files::PRIVATE)?;
    fs::rename(NEW_KEY, KEY)?;
    files::settle(&fs::File::open(FOLDER)?)?;
    Ok(public)
}

/// Removes all host keys: the disk belongs to another instance now.
pub fn forget_host_keys() -> io::Result<()> {
    // Held to the end: a thread that is making a key meanwhile must not put an old one back.
    let mut known = HOST_KEY.lock().unwrap_or_else(PoisonError::into_inner);
    *known = None;
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        fs::remove_file(entry.path())?;
    }
    Ok(())
}

/// Starts the server; one that runs already is started again, so that it reads its keys anew. Sessions live on.
pub fn start() {
    STOPPED.store(false, Ordering::Relaxed);
    if let Some(pid) = start_if_stopped().filter(|pid| *pid != 0) {
        let _ = sys::kill(pid as i32, libc::SIGTERM);
    }
}

/// Ends the server and every session, until it is started again.
pub fn stop() {
    STOPPED.store(true, Ordering::Relaxed);
    for pid in report("finding the ssh server", forked::processes_called("dropbear")).unwrap_or_default() {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
    if let Some(server) = SERVER.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        *server = 0;
    }
}

/// Waits until the server takes connections, but not for ever.
pub fn await_listening(patience: Duration) {
    let end = sys::uptime() + patience;
    while !fs::read_to_string(SOCKETS).is_ok_and(|sockets| is_listening(&sockets)) && sys::uptime() < end {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the kernel's table of TCP sockets has one that listens on port 22.
fn is_listening(sockets: &str) -> bool {
    sockets.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = words.next().unwrap_or_default();
        local.ends_with(":0016") && words.nth(1) == Some("0A")
    })
}

/// Starts the server unless it was started before; then it gives that one's process number.
pub fn start_if_stopped() -> Option<u32> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if server.is_none() {
        *server = Some(0);
        thread::spawn(keep_running);
        return None;
    }
    *server
}

fn keep_running() {
    loop {
        while STOPPED.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        // -F in the foreground, -s no passwords, -R other host keys on demand, -m no banner, -W a window that fills a fast link.
        let child = exec::command("dropbear").args(["-F", "-s", "-R", "-m", "-W", "1048576"]).spawn();
        if let Some(mut child) = report("cannot start the ssh server", child) {
            *SERVER.lock().unwrap_or_else(PoisonError::into_inner) = Some(child.id());
            let _ = child.wait();
        }
        // Also what an agent that was started again does while its predecessor's server holds the port.
        thread::sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_whether_the_server_listens() {
        let table = |local: &str, state: &str| {
            let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
            format!(
                "{header}\n   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0\n"
            )
        };
        assert!(is_listening(&table("00000000:0016", "0A")));
        assert!(!is_listening(&table("0A00000A:0016", "01")), "a connection");
        assert!(!is_listening(&table("00000000:0050", "0A")), "another port");
        assert!(!is_listening(""));
    }
}
