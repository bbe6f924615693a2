//! `DescribeVolumes`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html>

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVolumesRequest, DescribeVolumesResult};
use control::{Context, Result, Tables};
use model::record::volume::Volume;

pub fn describe(
    ctx: &Context,
    request: &DescribeVolumesRequest,
    tables: &Tables,
) -> Result<DescribeVolumesResult> {
    let query = Query {
        ids: &request.volume_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (volumes, next_token) = select::<Volume>(ctx, tables, &query)?;
    let volumes = volumes.into_iter().map(|volume| render::volume(tables, volume)).collect();
    Ok(DescribeVolumesResult { next_token, volumes: Some(volumes) })
}
