//! The way from guests to the server, over real TCP on loopback.

use super::sample::*;
use agent::directory::Directory;
use agent::link_local::api::{ApiDoor, Bounds};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const GUEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

/// A server that says what it hears, and ends when its client does.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ended = tokio::io::copy(&mut reader, &mut writer).await;
                let _closed = writer.shutdown().await;
            });
        }
    });
    at
}

struct Rig(SocketAddr);

impl Rig {
    async fn new(server: SocketAddr, bounds: Bounds) -> Self {
        let directory = Arc::new(Directory::default());
        directory.set_vpc(Arc::new(vpc(1)));
        for (number, address) in [(1, GUEST), (2, NEIGHBOUR)] {
            let mut body = instance(number);
            body.interfaces[0].addresses[0].private = address;
            directory.set_instance(Arc::new(body));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(Arc::new(ApiDoor::new(directory, server, bounds)).serve(vpc_id(1), listener));
        Self(at)
    }

    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.0).await.unwrap()
    }

    async fn says(&self, from: Ipv4Addr, text: &str) -> std::io::Result<String> {
        let mut stream = self.connect(from).await;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        Ok(heard)
    }
}

#[tokio::test]
async fn a_guests_bytes_reach_the_server_and_come_back_whole() {
    let rig = Rig::new(echo().await, Bounds::default()).await;
    let text = "0123456789".repeat(100_000);
    assert!(rig.says(GUEST, &text).await.unwrap() == text);
    // Nobody of this VPC.
    assert_ne!(rig.says(STRANGER, "hello").await.unwrap_or_default(), "hello");
}

#[tokio::test]
async fn a_guest_that_hoards_connections_shuts_out_only_itself() {
    let rig = Rig::new(echo().await, Bounds { per_instance: 3, ..Bounds::default() }).await;
    let mut hoard = Vec::new();
    for _ in 0..3 {
        let mut stream = rig.connect(GUEST).await;
        stream.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        hoard.push(stream);
    }
    assert_ne!(rig.says(GUEST, "hello").await.unwrap_or_default(), "hello");
    assert_eq!(rig.says(NEIGHBOUR, "hello").await.unwrap(), "hello");
    drop(hoard);
    let freed = async { while rig.says(GUEST, "hello").await.unwrap_or_default() != "hello" {} };
    tokio::time::timeout(Duration::from_mins(1), freed).await.expect("places are given back");
}

#[tokio::test]
async fn a_connection_that_rests_or_lasts_long_ends() {
    let brief = Duration::from_millis(200);
    for bounds in [Bounds { rest: brief, ..Bounds::default() }, Bounds { life: brief, ..Bounds::default() }] {
        let rig = Rig::new(echo().await, bounds).await;
        let mut stream = rig.connect(GUEST).await;
        let ended = tokio::time::timeout(Duration::from_mins(1), stream.read(&mut [0])).await;
        assert!(matches!(ended.expect("it ends"), Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_server_that_is_away_ends_the_connection_at_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rig = Rig::new(gone, Bounds::default()).await;
    let mut stream = rig.connect(GUEST).await;
    let ended = tokio::time::timeout(Duration::from_mins(1), stream.read(&mut [0])).await;
    assert!(matches!(ended.expect("it ends"), Ok(0) | Err(_)));
}
