//! As much of a metadata service as the nano image waits for: a plain machine must not be slower for want of one.
//! QEMU's user-mode network runs this for each connection, with the connection as standard input and output. A
//! connection carries as many requests as its client sends.

use std::io::{Read as _, Write as _};

pub fn answer() {
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
            (Some("GET"), Some("/latest/meta-data/instance-id")) => Some("i-0123456789abcdef0"),
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
