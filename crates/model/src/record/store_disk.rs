//! Disks of instance stores: each on its instance's host, for one run of it.
//!
//! They are the instance's and no account's, so no operation names them. The host knows one by the id of a volume that
//! nobody else has.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/InstanceStorage.html>

use super::{IndexValue, Record};
use crate::{Blob, GiB, InstanceId, VolumeId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreDisk {
    pub disk: VolumeId,
    pub instance: InstanceId,
    pub size: GiB,
    /// Its data key, sealed with the cloud's root key. None: it is not encrypted, or its run is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Blob>,
    /// Its run is over; the record goes once the host has nothing of it left.
    pub ended: bool,
}

impl Record for StoreDisk {
    const NOUN: &'static str = "store-disk";
    type Id = VolumeId;

    fn id(&self) -> VolumeId {
        self.disk
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("instance", self.instance.into())]
    }
}
