//! What the kernel runs at each port's link: programs of its own virtual machine, from `port.c`.
//!
//! ```text
//! guest A ─► from_port ──────────── known flow: new Ethernet header, one hop less ───────────► to_port ─► guest B
//!              │ charged to A's instance                                          charged to B's ▲ │
//!              └─► the rule set, routes (pre_raw, forward …) ─ the mark TRACKED ─────────────────┘ └─► the flow is known
//! ```
//! - They hold instances to their bandwidth ([`plan::net::bandwidth`]): every frame that a machine sends or is sent passes one.
//! - They take flows past the rule set. A flow is what has the same port, addresses, protocol and port numbers; it is known for
//!   a second after the rule set has let a packet of it pass as one that is tracked and is judged by nothing else
//!   ([`plan::net::TRACKED`]), both ends being ports of one VPC. Then, once a second, one of its packets is judged again, which
//!   also keeps the kernel's own track of it alive. What begins or ends a connection, fragments, options, other protocols and
//!   packets that are too large or have no hops left always take the long way.
//! - Whatever this driver changes makes all flows unknown: [`Programs::changed`] says when that was. For a moment
//!   after it none becomes known, as what passes then may have been judged before.
//!
//! The rule set alone decides; without what is known here everything passes or is dropped just the same, later. So an agent
//! that starts takes over the maps that stand, or lets go of them when they have another shape.
//!
//! Flows of a VPC that has flow logs are not known: the kernel counts what it sees alone.

mod bytecode;
mod sys;

use super::rtnl::Rtnl;
use crate::host::linux::netns::{self, Namespace};
use model::host::{Bandwidth, Burst, Rate};
use model::{CloudTag, InstanceId, Mac};
use parking_lot::Mutex;
use plan::net::bandwidth::{self, Bucket};
use plan::net::names;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use sys::{Kind, Map, Program, Shape};

/// Links of ports have numbers from here on, each its own among all VPCs; other links never come so far.
const FIRST_PORT: u32 = 1 << 20;
const PORT_NUMBERS: u64 = 1 << 30;

/// Stands for the first map in the programs.
const PLACEHOLDER: u64 = 0x6e75_6265 << 32;
const PORTS: Shape =
    Shape { name: "nube_ports", kind: Kind::Hash, key: 4, value: size_of::<PortValue>(), room: 1 << 16 };
/// The first bucket is nobody's.
const BUCKETS: Shape =
    Shape { name: "nube_buckets", kind: Kind::Array, key: 4, value: 8 * BUCKET_WORDS, room: 1 << 13 };
const FLOWS: Shape = Shape { name: "nube_flows", kind: Kind::LruHash, key: 44, value: 32, room: 1 << 15 };
const CHANGED: Shape = Shape { name: "nube_changed", kind: Kind::Array, key: 4, value: 8, room: 1 };

/// How long a packet may be on its way from the rule set's verdict to its port, in nanoseconds.
const ON_ITS_WAY: u64 = 5_000_000;

type PortValue = [u8; 16];

/// The number for the link of the nth port.
pub fn link_number(n: u64) -> u32 {
    FIRST_PORT + (n % PORT_NUMBERS) as u32
}

/// Whether a link is a port of a machine's, which has the programs.
pub fn is_port(link: u32) -> bool {
    link >= FIRST_PORT
}

/// The number of a program that an earlier driver has left at some port of the cloud.
pub fn standing(cloud: &CloudTag) -> io::Result<Option<u32>> {
    for name in netns::names(&names::namespace_prefix(cloud))? {
        if names::vpc_of_namespace(cloud, &name).is_none() {
            continue;
        }
        // Where its name alone is left, whoever opens its router mends it.
        let Ok(namespace) = Namespace::open(&name) else { continue };
        let found = namespace.run(|| {
            let mut rtnl = Rtnl::open()?;
            for link in rtnl.links()?.into_iter().map(|link| link.index).filter(|link| is_port(*link)) {
                if let Some(program) = rtnl.hooked(link)? {
                    return Ok(Some(program));
                }
            }
            Ok(None)
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What the programs are told of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Of the only frames whose flows may be known.
    pub mac: Mac,
    /// The address in the VPC that is asked for names: what goes there is not counted.
    pub resolver: Option<Ipv4Addr>,
    /// Whether flows may be known.
    pub cached: bool,
    pub bandwidth: Option<Bandwidth>,
}

/// The programs and what they know.
#[derive(Debug)]
pub struct Programs {
    from_port: Program,
    to_port: Program,
    ports: Map,
    buckets: Map,
    changed: Map,
    limited: Mutex<Limited>,
}

/// Who draws on which bucket.
#[derive(Debug, Default)]
struct Limited {
    by_instance: BTreeMap<InstanceId, (u32, BTreeSet<u32>)>,
    by_port: BTreeMap<u32, InstanceId>,
}

impl Limited {
    fn free(&self) -> io::Result<u32> {
        let taken: BTreeSet<u32> = self.by_instance.values().map(|(number, _)| *number).collect();
        let free = (1..BUCKETS.room).find(|number| !taken.contains(number));
        free.ok_or_else(|| io::Error::other("no more instances can be held to a bandwidth on this host"))
    }

    fn join(&mut self, link: u32, instance: InstanceId, number: u32) {
        self.leave(link, Some(instance));
        self.by_instance.entry(instance).or_insert_with(|| (number, BTreeSet::new())).1.insert(link);
        self.by_port.insert(link, instance);
    }

    /// The port draws on nothing but what `now` has.
    fn leave(&mut self, link: u32, now: Option<InstanceId>) {
        let Some(before) = self.by_port.get(&link).copied().filter(|before| Some(*before) != now) else {
            return;
        };
        self.by_port.remove(&link);
        if let Some((_, links)) = self.by_instance.get_mut(&before) {
            links.remove(&link);
            if links.is_empty() {
                self.by_instance.remove(&before);
            }
        }
    }
}

impl Programs {
    /// Loads the programs. `standing` is the number of one that an earlier driver has left at a port: what it knows is taken
    /// over. The second value says whether they are others than those, so that every port needs them anew.
    pub fn open(standing: Option<u32>) -> io::Result<(Self, bool)> {
        let standing = standing.map(Program::of_id).transpose()?;
        let found = standing.as_ref().map(maps_of).transpose()?.flatten();
        let adopted = found.is_some();
        let [ports, buckets, flows, changed] = match found {
            Some(maps) => maps,
            None => [Map::create(PORTS)?, Map::create(BUCKETS)?, Map::create(FLOWS)?, Map::create(CHANGED)?],
        };
        let maps = [&ports, &buckets, &flows, &changed];
        let from_port = Program::load("nube_from_port", &bytecode::FROM_PORT, PLACEHOLDER, &maps)?;
        let to_port = Program::load("nube_to_port", &bytecode::TO_PORT, PLACEHOLDER, &maps)?;
        let same = match &standing {
            Some(standing) if adopted => standing.tag()? == from_port.tag()?,
            _ => false,
        };
        let programs = Self { from_port, to_port, ports, buckets, changed, limited: Mutex::default() };
        programs.recall()?;
        Ok((programs, !same))
    }

    /// Who draws on what, as the maps have it.
    fn recall(&self) -> io::Result<()> {
        let mut limited = self.limited.lock();
        for key in self.ports.keys()? {
            let Some(port) = self.ports.get(&key)? else { continue };
            let number = as_u32(&port);
            if let Some(bandwidth) = self.bucket(number)?.and_then(|words| bandwidth_of(&words)) {
                limited.join(as_u32(&key), bandwidth.instance, number);
            }
        }
        Ok(())
    }

    /// Puts the programs at a port's link, or in the place of earlier ones. (Newer kernels have another way, `tcx`, which
    /// waits for all processors, 30 ms a port.)
    pub fn attach(&self, rtnl: &mut Rtnl, link: u32) -> io::Result<()> {
        rtnl.hook(link, &self.from_port, &self.to_port)
    }

    /// Says what a port is. Its instance's bucket keeps what is in it.
    pub fn tell(&self, link: u32, told: Told) -> io::Result<()> {
        let mut limited = self.limited.lock();
        let number = match told.bandwidth {
            None => 0,
            Some(bandwidth) => {
                let standing = limited.by_instance.get(&bandwidth.instance).map(|(number, _)| *number);
                let number = standing.map_or_else(|| limited.free(), Ok)?;
                let before = standing.map(|number| self.bucket(number)).transpose()?.flatten();
                if before.as_deref().and_then(bandwidth_of) != Some(bandwidth) {
                    let words = bucket_words(bandwidth, before.as_deref());
                    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
                    self.buckets.set(&number.to_ne_bytes(), &bytes)?;
                }
                limited.join(link, bandwidth.instance, number);
                number
            }
        };
        limited.leave(link, told.bandwidth.map(|bandwidth| bandwidth.instance));
        self.ports.set(&link.to_ne_bytes(), &port_value(number, told))
    }

    pub fn forget(&self, link: u32) -> io::Result<()> {
        self.ports.delete(&link.to_ne_bytes())?;
        self.limited.lock().leave(link, None);
        Ok(())
    }

    /// Forgets the ports that do not stand.
    pub fn sweep(&self, standing: &BTreeSet<u32>) -> io::Result<()> {
        let known: Vec<u32> = self.ports.keys()?.iter().map(|key| as_u32(key)).collect();
        known.into_iter().filter(|link| !standing.contains(link)).try_for_each(|link| self.forget(link))
    }

    /// What a port is held to.
    pub fn bandwidth(&self, link: u32) -> io::Result<Option<Bandwidth>> {
        let Some(port) = self.ports.get(&link.to_ne_bytes())? else { return Ok(None) };
        Ok(self.bucket(as_u32(&port))?.and_then(|words| bandwidth_of(&words)))
    }

    /// What every instance is held to that has a port here.
    pub fn bandwidths(&self) -> io::Result<Vec<Bandwidth>> {
        let numbers: Vec<u32> = self.limited.lock().by_instance.values().map(|(number, _)| *number).collect();
        let mut found = Vec::new();
        for number in numbers {
            found.extend(self.bucket(number)?.and_then(|words| bandwidth_of(&words)));
        }
        Ok(found)
    }

    /// Makes every flow unknown: what the rule set, routes or neighbours say is no longer what it was.
    pub fn changed(&self) -> io::Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        self.changed.set(&0u32.to_ne_bytes(), &(now + ON_ITS_WAY).to_ne_bytes())
    }

    fn bucket(&self, number: u32) -> io::Result<Option<Vec<u64>>> {
        if number == 0 {
            return Ok(None);
        }
        let bytes = self.buckets.get(&number.to_ne_bytes())?;
        Ok(bytes.map(|bytes| bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }
}

/// The maps of a program, if they have the shapes of today.
fn maps_of(program: &Program) -> io::Result<Option<[Map; 4]>> {
    let mut found = Vec::new();
    for shape in [PORTS, BUCKETS, FLOWS, CHANGED] {
        let Some(map) = program.map(shape)? else { return Ok(None) };
        found.push(map);
    }
    Ok(found.try_into().ok())
}

fn as_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
}

/// `struct port`.
fn port_value(bucket: u32, told: Told) -> PortValue {
    let mut value = [0; size_of::<PortValue>()];
    value[..4].copy_from_slice(&bucket.to_ne_bytes());
    value[4..8].copy_from_slice(&told.resolver.map_or([0; 4], |resolver| resolver.octets()));
    value[8..14].copy_from_slice(&told.mac.0);
    value[14] = u8::from(told.cached);
    value
}

/// `struct bucket`: the instance and its rate, then for each direction the limits at the peak and at the base.
const BUCKET_WORDS: usize = 5 + 4 * LIMIT_WORDS;
const LIMIT_WORDS: usize = 3;

/// A new bucket is full; one that was there before keeps what its ports owe.
fn bucket_words(bandwidth: Bandwidth, before: Option<&[u64]>) -> Vec<u64> {
    let Bandwidth { instance, rate } = bandwidth;
    let burst = rate.burst.unwrap_or(Burst { rate: 0, seconds: 0 });
    let bits = instance.bits();
    let mut words = vec![(bits >> 64) as u64, bits as u64, rate.base, burst.rate, u64::from(burst.seconds)];
    let (peak, base) = bandwidth::buckets(rate);
    for limit in [peak, Some(base), peak, Some(base)] {
        let paid = before.and_then(|before| before.get(words.len() + 2)).copied().unwrap_or(0);
        words.extend([limit.map_or(0, Bucket::cost), limit.map_or(0, Bucket::depth), paid]);
    }
    words
}

/// What a bucket was made for; none: it was never used.
fn bandwidth_of(words: &[u64]) -> Option<Bandwidth> {
    let [high, low, base, burst, seconds] = *words.first_chunk()?;
    let instance = InstanceId::from_entropy(u128::from(high) << 64 | u128::from(low));
    let burst = (burst > 0).then_some(Burst { rate: burst, seconds: u32::try_from(seconds).ok()? });
    (base > 0).then_some(Bandwidth { instance, rate: Rate { base, burst } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_and_the_driver_have_the_same_numbers() {
        let source = include_str!("port.c");
        let says = |name: &str, value: u64| {
            let line = source.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name));
            let text = line.unwrap_or_else(|| panic!("{name} is not there")).trim();
            let said = match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            assert_eq!(said, Ok(value), "{name}");
        };
        says("MTU ", plan::net::MTU.into());
        says("TRACKED ", plan::net::TRACKED.into());
        says("COPY ", plan::mirror::MARKS[0].into());
        says("COPY_FROM_ELSEWHERE ", plan::mirror::MARKS[1].into());
    }

    #[test]
    fn programs_take_the_place_of_earlier_ones_and_take_over_what_those_know() {
        let link = link_number(1);
        let (programs, renewed) = Programs::open(None).unwrap();
        assert!(renewed);
        netns::apart(|| {
            let _tap = crate::host::linux::net::tap::create("port", Some(link))?;
            let mut rtnl = Rtnl::open()?;
            assert_eq!(rtnl.hooked(link)?, None);
            programs.attach(&mut rtnl, link)?;
            let first = rtnl.hooked(link)?.unwrap();
            let (next, renewed) = Programs::open(Some(first))?;
            assert!(!renewed);
            next.attach(&mut rtnl, link)?;
            let second = rtnl.hooked(link)?.unwrap();
            assert_ne!(first, second);
            assert_eq!(Program::of_id(second)?.tag()?, programs.from_port.tag()?);

            next.tell(link, Told { mac: Mac([2; 6]), resolver: None, cached: true, bandwidth: None })?;
            assert_eq!(programs.ports.keys()?, [link.to_ne_bytes()]);
            programs.sweep(&BTreeSet::new())?;
            assert!(next.ports.keys()?.is_empty());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_bucket_says_what_it_is_for_and_keeps_what_was_paid() {
        let burst = Some(Burst { rate: 3_000_000, seconds: 60 });
        for rate in [Rate { base: 1_000_000, burst }, Rate { base: 3_125_000_000, burst: None }] {
            let bandwidth = Bandwidth { instance: InstanceId::from_entropy(u128::MAX), rate };
            let mut words = bucket_words(bandwidth, None);
            assert_eq!(words.len(), BUCKET_WORDS);
            assert_eq!(bandwidth_of(&words), Some(bandwidth));
            let paid: Vec<usize> = (0..4).map(|n| 5 + n * LIMIT_WORDS + 2).collect();
            assert!(paid.iter().all(|at| words[*at] == 0));
            for at in &paid {
                words[*at] = 7;
            }
            let slower = Bandwidth { rate: Rate { base: 1_000, burst: None }, ..bandwidth };
            let after = bucket_words(slower, Some(&words));
            assert!(paid.iter().all(|at| after[*at] == 7));
            assert_eq!(bandwidth_of(&after), Some(slower));
        }
        assert_eq!(bandwidth_of(&[0; BUCKET_WORDS]), None);
    }

    #[test]
    fn a_bucket_goes_with_the_last_port_that_draws_on_it() {
        let [a, b] = [1, 2].map(InstanceId::from_entropy);
        let mut limited = Limited::default();
        limited.join(10, a, 1);
        limited.join(11, a, 1);
        assert_eq!(limited.free().unwrap(), 2);
        // One goes over to another instance, the other away.
        limited.join(10, b, 2);
        limited.leave(11, None);
        assert_eq!(limited.free().unwrap(), 1);
        assert_eq!(limited.by_instance.keys().collect::<Vec<_>>(), [&b]);
        limited.leave(10, Some(b));
        assert_eq!(limited.by_port.len(), 1);
    }
}
