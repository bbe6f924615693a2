//! Objects in S3: a server of this test's own, that can be as unfit, slow, forgetful or dead as one is.
#![allow(clippy::format_push_string, reason = "XML in a test is read more easily so")]

use crate::Dice;
use crate::world::*;
use blocks::fsck::Depth;
use blocks::{ObjectError, Objects, Put, S3, S3Config};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// It overwrites whatever the header says.
    IgnoresConditions,
    /// It keeps what is deleted.
    KeepsVersions,
    ListsNothing,
    DeletesNothing,
    /// Each request is answered 503, dropped before or dropped after it was done, by dice.
    Shaky(u64),
    /// It answers 503 for ever.
    Down,
    /// The bucket is gone.
    NoBucket,
}

struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    flaw: Flaw,
    dice: Dice,
    requests: u64,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

struct Request {
    method: String,
    key: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inner = Inner { objects: BTreeMap::new(), flaw: Flaw::None, dice: Dice(1), requests: 0 };
        let server = Self { address: listener.local_addr().unwrap(), inner: Arc::new(Mutex::new(inner)) };
        let inner = Arc::clone(&server.inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let inner = Arc::clone(&inner);
                std::thread::spawn(move || serve(stream.unwrap(), &inner));
            }
        });
        server
    }

    fn config(&self, prefix: &str) -> S3Config {
        S3Config {
            bucket: "lab".into(),
            prefix: prefix.into(),
            endpoint: Some(format!("http://{}", self.address)),
            region: "us-east-1".into(),
            access_key_id: "AKIAEXAMPLE".into(),
            secret_access_key: "a secret".into(),
            session_token: None,
            owner: "one".into(),
            patience: None,
        }
    }

    fn open(&self, prefix: &str) -> S3 {
        S3::open(&self.config(prefix)).unwrap()
    }

    /// One that gives up at once.
    fn impatient(&self) -> S3 {
        S3::open(&S3Config { patience: Some(Duration::ZERO), ..self.config("p") }).unwrap()
    }

    fn flaw(&self, flaw: Flaw) {
        let mut inner = self.inner.lock();
        inner.flaw = flaw;
        if let Flaw::Shaky(seed) = flaw {
            inner.dice = Dice(seed);
        }
    }

    fn names(&self) -> Vec<String> {
        self.inner.lock().objects.keys().cloned().collect()
    }
}

fn parse(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = path.trim_start_matches("/lab").trim_start_matches('/').to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, key, query: query.to_owned(), headers, body })
}

fn serve(stream: TcpStream, inner: &Mutex<Inner>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = parse(&mut reader) {
        assert!(request.headers["authorization"].starts_with("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/"));
        let answer = {
            let mut inner = inner.lock();
            inner.requests += 1;
            let befalls = match inner.flaw {
                Flaw::Shaky(_) => inner.dice.below(8),
                Flaw::Down => 0,
                _ => 9,
            };
            match befalls {
                0 => Some((503, String::new(), Vec::new())),
                1 => None,
                2 => {
                    let _ = inner.answer(&request);
                    None
                }
                _ => Some(inner.answer(&request)),
            }
        };
        let Some((status, headers, body)) = answer else { return };
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

fn decoded(text: &str) -> String {
    text.replace("%2F", "/").replace("%2f", "/")
}

impl Inner {
    /// Status, further headers, body.
    fn answer(&mut self, request: &Request) -> (u16, String, Vec<u8>) {
        const WHEN: &str = "Last-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\nETag: \"1\"\r\n";
        let error = |status, code: &str| {
            (status, String::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes())
        };
        let key = request.key.clone();
        if self.flaw == Flaw::NoBucket {
            return error(404, "NoSuchBucket");
        }
        match request.method.as_str() {
            "PUT" => {
                let is_create = request.headers.get("if-none-match").is_some_and(|value| value == "*");
                if is_create && self.objects.contains_key(&key) && self.flaw != Flaw::IgnoresConditions {
                    return error(412, "PreconditionFailed");
                }
                self.objects.insert(key, request.body.clone());
                let version = if self.flaw == Flaw::KeepsVersions { "x-amz-version-id: 7\r\n" } else { "" };
                (200, format!("{WHEN}{version}"), Vec::new())
            }
            "GET" if key.is_empty() => {
                let value = |name: &str| {
                    let found = request.query.split('&').find_map(|pair| pair.strip_prefix(name));
                    found.map_or_else(String::new, decoded)
                };
                let prefix = value("prefix=");
                let after = value("continuation-token=").max(value("start-after="));
                // Small pages, so that there are many.
                let mut named =
                    self.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
                let page: Vec<_> = named.by_ref().take(300).collect();
                let is_more = named.next().is_some();
                let mut xml = String::from("<ListBucketResult><Name>lab</Name>");
                if self.flaw != Flaw::ListsNothing {
                    for (key, bytes) in &page {
                        xml += &format!(
                            "<Contents><Key>{key}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified>\
                             <ETag>1</ETag><Size>{}</Size></Contents>",
                            bytes.len()
                        );
                    }
                    if is_more {
                        let last = page.last().unwrap().0;
                        xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
                    }
                }
                (200, String::new(), (xml + "</ListBucketResult>").into_bytes())
            }
            "GET" => {
                let Some(bytes) = self.objects.get(&key) else { return error(404, "NoSuchKey") };
                let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=0-"));
                let Some(last) = range.map(|last| last.parse::<usize>().unwrap()) else {
                    return (200, WHEN.into(), bytes.clone());
                };
                if bytes.is_empty() {
                    return error(416, "InvalidRange");
                }
                let end = bytes.len().min(last + 1);
                let told = format!("{WHEN}Content-Range: bytes 0-{}/{}\r\n", end - 1, bytes.len());
                (206, told, bytes[..end].to_vec())
            }
            "POST" if request.query.starts_with("delete") => {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let keys = body.split("<Key>").skip(1).map(|rest| rest.split_once("</Key>").unwrap().0);
                let mut xml = String::from("<DeleteResult>");
                for key in keys {
                    if self.flaw != Flaw::DeletesNothing {
                        self.objects.remove(key);
                    }
                    xml += &format!("<Deleted><Key>{key}</Key></Deleted>");
                }
                (200, String::new(), (xml + "</DeleteResult>").into_bytes())
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }
}

#[test]
fn s3_keeps_the_promises_of_every_backend() {
    let server = Server::start();
    crate::directory::conform(&server.open("deep/prefix"));
    // Again, by another process as it were; another part of the bucket is another store.
    assert_eq!(server.open("deep/prefix").get("a/c").unwrap().unwrap(), b"");
    crate::directory::conform(&server.open(""));
    for name in ["", "/etc/passwd", "a/../../b", "a//b", "a/", ".a", "A", "a b"] {
        assert!(matches!(server.open("").get(name), Err(ObjectError::Name(_))), "{name}");
    }
}

#[test]
fn a_store_in_s3_writes_reads_collects_and_is_examined() {
    let server = Server::start();
    let store = store(server.open("p"));
    let mut disk = Disk::new();
    for id in 1..4 {
        let changes = Disk::from([(id, id), (id + 1, 7), (1030, id + 20)]);
        write(&store, &domain(1), id, (id > 1).then(|| id - 1), 1100, &changes);
        disk = changed(&disk, &changes);
    }
    store.delete(snap(1)).unwrap();
    store.delete(snap(2)).unwrap();
    let before = server.names().len();
    for _ in 0..2 {
        store.collect().unwrap();
    }
    assert!(server.names().len() < before, "what was collected is gone");
    assert_eq!(read(&open(&store, &domain(1), 3).unwrap()).unwrap(), disk);
    let report = store.fsck(Depth::Full).unwrap();
    assert!(report.is_clean() && report.orphans == 0 && report.foreign.is_empty(), "{report:?}");
    // A flipped bit is told and never read.
    let flipped = server.names().into_iter().find(|name| name.contains("/blocks/")).unwrap();
    let middle = server.inner.lock().objects[&flipped].len() / 2;
    server.inner.lock().objects.get_mut(&flipped).unwrap()[middle] ^= 1;
    assert_eq!(store.fsck(Depth::Full).unwrap().damaged, 1);
    let snapshot = open(&store, &domain(1), 3).unwrap();
    assert!(disk.keys().any(|index| matches!(snapshot.block(*index), Err(blocks::Error::Damaged { .. }))));
}

#[test]
fn a_server_that_loses_requests_and_answers_loses_no_data() {
    let server = Server::start();
    let seed = Dice::seeded().roll();
    println!("seed {seed}");
    server.flaw(Flaw::Shaky(seed));
    let store = store(server.open("p"));
    let disk = Disk::from([(0, 1), (1, 2), (2, 3)]);
    let session = store.begin(begin(1, None, 4), domain(0));
    // What the lost answer of a first try wrote is met by the second.
    let session = match session {
        Err(blocks::Error::Exists(_)) => store.resume(snap(1), domain(0)),
        session => session,
    };
    let session = session.unwrap();
    put(&session, &disk);
    session.complete().unwrap();
    assert_eq!(read(&open(&store, &domain(0), 1).unwrap()).unwrap(), disk);
    store.collect().unwrap();
    server.flaw(Flaw::None);
    assert!(store.fsck(Depth::Full).unwrap().is_clean());
}

#[test]
fn one_that_does_not_come_back_is_an_error_and_what_was_begun_goes_on_later() {
    let server = Server::start();
    let domain = domain(0);
    let session = {
        let store = store(server.impatient());
        let session = store.begin(begin(1, None, 4), Arc::clone(&domain)).unwrap();
        session.put_block(0, &block(1)).unwrap();
        server.flaw(Flaw::Down);
        assert!(matches!(session.put_block(1, &block(2)), Err(blocks::Error::Objects(_))));
        assert!(session.complete().is_err());
        session
    };
    server.flaw(Flaw::None);
    session.put_block(1, &block(2)).err();
    let store = store(server.impatient());
    let resumed = store.resume(snap(1), Arc::clone(&domain)).unwrap();
    put(&resumed, &Disk::from([(0, 1), (1, 2)]));
    resumed.complete().unwrap();
    assert_eq!(read(&open(&store, &domain, 1).unwrap()).unwrap(), Disk::from([(0, 1), (1, 2)]));
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let server = Server::start();
    let objects = server.open("p");
    objects.check().unwrap();
    let wanted: Vec<String> = (0..2500).map(|number| format!("a/{number:04}")).collect();
    let held = wanted.iter().map(|key| (format!("p/objects/{key}"), vec![1]));
    server.inner.lock().objects.extend(held);
    let mut found = Vec::new();
    objects.list("a/", &mut |key| found.push(key.to_owned())).unwrap();
    found.sort();
    assert_eq!(found, wanted);
    objects.delete(&wanted).unwrap();
    objects.list("", &mut |key| panic!("{key} is left")).unwrap();
}

#[test]
fn a_bucket_that_is_gone_is_no_missing_object() {
    let server = Server::start();
    let objects = server.impatient();
    objects.replace("a/b", b"one").unwrap();
    assert_eq!(objects.get("a/c").unwrap(), None);
    server.flaw(Flaw::NoBucket);
    assert!(objects.get("a/b").is_err());
    assert!(objects.head("a/b", 0).is_err());
    assert!(objects.list("a/", &mut |_| {}).is_err());
}

#[test]
fn servers_on_which_nothing_can_stand_are_refused() {
    let refused = |flaw, why: &str| {
        let server = Server::start();
        server.flaw(flaw);
        let error = server.open("p").put_if_absent("a/b", b"one").unwrap_err().to_string();
        assert!(
            error.starts_with("s3://lab/p cannot hold blocks") && error.contains(why),
            "{flaw:?}: {error}"
        );
        assert!(!server.names().iter().any(|name| name.contains("objects") || name.contains("format")));
    };
    refused(Flaw::IgnoresConditions, "If-None-Match");
    refused(Flaw::KeepsVersions, "versions");
    refused(Flaw::ListsNothing, "lists");
    refused(Flaw::DeletesNothing, "deleted");
}

#[test]
fn a_store_has_one_owner_until_it_is_erased() {
    let server = Server::start();
    let objects = server.open("p");
    assert_eq!(objects.put_if_absent("a/b", b"one").unwrap(), Put::Written);
    let other = S3::open(&S3Config { owner: "two".into(), ..server.config("p") }).unwrap();
    let error = other.get("a/b").unwrap_err().to_string();
    assert!(error.contains("belongs to the cloud one"), "{error}");
    assert!(other.erase().is_err());
    server.open("p").check().unwrap();
    let beside = S3::open(&S3Config { owner: "two".into(), ..server.config("p2") }).unwrap();
    beside.replace("a/b", b"two").unwrap();
    objects.erase().unwrap();
    assert_eq!(server.names(), ["p2/format", "p2/objects/a/b"]);
    assert_eq!(other.get("a/b").unwrap(), None);
}

#[test]
fn callers_on_a_runtime_may_call_and_drop_it() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let objects = server.open("p");
        objects.replace("a/b", b"one").unwrap();
        assert_eq!(objects.get("a/b").unwrap().unwrap(), b"one");
    });
    assert!(server.inner.lock().requests > 0);
}

#[test]
fn what_is_shown_of_a_store_holds_no_secret() {
    let config = Server::start().config("p");
    let shown = format!("{config:?} {:?}", S3::open(&config).unwrap());
    assert!(!shown.contains("AKIA") && !shown.contains("a secret"), "{shown}");
}
