//! What an instance's metadata service tells it, apart from what follows from its machine and interfaces.

use crate::{AccountId, Blob, ImageId, NetworkInterfaceId, ReservationId, SecurityGroupId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    pub image: ImageId,
    pub reservation: ReservationId,
    pub launch_index: u32,
    /// When the launch began: `pendingTime` of the identity document.
    pub pending_time: Timestamp,
    /// Name and OpenSSH line of the key pair, if one was given.
    pub public_key: Option<PublicKey>,
    /// As the caller gave it, decoded; none: the path answers 404.
    pub user_data: Option<Blob>,
    /// Names of the security groups by id, for `security-groups`.
    pub group_names: BTreeMap<SecurityGroupId, String>,
    /// The owner of each interface.
    pub interface_owners: BTreeMap<NetworkInterfaceId, AccountId>,
    pub options: MetadataOptions,
    /// Whether its memory may be kept while it is stopped, as its launch said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hibernation: bool,
    /// Present when the instance may read its tags.
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    pub name: String,
    pub openssh: String,
}

/// The caller's choice of how the metadata service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    pub endpoint_enabled: bool,
    /// Only requests with a session token are answered (IMDSv2).
    pub tokens_required: bool,
    /// The TTL of the answer to a token request, 1 to 64.
    pub hop_limit: u8,
    pub instance_tags: bool,
    /// Whether the service answers by IPv6 too.
    #[serde(default)]
    pub ipv6: bool,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self {
            endpoint_enabled: true,
            tokens_required: false,
            hop_limit: 1,
            instance_tags: false,
            ipv6: false,
        }
    }
}
