//! DNS messages, as far as an authority for a few computed names needs them: one question, few answers.
//!
//! Whoever asks chooses every byte: nothing panics on any input. What is in a question that no host name has is replaced
//! by a `?`, so that it matches nothing.

use std::net::Ipv4Addr;

pub const HEADER: usize = 12;
pub const A: u16 = 1;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const AAAA: u16 = 28;
pub const ANY: u16 = 255;
pub const INTERNET: u16 = 1;

pub const NO_ERROR: u8 = 0;
pub const SERVER_FAILURE: u8 = 2;
pub const NAME_ERROR: u8 = 3;
pub const NOT_IMPLEMENTED: u8 = 4;

pub const TTL: u32 = 60;
pub const REFUSED: u8 = 5;

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In lower case, with dots between the labels and none at the end.
    pub name: String,
    pub kind: u16,
    pub class: u16,
    /// Where it ends in the message.
    pub(super) end: usize,
}

/// What there is to say of a message before anybody has looked at the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// One question of the internet's class.
    For(Question),
    /// Nothing that this resolver answers: the whole reply.
    Unknown(Vec<u8>),
    /// Not a query: no answer at all.
    Nothing,
}

impl Asked {
    pub fn of(query: &[u8]) -> Self {
        if query.len() < HEADER || query[2] & 0x80 != 0 {
            return Self::Nothing;
        }
        let questions = u16::from_be_bytes([query[4], query[5]]);
        let opcode = (query[2] >> 3) & 15;
        match parse(query) {
            Some(question) if questions == 1 && opcode == 0 && question.class == INTERNET => {
                Self::For(question)
            }
            Some(question) if questions == 1 && opcode == 0 => {
                Self::Unknown(reply(query, Some(&question), NOT_IMPLEMENTED, None, None))
            }
            _ => Self::Unknown(reply(query, None, NOT_IMPLEMENTED, None, None)),
        }
    }
}

/// The part of `name` in front of `.domain`; empty for the domain itself.
pub fn below<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let front = name.strip_suffix(domain)?;
    if front.is_empty() { Some(front) } else { front.strip_suffix('.') }
}

/// `ip-10-0-0-5` as an address.
pub fn dashed(host: &str, prefix: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = host.strip_prefix(prefix)?.replace('-', ".").parse().ok()?;
    (format!("{prefix}{}", address.to_string().replace('.', "-")) == host).then_some(address)
}

/// `5.0.0.10.in-addr.arpa` as an address.
pub fn reverse(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    Some(Ipv4Addr::from_bits(address.to_bits().swap_bytes()))
}

pub fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty() && label.len() < 64) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub(super) fn parse(query: &[u8]) -> Option<Question> {
    let (mut name, mut at) = (String::new(), HEADER);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // A question has nothing before it that a pointer could name.
        if length > 63 || name.len() > 255 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for byte in query.get(at..at + length)? {
            // Bytes that are no part of a host name keep the question from matching anything of ours.
            name.push(if byte.is_ascii_graphic() && *byte != b'.' {
                byte.to_ascii_lowercase() as char
            } else {
                '?'
            });
        }
        at += length;
    }
    let two = |at: usize| Some(u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?));
    Some(Question { name, kind: two(at)?, class: two(at + 2)?, end: at + 4 })
}

/// A reply with at most one answer. With a zone and no answer it carries the zone's SOA, so that "no" is remembered.
pub fn reply(
    query: &[u8],
    question: Option<&Question>,
    code: u8,
    answer: Option<(u16, Vec<u8>)>,
    zone: Option<&str>,
) -> Vec<u8> {
    reply_all(query, question, code, answer.into_iter().filter(|(_, data)| !data.is_empty()), zone)
}

/// [`reply`], with several answers.
pub fn reply_all(
    query: &[u8],
    question: Option<&Question>,
    code: u8,
    answers: impl Iterator<Item = (u16, Vec<u8>)>,
    zone: Option<&str>,
) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[..2].copy_from_slice(query.get(..2).unwrap_or(&[0, 0]));
    // Response, the opcode and "recursion desired" as asked, authoritative for our own zones.
    let asked = query.get(2).copied().unwrap_or(0) & 0x79;
    out[2] = 0x80 | asked | if zone.is_some() { 4 } else { 0 };
    out[3] = 0x80 | code;
    if let Some(question) = question {
        out[5] = 1;
        out.extend_from_slice(&query[HEADER..question.end]);
    }
    let mut record = |name: &[u8], kind: u16, data: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&INTERNET.to_be_bytes());
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    };
    let mut count: u8 = 0;
    for (kind, data) in answers.take(usize::from(u8::MAX)) {
        record(&[0xc0, HEADER as u8], kind, &data);
        count += 1;
    }
    if let Some(zone) = zone.filter(|_| count == 0) {
        let mut data = encode(&format!("ns.{zone}"));
        data.extend_from_slice(&encode(&format!("hostmaster.{zone}")));
        for number in [1, 3600, 600, 86400, TTL] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        record(&encode(zone), SOA, &data);
        out[9] = 1;
    }
    out[7] = count;
    out
}
