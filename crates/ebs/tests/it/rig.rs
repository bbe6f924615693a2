//! A control plane with a host that answers for blocks, and calls of the service.

use control::cloud::Mode;
use control::host::Connection;
use model::host::blocks::{BLOCK, BlockReply, BlockRequest, ChangedBlock};
use model::host::{Capacity, FromAgent, Hello, Reply, Request, ToAgent};
use model::record::snapshot::{Life, Snapshot};
use model::{AccountId, SnapshotId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
pub use testkit::{ALICE, BOB, Kit};
use tokio::sync::mpsc;
use wire::Response;
use wire::rest_json::Request as Rest;

pub const SUM: &str = "x-amz-Checksum";

/// A host that has what was put into it.
#[derive(Default)]
struct Host(BTreeMap<SnapshotId, BTreeMap<u64, Vec<u8>>>);

impl Host {
    fn answer(&mut self, request: BlockRequest) -> BlockReply {
        let of = |host: &Self, id: SnapshotId| host.0.get(&id).cloned().unwrap_or_default();
        match request {
            BlockRequest::List { snapshot, from, most } => {
                BlockReply::Listed(of(self, snapshot).range(from..).take(most).map(|(at, _)| *at).collect())
            }
            BlockRequest::Changed { first, second, from, most } => {
                let (one, two) = (of(self, first), of(self, second));
                let differing = (from..64).filter(|at| one.get(at) != two.get(at));
                let changed = differing.take(most).map(|index| ChangedBlock {
                    index,
                    in_first: one.contains_key(&index),
                    in_second: two.contains_key(&index),
                });
                BlockReply::Changed(changed.collect())
            }
            BlockRequest::Get { snapshot, index } => {
                BlockReply::Block(of(self, snapshot).get(&index).cloned().map(Into::into))
            }
            BlockRequest::Put { snapshot, index, data } => {
                self.0.entry(snapshot).or_default().insert(index, data.as_slice().to_vec());
                BlockReply::Stored
            }
        }
    }
}

pub async fn kit() -> Kit {
    let kit = Kit::new().await;
    let (to_agent, mut asked) = mpsc::unbounded_channel();
    let (say, from_agent) = mpsc::unbounded_channel();
    let hello = Hello { host: "h".into(), boot_id: "b".into(), epoch: 1, capacity: Capacity::UNLIMITED };
    say.send(FromAgent::Hello(hello)).unwrap();
    tokio::spawn(Arc::clone(&kit.cloud.host).serve(Connection { to_agent, from_agent }, |_| {}));
    tokio::spawn(async move {
        let mut host = Host::default();
        while let Some(message) = asked.recv().await {
            if let ToAgent::Request { id, request: Request::Blocks(request) } = message {
                let reply = Reply::Blocks(host.answer(request));
                let _gone = say.send(FromAgent::Reply { id, reply });
            }
        }
    });
    kit.cloud.host.connected().await;
    kit
}

pub fn get<'a>(path: &'a str, query: &'a str) -> Rest<'a> {
    Rest { method: "GET", path, query, headers: &[], body: b"" }
}

pub fn post<'a>(path: &'a str, headers: &'a [(&'a str, &'a [u8])], body: &'a str) -> Rest<'a> {
    Rest { method: "POST", path, query: "", headers, body: body.as_bytes() }
}

pub async fn call(kit: &Kit, request: Rest<'_>) -> Response {
    kit.rest(ALICE, "ebs", request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

pub fn json(response: Response) -> Value {
    serde_json::from_slice(&response.body.into_bytes()).unwrap()
}

/// Code, status and reason of the error that a call answers.
pub async fn refused(kit: &Kit, account: AccountId, request: Rest<'_>) -> (String, u16, String) {
    let error = kit.rest(account, "ebs", request).await.expect_err("a refusal");
    let reason = error.details().find(|(name, _)| *name == "Reason").map(|(_, text)| text.to_owned());
    (error.code().to_owned(), error.status(), reason.unwrap_or_default())
}

pub fn is(code: &str, status: u16, reason: &str) -> (String, u16, String) {
    (code.to_owned(), status, reason.to_owned())
}

pub async fn started(kit: &Kit, body: &str) -> String {
    let answer = call(kit, post("/snapshots", &[], body)).await;
    assert_eq!(answer.status, 201);
    json(answer)["SnapshotId"].as_str().unwrap().to_owned()
}

pub fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK]
}

pub fn checksum(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

pub async fn put(
    kit: &Kit,
    account: AccountId,
    id: &str,
    index: u64,
    data: &[u8],
    sum: &str,
) -> Result<Response, wire::ApiError> {
    let (path, length) = (format!("/snapshots/{id}/blocks/{index}"), data.len().to_string());
    let headers: &[(&str, &[u8])] = &[
        ("x-amz-data-length", length.as_bytes()),
        (SUM, sum.as_bytes()),
        ("x-amz-checksum-algorithm", b"SHA256"),
    ];
    kit.rest(account, "ebs", Rest { method: "PUT", path: &path, query: "", headers, body: data }).await
}

pub async fn record(kit: &Kit, id: &str) -> Snapshot {
    let id = SnapshotId::parse(id).unwrap();
    (**kit.cloud.view.read().get::<Snapshot>(&kit.region(), &id).unwrap()).clone()
}

/// As its host says when it has all of it.
pub async fn completed(kit: &Kit, id: &str) {
    let held = record(kit, id).await;
    let life = Life::Completed { at: testkit::START, full: 0 };
    let region = kit.region();
    let write = |txn: &mut control::Txn<'_>| {
        txn.put(&region, Snapshot { life: life.clone(), ..held.clone() });
        Ok(())
    };
    kit.cloud.transact(Mode::Shared, write).await.unwrap();
}

/// A completed snapshot with these blocks.
pub async fn with_blocks(kit: &Kit, body: &str, blocks: &[(u64, u8)]) -> String {
    let id = started(kit, body).await;
    for (index, byte) in blocks {
        let data = block(*byte);
        assert_eq!(put(kit, ALICE, &id, *index, &data, &checksum(&data)).await.unwrap().status, 201);
    }
    completed(kit, &id).await;
    id
}
