//! Netlink messages and the blocking sockets that carry them: no more than this driver needs.
//!
//! A message is built in one buffer; lengths are patched when a part is finished. Requests are answered within the call,
//! so a socket is used by one caller at a time. Answers that do not belong to the current request are skipped.

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub const ACK: u16 = 0x4;
pub const EXCL: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;
pub const REPLACE: u16 = 0x100;
const REQUEST: u16 = 0x1;
const MULTI: u16 = 0x2;
const DUMP_INTERRUPTED: u16 = 0x10;
const DUMP: u16 = 0x300;
const NESTED: u16 = 0x8000;

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// One message, without its sequence number.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `header` is the family's fixed header.
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    pub fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// A string with its closing zero.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// In the host's byte order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    pub fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        inner(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Bytes as they are, for a fixed header inside a nest.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    pub fn flag(&mut self, flag: u16) -> &mut Self {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flag;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

/// The attributes in a buffer: (kind without flags, value). Stops at what is malformed.
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// A string up to its closing zero.
pub fn as_text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub fn as_u32(value: &[u8]) -> u32 {
    value.get(..4).and_then(|v| v.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// A socket of one netlink family, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub fn route() -> io::Result<Self> {
        // The kernel's protocol number 0.
        Self::open(None)
    }

    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(Duration::from_secs(5)))?;
        // One atomic transaction is one message; a large one needs the room. Without the privilege the default serves.
        let _ = sockopt::set_socket_send_buffer_size_force(&fd, 8 << 20);
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, 8 << 20);
        Ok(Self { fd, sequence: 0, buffer: vec![0; 256 << 10] })
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let to = SocketAddrNetlink::new(0, 0);
        let sent = rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &to)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("netlink took a part of a message")) }
    }

    /// Calls `each` with (type, flags, sequence, payload) of every message of one datagram.
    fn receive(&mut self, mut each: impl FnMut(u16, u16, u32, &[u8])) -> io::Result<()> {
        let (length, full) = loop {
            match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((length, full)) => break (length, full),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer"));
                }
                Err(error) => return Err(error.into()),
            }
        };
        if full > length {
            return Err(io::Error::other("a netlink answer is larger than its buffer"));
        }
        let mut rest = &self.buffer[..length];
        while rest.len() >= HEADER {
            let size = as_u32(rest) as usize;
            if size < HEADER || size > rest.len() {
                break;
            }
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let flags = u16::from_ne_bytes([rest[6], rest[7]]);
            each(kind, flags, as_u32(&rest[8..]), &rest[HEADER..size]);
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    /// One request and its acknowledgement.
    pub fn request(&mut self, mut message: Message) -> io::Result<()> {
        let sequence = self.next();
        message.flag(ACK);
        self.send(message.finish(sequence))?;
        let mut outcome = None;
        while outcome.is_none() {
            self.receive(|kind, _, seq, payload| {
                if seq == sequence && kind == ERROR {
                    outcome = Some(error_of(payload));
                }
            })?;
        }
        outcome.unwrap_or(Ok(()))
    }

    /// The payloads of everything that the request lists, again from the start when the list changed meanwhile.
    pub fn dump(&mut self, mut message: Message) -> io::Result<Vec<Vec<u8>>> {
        message.flag(DUMP);
        self.ask(message)
    }

    /// The payload of the one object that the request names; `None` when there is none.
    pub fn get(&mut self, message: Message) -> io::Result<Option<Vec<u8>>> {
        match self.ask(message) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(None),
            found => Ok(found?.pop()),
        }
    }

    fn ask(&mut self, mut message: Message) -> io::Result<Vec<Vec<u8>>> {
        for _ in 0..8 {
            let sequence = self.next();
            self.send(message.finish(sequence))?;
            let (mut found, mut end, mut interrupted) = (Vec::new(), None, false);
            while end.is_none() {
                self.receive(|kind, flags, seq, payload| {
                    if seq != sequence {
                        return;
                    }
                    interrupted |= flags & DUMP_INTERRUPTED != 0;
                    match kind {
                        ERROR | DONE => end = Some(error_of(payload)),
                        _ => {
                            found.push(payload.to_vec());
                            if flags & MULTI == 0 {
                                end = Some(Ok(()));
                            }
                        }
                    }
                })?;
            }
            end.unwrap_or(Ok(()))?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(io::Error::other("a netlink list changed faster than it could be read"))
    }

    /// All messages in one datagram, which the kernel takes whole or not at all.
    pub fn transaction(&mut self, mut messages: Vec<Message>) -> io::Result<()> {
        let nfgen = |resource: u16| [0, 0, resource.to_be_bytes()[0], resource.to_be_bytes()[1]];
        let Some(last) = messages.last_mut() else { return Ok(()) };
        last.flag(ACK);
        let mut bytes = Vec::new();
        let first = self.next();
        bytes.extend_from_slice(Message::new(0x10, 0, &nfgen(10)).finish(first));
        let mut acknowledged = first;
        for message in &mut messages {
            acknowledged = self.next();
            bytes.extend_from_slice(message.finish(acknowledged));
        }
        let end = self.next();
        bytes.extend_from_slice(Message::new(0x11, 0, &nfgen(10)).finish(end));
        self.send(&bytes)?;
        let mut outcome = None;
        while outcome.is_none() {
            self.receive(|kind, _, seq, payload| {
                if kind != ERROR || seq < first || seq > end {
                    return;
                }
                match error_of(payload) {
                    Err(error) => {
                        let part = seq - first;
                        outcome.get_or_insert(Err(io::Error::new(
                            error.kind(),
                            format!("part {part} of {}: {error}", messages.len()),
                        )));
                    }
                    Ok(()) if seq == acknowledged => {
                        outcome.get_or_insert(Ok(()));
                    }
                    Ok(()) => {}
                }
            })?;
        }
        outcome.unwrap_or(Ok(()))
    }
}

fn error_of(payload: &[u8]) -> io::Result<()> {
    match as_u32(payload) as i32 {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_they_were_written() {
        let mut message = Message::new(1, 0, &[9; 4]);
        message.text(1, "abc").nest(2, |m| {
            m.u32(3, 7).attr(4, &[1]);
        });
        let bytes = message.finish(5);
        let body = &bytes[HEADER + 4..];
        assert_eq!(attr(body, 1).map(as_text).as_deref(), Some("abc"));
        let nest = attr(body, 2).unwrap();
        assert_eq!(attr(nest, 3).map(as_u32), Some(7));
        assert_eq!(attr(nest, 4), Some(&[1u8][..]));
    }

    #[test]
    fn malformed_attributes_end_the_list() {
        assert_eq!(attrs(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attrs(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attrs(&[8, 0, 1]).count(), 0);
    }
}
