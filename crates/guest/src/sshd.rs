//! The ssh server (Dropbear): its host key, and keeping it alive.
//!
//! The ed25519 key is made once for each instance; keys of other types only when a client asks for one (`-R`),
//! because an RSA key costs many seconds on an emulated processor. No passwords, ever.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::console::report;
use crate::{exec, files, sys};

const FOLDER: &str = "/etc/dropbear";
const KEY: &str = "/etc/dropbear/dropbear_ed25519_host_key";
const NEW_KEY: &str = "/etc/dropbear/.new";
/// Where a key is made: the program flushes what it writes, and here that costs nothing.
const DRAFT: &str = "/run/host-key";

/// Process number of the running server, if there is one; `Some(0)` while it is being started.
static SERVER: Mutex<Option<u32>> = Mutex::new(None);
/// Only one thread makes a key at a time; the others then need not start a program to read it.
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
    let there = Path::new(KEY).exists().then(|| exec::output("dropbearkey", &["-y", "-f", KEY]).ok());
    let said = match there.flatten() {
        Some(said) => said,
        None => make_host_key()?,
    };
    let key = parse(&said)?;
    *known = Some(key.clone());
    Ok(key)
}

fn make_host_key() -> io::Result<Vec<u8>> {
    for leftover in [DRAFT, NEW_KEY, KEY] {
        let _ = fs::remove_file(leftover);
    }
    let said = exec::output("dropbearkey", &["-t", "ed25519", "-f", DRAFT])?;
    let key = fs::read(DRAFT)?;
    fs::remove_file(DRAFT)?;
    files::write(NEW_KEY, &key, files::PRIVATE)?;
    fs::rename(NEW_KEY, KEY)?;
    files::settle(&fs::File::open(FOLDER)?)?;
    Ok(said)
}

fn parse(said: &[u8]) -> io::Result<HostKey> {
    let said = String::from_utf8_lossy(said);
    let line = |start: &str| said.lines().find(|line| line.starts_with(start));
    let public = line("ssh-").map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let fingerprint = line("Fingerprint: ").and_then(|line| line.split(' ').nth(1)).map(str::to_owned);
    match (public, fingerprint) {
        (Some(public), Some(fingerprint)) => Ok(HostKey { public, fingerprint }),
        _ => Err(io::Error::other("dropbearkey gave no public key")),
    }
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
    if let Some(pid) = start_if_stopped().filter(|pid| *pid != 0) {
        let _ = sys::kill(pid as i32, libc::SIGTERM);
    }
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
    #[test]
    fn the_output_of_dropbearkey_is_understood() {
        let said = b"Generating 256 bit ed25519 key, this may take a while...\nPublic key portion is:\nssh-ed25519 AAAAC3 root@x\nFingerprint: SHA256:abc\n";
        let key = super::parse(said).unwrap();
        assert_eq!((key.public.as_str(), key.fingerprint.as_str()), ("ssh-ed25519 AAAAC3", "SHA256:abc"));
        assert!(super::parse(b"").is_err());
    }
}
