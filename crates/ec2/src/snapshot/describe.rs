//! `DescribeSnapshots`: by id, owner, who may make volumes of them, and filters.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>

use super::render;
use crate::noun::{Noun as _, find_all, parse_filters};
use crate::permission::{Whom, account};
use api_ec2::{DescribeSnapshotsRequest, DescribeSnapshotsResult};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::record::snapshot::Snapshot;
use model::{AccountId, SnapshotId};
use std::collections::BTreeMap;

enum Owner {
    Account(AccountId),
    /// `amazon` and its like, who own no snapshots here.
    Alias,
}

impl Owner {
    fn parse(ctx: &Context, text: &str) -> Result<Self> {
        match text {
            "self" => Ok(Self::Account(ctx.account())),
            "amazon" | "aws-marketplace" | "aws-backup-vault" => Ok(Self::Alias),
            other => account(other).map(Self::Account),
        }
    }

    fn owns(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Account(account) => snapshot.account == *account,
            Self::Alias => false,
        }
    }
}

/// Owners may without being told.
fn may_restore(whom: Whom, snapshot: &Snapshot) -> bool {
    match whom {
        Whom::Everybody => snapshot.shared.is_public(),
        Whom::Account(account) => snapshot.account == account || snapshot.shared.accounts.contains(&account),
    }
}

pub fn describe(
    ctx: &Context,
    request: &DescribeSnapshotsRequest,
    tables: &Tables,
) -> Result<DescribeSnapshotsResult> {
    let owners =
        request.owner_ids.iter().flatten().map(|o| Owner::parse(ctx, o)).collect::<Result<Vec<_>>>()?;
    let users = request.restorable_by_user_ids.iter().flatten();
    let users = users.map(|user| Whom::parse(ctx, user)).collect::<Result<Vec<_>>>()?;
    let paging = Paging::<SnapshotId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        Snapshot::PAGE,
        ByIds::from(&request.snapshot_ids),
    )?;
    let filters = parse_filters::<Snapshot>(request.filters.as_deref())?;
    let candidates = match request.snapshot_ids.as_deref() {
        Some(ids) if !ids.is_empty() => {
            let found = find_all::<Snapshot>(ctx, tables, ids)?;
            let once: BTreeMap<_, _> = found.into_iter().map(|s| (s.snapshot, s)).collect();
            once.into_values().collect()
        }
        _ => Snapshot::listed(ctx, tables),
    };
    let matching = candidates.into_iter().filter(|snapshot| {
        (owners.is_empty() || owners.iter().any(|owner| owner.owns(snapshot)))
            && (users.is_empty() || users.iter().any(|user| may_restore(*user, snapshot)))
            && filters.accept(snapshot, &snapshot.tags, tables)
    });
    let (page, next_token) = page::cut(matching, &paging, |snapshot| snapshot.snapshot);
    let shown = |snapshot: &Snapshot| {
        let mut shown = render::snapshot(snapshot);
        // Tags are their owner's.
        shown.tags = shown.tags.filter(|_| snapshot.account == ctx.account());
        shown
    };
    let snapshots = page.into_iter().map(|snapshot| shown(snapshot)).collect();
    Ok(DescribeSnapshotsResult { next_token, snapshots: Some(snapshots) })
}
