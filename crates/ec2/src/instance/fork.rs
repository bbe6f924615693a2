//! Forks a running instance: its host keeps memory and volumes of one instant, then children are written that begin from it.
//!
//! ```text
//! check and count ─► host: keep this instant for these ids ─► one transaction: instances, interfaces, volumes
//! ```
//! No operation of EC2's; asked for by the operator (`nube fork`). A child is its parent's account's, and what a launch would make of the
//! parent's own settings: addresses, ids and volumes are its own. Nothing of a child is there before its host has all that it
//! begins from; what a host keeps for children that never come it removes by itself.

use super::kind;
use crate::errors::INSTANCE;
use crate::network_interface::{self as interfaces, allocate::available};
use control::cloud::Mode;
use control::{Caller, Cloud, Context, Tables, Txn};
use model::host::{ForkedVolume, Reply, Request};
use model::record::instance::{AttachmentState, BlockDevice, Forked, Instance, Phase};
use model::record::network_interface::{Attachment, NetworkInterface, PublicAddress};
use model::record::volume::{Life, Volume, VolumeAttachment};
use model::record::vpc::Subnet;
use model::{
    AccessKeyId, ForkId, InstanceId, Mac, NetworkInterfaceAttachmentId, NetworkInterfaceId, Region,
    ReservationId, VolumeId,
};
use plan::instance::SecondaryAddresses;
use plan::instance::fork::{Refusal, check, tags};
use std::sync::Arc;
use std::time::Duration;

/// How long a host may take to keep an instant: what a guest writes meanwhile is written again.
const PATIENCE: Duration = Duration::from_mins(12);

/// The children of a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub children: Vec<InstanceId>,
    /// How long the parent stood still.
    pub pause: Duration,
}

/// Why there are no children. The parent runs on in any case.
#[derive(Debug)]
pub enum NotForked {
    NotFound(InstanceId),
    Refused(InstanceId, Refusal),
    /// The host has no room for them.
    Capacity(u32),
    /// The subnet has too few addresses.
    Addresses(usize),
    Host(String),
    Store(wire::ApiError),
}

impl std::fmt::Display for NotForked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(id) => write!(f, "there is no instance {id}"),
            Self::Refused(id, why) => write!(f, "{id} cannot be forked: {why}"),
            Self::Capacity(room) => write!(f, "the host has room for {room} more of this type"),
            Self::Addresses(left) => write!(f, "its subnet has {left} addresses left"),
            Self::Host(why) => f.write_str(why),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotForked {}

impl From<wire::ApiError> for NotForked {
    fn from(error: wire::ApiError) -> Self {
        Self::Store(error)
    }
}

/// Makes `count` children of a running instance.
pub async fn fork(cloud: &Arc<Cloud>, parent: InstanceId, count: u32) -> Result<Made, NotForked> {
    let (region, before) = judge(cloud, &cloud.view.read(), parent, count)?;
    let bits = || cloud.entropy.bits();
    let fork = ForkId::from_entropy(bits());
    let children: Vec<InstanceId> = (0..count).map(|_| InstanceId::from_entropy(bits())).collect();
    let request = Request::Fork { fork, instance: parent, children: children.clone() };
    let pause = match cloud.host.request_patiently(request, PATIENCE).await {
        Ok(Reply::Forked { pause }) => Duration::from_micros(pause),
        Ok(Reply::Failed { reason }) => return Err(NotForked::Host(reason)),
        Ok(other) => return Err(NotForked::Host(format!("the host answered {other:?}"))),
        Err(error) => return Err(NotForked::Host(error.to_string())),
    };
    let ctx = context(cloud, &region, &before, fork);
    let written = cloud.transact(Mode::Exclusive, |txn| {
        // It may have lost a volume meanwhile, or its life.
        let same = |now: &Arc<Instance>| now.run == before.run && volumes(now) == volumes(&before);
        let (_, now) = match judge(cloud, txn.tables(), parent, count) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        if !same(&now) {
            return Ok(Err(NotForked::Host(format!("{parent} has changed while it was being forked"))));
        }
        let family =
            Family { ctx: &ctx, parent: &now, fork, reservation: ReservationId::from_entropy(bits()) };
        for (index, child) in (0..).zip(&children) {
            family.child(txn, *child, index)?;
        }
        Ok(Ok(()))
    });
    written.await??;
    Ok(Made { children, pause })
}

fn volumes(instance: &Instance) -> Vec<VolumeId> {
    instance.volumes.iter().map(|device| device.volume).collect()
}

/// The parent, if it may be forked so often.
fn judge(
    cloud: &Cloud,
    tables: &Tables,
    parent: InstanceId,
    count: u32,
) -> Result<(Region, Arc<Instance>), NotForked> {
    let found = tables.everywhere::<Instance>().find(|(_, instance)| instance.instance == parent);
    let Some(instance) = found.map(|(_, instance)| instance.clone()) else {
        return Err(NotForked::NotFound(parent));
    };
    let region = instance.zone.region.clone();
    let attached = instance.volumes.iter().filter_map(|v| tables.get::<Volume>(&region, &v.volume));
    check(&instance, attached.map(|volume| &**volume), count)
        .map_err(|refusal| NotForked::Refused(parent, refusal))?;
    let room = kind::facts(&instance.instance_type).map_or(0, |kind| kind::host(cloud, tables).room(&kind));
    if room < count {
        return Err(NotForked::Capacity(room));
    }
    let subnet = tables.get::<Subnet>(&region, &instance.subnet);
    let left = subnet.map_or(0, |subnet| available(tables, &region, subnet));
    // Of IPv6 there is no end.
    if left < count as usize && !subnet.is_some_and(|subnet| subnet.is_ipv6_native()) {
        return Err(NotForked::Addresses(left));
    }
    Ok((region, instance))
}

/// As if the parent's account had asked.
fn context(cloud: &Arc<Cloud>, region: &Region, parent: &Instance, fork: ForkId) -> Context {
    let account = parent.account;
    let caller = Caller {
        account,
        access_key: AccessKeyId::from_entropy("AKIA", cloud.entropy.bits()),
        arn: format!("arn:aws:iam::{account}:root"),
        user_id: account.to_string(),
    };
    let (cloud, now) = (Arc::clone(cloud), cloud.clock.now());
    Context { cloud, caller, region: region.clone(), request_id: fork.to_string(), now, passage: None }
}

struct Family<'a> {
    ctx: &'a Context,
    parent: &'a Instance,
    fork: ForkId,
    reservation: ReservationId,
}

impl Family<'_> {
    fn child(&self, txn: &mut Txn<'_>, id: InstanceId, index: u32) -> control::Result<()> {
        let Self { ctx, parent, fork, reservation } = *self;
        let interface = parent.interfaces.iter().map(|of| self.interface(txn, id, of));
        let interfaces = interface.collect::<control::Result<Vec<_>>>()?;
        let volumes = parent.volumes.iter().map(|of| self.volume(txn, id, of));
        let volumes = volumes.collect::<control::Result<Vec<_>>>()?;
        let child = Instance {
            instance: id,
            reservation,
            launch_index: index,
            interfaces,
            volumes,
            client_token: None,
            launched_at: ctx.now,
            phase: Phase::Pending,
            reason: None,
            run: 1,
            reboots: 0,
            forked: Some(Forked { parent: parent.instance, fork }),
            tags: tags(&parent.tags, parent.instance),
            ..parent.clone()
        };
        txn.put(&ctx.region, child);
        Ok(())
    }

    fn interface(
        &self,
        txn: &mut Txn<'_>,
        instance: InstanceId,
        of: &NetworkInterfaceId,
    ) -> control::Result<NetworkInterfaceId> {
        let ctx = self.ctx;
        let gone = || INSTANCE.not_found(self.parent.instance);
        let before = txn.get::<NetworkInterface>(&ctx.region, of).ok_or_else(gone)?;
        let subnet = txn.get::<Subnet>(&ctx.region, &before.subnet).ok_or_else(gone)?;
        let id = NetworkInterfaceId::from_entropy(ctx.bits());
        let mut addresses =
            interfaces::claim_addresses(ctx, txn, &subnet, id, None, &SecondaryAddresses::NONE)?;
        let ipv6 = before.ipv6.iter().map(|_| interfaces::ipv6::allocate(ctx, txn, &subnet, None, id));
        let ipv6 = ipv6.collect::<control::Result<Vec<_>>>()?;
        if let Some(primary) = addresses.first_mut().filter(|_| self.parent.automatic_public_address) {
            primary.public = Some(PublicAddress::Automatic(interfaces::allocate_public(ctx, txn, id)?));
        }
        let attachment = Attachment {
            attachment: NetworkInterfaceAttachmentId::from_entropy(ctx.bits()),
            instance,
            device_index: 0,
            delete_on_termination: true,
            at: ctx.now,
            state: AttachmentState::Attached,
        };
        let interface = NetworkInterface {
            interface: id,
            mac: Mac::from_entropy(ctx.bits()),
            addresses,
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            ipv6,
            attachment: Some(attachment),
            nat_gateway: None,
            vpc_endpoint: None,
            endpoint_service: None,
            ..(*before).clone()
        };
        txn.put(&ctx.region, interface);
        Ok(id)
    }

    fn volume(
        &self,
        txn: &mut Txn<'_>,
        instance: InstanceId,
        of: &BlockDevice,
    ) -> control::Result<BlockDevice> {
        let ctx = self.ctx;
        let before = txn.get::<Volume>(&ctx.region, &of.volume);
        let before = before.ok_or_else(|| INSTANCE.not_found(self.parent.instance))?;
        let id = VolumeId::from_entropy(ctx.bits());
        let attachment = VolumeAttachment {
            instance,
            device: of.device.clone(),
            at: ctx.now,
            delete_on_termination: of.delete_on_termination,
        };
        let volume = Volume {
            volume: id,
            provision: before.wanted(),
            fork: Some(ForkedVolume { fork: self.fork, volume: of.volume }),
            attachment: Some(attachment),
            created_at: ctx.now,
            life: Life::Ready,
            fast_restored: false,
            modification: None,
            modified_at: Vec::new(),
            ..(*before).clone()
        };
        txn.put(&ctx.region, volume);
        Ok(BlockDevice { volume: id, attached_at: ctx.now, ..of.clone() })
    }
}
