//! nftables by netlink: elements of sets and maps, chains of classes, and lists of both.
//!
//! The `nft` program costs milliseconds to tens of milliseconds for each call (it reads the rule set first), so it is
//! kept for skeletons and bodies; what changes with each interface goes this way, in one transaction.

use super::netlink::{APPEND, CREATE, Message, Socket, as_text, as_u32, attr, attrs};
use crate::host::linux::exec;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const DEL_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DEL_RULE: u16 = SUBSYSTEM | 8;
const GET_SET: u16 = SUBSYSTEM | 0xa;
const DEL_SET: u16 = SUBSYSTEM | 0xb;
const NEW_ELEMENT: u16 = SUBSYSTEM | 0xc;
const GET_ELEMENT: u16 = SUBSYSTEM | 0xd;
const DEL_ELEMENT: u16 = SUBSYSTEM | 0xe;

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Inet = 1,
    Ip = 2,
    Arp = 3,
    Ip6 = 10,
}

impl Family {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Ip6 => "ip6",
        }
    }

    fn header(self) -> [u8; 4] {
        [self as u8, 0, 0, 0]
    }
}

/// What a key maps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing: an element of a plain set.
    None,
    Value(Vec<u8>),
    /// A verdict map's verdict: go on in that chain and come back.
    Jump(String),
    /// The same without coming back.
    Goto(String),
}

/// An element of a set that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub key: Vec<u8>,
    pub packets: u64,
    pub bytes: u64,
}

const ELEMENT_END: u16 = 10;
const ELEMENT_EXPRESSION: u16 = 7;
const ELEMENT_EXPRESSIONS: u16 = 11;

/// The contents of one set.
pub type Elements = BTreeMap<Vec<u8>, Data>;

/// A chain that hooks into the packet path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    pub table: String,
    pub name: String,
    pub hook: u32,
    pub kind: String,
    /// Whether what reaches its end is dropped.
    pub drops: bool,
}

/// A rule's place, and its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    pub table: String,
    pub chain: String,
    pub handle: u64,
    pub comment: Option<String>,
}

/// Runs the `nft` program in the calling thread's namespace. All of `text` takes effect, or nothing.
pub fn load(text: &str) -> io::Result<()> {
    exec::blocking::run_ok("nft", &["-f", "-"], text.as_bytes(), Duration::from_secs(30)).map(drop)
}

/// Loads a skeleton, which leaves the contents of sets alone. Where something in its way does not fit (sets of another
/// version, somebody's hand), its tables are made anew in the same transaction: the loop fills them again. Not every kernel
/// says that a set is of another kind: the first of the tables does not fit either where it holds the set `outdated`.
pub fn load_skeleton(text: &str, tables: &[(Family, &str)], outdated: Option<&str>) -> io::Result<()> {
    let standing = match (tables.first(), outdated) {
        (Some((family, table)), Some(_)) => Nft::open()?.sets(*family, table)?,
        _ => Vec::new(),
    };
    if standing.iter().any(|set| Some(set.as_str()) == outdated) {
        tracing::warn!("a rule set is of an earlier version and is made anew");
    } else {
        let Err(error) = load(text) else { return Ok(()) };
        tracing::warn!(%error, "a rule set does not fit and is made anew");
    }
    let mut anew = String::new();
    for (family, table) in tables {
        let family = family.as_str();
        anew.push_str(
            &["table ", family, " ", table, " {\n}\ndelete table ", family, " ", table, "\n"].concat(),
        );
    }
    anew.push_str(text);
    load(&anew)
}

#[derive(Debug)]
pub struct Nft(Socket);

impl Nft {
    /// For the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Socket::netfilter().map(Self)
    }

    pub fn commit(&mut self, batch: Batch) -> io::Result<()> {
        self.0.transaction(batch.messages)
    }

    /// Everything in a set or map; `None` when there is no such set.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> io::Result<Option<Elements>> {
        let mut message = Message::new(GET_ELEMENT, 0, &family.header());
        message.text(1, table).text(2, set);
        let found = match self.0.dump(message) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            found => found?,
        };
        let mut elements = Elements::new();
        for payload in &found {
            let list = payload.get(4..).and_then(|p| attr(p, 3)).unwrap_or_default();
            for (_, element) in attrs(list) {
                let Some(key) = attr(element, 1).and_then(|key| attr(key, 1)) else { continue };
                let data = attr(element, 2).map_or(Data::None, data_of);
                elements.insert(key.to_vec(), data);
            }
        }
        Ok(Some(elements))
    }

    /// The elements of a set that the kernel fills and counts by, each with its packets and bytes; `None` when there is no
    /// such set.
    pub fn counted(&mut self, family: Family, table: &str, set: &str) -> io::Result<Option<Vec<Counted>>> {
        let mut message = Message::new(GET_ELEMENT, 0, &family.header());
        message.text(1, table).text(2, set);
        let found = match self.0.dump(message) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            found => found?,
        };
        let mut counted = Vec::new();
        for payload in &found {
            let list = payload.get(4..).and_then(|p| attr(p, 3)).unwrap_or_default();
            for (_, element) in attrs(list) {
                let Some(key) = attr(element, 1).and_then(|key| attr(key, 1)) else { continue };
                // One expression stands alone, several in a list.
                let several = attr(element, ELEMENT_EXPRESSIONS).and_then(|list| attr(list, 1));
                let data = attr(element, ELEMENT_EXPRESSION).or(several).and_then(|expr| attr(expr, 2));
                let Some(data) = data else { continue };
                let number = |kind| attr(data, kind)?.try_into().map(u64::from_be_bytes).ok();
                let (Some(bytes), Some(packets)) = (number(1), number(2)) else { continue };
                counted.push(Counted { key: key.to_vec(), packets, bytes });
            }
        }
        Ok(Some(counted))
    }

    /// The names of a table's sets and maps.
    pub fn sets(&mut self, family: Family, table: &str) -> io::Result<Vec<String>> {
        let mut message = Message::new(GET_SET, 0, &family.header());
        message.text(1, table);
        let found = match self.0.dump(message) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
            found => found?,
        };
        Ok(found.iter().filter_map(|p| Some(as_text(attr(p.get(4..)?, 2)?))).collect())
    }

    /// The names of a table's chains.
    pub fn chains(&mut self, family: Family, table: &str) -> io::Result<Vec<String>> {
        let found = self.0.dump(Message::new(GET_CHAIN, 0, &family.header()))?;
        Ok(found
            .iter()
            .filter_map(|payload| payload.get(4..))
            .filter(|attributes| attr(attributes, 1).map(as_text).as_deref() == Some(table))
            .filter_map(|attributes| attr(attributes, 3).map(as_text))
            .collect())
    }

    /// The chains of all tables of a family that hook into the packet path.
    pub fn base_chains(&mut self, family: Family) -> io::Result<Vec<BaseChain>> {
        let found = self.0.dump(Message::new(GET_CHAIN, 0, &family.header()))?;
        Ok(found
            .iter()
            .filter_map(|payload| {
                let attributes = payload.get(4..)?;
                let be32 = |value: &[u8]| u32::from_be(as_u32(value));
                Some(BaseChain {
                    table: as_text(attr(attributes, 1)?),
                    name: as_text(attr(attributes, 3)?),
                    hook: be32(attr(attr(attributes, 4)?, 1)?),
                    kind: attr(attributes, 7).map(as_text).unwrap_or_default(),
                    drops: attr(attributes, 5).map(be32) == Some(0),
                })
            })
            .collect())
    }

    /// The rules of all tables of a family.
    pub fn rules(&mut self, family: Family) -> io::Result<Vec<RuleRef>> {
        let found = self.0.dump(Message::new(GET_RULE, 0, &family.header()))?;
        Ok(found
            .iter()
            .filter_map(|payload| {
                let attributes = payload.get(4..)?;
                let handle = attr(attributes, 3)?.try_into().map(u64::from_be_bytes).ok()?;
                Some(RuleRef {
                    table: as_text(attr(attributes, 1)?),
                    chain: as_text(attr(attributes, 2)?),
                    handle,
                    comment: attr(attributes, 7).and_then(comment),
                })
            })
            .collect())
    }
}

fn data_of(data: &[u8]) -> Data {
    if let Some(value) = attr(data, 1) {
        return Data::Value(value.to_vec());
    }
    let verdict = attr(data, 2).unwrap_or_default();
    let code = attr(verdict, 1).map_or(0, |code| u32::from_be(as_u32(code)) as i32);
    match (attr(verdict, 2).map(as_text), code) {
        (Some(chain), GOTO) => Data::Goto(chain),
        (Some(chain), _) => Data::Jump(chain),
        (None, _) => Data::None,
    }
}

/// The comment in a rule's user data: records of (kind, length, value), of which kind 0 is the comment.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(as_text(value));
        }
        data = &rest[value.len()..];
    }
    None
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn push(&mut self, kind: u16, flags: u16, family: Family, fill: impl FnOnce(&mut Message)) {
        let mut message = Message::new(kind, flags, &family.header());
        fill(&mut message);
        self.messages.push(message);
    }

    pub fn add_element(&mut self, family: Family, table: &str, set: &str, key: &[u8], data: &Data) {
        self.push(NEW_ELEMENT, CREATE, family, |m| element(m, table, set, key, data));
    }

    pub fn delete_element(&mut self, family: Family, table: &str, set: &str, key: &[u8]) {
        self.push(DEL_ELEMENT, 0, family, |m| element(m, table, set, key, &Data::None));
    }

    /// Makes a chain, unless it is there.
    pub fn add_chain(&mut self, family: Family, table: &str, chain: &str) {
        self.push(NEW_CHAIN, CREATE, family, |m| {
            m.text(1, table).text(3, chain);
        });
    }

    pub fn delete_chain(&mut self, family: Family, table: &str, chain: &str) {
        self.push(DEL_CHAIN, 0, family, |m| {
            m.text(1, table).text(3, chain);
        });
    }

    pub fn delete_set(&mut self, family: Family, table: &str, set: &str) {
        self.push(DEL_SET, 0, family, |m| {
            m.text(1, table).text(2, set);
        });
    }

    pub fn flush_chain(&mut self, family: Family, table: &str, chain: &str) {
        self.push(DEL_RULE, 0, family, |m| {
            m.text(1, table).text(2, chain);
        });
    }

    pub fn delete_rule(&mut self, family: Family, rule: &RuleRef) {
        self.push(DEL_RULE, 0, family, |m| {
            m.text(1, &rule.table).text(2, &rule.chain).attr(3, &rule.handle.to_be_bytes());
        });
    }

    /// Appends a rule that jumps, whatever the packet is.
    pub fn append_jump(&mut self, family: Family, table: &str, chain: &str, to: &str) {
        self.append_verdict(family, table, chain, JUMP, Some(to));
    }

    /// Appends a rule that goes on elsewhere for good, whatever the packet is.
    pub fn append_goto(&mut self, family: Family, table: &str, chain: &str, to: &str) {
        self.append_verdict(family, table, chain, GOTO, Some(to));
    }

    fn append_verdict(&mut self, family: Family, table: &str, chain: &str, code: i32, to: Option<&str>) {
        self.push(NEW_RULE, CREATE | APPEND, family, |m| {
            m.text(1, table).text(2, chain).nest(4, |expressions| {
                expressions.nest(1, |expression| {
                    expression.text(1, "immediate").nest(2, |data| {
                        data.be32(1, 0).nest(2, |value| verdict(value, code, to));
                    });
                });
            });
        });
    }
}

const JUMP: i32 = -3;
const GOTO: i32 = -4;

fn verdict(message: &mut Message, code: i32, to: Option<&str>) {
    message.nest(2, |verdict| {
        verdict.be32(1, code as u32);
        if let Some(to) = to {
            verdict.text(2, to);
        }
    });
}

/// The key of the last address of a prefix, from that of its first.
fn end_of_prefix(first: &[u8]) -> Vec<u8> {
    let mut last = first.to_vec();
    let own = last.len().saturating_sub(16 - usize::from(plan::net::ipv6::PREFIX / 8));
    last[own..].fill(u8::MAX);
    last
}

fn element(message: &mut Message, table: &str, set: &str, key: &[u8], data: &Data) {
    message.text(1, table).text(2, set).nest(3, |list| {
        list.nest(1, |element| {
            element.nest(1, |k| {
                k.attr(1, key);
            });
            if plan::net::names::is_of_prefixes(set) {
                element.nest(ELEMENT_END, |end| {
                    end.attr(1, &end_of_prefix(key));
                });
            }
            match data {
                Data::None => {}
                Data::Value(value) => {
                    element.nest(2, |d| {
                        d.attr(1, value);
                    });
                }
                Data::Jump(chain) => {
                    element.nest(2, |d| verdict(d, JUMP, Some(chain)));
                }
                Data::Goto(chain) => {
                    element.nest(2, |d| verdict(d, GOTO, Some(chain)));
                }
            }
        });
    });
}

/// A link's name as a key: 16 bytes.
pub fn link_key(link: &str) -> Vec<u8> {
    let mut key = link.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

/// `devgroup`.
pub fn class_key(class: u32) -> Vec<u8> {
    class.to_ne_bytes().to_vec()
}

/// `ifname . ether_addr`: each part is padded to four bytes.
pub fn port_key(link: &str, mac: model::Mac) -> Vec<u8> {
    let mut key = link_key(link);
    key.extend_from_slice(&mac.0);
    key.extend_from_slice(&[0, 0]);
    key
}

/// `ifname . ether_addr . ipv4_addr` or `… . ipv6_addr`.
pub fn sender_key(link: &str, mac: model::Mac, address: impl Into<std::net::IpAddr>) -> Vec<u8> {
    let mut key = port_key(link, mac);
    key.extend(address_key(address));
    key
}

/// `ipv4_addr` or `ipv6_addr`.
pub fn address_key(address: impl Into<std::net::IpAddr>) -> Vec<u8> {
    match address.into() {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address that such a key is or ends with, behind so many bytes.
pub fn address_behind(key: &[u8], start: usize) -> Option<std::net::IpAddr> {
    let bytes = key.get(start..)?;
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|v4| std::net::Ipv4Addr::from(v4).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).into()),
        _ => None,
    }
}
