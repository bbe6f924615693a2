use crate::rig::{
    ALICE, BOB, block, call, checksum, is, json, kit, post, put, record, refused, started, with_blocks,
};
use model::record::snapshot::{Life, Source};
use std::time::Duration;

#[tokio::test]
async fn a_started_snapshot_shows_in_ec2_and_takes_blocks_until_it_is_completed() {
    let kit = kit().await;
    let body = r#"{"VolumeSize":2,"Description":"mine","Tags":[{"Key":"a","Value":"b"}],"ClientToken":"t"}"#;
    let answer = json(call(&kit, post("/snapshots", &[], body)).await);
    let id = answer["SnapshotId"].as_str().unwrap();
    assert_eq!(
        (&answer["Status"], &answer["BlockSize"], &answer["VolumeSize"]),
        (&"pending".into(), &524_288.into(), &2.into())
    );
    let again = call(&kit, post("/snapshots", &[], body)).await;
    assert_eq!((again.status, json(again)["SnapshotId"].as_str()), (201, Some(id)));
    let other = body.replace("mine", "other");
    assert_eq!(refused(&kit, ALICE, post("/snapshots", &[], &other)).await, is("ConflictException", 409, ""));
    let shown = kit.call("DescribeSnapshots", &[("SnapshotId.1", id)]).await.unwrap();
    assert_eq!(shown.one("snapshotSet/item/status"), "pending");
    assert_eq!(shown.one("snapshotSet/item/volumeId"), "vol-ffffffff");
    let data = block(5);
    let sum = checksum(&data);
    let done = put(&kit, ALICE, id, 4095, &data, &sum).await.unwrap();
    assert_eq!(done.status, 201);
    let path = format!("/snapshots/completion/{id}");
    let count: &[(&str, &[u8])] = &[("x-amz-changedblockscount", b"1")];
    let completed = call(&kit, post(&path, count, "")).await;
    assert_eq!((completed.status, json(completed)["Status"].as_str()), (202, Some("pending")));
    let Source::Direct(direct) = record(&kit, id).await.source else { panic!("another source") };
    assert_eq!(direct.seal.unwrap().changed, 1);
    // Asked again it says the same; anything else is too late.
    call(&kit, post(&path, count, "")).await;
    let late = is("ValidationException", 400, "INVALID_SNAPSHOT_ID");
    let two: &[(&str, &[u8])] = &[("x-amz-changedblockscount", b"2")];
    assert_eq!(refused(&kit, ALICE, post(&path, two, "")).await, late);
    assert_eq!(put(&kit, ALICE, id, 0, &data, &sum).await.unwrap_err().code(), "ValidationException");
}

#[tokio::test]
async fn blocks_are_held_against_their_checksums_and_bounds() {
    let kit = kit().await;
    let id = started(&kit, r#"{"VolumeSize":1}"#).await;
    let data = block(5);
    let sum = checksum(&data);
    let reason = async |account, id: &str, index, data: &[u8], sum: &str| {
        let error = put(&kit, account, id, index, data, sum).await.unwrap_err();
        error
            .details()
            .find(|(name, _)| *name == "Reason")
            .map(|(_, text)| text.to_owned())
            .unwrap_or_default()
    };
    assert_eq!(reason(ALICE, &id, 0, &data, &checksum(b"other")).await, "INVALID_BLOCK");
    assert_eq!(reason(ALICE, &id, 0, &data[1..], &checksum(&data[1..])).await, "INVALID_BLOCK");
    assert_eq!(reason(ALICE, &id, 2048, &data, &sum).await, "INVALID_BLOCK");
    assert_eq!(reason(BOB, &id, 0, &data, &sum).await, "SNAPSHOT_NOT_FOUND");
    let done = with_blocks(&kit, r#"{"VolumeSize":1}"#, &[]).await;
    assert_eq!(reason(ALICE, &done, 0, &data, &sum).await, "INVALID_SNAPSHOT_ID");
    put(&kit, ALICE, &id, 2047, &data, &sum).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_refused() {
    let kit = kit().await;
    let parent = with_blocks(&kit, r#"{"VolumeSize":2}"#, &[]).await;
    let open = started(&kit, r#"{"VolumeSize":1}"#).await;
    let validation = |reason| is("ValidationException", 400, reason);
    for (body, expected) in [
        (r#"{"VolumeSize":65537}"#.to_owned(), validation("INVALID_VOLUME_SIZE")),
        (r#"{"VolumeSize":1,"Timeout":4321}"#.to_owned(), validation("")),
        ("{}".to_owned(), validation("")),
        (format!(r#"{{"VolumeSize":1,"ParentSnapshotId":"{parent}"}}"#), validation("INVALID_VOLUME_SIZE")),
        (
            format!(r#"{{"VolumeSize":2,"ParentSnapshotId":"{parent}","Encrypted":true}}"#),
            validation("INVALID_PARAMETER_VALUE"),
        ),
        (format!(r#"{{"VolumeSize":1,"ParentSnapshotId":"{open}"}}"#), validation("INVALID_SNAPSHOT_ID")),
        (r#"{"VolumeSize":1,"Tags":[{"Key":"aws:a","Value":"b"}]}"#.to_owned(), validation("INVALID_TAG")),
        (
            r#"{"VolumeSize":1,"ParentSnapshotId":"snap-00000000000000001"}"#.to_owned(),
            is("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"),
        ),
        ("{".to_owned(), is("SerializationException", 400, "")),
    ] {
        assert_eq!(refused(&kit, ALICE, post("/snapshots", &[], &body)).await, expected, "{body}");
    }
}

#[tokio::test]
async fn encryption_is_asked_for_or_inherited() {
    let kit = kit().await;
    let made = json(call(&kit, post("/snapshots", &[], r#"{"VolumeSize":1,"Encrypted":true}"#)).await);
    assert!(made["KmsKeyArn"].as_str().unwrap().contains(":key/"));
    assert_eq!(made["SseType"], "sse-kms");
    let parent = with_blocks(&kit, r#"{"VolumeSize":1,"Encrypted":true}"#, &[]).await;
    let body = format!(r#"{{"VolumeSize":1,"ParentSnapshotId":"{parent}"}}"#);
    let child = started(&kit, &body).await;
    assert_eq!(record(&kit, &child).await.encryption, record(&kit, &parent).await.encryption);
    kit.call("EnableEbsEncryptionByDefault", &[]).await.unwrap();
    let by_default = started(&kit, r#"{"VolumeSize":1}"#).await;
    assert!(record(&kit, &by_default).await.encryption.is_some());
}

#[tokio::test]
async fn one_that_nobody_goes_on_with_fails_after_its_timeout() {
    let kit = kit().await;
    let id = started(&kit, r#"{"VolumeSize":1,"Timeout":10}"#).await;
    let data = block(1);
    kit.clock.advance(Duration::from_mins(9));
    put(&kit, ALICE, &id, 0, &data, &checksum(&data)).await.unwrap();
    kit.clock.advance(Duration::from_mins(9));
    ebs::sweep(&kit.cloud).await.unwrap();
    assert!(matches!(record(&kit, &id).await.life, Life::Pending { .. }));
    kit.clock.advance(Duration::from_mins(1));
    ebs::sweep(&kit.cloud).await.unwrap();
    assert!(matches!(record(&kit, &id).await.life, Life::Failed { .. }));
    let late = put(&kit, ALICE, &id, 0, &data, &checksum(&data)).await.unwrap_err();
    assert_eq!(late.code(), "ValidationException");
    kit.call("DeleteSnapshot", &[("SnapshotId", &id)]).await.unwrap();
}
