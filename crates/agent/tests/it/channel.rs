//! The channel over its socket.

use super::rig::Rig;
use super::sample::*;
use agent::channel;
use agent::host::sim::SimConfig;
use model::host::*;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

struct Server {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Server {
    async fn connect(path: &std::path::Path) -> Self {
        Self { stream: UnixStream::connect(path).await.unwrap(), buffer: Vec::new() }
    }

    async fn send(&mut self, message: &ToAgent) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message; `None` when the agent has hung up.
    async fn next(&mut self) -> Option<FromAgent> {
        let reading = async {
            loop {
                if let Some(message) = frame::decode(&mut self.buffer).unwrap() {
                    return Some(message);
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("a message comes")
    }

    async fn until(&mut self, wanted: impl Fn(&FromAgent) -> bool) -> FromAgent {
        loop {
            let message = self.next().await.expect("the agent listens");
            if wanted(&message) {
                return message;
            }
        }
    }
}

fn is_running(message: &FromAgent) -> bool {
    matches!(
        message,
        FromAgent::Observed(Observed { body: ObservedBody::Instance(InstancePhase::Running { .. }), .. })
    )
}

#[tokio::test]
async fn a_server_syncs_hears_what_is_observed_asks_and_the_newest_connection_wins() {
    let rig = Rig::new(SimConfig::default()).await;
    let path = rig.state_dir.path().join("agent.sock");
    let serving = tokio::spawn(channel::listen(&path, rig.handle()).unwrap().serve());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let mut first = Server::connect(&path).await;
    assert_eq!(first.next().await, Some(FromAgent::Hello(rig.handle().hello())));
    first.send(&ToAgent::Sync { objects: first_instance() }).await;
    first.until(is_running).await;
    let console = Request::ConsoleOutput { instance: instance_id(1), limit: 100 };
    first.send(&ToAgent::Request { id: 7, request: console }).await;
    let reply = first.until(|message| matches!(message, FromAgent::Reply { .. })).await;
    assert!(matches!(reply, FromAgent::Reply { id: 7, reply: Reply::ConsoleOutput { .. } }));

    let mut second = Server::connect(&path).await;
    assert!(matches!(second.next().await, Some(FromAgent::Hello(_))));
    second.until(is_running).await;
    while first.next().await.is_some() {}
    second
        .send(&ToAgent::Set {
            object: Box::new(Desired { generation: 9, body: None, ..first_instance().remove(0) }),
        })
        .await;
    second
        .until(|message| {
            matches!(
                message,
                FromAgent::Observed(Observed { body: ObservedBody::Removed, generation: 9, .. })
            )
        })
        .await;
    serving.abort();
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_hung_up_on_and_another_is_served() {
    let rig = Rig::new(SimConfig::default()).await;
    let path = rig.state_dir.path().join("agent.sock");
    let serving = tokio::spawn(channel::listen(&path, rig.handle()).unwrap().serve());
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02{}"] {
        let mut server = Server::connect(&path).await;
        assert!(server.next().await.is_some());
        server.stream.write_all(nonsense).await.unwrap();
        while server.next().await.is_some() {}
    }
    assert!(Server::connect(&path).await.next().await.is_some());
    serving.abort();
}
