//! Client tokens.

use crate::rig::{ALICE, BOB, Rig};
use control::token::KEPT;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

fn text(rig: &Rig) -> String {
    rig.note("n").unwrap().text
}

#[tokio::test]
async fn the_same_call_again_has_the_first_ones_answer_under_its_own_request_id() {
    let rig = Rig::new().await;
    let first = rig.call("id-1", "Append", "Name=n&Text=a&ClientToken=t").await.unwrap();
    rig.call("id-2", "Append", "Name=n&Text=b").await.unwrap();
    let again = rig.call("id-3", "Append", "Name=n&Text=a&ClientToken=t").await.unwrap();
    assert_eq!(again, first.replace("id-1", "id-3"));
    assert_eq!(text(&rig), "ab", "the second call has no effect");
}

#[tokio::test]
async fn other_parameters_under_the_same_token_are_refused() {
    let rig = Rig::new().await;
    rig.call("id-1", "Append", "Name=n&Text=a&ClientToken=t").await.unwrap();
    for parameters in ["Name=n&Text=b", "Name=n", "Name=m&Text=a", "Name=n&Text="] {
        let error = rig.call("id", "Append", &format!("{parameters}&ClientToken=t")).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("IdempotentParameterMismatch", 400), "{parameters}");
        assert!(error.message().contains('t'));
    }
    assert_eq!((text(&rig), rig.notes()), ("a".into(), 1));
    let dry = rig.call("id", "Append", "Name=n&Text=a&ClientToken=t&DryRun=true").await.unwrap_err();
    assert_eq!(dry.code(), "DryRunOperation");
}

#[tokio::test]
async fn a_token_is_its_accounts_own_and_its_operations() {
    let rig = Rig::new().await;
    for account in [ALICE, BOB] {
        rig.call_as(account, "id", "Append", "Name=n&Text=a&ClientToken=t").await.unwrap();
    }
    assert_eq!(text(&rig), "aa");
    rig.call("id", "Purge", "Name=n&Text=a&ClientToken=t").await.unwrap();
    assert!(rig.note("n").is_none());
}

#[tokio::test]
async fn an_empty_token_is_none_and_a_failed_call_remembers_none() {
    let rig = Rig::new().await;
    for _ in 0..2 {
        rig.call("id", "Append", "Name=n&Text=a&ClientToken=").await.unwrap();
    }
    assert_eq!(text(&rig), "aa");
    rig.call("id", "Append", "Text=a&ClientToken=t").await.unwrap_err();
    rig.call("id", "Append", "Name=n&Text=b&ClientToken=t").await.unwrap();
    assert_eq!(text(&rig), "aab");
}

#[tokio::test]
async fn a_token_is_forgotten_after_a_day() {
    let rig = Rig::new().await;
    let call = || rig.call("id", "Append", "Name=n&Text=a&ClientToken=t");
    call().await.unwrap();
    rig.clock.advance(KEPT);
    call().await.unwrap();
    assert_eq!(text(&rig), "a");
    rig.clock.advance(Duration::from_millis(1));
    call().await.unwrap();
    assert_eq!(text(&rig), "aa");
    call().await.unwrap();
    assert_eq!(text(&rig), "aa", "and remembered anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_with_one_token_have_one_effect() {
    let rig = Arc::new(Rig::new().await);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let rig = Arc::clone(&rig);
        calls.spawn(async move { rig.call("id", "Append", "Name=n&Text=a&ClientToken=t").await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((text(&rig), rig.revision()), ("a".into(), 1));
}
