//! Maps and programs of the kernel's virtual machine, as far as ports need them: `bpf(2)`, whose numbers and layouts are those of
//! `linux/bpf.h`.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const MAP_NEXT_KEY: u32 = 4;
const PROG_LOAD: u32 = 5;
const PROG_BY_ID: u32 = 13;
const MAP_BY_ID: u32 = 14;
const INFO: u32 = 15;

/// A program at a queueing discipline (`BPF_PROG_TYPE_SCHED_CLS`).
const SCHED_CLS: u32 = 3;
/// Room for elements is found when they come.
const NO_PREALLOC: u32 = 1;
/// An instruction of two words that loads a constant of 64 bits, and where it says that this is a map's descriptor.
const LOAD_64: u64 = 0x18;
const IS_MAP: u64 = 1 << 12;
const LICENCE: &CStr = c"Apache-2.0";
/// The most maps that a program uses.
const MAPS: usize = 16;
const NAME: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hash,
    Array,
    /// What was not asked for the longest time gives way to what is new.
    LruHash,
}

/// What a map is: two with the same shape can stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
    /// Of keys and of values, in bytes.
    pub key: usize,
    pub value: usize,
    /// How many elements it has, or can have.
    pub room: u32,
}

impl Shape {
    /// Type, sizes, room and flags.
    fn numbers(self) -> [u32; 5] {
        let (kind, flags) = match self.kind {
            Kind::Hash => (1, NO_PREALLOC),
            Kind::Array => (2, 0),
            Kind::LruHash => (9, 0),
        };
        [kind, self.key as u32, self.value as u32, self.room, flags]
    }
}

#[repr(C)]
#[derive(Default)]
struct Create {
    numbers: [u32; 5],
    inner: u32,
    node: u32,
    name: [u8; NAME],
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    unused: u32,
    key: u64,
    /// For the next key as well.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
    name: [u8; NAME],
}

#[repr(C)]
#[derive(Default)]
struct Info {
    object: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    /// Of key, of value, room, flags.
    rest: [u32; 4],
    name: [u8; NAME],
}

#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    loaded: u64,
    user: u32,
    map_count: u32,
    maps: u64,
    name: [u8; NAME],
}

/// A call whose argument lives as long as the call, and so does all that it points to.
fn call<T>(command: u32, argument: &mut T) -> io::Result<i32> {
    // SAFETY: the argument is writable and its size is told; what its pointers lead to is the callers' and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(argument), size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

fn descriptor<T>(command: u32, argument: &mut T) -> io::Result<OwnedFd> {
    let fd = call(command, argument)?;
    // SAFETY: these commands answer with a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn named(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    let length = name.len().min(NAME - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd() as u32
}

/// A map. Keys and values are as long as its shape says.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    shape: Shape,
}

impl Map {
    pub fn create(shape: Shape) -> io::Result<Self> {
        let mut wanted = Create { numbers: shape.numbers(), name: named(shape.name), ..Create::default() };
        Ok(Self { fd: descriptor(MAP_CREATE, &mut wanted)?, shape })
    }

    /// The map of this number, if it has the shape.
    fn of_id(id: u32, shape: Shape) -> io::Result<Option<Self>> {
        let fd = descriptor(MAP_BY_ID, &mut [id, 0, 0])?;
        let mut info = MapInfo::default();
        describe(&fd, &mut info)?;
        let [kind, rest @ ..] = shape.numbers();
        let fits = info.kind == kind && info.rest == rest && info.name == named(shape.name);
        Ok(fits.then_some(Self { fd, shape }))
    }

    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.shape.value];
        let mut element = self.element(key);
        element.value = value.as_mut_ptr() as u64;
        Ok(found(call(MAP_LOOKUP, &mut element))?.then_some(value))
    }

    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.shape.value, "a value of {}", self.shape.name);
        let mut element = self.element(key);
        element.value = value.as_ptr() as u64;
        call(MAP_UPDATE, &mut element).map(drop)
    }

    /// Whether it was there does not matter.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        found(call(MAP_DELETE, &mut self.element(key))).map(drop)
    }

    /// Every key, while nobody changes them.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0; self.shape.key];
            let mut element = keys.last().map_or_else(
                || Element { map: number(&self.fd), ..Element::default() },
                |last| self.element(last),
            );
            element.value = next.as_mut_ptr() as u64;
            if !found(call(MAP_NEXT_KEY, &mut element))? {
                return Ok(keys);
            }
            keys.push(next);
        }
    }

    fn element(&self, key: &[u8]) -> Element {
        assert_eq!(key.len(), self.shape.key, "a key of {}", self.shape.name);
        Element { map: number(&self.fd), key: key.as_ptr() as u64, ..Element::default() }
    }
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        done => done.map(|_| true),
    }
}

fn describe<T>(object: &OwnedFd, info: &mut T) -> io::Result<()> {
    let info = std::ptr::from_mut(info) as u64;
    call(INFO, &mut Info { object: number(object), length: size_of::<T>() as u32, info }).map(drop)
}

/// A program that the kernel has verified. It and its maps live while something holds it: a descriptor, or a link.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// `placeholder + n` stands for the nth map among the instructions.
    pub fn load(name: &str, instructions: &[u64], placeholder: u64, maps: &[&Map]) -> io::Result<Self> {
        let linked = link(instructions, placeholder, maps);
        let mut wanted = Load {
            kind: SCHED_CLS,
            count: linked.len() as u32,
            instructions: linked.as_ptr() as u64,
            licence: LICENCE.as_ptr() as u64,
            name: named(name),
            ..Load::default()
        };
        match descriptor(PROG_LOAD, &mut wanted) {
            Ok(fd) => Ok(Self(fd)),
            Err(error) => {
                // Once more, and this time the kernel says why.
                let mut log = vec![0u8; 64 << 10];
                (wanted.log_level, wanted.log_size, wanted.log) =
                    (1, log.len() as u32, log.as_mut_ptr() as u64);
                let _ = descriptor(PROG_LOAD, &mut wanted);
                let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                let text = format!("the kernel refuses the program {name}: {error}: {}", last.join("; "));
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    pub fn of_id(id: u32) -> io::Result<Self> {
        descriptor(PROG_BY_ID, &mut [id, 0, 0]).map(Self)
    }

    /// What tells its instructions from others', whatever their maps are.
    pub fn tag(&self) -> io::Result<[u8; 8]> {
        let mut info = ProgramInfo::default();
        describe(&self.0, &mut info)?;
        Ok(info.tag)
    }

    /// The first of its maps that has the shape.
    pub fn map(&self, shape: Shape) -> io::Result<Option<Map>> {
        let mut ids = [0u32; MAPS];
        let mut info =
            ProgramInfo { map_count: MAPS as u32, maps: ids.as_mut_ptr() as u64, ..ProgramInfo::default() };
        describe(&self.0, &mut info)?;
        for id in ids.into_iter().take(info.map_count as usize) {
            if let Some(map) = Map::of_id(id, shape)? {
                return Ok(Some(map));
            }
        }
        Ok(None)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The instructions with the maps' descriptors in place.
fn link(instructions: &[u64], placeholder: u64, maps: &[&Map]) -> Vec<u64> {
    let mut linked = instructions.to_vec();
    for at in 0..linked.len().saturating_sub(1) {
        let constant = linked[at] >> 32 | linked[at + 1] & 0xffff_ffff_0000_0000;
        let map = constant.checked_sub(placeholder).and_then(|n| maps.get(usize::try_from(n).ok()?));
        if let Some(map) = map.filter(|_| linked[at] & 0xff == LOAD_64) {
            linked[at] = linked[at] & 0xfff | IS_MAP | u64::from(number(&map.fd)) << 32;
            linked[at + 1] = 0;
        }
    }
    linked
}
