//! What is said to strongSwan's IKE daemon, over its socket: settings in, states out.
//!
//! Protocol: <https://github.com/strongswan/strongswan/blob/5.9.8/src/libcharon/plugins/vici/README.md>

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Where the daemon listens, within its namespace.
pub const PORT: u16 = 4502;
/// The largest packet that is taken, in bytes: the daemon's own bound.
const MOST: usize = 512 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const REGISTER: u8 = 3;
const CONFIRMED: u8 = 5;
const EVENT: u8 = 7;

/// A message as it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    fn name(&mut self, kind: u8, name: &str) {
        self.0.extend([kind, name.len() as u8]);
        self.0.extend(name.as_bytes());
    }

    fn value(&mut self, value: &str) {
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value.as_bytes());
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(3, name);
        self.value(value);
        self
    }

    pub fn list(&mut self, name: &str, values: &[&str]) -> &mut Self {
        self.name(4, name);
        for value in values {
            self.0.push(5);
            self.value(value);
        }
        self.0.push(6);
        self
    }

    pub fn section(&mut self, name: &str, inner: impl FnOnce(&mut Self)) -> &mut Self {
        self.name(1, name);
        inner(self);
        self.0.push(2);
        self
    }
}

/// A message as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    List(Vec<String>),
    Section(Section),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section(pub Vec<(String, Value)>);

impl Section {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| match value {
            Value::Text(text) if key == name => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn list(&self, name: &str) -> &[String] {
        let found = self.0.iter().find_map(|(key, value)| match value {
            Value::List(list) if key == name => Some(list.as_slice()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    pub fn section(&self, name: &str) -> Option<&Self> {
        self.sections().find_map(|(key, section)| (key == name).then_some(section))
    }

    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(key, value)| match value {
            Value::Section(section) => Some((key.as_str(), section)),
            _ => None,
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut open: Vec<(String, Self)> = Vec::new();
        let mut now = Self::default();
        while let Some(kind) = reader.byte() {
            match kind {
                1 => {
                    let name = reader.name()?;
                    open.push((name, std::mem::take(&mut now)));
                }
                2 => {
                    let (name, outer) = open.pop()?;
                    let done = std::mem::replace(&mut now, outer);
                    now.0.push((name, Value::Section(done)));
                }
                3 => {
                    let name = reader.name()?;
                    now.0.push((name, Value::Text(reader.value()?)));
                }
                4 => {
                    let (name, mut list) = (reader.name()?, Vec::new());
                    while reader.byte()? == 5 {
                        list.push(reader.value()?);
                    }
                    now.0.push((name, Value::List(list)));
                }
                _ => return None,
            }
        }
        open.is_empty().then_some(now)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn name(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    fn value(&mut self) -> Option<String> {
        let length = [self.byte()?, self.byte()?];
        self.take(usize::from(u16::from_be_bytes(length)))
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Vici(TcpStream);

impl Vici {
    /// From within the daemon's namespace.
    pub fn connect() -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(
            &SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            Duration::from_secs(2),
        )?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    fn send(&mut self, kind: u8, name: &str, message: &Message) -> io::Result<()> {
        let mut packet = vec![kind, name.len() as u8];
        packet.extend(name.as_bytes());
        packet.extend(&message.0);
        self.0.write_all(&(packet.len() as u32).to_be_bytes())?;
        self.0.write_all(&packet)
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(1..=MOST).contains(&length) {
            return Err(strange());
        }
        let mut packet = vec![0; length];
        self.0.read_exact(&mut packet)?;
        let rest = packet.split_off(1);
        Ok((packet[0], rest))
    }

    /// Asks, and takes an answer that says that it failed for a failure.
    pub fn request(&mut self, command: &str, message: &Message) -> io::Result<Section> {
        self.send(REQUEST, command, message)?;
        let (kind, body) = self.receive()?;
        let answer = (kind == RESPONSE).then(|| Section::parse(&body)).flatten().ok_or_else(strange)?;
        match answer.text("success") {
            Some("no") => {
                let why = answer.text("errmsg").unwrap_or("it does not say why");
                Err(io::Error::other(format!("{command}: {why}")))
            }
            _ => Ok(answer),
        }
    }

    /// Every IKE association, by the name of its settings.
    pub fn associations(&mut self) -> io::Result<Vec<(String, Section)>> {
        self.send(REGISTER, "list-sa", &Message::default())?;
        if self.receive()?.0 != CONFIRMED {
            return Err(strange());
        }
        self.send(REQUEST, "list-sas", &Message::default())?;
        let mut found = Vec::new();
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                EVENT => {
                    let mut reader = Reader(&body);
                    reader.name().ok_or_else(strange)?;
                    let event = Section::parse(reader.0).ok_or_else(strange)?;
                    found.extend(event.sections().map(|(name, section)| (name.to_owned(), section.clone())));
                }
                RESPONSE => return Ok(found),
                _ => return Err(strange()),
            }
        }
    }
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the IKE daemon answered something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut message = Message::default();
        message.set("version", "0").list("local_addrs", &["198.18.0.5", "198.18.0.6"]).section(
            "local",
            |it| {
                it.set("auth", "psk").section("deep", |_| {});
            },
        );
        let read = Section::parse(&message.0).unwrap();
        assert_eq!(read.text("version"), Some("0"));
        assert_eq!(read.list("local_addrs"), ["198.18.0.5", "198.18.0.6"]);
        let local = read.section("local").unwrap();
        assert_eq!(local.text("auth"), Some("psk"));
        assert!(local.section("deep").unwrap().0.is_empty());
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        let mut message = Message::default();
        message.section("a", |it| {
            it.list("b", &["c"]).set("d", "e");
        });
        for end in 1..message.0.len() {
            assert_eq!(Section::parse(&message.0[..end]), None, "{end}");
        }
    }
}
