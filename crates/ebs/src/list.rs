//! `ListSnapshotBlocks`, `ListChangedBlocks`: which blocks there are, with tokens to get them by.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-list-blocks.html>

use crate::access::{ask, readable};
use crate::errors;
use crate::token::{self, Kind, Token};
use api_ebs::{
    Block, ChangedBlock, ListChangedBlocksRequest, ListChangedBlocksResponse, ListSnapshotBlocksRequest,
    ListSnapshotBlocksResponse,
};
use control::{Context, Result};
use model::host::blocks::{BLOCK, BlockReply, BlockRequest};
use model::record::snapshot::{Snapshot, Source};
use model::{SnapshotId, Timestamp};
use std::time::Duration;

/// How long blocks can be got by their tokens, and pages by theirs.
const BLOCKS_FOR: Duration = Duration::from_hours(7 * 24);
const PAGES_FOR: Duration = Duration::from_hours(1);
const USUAL: usize = 10_000;

struct Page {
    from: u64,
    most: usize,
    ids: (SnapshotId, Option<SnapshotId>),
}

impl Page {
    fn parse(
        ctx: &Context,
        ids: (SnapshotId, Option<SnapshotId>),
        token: Option<&str>,
        most: Option<i32>,
        from: Option<i32>,
    ) -> Result<Self> {
        let from = match token {
            Some(token) => {
                token::parse(ctx, Kind::Page, token, ids).ok_or_else(errors::invalid_page_token)?
            }
            None => u64::try_from(from.unwrap_or_default()).unwrap_or_default(),
        };
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(USUAL);
        Ok(Self { from, most, ids })
    }

    /// Cuts what is more than a page, and names where the next one begins.
    fn cut<T>(&self, ctx: &Context, items: &mut Vec<T>, index: impl Fn(&T) -> u64) -> Option<String> {
        let next = items.get(self.most).map(&index)?;
        items.truncate(self.most);
        let (snapshot, compared) = self.ids;
        let token = Token { snapshot, compared, index: next, until: ctx.now + PAGES_FOR };
        Some(token::render(ctx, Kind::Page, token))
    }
}

fn block_token(ctx: &Context, snapshot: SnapshotId, index: u64, until: Timestamp) -> String {
    token::render(ctx, Kind::Block, Token { snapshot, compared: None, index, until })
}

fn wire_index(index: u64) -> Option<i32> {
    i32::try_from(index).ok()
}

fn wire_time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_millis(at.as_millis())
}

pub async fn snapshot(
    ctx: Context,
    request: ListSnapshotBlocksRequest,
) -> Result<ListSnapshotBlocksResponse> {
    let snapshot = readable(&ctx, &request.snapshot_id)?;
    let ids = (snapshot.snapshot, None);
    let page = Page::parse(
        &ctx,
        ids,
        request.next_token.as_deref(),
        request.max_results,
        request.starting_block_index,
    )?;
    let asked = BlockRequest::List { snapshot: snapshot.snapshot, from: page.from, most: page.most + 1 };
    let BlockReply::Listed(mut listed) = ask(&ctx, asked, snapshot.snapshot).await? else {
        return Err(errors::internal("the host lists no blocks"));
    };
    let next_token = page.cut(&ctx, &mut listed, |index| *index);
    let until = ctx.now + BLOCKS_FOR;
    let shown = listed.into_iter().map(|index| Block {
        block_index: wire_index(index),
        block_token: Some(block_token(&ctx, snapshot.snapshot, index, until)),
    });
    Ok(ListSnapshotBlocksResponse {
        blocks: Some(shown.collect()),
        expiry_time: Some(wire_time(until)),
        volume_size: Some(i64::from(snapshot.size.0)),
        block_size: i32::try_from(BLOCK).ok(),
        next_token,
    })
}

pub async fn changed(ctx: Context, request: ListChangedBlocksRequest) -> Result<ListChangedBlocksResponse> {
    let second = readable(&ctx, &request.second_snapshot_id)?;
    let first = request.first_snapshot_id.as_deref().map(|id| readable(&ctx, id)).transpose()?;
    if let Some(first) = &first
        && !are_related(&ctx, first, &second)
    {
        return Err(unrelated());
    }
    let first_id = first.as_ref().map(|first| first.snapshot);
    let page = Page::parse(
        &ctx,
        // Without a first one the pages are another listing's than a snapshot's own.
        (second.snapshot, Some(first_id.unwrap_or(second.snapshot))),
        request.next_token.as_deref(),
        request.max_results,
        request.starting_block_index,
    )?;
    let (from, most) = (page.from, page.most + 1);
    let asked = match first_id {
        Some(first) => BlockRequest::Changed { first, second: second.snapshot, from, most },
        None => BlockRequest::List { snapshot: second.snapshot, from, most },
    };
    let mut found: Vec<(u64, bool, bool)> = match ask(&ctx, asked, second.snapshot).await? {
        BlockReply::Changed(changed) => {
            changed.into_iter().map(|block| (block.index, block.in_first, block.in_second)).collect()
        }
        BlockReply::Listed(listed) => listed.into_iter().map(|index| (index, false, true)).collect(),
        BlockReply::Unrelated => return Err(unrelated()),
        BlockReply::Block(_) | BlockReply::Stored => {
            return Err(errors::internal("the host compares no blocks"));
        }
    };
    let next_token = page.cut(&ctx, &mut found, |(index, _, _)| *index);
    let until = ctx.now + BLOCKS_FOR;
    let shown = found.into_iter().map(|(index, in_first, in_second)| ChangedBlock {
        block_index: wire_index(index),
        first_block_token: first_id.filter(|_| in_first).map(|first| block_token(&ctx, first, index, until)),
        second_block_token: in_second.then(|| block_token(&ctx, second.snapshot, index, until)),
    });
    Ok(ListChangedBlocksResponse {
        changed_blocks: Some(shown.collect()),
        expiry_time: Some(wire_time(until)),
        volume_size: Some(i64::from(second.size.0)),
        block_size: i32::try_from(BLOCK).ok(),
        next_token,
    })
}

fn unrelated() -> wire::ApiError {
    errors::validation("UNRELATED_SNAPSHOTS", "The snapshots are not of the same volume or lineage.")
}

/// How far a lineage is followed.
const GENERATIONS: usize = 1000;

/// Of one volume, or one a descendant of the other.
fn are_related(ctx: &Context, first: &Snapshot, second: &Snapshot) -> bool {
    if first.snapshot == second.snapshot {
        return true;
    }
    if first.account != second.account {
        return false;
    }
    let same_volume = matches!((&first.source, &second.source),
        (Source::Volume { volume: one, .. }, Source::Volume { volume: two, .. }) if one == two);
    same_volume || descends(ctx, second, first.snapshot) || descends(ctx, first, second.snapshot)
}

fn descends(ctx: &Context, snapshot: &Snapshot, from: SnapshotId) -> bool {
    let tables = ctx.cloud.view.read();
    let mut next = snapshot.parent();
    for _ in 0..GENERATIONS {
        match next {
            Some(parent) if parent == from => return true,
            Some(parent) => {
                next = tables.get::<Snapshot>(&ctx.region, &parent).and_then(|parent| parent.parent());
            }
            None => return false,
        }
    }
    false
}
