//! A word to the service manager that started us (`Type=notify`), as sd_notify(3) describes it.

use crate::config;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// Says that the cloud answers. Nobody may be listening.
pub fn ready() {
    if let Some(socket) = config::notify_socket()
        && let Err(error) = tell(&socket, b"READY=1\n")
    {
        tracing::warn!(%error, "the service manager does not listen");
    }
}

fn tell(socket: &Path, word: &[u8]) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = match socket.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_that_we_are_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(&path, b"READY=1\n").unwrap();
        let mut heard = [0; 32];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\n");
    }
}
