//! `DeregisterImage`: instances that were launched of it stay, and its snapshots, unless the caller wants them deleted too.
//!
//! It runs exclusively, as deleting snapshots does.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeregisterImage.html>

use super::{errors, is_stock, names, own, protection};
use crate::snapshot::{Deletion, remove, retention};
use api_ec2::{
    DeleteSnapshotReturnCode, DeregisterImageRequest, DeregisterImageResult, SnapshotReturnCodes as Code,
};
use control::{Context, Result, Txn};
use model::SnapshotId;
use model::record::image::{Image, Registration};
use model::record::recycle_bin::Resource;
use model::record::snapshot::Snapshot;
use std::collections::BTreeSet;

pub fn deregister(
    ctx: &Context,
    request: &DeregisterImageRequest,
    txn: &mut Txn<'_>,
) -> Result<DeregisterImageResult> {
    let image = own(ctx, txn, &request.image_id)?;
    if is_stock(&image) {
        return Err(errors::stock(image.image));
    }
    if protection::holds(&image, ctx.now) {
        return Err(errors::protected(image.image));
    }
    match retention(ctx, txn.tables(), Resource::Image, &image.tags) {
        None => {
            names::release(ctx, txn, &image);
            txn.delete::<Image>(&ctx.region, &image.image);
        }
        binned => {
            let registration = Registration { binned, shared: BTreeSet::new(), ..image.registration.clone() };
            txn.put(&ctx.region, Image { public: false, registration, ..(*image).clone() });
        }
    }
    let results = (request.delete_associated_snapshots == Some(true)).then(|| {
        let snapshots: BTreeSet<SnapshotId> = image.snapshots().collect();
        snapshots.into_iter().map(|id| delete(ctx, txn, &image, id)).collect()
    });
    Ok(DeregisterImageResult { r#return: Some(true), delete_snapshot_results: results })
}

fn delete(ctx: &Context, txn: &mut Txn<'_>, image: &Image, id: SnapshotId) -> DeleteSnapshotReturnCode {
    let code = match txn.get::<Snapshot>(&ctx.region, &id).filter(|snapshot| !snapshot.is_deleting()) {
        None => Code::ClientError,
        Some(snapshot) if snapshot.account != ctx.account() => Code::MissingPermissions,
        Some(snapshot) => match remove(ctx, txn, &snapshot, Some(image.image)) {
            Deletion::Done => Code::Success,
            Deletion::UsedBy(_) => Code::Skipped,
            Deletion::Locked => Code::ClientError,
        },
    };
    DeleteSnapshotReturnCode { snapshot_id: Some(id.to_string()), return_code: Some(code) }
}
