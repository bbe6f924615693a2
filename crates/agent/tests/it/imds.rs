//! The metadata service over real HTTP on loopback, and its signatures checked by OpenSSL.

use super::sample::*;
use agent::directory::Directory;
use agent::imds::{Imds, Signer};
use model::clock::ManualClock;
use model::host::InstanceDesired;
use model::{Clock as _, Timestamp};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const GUEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aws-ec2-metadata-token";

fn signer() -> Arc<Signer> {
    static SIGNER: OnceLock<Arc<Signer>> = OnceLock::new();
    let now = Timestamp::from_millis(1_600_000_000_000);
    Arc::clone(SIGNER.get_or_init(|| Arc::new(Signer::generate(now).unwrap())))
}

struct Rig {
    service: SocketAddr,
    directory: Arc<Directory>,
    clock: Arc<ManualClock>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Rig {
    async fn new(change: impl FnOnce(&mut InstanceDesired)) -> Self {
        let directory = Arc::new(Directory::default());
        directory.set_vpc(Arc::new(vpc(1)));
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = listener.local_addr().unwrap();
        let imds = Arc::new(Imds::new(Arc::clone(&directory), clock.clone(), [5; 32], signer()));
        let task = tokio::spawn(imds.serve(vpc_id(1), listener));
        let rig = Self { service, directory, clock, task };
        rig.change(change);
        rig
    }

    fn change(&self, change: impl FnOnce(&mut InstanceDesired)) {
        let mut body = instance(1);
        body.interfaces[0].addresses[0].private = GUEST;
        change(&mut body);
        self.directory.set_instance(Arc::new(body));
    }

    async fn connect_from(&self, source: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket.connect(self.service).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut stream = self.connect_from(GUEST).await;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n");
        for (name, value) in headers {
            text = format!("{text}{name}: {value}\r\n");
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (status, lines) = head.split_once("\r\n").unwrap();
        Reply {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: lines
                .split("\r\n")
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    async fn token(&self, ttl: &str) -> String {
        let reply = self.ask("PUT", "/latest/api/token", &[(TTL, ttl)]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers[&TTL.to_ascii_lowercase()], ttl);
        reply.text()
    }
}

#[tokio::test]
async fn the_source_address_tells_who_asks_and_strangers_get_no_answer() {
    let rig = Rig::new(|_| {}).await;
    let reply = rig.get("/latest/meta-data/instance-id").await;
    assert_eq!((reply.status, reply.text()), (200, instance_id(1).to_string()));
    assert_eq!(reply.headers["content-type"], "text/plain");
    let mut stranger = rig.connect_from(Ipv4Addr::new(127, 0, 0, 3)).await;
    let _refused = stranger
        .write_all(b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.2\r\n\r\n")
        .await;
    let mut answer = Vec::new();
    let _reset = stranger.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_token_is_wanted_given_and_checked() {
    let rig = Rig::new(|body| body.metadata.options.tokens_required = true).await;
    let path = "/latest/meta-data/instance-id";
    assert_eq!(rig.get(path).await.status, 401);
    let token = rig.token("60").await;
    let with = [(TOKEN, token.as_str())];
    let reply = rig.ask("GET", path, &with).await;
    assert_eq!((reply.status, reply.text()), (200, instance_id(1).to_string()));
    assert_eq!(reply.headers[&TTL.to_ascii_lowercase()], "60");
    rig.clock.advance(Duration::from_mins(1));
    assert_eq!(rig.ask("GET", path, &with).await.status, 401);
}

#[tokio::test]
async fn a_bad_token_is_refused_even_where_none_is_needed() {
    let rig = Rig::new(|_| {}).await;
    assert_eq!(rig.get("/latest/meta-data/").await.status, 200);
    assert_eq!(rig.ask("GET", "/latest/meta-data/", &[(TOKEN, "AAAA")]).await.status, 401);
}

#[tokio::test]
async fn token_requests_are_held_to_their_rules() {
    let rig = Rig::new(|_| {}).await;
    for (headers, status) in [
        (vec![], 400),
        (vec![(TTL, "0")], 400),
        (vec![(TTL, "21601")], 400),
        (vec![(TTL, "soon")], 400),
        (vec![(TTL, "21600")], 200),
        (vec![(TTL, "60"), ("X-Forwarded-For", "10.0.0.1")], 403),
    ] {
        assert_eq!(rig.ask("PUT", "/latest/api/token", &headers).await.status, status, "{headers:?}");
    }
    assert_eq!(rig.ask("GET", "/latest/api/token", &[]).await.status, 405);
}

#[tokio::test]
async fn methods_other_than_get_and_head_are_not_allowed() {
    let rig = Rig::new(|_| {}).await;
    let head = rig.ask("HEAD", "/latest/meta-data/instance-id", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], instance_id(1).to_string().len().to_string());
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = rig.ask(method, "/latest/meta-data/instance-id", &[]).await;
        assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
    }
}

#[tokio::test]
async fn a_disabled_endpoint_forbids_everything_at_once() {
    let rig = Rig::new(|_| {}).await;
    assert_eq!(rig.get("/").await.status, 200);
    rig.change(|body| body.metadata.options.endpoint_enabled = false);
    assert_eq!(rig.get("/latest/meta-data/").await.status, 403);
    assert_eq!(rig.ask("PUT", "/latest/api/token", &[(TTL, "60")]).await.status, 403);
}

#[tokio::test]
async fn user_data_is_raw_and_missing_user_data_is_not_found() {
    let rig = Rig::new(|_| {}).await;
    assert_eq!(rig.get("/latest/user-data").await.status, 404);
    let data: Vec<u8> = (0..=255).cycle().take(16 << 10).collect();
    rig.change(|body| body.metadata.user_data = Some(data.clone().into()));
    let reply = rig.get("/latest/user-data").await;
    assert_eq!((reply.status, reply.headers["content-type"].as_str()), (200, "application/octet-stream"));
    assert!(reply.body == data);
}

#[tokio::test]
async fn a_guest_that_hoards_connections_is_bounded_and_shuts_out_only_itself() {
    let rig = Rig::new(|_| {}).await;
    let mut neighbour = instance(2);
    neighbour.interfaces[0].addresses[0].private = Ipv4Addr::new(127, 0, 0, 4);
    rig.directory.set_instance(Arc::new(neighbour));
    let mut hoard = Vec::new();
    for _ in 0..200 {
        hoard.push(rig.connect_from(GUEST).await);
    }
    let mut kept = 0;
    for stream in &mut hoard {
        // What is over the limit is closed at once; what is within stays open and silent.
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0])).await;
        kept += usize::from(read.is_err());
    }
    assert_eq!(kept, 32);
    let mut other = rig.connect_from(Ipv4Addr::new(127, 0, 0, 4)).await;
    other
        .write_all(b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&instance_id(2).to_string()), "{answer}");
    drop(hoard);
    let freed = async {
        loop {
            let mut stream = rig.connect_from(GUEST).await;
            let _closed = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("places are given back");
}

#[tokio::test]
async fn openssl_verifies_the_signed_identity_documents() {
    let rig = Rig::new(|_| {}).await;
    let document = rig.get("/latest/dynamic/instance-identity/document").await.text();
    // The key reads back as it was written.
    let again = Signer::from_pem(&signer().to_pem().unwrap()).unwrap();
    assert_eq!(again.certificate_pem(), signer().certificate_pem());
    let now = rig.clock.now();
    assert_eq!(again.pkcs7(&document, now), signer().pkcs7(&document, now));

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("certificate"), signer().certificate_pem()).unwrap();
    for kind in ["pkcs7", "rsa2048"] {
        let envelope = rig.get(&format!("/latest/dynamic/instance-identity/{kind}")).await.text();
        let pem = format!("-----BEGIN PKCS7-----\n{envelope}\n-----END PKCS7-----\n");
        std::fs::write(path("envelope"), pem).unwrap();
        for trust in [&["-noverify"][..], &["-CAfile", path("certificate").to_str().unwrap()]] {
            let verified = Command::new("openssl")
                .args(["smime", "-verify", "-inform", "PEM", "-in"])
                .arg(path("envelope"))
                .arg("-certfile")
                .arg(path("certificate"))
                .args(trust)
                .output()
                .unwrap();
            assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
            assert_eq!(String::from_utf8(verified.stdout).unwrap(), document);
        }
    }

    let signature = rig.get("/latest/dynamic/instance-identity/signature").await.text();
    std::fs::write(path("document"), &document).unwrap();
    std::fs::write(path("signature"), signature + "\n").unwrap();
    let script = "cd \"$1\" && openssl x509 -in certificate -pubkey -noout > key && \
        openssl base64 -d -in signature -out raw && \
        openssl dgst -sha256 -verify key -signature raw document";
    let verified = Command::new("sh").args(["-c", script, "sh"]).arg(directory.path()).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
