//! Fast restore: what may be asked of a snapshot, what its host's word changes, and which volumes have the use of it.
//!
//! It is asked for by an account for a zone ([`FastRestore`]); the host keeps a snapshot whole ([`Tier::Fast`]) for as long as anybody
//! wants it anywhere.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-fast-snapshot-restore.html>

use super::tier;
use model::host::{SnapshotPhase, Tier};
use model::record::snapshot::{FastRestore, FastStage, Snapshot, Stage};
use model::{AccountId, Timestamp, Zone};
use std::time::Duration;

/// How long one is shown after it has been disabled.
const SHOWN: Duration = Duration::from_hours(1);

/// Why fast restore is neither enabled nor disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotCompleted,
    /// It is archived, or on its way there or back.
    Archived,
    NotEnabled,
}

const fn is_wanted(fast: &FastRestore) -> bool {
    match fast.stage {
        FastStage::Enabling | FastStage::Optimizing | FastStage::Enabled => true,
        FastStage::Disabling | FastStage::Disabled => false,
    }
}

/// Whether anybody wants it to be fast.
pub fn is_on(snapshot: &Snapshot) -> bool {
    snapshot.fast_restores.iter().any(is_wanted)
}

pub fn find<'a>(snapshot: &'a Snapshot, account: AccountId, zone: &Zone) -> Option<&'a FastRestore> {
    snapshot.fast_restores.iter().find(|fast| fast.account == account && fast.zone == *zone)
}

/// Whether a volume of this account in this zone, made now, lacks nothing from its first moment on. What has to be encrypted first is
/// made whole later.
pub fn restores(snapshot: &Snapshot, account: AccountId, zone: &Zone, is_encrypted: bool) -> bool {
    let is_enabled = find(snapshot, account, zone).is_some_and(|fast| fast.stage == FastStage::Enabled);
    is_enabled && (snapshot.encryption.is_some() || !is_encrypted)
}

/// It is to be fast for these volumes from now on; already so, it stays as it is.
pub fn enable(
    snapshot: &Snapshot,
    account: AccountId,
    zone: &Zone,
    now: Timestamp,
) -> Result<FastRestore, Refusal> {
    if !snapshot.is_completed() {
        return Err(Refusal::NotCompleted);
    }
    let is_moving = |stage: &Stage| matches!(stage, Stage::Moving { .. });
    if tier::is_archived(snapshot) || snapshot.tiering.as_ref().is_some_and(|t| is_moving(&t.stage)) {
        return Err(Refusal::Archived);
    }
    Ok(match find(snapshot, account, zone) {
        Some(known) if is_wanted(known) => known.clone(),
        Some(_) | None => FastRestore {
            account,
            zone: zone.clone(),
            stage: FastStage::Enabling,
            enabling_at: now,
            optimizing_at: None,
            enabled_at: None,
            disabling_at: None,
            disabled_at: None,
            failure: None,
        },
    })
}

/// It is to be so no longer.
pub fn disable(
    snapshot: &Snapshot,
    account: AccountId,
    zone: &Zone,
    now: Timestamp,
) -> Result<FastRestore, Refusal> {
    let known = find(snapshot, account, zone).ok_or(Refusal::NotEnabled)?;
    match known.stage {
        FastStage::Enabling | FastStage::Optimizing | FastStage::Enabled => Ok(ending(known, now)),
        FastStage::Disabling => Ok(known.clone()),
        FastStage::Disabled => Err(Refusal::NotEnabled),
    }
}

fn ending(fast: &FastRestore, now: Timestamp) -> FastRestore {
    FastRestore { stage: FastStage::Disabling, disabling_at: Some(now), ..fast.clone() }
}

/// The snapshot with this one among its fast restores.
pub fn with(snapshot: &Snapshot, fast: FastRestore) -> Snapshot {
    let mut changed = snapshot.clone();
    let known = changed.fast_restores.iter_mut().find(|k| k.account == fast.account && k.zone == fast.zone);
    match known {
        Some(known) if *known == fast => return changed,
        Some(known) => *known = fast,
        None => changed.fast_restores.push(fast),
    }
    changed.fast_asked += 1;
    changed
}

/// Ends it for those who may not use the snapshot any more.
pub fn end_unshared(snapshot: &mut Snapshot, now: Timestamp) {
    let (owner, shared) = (snapshot.account, &snapshot.shared);
    let is_over = |fast: &FastRestore| is_wanted(fast) && fast.account != owner && !shared.with(fast.account);
    let before = snapshot.fast_asked;
    for fast in &mut snapshot.fast_restores {
        if is_over(fast) {
            *fast = ending(fast, now);
            snapshot.fast_asked = before + 1;
        }
    }
}

/// What its host's word changes: all of them as they are from now on.
pub fn observe(snapshot: &Snapshot, phase: &SnapshotPhase, now: Timestamp) -> Option<Vec<FastRestore>> {
    let wanted = tier::wanted(snapshot);
    let next = |fast: &FastRestore| -> FastRestore {
        let fast = fast.clone();
        let since = |known: Option<Timestamp>| known.or(Some(now));
        match (fast.stage, phase) {
            (FastStage::Enabling, SnapshotPhase::Moving { .. }) if wanted == Tier::Fast => {
                FastRestore { stage: FastStage::Optimizing, optimizing_at: Some(now), ..fast }
            }
            (
                FastStage::Enabling | FastStage::Optimizing,
                SnapshotPhase::Completed { tier: Tier::Fast, .. },
            ) => FastRestore {
                stage: FastStage::Enabled,
                optimizing_at: since(fast.optimizing_at),
                enabled_at: Some(now),
                ..fast
            },
            (FastStage::Enabling | FastStage::Optimizing, SnapshotPhase::Unmovable { reason }) => {
                FastRestore {
                    stage: FastStage::Disabled,
                    disabling_at: Some(now),
                    disabled_at: Some(now),
                    failure: Some(reason.clone()),
                    ..fast
                }
            }
            // Somebody else may still want it.
            (FastStage::Disabling, SnapshotPhase::Completed { tier, .. }) if *tier == wanted => {
                FastRestore { stage: FastStage::Disabled, disabled_at: Some(now), ..fast }
            }
            (
                FastStage::Enabling
                | FastStage::Optimizing
                | FastStage::Enabled
                | FastStage::Disabling
                | FastStage::Disabled,
                _,
            ) => fast,
        }
    };
    let after: Vec<FastRestore> = snapshot.fast_restores.iter().map(next).collect();
    (after != snapshot.fast_restores).then_some(after)
}

/// Those that are shown still, if that has changed.
pub fn faded(snapshot: &Snapshot, now: Timestamp) -> Option<Vec<FastRestore>> {
    let is_shown = |fast: &&FastRestore| {
        fast.stage != FastStage::Disabled || fast.disabled_at.is_none_or(|at| now.since(at) < SHOWN)
    };
    let shown: Vec<FastRestore> = snapshot.fast_restores.iter().filter(is_shown).cloned().collect();
    (shown.len() < snapshot.fast_restores.len()).then_some(shown)
}

/// As EC2 spells it.
pub const fn state(stage: FastStage) -> &'static str {
    match stage {
        FastStage::Enabling => "enabling",
        FastStage::Optimizing => "optimizing",
        FastStage::Enabled => "enabled",
        FastStage::Disabling => "disabling",
        FastStage::Disabled => "disabled",
    }
}

/// Why it came to its stage.
pub fn reason(fast: &FastRestore) -> String {
    match (fast.stage, &fast.failure) {
        (_, Some(failure)) => format!("Server.InternalError: {failure}"),
        (FastStage::Enabling | FastStage::Disabling, None) => "Client.UserInitiated".into(),
        (FastStage::Optimizing | FastStage::Enabled | FastStage::Disabled, None) => {
            "Client.UserInitiated - Lifecycle state transition".into()
        }
    }
}
