//! The records of a launch that was admitted: the instance, its interfaces and its volumes.

use super::Place;
use crate::encryption::Choice;
use crate::errors::missing_parameter;
use crate::instance::absorb::part_from;
use crate::instance::lifecycle::unusable_key;
use crate::instance::render::Shown;
use crate::instance::store;
use crate::network_interface as interfaces;
use control::{Context, Result, Txn};
use model::record::image::Image;
use model::record::instance::{
    AttachmentState, BlockDevice, Boot, EphemeralMapping, Hibernation, Instance, LaunchKey, Phase,
};
use model::record::network_interface::{Attachment, NetworkInterface, PublicAddress};
use model::record::security_group::SecurityGroup;
use model::record::snapshot::Snapshot;
use model::record::volume::{Life, Volume, VolumeAttachment};
use model::record::vpc::Subnet;
use model::{InstanceId, Mac, NetworkInterfaceAttachmentId, NetworkInterfaceId, ReservationId, VolumeId};
use plan::instance::{DevicePlan, LaunchSpec, NetworkSpec, PublicChoice};
use plan::snapshot::fast;
use std::sync::Arc;

/// A launch that was admitted.
pub(super) struct Launch {
    pub(super) reservation: ReservationId,
    pub(super) spec: LaunchSpec,
    pub(super) image: Arc<Image>,
    pub(super) instance_type: &'static str,
    pub(super) key: Option<LaunchKey>,
    pub(super) place: Place,
    pub(super) devices: Vec<DevicePlan>,
    pub(super) ephemeral: Vec<EphemeralMapping>,
    /// What each of them is encrypted with; none: a key cannot be used, and the instances end before they begin.
    pub(super) choices: Option<Vec<Choice>>,
}

impl Launch {
    /// Writes one instance with its interface and volumes.
    pub(super) fn one(&self, ctx: &Context, txn: &mut Txn<'_>, index: u32) -> Result<Shown> {
        let id = InstanceId::from_entropy(ctx.bits());
        let Place { subnet, groups, existing, vpc, further } = &self.place;
        let (interface, automatic) =
            self.interface(ctx, txn, id, (0, &self.spec.network), (subnet, groups, existing.as_ref()))?;
        let (mut interfaces, mut all_groups) = (vec![interface], groups.clone());
        for (spec, seat) in self.spec.further.iter().zip(further) {
            let of = (&*seat.subnet, &*seat.groups, seat.existing.as_ref());
            let (interface, _) = self.interface(ctx, txn, id, (spec.device_index, &spec.network), of)?;
            interfaces.push(interface);
            all_groups.extend(seat.groups.iter().cloned());
        }
        let volumes = self.devices.iter().zip(self.choices.iter().flatten()).enumerate();
        let volumes =
            volumes.map(|(at, (plan, choice))| self.volume(ctx, txn, id, at == 0, plan, choice)).collect();
        let spec = &self.spec;
        let disks = store::begin(ctx, txn, id, self.instance_type, &self.ephemeral);
        let instance = txn.put(
            &ctx.region,
            Instance {
                forked: None,
                hibernation: if spec.hibernation { Hibernation::Configured } else { Hibernation::Off },
                instance: id,
                account: ctx.account(),
                reservation: self.reservation,
                launch_index: index,
                image: self.image.image,
                instance_type: self.instance_type.to_owned(),
                architecture: self.image.architecture,
                firmware: self.image.firmware(),
                boot: Some(Boot::from(self.image.kernel())),
                platform: self.image.traits.platform,
                key: self.key.clone(),
                zone: self.place.subnet.zone.clone(),
                vpc: self.place.subnet.vpc,
                subnet: self.place.subnet.subnet,
                interfaces: interfaces.iter().map(|interface| interface.interface).collect(),
                volumes,
                root_device: self.image.root_device.clone(),
                ephemeral: self.ephemeral.clone(),
                store: disks,
                user_data: spec.user_data.clone(),
                automatic_public_address: automatic,
                shutdown_behavior: spec.shutdown_behavior,
                disable_api_termination: spec.disable_api_termination,
                disable_api_stop: spec.disable_api_stop,
                metadata_options: spec.metadata_options,
                monitoring: spec.monitoring,
                ebs_optimized: spec.ebs_optimized,
                cpus: spec.cpus,
                client_token: spec.client_token.clone(),
                launched_at: ctx.now,
                phase: Phase::Pending,
                reason: None,
                run: 1,
                reboots: 0,
                tags: spec.tags.instance.clone(),
            },
        );
        if self.choices.is_none() {
            // The answer says that it is pending; whoever looks next sees that it ended.
            let mut ended = (*instance).clone();
            ended.phase = Phase::Terminated { at: ctx.now };
            ended.reason = Some(unusable_key(ctx.now));
            part_from(txn, &ctx.region, &mut ended);
            txn.put(&ctx.region, ended);
        }
        Ok(Shown { instance, interfaces, groups: all_groups, vpc: vpc.clone() })
    }

    /// One of its interfaces, and whether the instance gets a public address at each start.
    fn interface(
        &self,
        ctx: &Context,
        txn: &mut Txn<'_>,
        instance: InstanceId,
        (device_index, network): (u32, &NetworkSpec),
        (subnet, groups, existing): (&Subnet, &[Arc<SecurityGroup>], Option<&Arc<NetworkInterface>>),
    ) -> Result<(Arc<NetworkInterface>, bool)> {
        let attached = |delete_on_termination| {
            Some(Attachment {
                attachment: NetworkInterfaceAttachmentId::from_entropy(ctx.bits()),
                instance,
                device_index,
                delete_on_termination,
                at: ctx.now,
                state: AttachmentState::Attached,
            })
        };
        match (network, existing) {
            (NetworkSpec::Existing { delete_on_termination, .. }, Some(existing)) => {
                let mut interface = (**existing).clone();
                interface.attachment = attached(*delete_on_termination);
                Ok((txn.put(&ctx.region, interface), false))
            }
            (
                NetworkSpec::New {
                    private_address,
                    secondary,
                    prefixes,
                    ipv6,
                    ipv6_prefixes,
                    public,
                    description,
                    delete_on_termination,
                    ..
                },
                None,
            ) => {
                let automatic = match public {
                    // With several interfaces there is none, as on AWS.
                    PublicChoice::Subnet => subnet.map_public_ip && self.spec.further.is_empty(),
                    PublicChoice::Yes => interfaces::allocate::block(subnet).map(|_| true)?,
                    PublicChoice::No => false,
                };
                let id = NetworkInterfaceId::from_entropy(ctx.bits());
                let claims = interfaces::prefix::Claims {
                    subnet,
                    interface: id,
                    primary: *private_address,
                    secondary,
                };
                let (mut addresses, ipv4_prefixes) = claims.make(ctx, txn, prefixes)?;
                if automatic {
                    let public = interfaces::allocate_public(ctx, txn, id)?;
                    addresses[0].public = Some(PublicAddress::Automatic(public));
                }
                let ipv6_prefixes =
                    interfaces::ipv6_prefix::claim_wanted(ctx, txn, subnet, id, ipv6_prefixes)?;
                let ipv6 = interfaces::ipv6::claim_wanted(ctx, txn, subnet, id, ipv6)?;
                let interface = NetworkInterface {
                    interface: id,
                    account: ctx.account(),
                    vpc: subnet.vpc,
                    subnet: subnet.subnet,
                    zone: subnet.zone.clone(),
                    mac: Mac::from_entropy(ctx.bits()),
                    addresses,
                    ipv6,
                    ipv4_prefixes,
                    ipv6_prefixes,
                    groups: groups.iter().map(|g| g.group).collect(),
                    description: description.clone(),
                    source_dest_check: true,
                    attachment: attached(*delete_on_termination),
                    nat_gateway: None,
                    vpc_endpoint: None,
                    endpoint_service: None,
                    tags: self.spec.tags.network_interface.clone(),
                };
                Ok((txn.put(&ctx.region, interface), automatic))
            }
            (NetworkSpec::Existing { .. }, None) | (NetworkSpec::New { .. }, Some(_)) => {
                Err(missing_parameter("NetworkInterface"))
            }
        }
    }

    fn volume(
        &self,
        ctx: &Context,
        txn: &mut Txn<'_>,
        instance: InstanceId,
        root: bool,
        plan: &DevicePlan,
        choice: &Choice,
    ) -> BlockDevice {
        let id = VolumeId::from_entropy(ctx.bits());
        let (zone, encryption) = (&self.place.subnet.zone, choice.encryption(ctx));
        let source = plan.snapshot.and_then(|snapshot| txn.get::<Snapshot>(&ctx.region, &snapshot));
        let fast_restored =
            source.is_some_and(|source| fast::restores(&source, ctx.account(), zone, encryption.is_some()));
        txn.put(
            &ctx.region,
            Volume {
                fork: None,
                volume: id,
                account: ctx.account(),
                zone: zone.clone(),
                provision: plan.provision,
                snapshot: plan.snapshot,
                fast_restored,
                host_image: self.image.host_image.clone().filter(|_| root),
                kernel: self.image.kernel().filter(|_| root).map(str::to_owned),
                encryption,
                attachment: Some(VolumeAttachment {
                    instance,
                    device: plan.device.clone(),
                    at: ctx.now,
                    delete_on_termination: plan.delete_on_termination,
                }),
                further: Vec::new(),
                created_at: ctx.now,
                // Nobody could tell that its host has not made it yet: its instance is pending meanwhile.
                life: Life::Ready,
                auto_enable_io: false,
                modification: None,
                modified_at: Vec::new(),
                tags: self.spec.tags.volume.clone(),
            },
        );
        BlockDevice {
            device: plan.device.clone(),
            volume: id,
            delete_on_termination: plan.delete_on_termination,
            attached_at: ctx.now,
            state: AttachmentState::Attached,
        }
    }
}
