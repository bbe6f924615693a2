//! `ListKeys` and `ListAliases`: the account's own.

use crate::describe::wire_time;
use crate::named;
use crate::page::{self, Page};
use api_kms::{
    AliasListEntry, KeyListEntry, ListAliasesRequest, ListAliasesResponse, ListKeysRequest, ListKeysResponse,
};
use control::{Context, Result, Tables};
use model::record::kms::{Alias, Key};

pub fn keys(ctx: &Context, request: &ListKeysRequest, tables: &Tables) -> Result<ListKeysResponse> {
    let own = tables.find::<Key>(&ctx.region, "account", ctx.account()).filter(|key| !key.is_gone(ctx.now));
    let entries = own.map(|key| {
        let id = key.key.to_string();
        (id.clone(), KeyListEntry { key_id: Some(id), key_arn: Some(key.arn()) })
    });
    let Page { items, next, truncated } =
        page::cut(entries.collect(), request.limit, 100, request.marker.as_deref())?;
    Ok(ListKeysResponse { keys: Some(items), next_marker: next, truncated: Some(truncated) })
}

fn entry(ctx: &Context, alias: &Alias) -> AliasListEntry {
    AliasListEntry {
        alias_name: Some(alias.name.clone()),
        alias_arn: Some(format!("arn:aws:kms:{}:{}:{}", ctx.region, alias.account, alias.name)),
        target_key_id: Some(alias.key.to_string()),
        creation_date: Some(wire_time(alias.created_at)),
        last_updated_date: Some(wire_time(alias.updated_at)),
    }
}

pub fn aliases(ctx: &Context, request: &ListAliasesRequest, tables: &Tables) -> Result<ListAliasesResponse> {
    let only = request.key_id.as_deref().map(|id| named(ctx, tables, id, "ListAliases")).transpose()?;
    let own = tables.find::<Alias>(&ctx.region, "account", ctx.account());
    let shown = own.filter(|alias| {
        only.is_none_or(|key| key.key == alias.key)
            && tables.get::<Key>(&ctx.region, &alias.key).is_some_and(|key| !key.is_gone(ctx.now))
    });
    let entries = shown.map(|alias| (alias.name.clone(), entry(ctx, alias))).collect();
    let Page { items, next, truncated } = page::cut(entries, request.limit, 50, request.marker.as_deref())?;
    Ok(ListAliasesResponse { aliases: Some(items), next_marker: next, truncated: Some(truncated) })
}
