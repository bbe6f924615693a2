//! A metadata service on loopback, as small as can be; QEMU forwards 169.254.169.254:80 to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

type Values = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub struct Imds {
    pub port: u16,
    values: Values,
}

impl Imds {
    pub fn start() -> Imds {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let values = Values::default();
        let shared = values.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let values = shared.clone();
                thread::spawn(move || answer(&stream, &values));
            }
        });
        Imds { port, values }
    }

    /// What is at this path below `/latest/` from now on.
    pub fn set(&self, path: &str, value: impl Into<Vec<u8>>) {
        self.values.lock().unwrap().insert(path.to_owned(), value.into());
    }
}

fn answer(mut stream: &TcpStream, values: &Values) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase())
        .collect();
    let has = |header: &str| headers.iter().any(|line| line.starts_with(header));
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?.strip_prefix("/latest/")?);
    let (status, body) = match method {
        "PUT" if path == "api/token" && has("x-aws-ec2-metadata-token-ttl-seconds:") => {
            (200, b"TOKEN".to_vec())
        }
        "GET" if !has("x-aws-ec2-metadata-token: token") => (401, Vec::new()),
        "GET" => values.lock().unwrap().get(path).cloned().map_or((404, Vec::new()), |value| (200, value)),
        _ => (400, Vec::new()),
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}
