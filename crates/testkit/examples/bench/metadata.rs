//! As much of a metadata service as nano's agent and Debian's cloud-init ask for: a plain machine must not be slower for want
//! of one. QEMU's user-mode network runs this for each connection, with the connection as standard input and output. A
//! connection carries as many requests as its client sends.

use std::io::{Read as _, Write as _};
use std::path::Path;

/// `key`: the file of the public key that the instance's user is to have.
pub fn answer(key: &Path) {
    let key = std::fs::read_to_string(key).unwrap_or_default();
    let mut input = std::io::stdin().lock();
    loop {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            if !input.read(&mut byte).is_ok_and(|read| read == 1) {
                return;
            }
            request.extend_from_slice(&byte);
        }
        let request = String::from_utf8_lossy(&request);
        let mut words = request.split(' ');
        let body = match (words.next(), words.next()) {
            (Some("PUT"), Some("/latest/api/token")) => Some("token"),
            (Some("GET"), Some(path)) => value(path, &key),
            _ => None,
        };
        let closes = request.to_ascii_lowercase().contains("\r\nconnection: close\r\n");
        let connection = if closes { "close" } else { "keep-alive" };
        let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
        let body = body.unwrap_or_default();
        print!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        if std::io::stdout().flush().is_err() || closes {
            return;
        }
    }
}

/// What stands at a path, whatever its version.
fn value<'a>(path: &str, key: &'a str) -> Option<&'a str> {
    let (_, path) = path.trim_start_matches('/').split_once('/')?;
    match path {
        "meta-data/" => Some("ami-id\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\npublic-keys/"),
        "meta-data/ami-id" => Some("ami-0123456789abcdef0"),
        "meta-data/instance-id" => Some("i-0123456789abcdef0"),
        "meta-data/instance-type" => Some("t3.micro"),
        "meta-data/local-hostname" => Some("ip-169-254-169-15.ec2.internal"),
        "meta-data/local-ipv4" => Some("169.254.169.15"),
        "meta-data/public-keys/" => Some("0=bench"),
        "meta-data/public-keys/0/" => Some("openssh-key"),
        "meta-data/public-keys/0/openssh-key" => Some(key),
        _ => None,
    }
}
