//! What an account has chosen for a region about images and snapshots: who may see them, and whose it trusts, and
//! whether and with what new volumes are encrypted.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-allowed-amis.html>
//! Differs: a new account may make images public; there are no declarative policies.

mod allowed_images;
mod encryption;
mod public_access;

pub use allowed_images::{Verdict, verdict};

use api_ec2::ops;
use control::{Context, Service, Tables, Touched, Txn};
use model::record::account::Settings;

/// The caller's, held until the commit.
pub fn of(ctx: &Context, txn: &mut Txn<'_>) -> Settings {
    let settings = txn.get::<Settings>(&ctx.region, &ctx.account());
    settings.map_or_else(|| Settings::default_of(ctx.account()), |settings| (*settings).clone())
}

/// The caller's, as they are.
pub fn now(ctx: &Context, tables: &Tables) -> Settings {
    let settings = tables.get::<Settings>(&ctx.region, &ctx.account());
    settings.map_or_else(|| Settings::default_of(ctx.account()), |settings| (**settings).clone())
}

pub fn register(service: &mut Service) {
    service
        .read(
            ops::GetAllowedImagesSettings,
            |_, _, _| Touched::anything(),
            |ctx, _, tables| Ok(allowed_images::get(ctx, tables)),
        )
        .write(ops::EnableAllowedImagesSettings, |_, _, _| Touched::anything(), allowed_images::enable)
        .write(
            ops::DisableAllowedImagesSettings,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(allowed_images::disable(ctx, txn)),
        )
        .write(
            ops::ReplaceImageCriteriaInAllowedImagesSettings,
            |_, _, _| Touched::anything(),
            allowed_images::replace,
        )
        .read(
            ops::GetImageBlockPublicAccessState,
            |_, _, _| Touched::anything(),
            |ctx, _, tables| Ok(public_access::images(ctx, tables)),
        )
        .write(ops::EnableImageBlockPublicAccess, |_, _, _| Touched::anything(), public_access::block_images)
        .write(
            ops::DisableImageBlockPublicAccess,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(public_access::unblock_images(ctx, txn)),
        )
        .read(
            ops::GetSnapshotBlockPublicAccessState,
            |_, _, _| Touched::anything(),
            |ctx, _, tables| Ok(public_access::snapshots(ctx, tables)),
        )
        .exclusive(
            ops::EnableSnapshotBlockPublicAccess,
            |_, _, _| Touched::anything(),
            public_access::block_snapshots,
        )
        .exclusive(
            ops::DisableSnapshotBlockPublicAccess,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(public_access::unblock_snapshots(ctx, txn)),
        )
        .write(
            ops::EnableEbsEncryptionByDefault,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(encryption::enable(ctx, txn)),
        )
        .write(
            ops::DisableEbsEncryptionByDefault,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(encryption::disable(ctx, txn)),
        )
        .read(
            ops::GetEbsEncryptionByDefault,
            |_, _, _| Touched::anything(),
            |ctx, _, tables| Ok(encryption::get(ctx, tables)),
        )
        .read(
            ops::GetEbsDefaultKmsKeyId,
            |_, _, _| Touched::anything(),
            |ctx, _, tables| Ok(encryption::key(ctx, tables)),
        )
        .write(ops::ModifyEbsDefaultKmsKeyId, |_, _, _| Touched::anything(), encryption::modify_key)
        .write(
            ops::ResetEbsDefaultKmsKeyId,
            |_, _, _| Touched::anything(),
            |ctx, _, txn| Ok(encryption::reset_key(ctx, txn)),
        );
}
