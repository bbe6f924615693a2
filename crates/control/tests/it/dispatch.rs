//! What surrounds every operation.

use crate::rig::{ALICE, Rig};
use control::dispatch::Prelude;
use control::{Caller, Context, Policy, Touched};
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test]
async fn operations_answer_in_the_protocol_of_their_service() {
    let rig = Rig::new().await;
    let answer = rig.call("id-1", "Append", "Action=Append&Version=2026-01-01&Name=n&Text=a").await.unwrap();
    assert!(answer.contains("<AppendResponse xmlns=\"urn:notes\">"), "{answer}");
    assert!(answer.contains("<requestId>id-1</requestId>") && answer.contains("<text>a</text>"), "{answer}");
    let answer = rig.call("id-2", "Fetch", "Name=n").await.unwrap();
    assert!(answer.contains("<text>a</text>"), "a caller sees its own writes: {answer}");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_whatever_the_kind_of_the_operation() {
    let rig = Rig::new().await;
    for action in ["Fetch", "Append", "Purge", "Print"] {
        let error = rig.call("id", action, "Name=n&Text=a&ClientToken=t&DryRun=true").await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("DryRunOperation", 412), "{action}");
        assert_eq!(rig.revision(), 0, "{action}");
    }
    rig.call("id", "Append", "Name=n&Text=a").await.unwrap();
    rig.call("id", "Purge", "Name=n&DryRun=true").await.unwrap_err();
    assert!(rig.note("n").is_some());
}

#[tokio::test]
async fn a_dry_run_that_would_fail_says_how() {
    let rig = Rig::new().await;
    for action in ["Fetch", "Append", "Purge"] {
        let error = rig.call("id", action, "DryRun=true").await.unwrap_err();
        assert_eq!(error.code(), "MissingParameter", "{action}");
    }
}

/// Lets the account read its notes, all but one.
struct ReadAlone;

impl Policy for ReadAlone {
    fn allows(&self, caller: &Caller, action: &str, touched: &[Touched]) -> bool {
        assert_eq!(caller.account, ALICE);
        action == "notes:Fetch"
            && touched.iter().all(|t| t.arn.as_str() != "arn:aws:notes:us-east-1:111111111111:note/secret")
    }
}

#[tokio::test]
async fn what_the_policy_refuses_changes_nothing() {
    let rig = Rig::judged_by(ReadAlone).await;
    for action in ["Append", "Purge", "Print"] {
        for parameters in ["Name=n&Text=a", "Name=n&DryRun=true", "Name=n&ClientToken=t"] {
            let error = rig.call("id", action, parameters).await.unwrap_err();
            assert_eq!(
                (error.code(), error.status()),
                ("UnauthorizedOperation", 403),
                "{action} {parameters}"
            );
            assert!(error.message().contains(&format!("notes:{action}")), "{error}");
            assert_eq!(rig.revision(), 0);
        }
    }
    rig.call("id", "Fetch", "Name=n").await.unwrap();
    assert_eq!(rig.call("id", "Fetch", "Name=secret").await.unwrap_err().status(), 403);
}

#[tokio::test]
async fn unknown_actions_and_unbuilt_ones_differ() {
    let rig = Rig::new().await;
    let unknown = rig.call("id", "Explode", "").await.unwrap_err();
    assert_eq!((unknown.code(), unknown.status()), ("InvalidAction", 400));
    assert!(unknown.message().contains("Explode"));
    let unbuilt = rig.call("id", "Unbuilt", "").await.unwrap_err();
    assert_eq!((unbuilt.code(), unbuilt.status()), ("UnsupportedOperation", 400));
    assert!(unbuilt.message().contains("Unbuilt"));
    let built: Vec<_> = rig.service.built().map(|operation| operation.name).collect();
    assert_eq!(built, ["Append", "Fetch", "Print", "Purge"]);
}

#[tokio::test]
async fn parameters_that_an_operation_does_not_know_are_refused_before_it_runs() {
    let rig = Rig::new().await;
    for (parameters, code) in [
        ("Name=n&Colour=red", "UnknownParameter"),
        ("Name=n&DryRun=maybe", "InvalidParameterValue"),
        ("Name=n&Name=m", "InvalidQueryParameter"),
    ] {
        for action in ["Fetch", "Append", "Print"] {
            assert_eq!(rig.call("id", action, parameters).await.unwrap_err().code(), code, "{action}");
        }
    }
    assert_eq!(rig.revision(), 0);
}

static PRELUDES: AtomicU32 = AtomicU32::new(0);

#[tokio::test]
async fn the_prelude_runs_before_operations_that_are_built_and_its_error_is_theirs() {
    let mut rig = Rig::new().await;
    rig.service.prelude(Prelude {
        is_there: |_, _| false,
        run: |ctx: Context| {
            Box::pin(async move {
                PRELUDES.fetch_add(1, Ordering::Relaxed);
                if ctx.account() == ALICE {
                    Ok(())
                } else {
                    Err(control::errors::unavailable("not for others"))
                }
            })
        },
    });
    rig.call("id", "Append", "Name=n").await.unwrap();
    assert_eq!(PRELUDES.load(Ordering::Relaxed), 1);
    let refused = rig.call_as(crate::rig::BOB, "id", "Append", "Name=m").await.unwrap_err();
    assert_eq!((refused.code(), rig.notes()), ("Unavailable", 1));
    rig.call("id", "Unbuilt", "").await.unwrap_err();
    rig.call("id", "Explode", "").await.unwrap_err();
    assert_eq!(PRELUDES.load(Ordering::Relaxed), 2);
}
