//! A signing HTTP/1.1 client on one keep-alive connection: as little work of its own as a client can have.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::sigv4::{Credentials, Payload, Request, sign};

const REGION: &str = "us-east-1";
const VERSION: &str = "2016-11-15";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Where a cloud answers, and the key that it knows.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub access_key_id: String,
    pub secret: String,
}

/// A connection that was left alone for so long may be closed by the server.
const IDLE: Duration = Duration::from_secs(10);

pub struct Client {
    endpoint: Endpoint,
    host: String,
    stream: TcpStream,
    used: Instant,
    /// Reused for every answer.
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let host = endpoint.address.to_string();
        let stream = stream(endpoint.address)?;
        Ok(Self { endpoint: endpoint.clone(), host, stream, used: Instant::now(), buffer: Vec::new() })
    }

    /// Calls an operation; `parameters` are a form that begins with `&`, or nothing. The status, and the body.
    pub fn try_call(&mut self, action: &str, parameters: &str) -> io::Result<(u16, &str)> {
        let body = format!("Action={action}&Version={VERSION}{parameters}");
        let headers = [("host", self.host.as_bytes()), ("content-type", CONTENT_TYPE.as_bytes())];
        let request = Request { method: "POST", path: "/", query: "", headers: &headers };
        let key = &self.endpoint;
        let signer = Credentials::new(&key.access_key_id, key.secret.as_bytes(), REGION, "ec2");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let added = sign(&request, &Payload::of(body.as_bytes()), &signer, now).unwrap();
        let mut text = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\n",
            self.host,
            body.len()
        );
        for (name, value) in added {
            text.extend([name, ": ", &value, "\r\n"]);
        }
        text += "\r\n";
        text += &body;
        if self.used.elapsed() > IDLE {
            self.stream = stream(self.endpoint.address)?;
        }
        self.stream.write_all(text.as_bytes())?;
        self.used = Instant::now();
        self.answer()
    }

    /// [`Client::try_call`] that must succeed.
    pub fn call(&mut self, action: &str, parameters: &str) -> &str {
        let (status, body) = self.try_call(action, parameters).unwrap();
        assert_eq!(status, 200, "{action}{parameters}: {body}");
        body
    }

    fn answer(&mut self) -> io::Result<(u16, &str)> {
        self.buffer.clear();
        let mut chunk = vec![0; 64 * 1024];
        let mut whole: Option<(usize, usize)> = None;
        loop {
            if let Some((start, length)) = whole.or_else(|| head(&self.buffer)) {
                whole = Some((start, length));
                if self.buffer.len() >= start + length {
                    let text = std::str::from_utf8(&self.buffer).map_err(io::Error::other)?;
                    let status = text.get(9..12).and_then(|status| status.parse().ok());
                    let status = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
                    return Ok((status, &text[start..start + length]));
                }
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

fn stream(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    Ok(stream)
}

/// Where the body begins, and how long it is.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let field = text.lines().filter_map(|line| line.split_once(':'));
    let mut length = field.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Some((end + 4, length.next_back()?.1.trim().parse().ok()?))
}

/// The text of every element called `name`, in an answer of our own.
pub fn texts<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
}
