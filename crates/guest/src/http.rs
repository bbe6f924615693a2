//! As much of an HTTP/1.1 client as the metadata service needs: one request a connection, or several on one, bodies of
//! known bound.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// User data is at most 16 KiB; everything else is smaller.
const LARGEST: u64 = 256 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A connection that carries several requests; an answer that has no length is an error.
pub struct Session {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Session {
    pub fn open(server: SocketAddr) -> io::Result<Session> {
        let stream = TcpStream::connect_timeout(&server, CONNECT)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Session { stream: BufReader::new(stream), host: server })
    }

    /// Sends requests without bodies, all at once; each is to be [received](Self::receive).
    pub fn send(&mut self, method: &str, paths: &[&str], header: (&str, &str)) -> io::Result<()> {
        let (host, (name, value)) = (host(self.host), header);
        let one = |path: &&str| {
            format!(
                "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{name}: {value}\r\n\r\n"
            )
        };
        let text: String = paths.iter().map(one).collect();
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// The answer to the oldest request that has none yet.
    pub fn receive(&mut self) -> io::Result<Response> {
        receive(&mut self.stream)
    }
}

/// As a header names it.
fn host(server: SocketAddr) -> String {
    match server {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

fn receive(stream: &mut impl BufRead) -> io::Result<Response> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.take(LARGEST).read_until(b'\n', &mut head)? == 0 || head.len() as u64 > LARGEST {
            return Err(bad());
        }
    }
    let length = std::str::from_utf8(&head).map_err(|_| bad())?.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let length = length.filter(|length| *length <= LARGEST).ok_or_else(bad)?;
    stream.take(length).read_to_end(&mut head)?;
    parse(&head).ok_or_else(bad)
}

/// Sends a request without a body.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n",
        host(server)
    );
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text += "\r\n";
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(LARGEST).read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

/// Reads a whole answer; `None` when it is malformed or was cut short.
fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    if !first.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status = first.next()?.parse().ok()?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let body = match (chunked, length) {
        (true, _) => join_chunks(body)?,
        (false, Some(length)) => body.get(..length)?.to_vec(),
        (false, None) => body.to_vec(),
    };
    Some(Response { status, body })
}

fn join_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_by_length_by_chunks_and_by_end_are_read() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            assert_eq!(
                parse(answer.as_bytes()),
                Some(Response { status: 200, body: b"hello".to_vec() }),
                "{answer}"
            );
        }
    }

    #[test]
    fn answers_that_follow_each_other_are_told_apart() {
        let mut stream: &[u8] =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(receive(&mut stream).unwrap(), Response { status: 200, body: b"hello".to_vec() });
        assert_eq!(receive(&mut stream).unwrap(), Response { status: 404, body: vec![] });
        assert!(receive(&mut stream).is_err());
        assert!(receive(&mut stream).is_err());
    }

    #[test]
    fn an_answer_that_was_cut_short_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(parse(answer.as_bytes()), None, "{answer}");
        }
    }
}
