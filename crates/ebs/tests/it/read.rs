use crate::rig::{ALICE, BOB, SUM, block, call, checksum, get, is, json, kit, refused, started, with_blocks};
use std::time::Duration;

#[tokio::test]
async fn blocks_are_listed_and_got_by_their_tokens() {
    let kit = kit().await;
    let id = with_blocks(&kit, r#"{"VolumeSize":1}"#, &[(0, 1), (7, 2)]).await;
    let listed = json(call(&kit, get(&format!("/snapshots/{id}/blocks"), "")).await);
    assert_eq!((&listed["BlockSize"], &listed["VolumeSize"]), (&524_288.into(), &1.into()));
    assert!(listed["NextToken"].is_null() && listed["ExpiryTime"].is_number());
    let blocks = listed["Blocks"].as_array().unwrap();
    assert_eq!(blocks.iter().map(|b| b["BlockIndex"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 7]);
    let token = blocks[1]["BlockToken"].as_str().unwrap();
    assert!(token.len() <= 256);
    let query = format!("blockToken={}", token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
    let path = format!("/snapshots/{id}/blocks/7");
    let got = call(&kit, get(&path, &query)).await;
    assert_eq!(got.content_type, Some("application/octet-stream"));
    let header = |name: &str| got.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
    assert_eq!((header("x-amz-Data-Length"), header(SUM)), ("524288".to_owned(), checksum(&block(2))));
    assert_eq!(&*got.body.clone().into_bytes(), block(2));
    let wrong = is("ValidationException", 400, "INVALID_BLOCK_TOKEN");
    assert_eq!(refused(&kit, ALICE, get(&format!("/snapshots/{id}/blocks/0"), &query)).await, wrong);
    assert_eq!(refused(&kit, ALICE, get(&path, "blockToken=AAAA")).await, wrong);
    kit.clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(refused(&kit, ALICE, get(&path, &query)).await, wrong);
    let beyond = get("/snapshots/ID/blocks/2048", &query).path.replace("ID", &id);
    let beyond = refused(&kit, ALICE, get(&beyond, &query)).await;
    assert_eq!(beyond, is("ValidationException", 400, "INVALID_BLOCK"));
}

#[tokio::test]
async fn what_is_not_there_not_shared_or_not_completed_is_not_read() {
    let kit = kit().await;
    let id = with_blocks(&kit, r#"{"VolumeSize":1}"#, &[(0, 1)]).await;
    let path = format!("/snapshots/{id}/blocks");
    let unseen = is("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND");
    assert_eq!(refused(&kit, BOB, get(&path, "")).await, unseen);
    assert_eq!(refused(&kit, ALICE, get("/snapshots/snap-00000000000000001/blocks", "")).await, unseen);
    let malformed = is("ValidationException", 400, "INVALID_SNAPSHOT_ID");
    assert_eq!(refused(&kit, ALICE, get("/snapshots/vol-1/blocks", "")).await, malformed);
    let open = started(&kit, r#"{"VolumeSize":1}"#).await;
    assert_eq!(refused(&kit, ALICE, get(&format!("/snapshots/{open}/blocks"), "")).await, malformed);
    let shared = [
        ("SnapshotId", &*id),
        ("Attribute", "createVolumePermission"),
        ("OperationType", "add"),
        ("UserId.1", "222222222222"),
    ];
    kit.call("ModifySnapshotAttribute", &shared).await.unwrap();
    kit.rest(BOB, "ebs", get(&path, "")).await.unwrap();
}

#[tokio::test]
async fn pages_follow_each_other_and_their_tokens_are_for_one_listing() {
    let kit = kit().await;
    let blocks: Vec<(u64, u8)> = (0..3).map(|at| (at * 20, 1)).collect();
    let id = with_blocks(&kit, r#"{"VolumeSize":1}"#, &blocks).await;
    let path = format!("/snapshots/{id}/blocks");
    let from = json(call(&kit, get(&path, "startingBlockIndex=1&maxResults=100")).await);
    assert_eq!(from["Blocks"].as_array().unwrap().len(), 2);
    assert_eq!(refused(&kit, ALICE, get(&path, "maxResults=99")).await.0, "ValidationException");
    let wrong = is("ValidationException", 400, "INVALID_PAGE_TOKEN");
    assert_eq!(refused(&kit, ALICE, get(&path, "pageToken=AAAA")).await, wrong);
    // A block's token is no page's.
    let token = from["Blocks"][0]["BlockToken"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(refused(&kit, ALICE, get(&path, &format!("pageToken={token}"))).await, wrong);
}

#[tokio::test]
async fn changes_are_told_within_a_lineage_only() {
    let kit = kit().await;
    let first = with_blocks(&kit, r#"{"VolumeSize":1}"#, &[(0, 1), (1, 1)]).await;
    let body = format!(r#"{{"VolumeSize":1,"ParentSnapshotId":"{first}"}}"#);
    let second = with_blocks(&kit, &body, &[(1, 1), (2, 3)]).await;
    let path = format!("/snapshots/{second}/changedblocks");
    let changed = json(call(&kit, get(&path, &format!("firstSnapshotId={first}"))).await);
    let changed = changed["ChangedBlocks"].as_array().unwrap().clone();
    let told: Vec<_> = changed
        .iter()
        .map(|b| {
            (
                b["BlockIndex"].as_u64().unwrap(),
                b["FirstBlockToken"].is_string(),
                b["SecondBlockToken"].is_string(),
            )
        })
        .collect();
    // The host of this test inherits nothing from a parent.
    assert_eq!(told, [(0, true, false), (2, false, true)]);
    let other = with_blocks(&kit, r#"{"VolumeSize":1}"#, &[]).await;
    let asked = format!("firstSnapshotId={other}");
    let unrelated = refused(&kit, ALICE, get(&path, &asked)).await;
    assert_eq!(unrelated, is("ValidationException", 400, "UNRELATED_SNAPSHOTS"));
}
