//! The instance metadata service, version 2.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use crate::console::say;
use crate::http::{self, Response, Session};
use crate::ipv6;
use crate::told::Told;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// Where it is for who has IPv6 alone.
const BY_IPV6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 80);

/// A session with the service.
pub struct Imds {
    /// None: not begun.
    token: Option<String>,
    /// What was asked before it was wanted.
    known: HashMap<&'static str, Option<Vec<u8>>>,
}

/// What every start wants before anybody can log in: asked for in one go.
const FIRST: [&str; 3] =
    ["meta-data/instance-id", "meta-data/local-hostname", "meta-data/public-keys/0/openssh-key"];

/// Of the launch.
pub const USER_DATA: &str = "user-data";

impl Imds {
    /// One that begins when it is asked for more than this.
    pub fn knowing(told: Told) -> Imds {
        let values = [Some(told.instance), told.host_name, told.login_key];
        let known = FIRST.into_iter().zip(values).map(|(path, value)| (path, value.map(String::into_bytes)));
        let lacking = told.lacks_user_data.then_some((USER_DATA, None));
        Imds { token: None, known: known.chain(lacking).collect() }
    }

    /// Asks for a token until the service gives one.
    pub fn connect() -> Imds {
        let mut pause = Duration::from_millis(100);
        let mut told = false;
        loop {
            match begin(server()) {
                Ok(imds) => return imds,
                Err(error) if pause >= Duration::from_secs(3) && !told => {
                    say(&format!("the metadata service is silent ({error}); asking on"));
                    told = true;
                }
                Err(_) => {}
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    /// The value at a path below `/latest/`, `None` when there is none; asks until the service answers.
    pub fn get(&mut self, path: &str) -> Option<Vec<u8>> {
        if let Some(known) = self.known.remove(path) {
            return known;
        }
        loop {
            let Some(token) = &self.token else {
                *self = Imds::connect();
                continue;
            };
            match ask(server(), token, path) {
                Ok(Response { status: 200, body }) => return Some(body),
                Ok(Response { status: 404, .. }) => return None,
                // The token ran out, or the service forgot it when it started again.
                Ok(Response { status: 401, .. }) => *self = Imds::connect(),
                Ok(_) | Err(_) => {
                    sleep(Duration::from_secs(1));
                    *self = Imds::connect();
                }
            }
        }
    }

    /// The same as text, without white space around it; `None` also when it is empty.
    pub fn text(&mut self, path: &str) -> Option<String> {
        let text = String::from_utf8(self.get(path)?).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

fn server() -> SocketAddr {
    if ipv6::is_alone() { BY_IPV6 } else { SERVER }
}

/// Whether the service says, by IPv6, that an interface has no IPv4 address. One that does not answer says nothing.
pub fn denies_ipv4(mac: [u8; 6]) -> bool {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let Ok(Imds { token: Some(token), .. }) = begin(BY_IPV6) else { return false };
    let status = |what: &str| {
        let path = format!("meta-data/network/interfaces/macs/{mac}/{what}");
        ask(BY_IPV6, &token, &path).map(|response| response.status).ok()
    };
    status("mac") == Some(200) && status("local-ipv4s") == Some(404)
}

fn ask(server: SocketAddr, token: &str, path: &str) -> io::Result<Response> {
    http::request(server, "GET", &format!("/latest/{path}"), &[("X-aws-ec2-metadata-token", token)])
}

fn begin(server: SocketAddr) -> io::Result<Imds> {
    let mut session = Session::open(server)?;
    let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", "21600");
    session.send("PUT", &["/latest/api/token"], lifetime)?;
    let answer = session.receive()?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("status {}", answer.status)));
    }
    let token = String::from_utf8(answer.body).map_err(io::Error::other)?;
    // What this does not bring is asked for again when it is wanted.
    let known = ahead(&mut session, &token).unwrap_or_default();
    Ok(Imds { token: Some(token), known })
}

fn ahead(session: &mut Session, token: &str) -> io::Result<HashMap<&'static str, Option<Vec<u8>>>> {
    let paths = FIRST.map(|path| format!("/latest/{path}"));
    session.send("GET", &paths.each_ref().map(String::as_str), ("X-aws-ec2-metadata-token", token))?;
    let mut known = HashMap::new();
    for path in FIRST {
        match session.receive()? {
            Response { status: 200, body } => drop(known.insert(path, Some(body))),
            Response { status: 404, .. } => drop(known.insert(path, None)),
            _ => break,
        }
    }
    Ok(known)
}
