//! `DetachNetworkInterface`: at once from a stopped instance; from a running one when its guest lets go of it, or when it is
//! forced.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachNetworkInterface.html>
//! Differs: a forced detachment cuts the interface off at once; the guest keeps a device without a link until it lets go of
//! it.

use crate::errors::{client, operation_not_permitted};
use crate::noun::{Noun as _, hold};
use api_ec2::{DetachNetworkInterfaceRequest, DetachNetworkInterfaceResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::instance::{AttachmentState, Force, Instance, Phase};
use model::record::network_interface::NetworkInterface;
use model::{NetworkInterfaceAttachmentId, NetworkInterfaceId, Region};
use std::sync::Arc;
use wire::ApiError;

/// The caller's interface with this attachment.
fn attached<'a>(ctx: &'a Context, tables: &'a Tables, id: &str) -> Option<&'a Arc<NetworkInterface>> {
    let id = NetworkInterfaceAttachmentId::parse(id).ok()?;
    let is_it = |i: &&Arc<NetworkInterface>| i.attachment.as_ref().is_some_and(|a| a.attachment == id);
    tables.find::<NetworkInterface>(&ctx.region, "account", ctx.account()).find(is_it)
}

pub fn touches(ctx: &Context, request: &DetachNetworkInterfaceRequest, tables: &Tables) -> Vec<Touched> {
    let Some(interface) = attached(ctx, tables, &request.attachment_id) else { return Vec::new() };
    let mut all = vec![Touched::new(interface.arn(ctx)).tagged(&interface.tags)];
    let instance =
        interface.attachment.as_ref().and_then(|a| tables.get::<Instance>(&ctx.region, &a.instance));
    all.extend(instance.map(|instance| Touched::new(instance.arn(ctx)).tagged(&instance.tags)));
    all
}

pub fn detach(
    ctx: &Context,
    request: &DetachNetworkInterfaceRequest,
    txn: &mut Txn<'_>,
) -> Result<DetachNetworkInterfaceResult> {
    let shown: String = request.attachment_id.chars().take(64).collect();
    let missing = || {
        client(
            "InvalidAttachmentID.NotFound",
            format!("The networkInterface attachment '{shown}' does not exist."),
        )
    };
    let id = attached(ctx, txn.tables(), &request.attachment_id).ok_or_else(missing)?.interface;
    let interface = txn.get::<NetworkInterface>(&ctx.region, &id).ok_or_else(missing)?;
    let attachment = interface.attachment.as_ref().ok_or_else(missing)?;
    if attachment.device_index == 0 {
        return Err(operation_not_permitted(
            "The network interface at device index 0 and networkCard index 0 cannot be detached.",
        ));
    }
    let instance = hold::<Instance>(ctx, txn, &attachment.instance.to_string())?;
    if instance.phase == Phase::Stopped {
        let mut changed = (*instance).clone();
        changed.interfaces.retain(|interface| *interface != id);
        txn.put(&ctx.region, changed);
        set_free(txn, &ctx.region, id);
        return Ok(DetachNetworkInterfaceResult {});
    }
    let force = if request.force == Some(true) { Force::Forced } else { Force::Graceful };
    let state = match (attachment.state, force) {
        (AttachmentState::Attaching | AttachmentState::Attached, force) => {
            AttachmentState::Detaching { force, since: ctx.now }
        }
        (AttachmentState::Detaching { since, .. }, Force::Forced) => {
            AttachmentState::Detaching { force, since }
        }
        (AttachmentState::Busy { .. }, Force::Forced) => AttachmentState::Busy { force },
        (AttachmentState::Detaching { .. } | AttachmentState::Busy { .. }, Force::Graceful) => {
            return Err(incorrect_state(&request.attachment_id));
        }
    };
    let mut changed = (*interface).clone();
    if let Some(attachment) = &mut changed.attachment {
        attachment.state = state;
    }
    txn.put(&ctx.region, changed);
    Ok(DetachNetworkInterfaceResult {})
}

fn incorrect_state(attachment: &str) -> ApiError {
    client("IncorrectState", format!("The attachment '{attachment}' is 'detaching', not 'attached'."))
}

/// The machine has let go of it: it may be attached elsewhere. The instance's side is the caller's.
pub fn set_free(txn: &mut Txn<'_>, region: &Region, id: NetworkInterfaceId) {
    if let Some(interface) = txn.get::<NetworkInterface>(region, &id)
        && interface.attachment.is_some()
    {
        txn.put(region, NetworkInterface { attachment: None, ..(*interface).clone() });
    }
}
