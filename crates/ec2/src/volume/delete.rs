//! `DeleteVolume`: the record goes once the host has nothing of it left.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVolume.html>

use super::errors;
use crate::errors::client;
use crate::noun::hold;
use api_ec2::{DeleteVolumeRequest, DeleteVolumeResult};
use control::{Context, Result, Txn};
use model::record::volume::{Life, Volume};

pub fn delete(ctx: &Context, request: &DeleteVolumeRequest, txn: &mut Txn<'_>) -> Result<DeleteVolumeResult> {
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    if let Some(attachment) = &volume.attachment {
        return Err(client(
            "VolumeInUse",
            format!("Volume {} is currently attached to {}", volume.volume, attachment.instance),
        ));
    }
    match volume.life {
        Life::Ready | Life::Failed { .. } => {}
        Life::Creating | Life::Deleting => {
            let state = volume.state_name();
            return Err(errors::incorrect_state(volume.volume, state, "'available' or 'error'"));
        }
    }
    txn.put(&ctx.region, Volume { life: Life::Deleting, ..(*volume).clone() });
    Ok(DeleteVolumeResult {})
}
