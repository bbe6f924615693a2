//! `DescribeKeyPairs`: by name, by id, by filters; all of them at once, for AWS does not page it.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html>

use super::{by_name, render_type};
use crate::errors::KEY_PAIR;
use crate::noun::{Noun as _, find_all, parse_filters, render_tags, wire_time};
use api_ec2::{DescribeKeyPairsRequest, DescribeKeyPairsResult, KeyPairInfo};
use control::{Context, Result, Tables};
use model::record::key_pair::KeyPair;
use std::collections::BTreeMap;

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeKeyPairsRequest,
    tables: &Tables,
) -> Result<DescribeKeyPairsResult> {
    let names = request.key_names.as_deref().unwrap_or_default();
    let ids = request.key_pair_ids.as_deref().unwrap_or_default();
    let filters = parse_filters::<KeyPair>(request.filters.as_deref())?;
    let candidates = if names.is_empty() && ids.is_empty() {
        KeyPair::listed(ctx, tables)
    } else {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match by_name(ctx, tables, name) {
                Some(key) => found.push(key),
                None => missing.push(name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(KEY_PAIR.none_found(&missing));
        }
        found.extend(find_all::<KeyPair>(ctx, tables, ids)?);
        let once: BTreeMap<_, _> = found.into_iter().map(|key| (key.key_pair, key)).collect();
        once.into_values().collect()
    };
    let matching = candidates.into_iter().filter(|key| filters.accept(key, &key.tags, tables));
    let with_public_key = request.include_public_key == Some(true);
    let shown = matching.map(|key| KeyPairInfo {
        create_time: Some(wire_time(key.created_at)),
        key_fingerprint: Some(key.fingerprint.clone()),
        key_name: Some(key.name.clone()),
        key_pair_id: Some(key.key_pair.to_string()),
        key_type: Some(render_type(key.key_type)),
        public_key: with_public_key.then(|| key.public_key.clone()),
        // Clients index this list even when there is nothing in it.
        tags: Some(render_tags(&key.tags).unwrap_or_default()),
    });
    Ok(DescribeKeyPairsResult { key_pairs: Some(shown.collect()) })
}
