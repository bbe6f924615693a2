//! The server under our own client, and under clients that mean ill.

use crate::world::*;
use blocks::nbd::{ALLOCATION, Client, ClientError, Export, Exports, Limits, Server, Shelf};
use blocks::{BLOCK_SIZE, Extent, Memory, Objects, Piece};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A server in this process; dropping it kills it.
pub struct Running {
    runtime: Option<tokio::runtime::Runtime>,
}

pub fn serve(socket: &Path, exports: Arc<dyn Exports>, limits: Limits) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _ = std::fs::remove_file(socket);
    let listener = runtime.block_on(async { tokio::net::UnixListener::bind(socket) }).unwrap();
    runtime.spawn(Arc::new(Server::new(exports, limits)).serve(listener));
    Running { runtime: Some(runtime) }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn disk() -> Disk {
    Disk::from([(0, 1), (1, 2), (9, 3), (1030, 4)])
}

struct Stand {
    _directory: TempDir,
    socket: PathBuf,
    memory: Memory,
    shelf: Arc<Shelf>,
    _server: Running,
}

fn stand(limits: Limits) -> Stand {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let memory = Memory::default();
    let store = store(memory.clone());
    write(&store, &domain(1), 1, None, 2048, &disk());
    let shelf = Arc::new(Shelf::default());
    shelf.put(snap(1).to_string(), Arc::new(open(&store, &domain(1), 1).unwrap()));
    let exports: Arc<dyn Exports> = Arc::clone(&shelf) as _;
    let server = serve(&socket, exports, limits);
    Stand { _directory: directory, socket, memory, shelf, _server: server }
}

fn bytes(index: u64) -> Vec<u8> {
    block(disk().get(&index).copied().unwrap_or_default())
}

#[test]
fn a_client_reads_what_the_snapshot_holds_and_is_told_of_holes() {
    let stand = stand(Limits::default());
    let mut client = Client::connect(&stand.socket, &snap(1).to_string(), &[ALLOCATION, "other:x"]).unwrap();
    assert_eq!(client.size(), 2048 * BLOCK_SIZE as u64);
    assert!(client.has(ALLOCATION) && !client.has("other:x"));
    let mut read = vec![1; 3 * BLOCK_SIZE];
    client.read(BLOCK_SIZE as u64 / 2, &mut read).unwrap();
    let expected = [bytes(0), bytes(1), bytes(2), bytes(3)].concat();
    assert!(read == expected[BLOCK_SIZE / 2..][..3 * BLOCK_SIZE]);
    let status = client.status(ALLOCATION, 0, 1 << 30).unwrap();
    let block = BLOCK_SIZE as u32;
    let sizes: Vec<_> = status.iter().map(|(length, flags)| (length / block, *flags)).collect();
    assert_eq!(sizes, [(2, 0), (7, 3), (1, 0), (1020, 3), (1, 0), (1017, 3)]);
    let mut seen = Disk::new();
    let ranges = (0..2048).step_by(3).map(|i| Ok::<_, ClientError>((i * BLOCK_SIZE as u64, block)));
    client
        .read_each(ranges, |offset, read| {
            let index = offset / BLOCK_SIZE as u64;
            assert!(read == bytes(index), "{index}");
            seen.insert(index, 0);
            Ok(true)
        })
        .unwrap();
    assert_eq!(seen.len(), 683);
    assert!(matches!(
        client.read(2048 * BLOCK_SIZE as u64, &mut [0; 1]),
        Err(ClientError::Read { code: 22, .. })
    ));
    assert!(matches!(Client::connect(&stand.socket, "snap-nothing", &[]), Err(ClientError::Refused { .. })));
}

#[test]
fn damage_is_an_error_of_the_read_and_the_connection_goes_on() {
    let stand = stand(Limits::default());
    let mut damaged = Vec::new();
    stand.memory.list("blocks/", &mut |key| damaged.push(key.to_owned())).unwrap();
    for key in &damaged {
        let mut bytes = stand.memory.get(key).unwrap().unwrap();
        bytes[100] ^= 4;
        stand.memory.replace(key, &bytes).unwrap();
    }
    let mut client = Client::connect(&stand.socket, &snap(1).to_string(), &[]).unwrap();
    let Err(ClientError::Read { code: 5, message, .. }) = client.read(BLOCK_SIZE as u64, &mut [0; 10]) else {
        panic!("not noticed")
    };
    assert!(message.contains(&format!("{} block 1", snap(1))), "{message}");
    let mut zeros = [1; 10];
    client.read(5 * BLOCK_SIZE as u64, &mut zeros).unwrap();
    assert_eq!(zeros, [0; 10]);
}

#[test]
fn an_export_that_is_taken_away_serves_whoever_has_it() {
    let stand = stand(Limits::default());
    let name = snap(1).to_string();
    let mut client = Client::connect(&stand.socket, &name, &[]).unwrap();
    stand.shelf.remove(&name);
    assert!(matches!(Client::connect(&stand.socket, &name, &[]), Err(ClientError::Refused { .. })));
    let mut read = vec![0; BLOCK_SIZE];
    client.read(0, &mut read).unwrap();
    assert!(read == bytes(0));
}

/// Speaks the protocol by hand.
struct Raw(UnixStream);

impl Raw {
    fn greet(socket: &Path) -> Self {
        let mut raw = Self(UnixStream::connect(socket).unwrap());
        raw.0.set_read_timeout(Some(Duration::from_mins(5))).unwrap();
        assert_eq!(&raw.take(18)[..8], b"NBDMAGIC");
        raw.send(&[&[0, 0, 0, 3]]);
        raw
    }

    fn send(&mut self, parts: &[&[u8]]) {
        // The server may have hung up on what came before.
        let _ = self.0.write_all(&parts.concat());
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn option(&mut self, option: u32, data: &[u8]) {
        let length = data.len() as u32;
        self.send(&[b"IHAVEOPT", &option.to_be_bytes(), &length.to_be_bytes(), data]);
    }

    /// The kind of the reply.
    fn reply(&mut self) -> u32 {
        let head = self.take(20);
        let length = u32::from_be_bytes(head[16..].try_into().unwrap());
        self.take(length as usize);
        u32::from_be_bytes(head[12..16].try_into().unwrap())
    }

    fn request(&mut self, command: u16, offset: u64, length: u32) {
        self.send(&[
            &0x2560_9513_u32.to_be_bytes(),
            &[0, 0],
            &command.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ]);
    }

    fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(e) => e.kind() == ErrorKind::ConnectionReset,
        }
    }
}

const REFUSED: u32 = 1 << 31;

#[test]
fn simple_clients_are_served_too() {
    let stand = stand(Limits::default());
    let mut raw = Raw::greet(&stand.socket);
    raw.option(1, snap(1).to_string().as_bytes());
    let answer = raw.take(10);
    assert_eq!(answer[..8], (2048 * BLOCK_SIZE as u64).to_be_bytes());
    raw.request(0, 0, 4 * BLOCK_SIZE as u32);
    assert_eq!(raw.take(16)[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0]);
    assert!(raw.take(4 * BLOCK_SIZE) == [bytes(0), bytes(1), bytes(2), bytes(3)].concat());
    // A write is taken off the wire and refused; trim, flush and cache answer.
    raw.request(1, 0, 3);
    raw.send(&[b"abc"]);
    for (command, error) in
        [(1, Some(1)), (3, None), (4, Some(1)), (5, None), (6, Some(1)), (7, Some(22)), (99, Some(22))]
    {
        if command != 1 {
            raw.request(command, 0, 4096);
        }
        let head = raw.take(16);
        assert_eq!(u32::from_be_bytes(head[4..8].try_into().unwrap()), error.unwrap_or(0), "{command}");
    }
    raw.request(2, 0, 0);
    assert!(raw.closed());
}

#[test]
fn clients_that_make_no_sense_are_refused_and_harm_nobody() {
    let limits = Limits { connections: 4, ..Limits::default() };
    let stand = stand(limits);
    let name = snap(1).to_string();
    let go =
        |name: &[u8], infos: u16| [&(name.len() as u32).to_be_bytes(), name, &infos.to_be_bytes()].concat();
    for round in 0..30 {
        let mut raw = Raw::greet(&stand.socket);
        match round % 10 {
            0 => raw.send(&[&[0xff; 64]]),
            1 => raw.option(1, &vec![b'x'; 17 << 10]),
            2 => raw.option(1, b"\xff\xfe"),
            3 => {
                // An option that is long beyond reason, most of which never comes.
                raw.send(&[b"IHAVEOPT", &7_u32.to_be_bytes(), &u32::MAX.to_be_bytes(), &[0; 100]]);
                raw.0.shutdown(std::net::Shutdown::Write).unwrap();
            }
            4 => {
                for (option, data) in [
                    (7, go(b"snap-nothing", 0)),
                    (7, go(name.as_bytes(), 9)),
                    (7, u32::MAX.to_be_bytes().to_vec()),
                    (10, go(name.as_bytes(), 0)),
                    (3, vec![1]),
                    (8, vec![1]),
                    (77, vec![]),
                ] {
                    raw.option(option, &data);
                    assert!(raw.reply() > REFUSED, "{option}");
                }
                raw.option(2, &[]);
                assert_eq!(raw.reply(), 1);
            }
            kind => {
                raw.option(7, &go(name.as_bytes(), 0));
                assert_eq!((raw.reply(), raw.reply()), (3, 1));
                match kind {
                    5 => raw.send(&[&[0x11; 28]]),
                    6 => raw.request(1, 0, u32::MAX),
                    7 => {
                        raw.request(0, u64::MAX - 1, 100);
                        assert_eq!(raw.take(16)[4..8], 22_u32.to_be_bytes());
                        raw.request(0, 0, (32 << 20) + 1);
                        assert_eq!(raw.take(16)[4..8], 22_u32.to_be_bytes());
                        raw.request(0, 0, 0);
                        assert_eq!(raw.take(16)[4..8], 22_u32.to_be_bytes());
                    }
                    8 => {
                        // More requests than are answered at once, and the client is gone.
                        (0..200).for_each(|_| raw.request(0, 0, 32 << 20));
                        continue;
                    }
                    _ => {
                        raw.send(&[&[0x25, 0x60]]);
                        raw.0.shutdown(std::net::Shutdown::Write).unwrap();
                    }
                }
                raw.request(2, 0, 0);
            }
        }
        assert!(raw.closed(), "{round}");
    }
    let mut client = Client::connect(&stand.socket, &name, &[]).unwrap();
    let mut read = vec![0; BLOCK_SIZE];
    client.read(BLOCK_SIZE as u64, &mut read).unwrap();
    assert!(read == bytes(1));
}

#[test]
fn who_says_nothing_or_takes_nothing_makes_room_in_the_end() {
    let short = Duration::from_millis(200);
    let stand = stand(Limits { connections: 2, requests: 2, handshake: short, answer: short });
    let name = snap(1).to_string();
    let mut silent = Raw::greet(&stand.socket);
    let mut greedy = Raw::greet(&stand.socket);
    greedy.option(1, name.as_bytes());
    greedy.take(10);
    (0..50).for_each(|_| greedy.request(0, 0, 8 << 20));
    // Both places are taken; these wait until they are not.
    let mut client = Client::connect(&stand.socket, &name, &[]).unwrap();
    client.read(0, &mut [0; 10]).unwrap();
    assert!(silent.closed());
}

struct Slow;

impl Export for Slow {
    fn size(&self) -> u64 {
        1 << 50
    }

    fn piece(&self, _: u64, most: u64) -> blocks::Result<Piece> {
        Ok(Piece::Zero(most))
    }

    fn extents(&self, range: std::ops::Range<u64>, _: usize) -> blocks::Result<Vec<Extent>> {
        Ok(vec![Extent { offset: range.start, length: range.end - range.start, data: false }])
    }
}

#[test]
fn the_largest_extents_fit_their_field() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let shelf = Arc::new(Shelf::default());
    shelf.put("large", Arc::new(Slow));
    let _server = serve(&socket, shelf, Limits::default());
    let mut client = Client::connect(&socket, "large", &[ALLOCATION]).unwrap();
    let status = client.status(ALLOCATION, 1 << 49, u32::MAX).unwrap();
    assert_eq!(status, [(u32::MAX - (1 << 20) + 1, 3)]);
}
