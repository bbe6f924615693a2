//! What a host should hold, derived from the records: instances and volumes here, VPCs and groups by their own nouns.
//!
//! Pure: nothing but the tables is read, and the root key to open data keys with, which no record holds in the clear. The agent learns of an instance's end by the absence of its object's body.

use super::{kind, names, render, store};
use control::Tables;
use control::keys::{self, RootKey};
use model::host::{
    AttachmentDesired, Bandwidth, DesiredBody, InstanceDesired, InterfaceDesired, Machine, Medium, ObjectKey,
    Power, VolumeDesired,
};
use model::metadata::{Metadata, PublicKey};
use model::record::image::Image;
use model::record::instance::{Boot, CpuOptions, Force, Hibernation, Instance, Phase};
use model::record::network_interface::NetworkInterface;
use model::record::volume::{Life, Volume};
use model::record::vpc::{DhcpOptions, Subnet, Vpc};
use model::{DataKey, Region, SecurityGroupId, VpcId};

/// The body of an object; `None`: the host should have nothing of it.
pub fn object(root: &RootKey, tables: &Tables, region: &Region, key: ObjectKey) -> Option<DesiredBody> {
    match key {
        ObjectKey::Vpc(id) => {
            let mut vpc =
                vpc_in_use(tables, region, id).then(|| crate::vpc::desired(tables, region, id))??;
            crate::vpn_connection::unseal(root, tables, region, &mut vpc);
            Some(vpc.into())
        }
        ObjectKey::SecurityGroup(id) => group_in_use(tables, region, id)
            .then(|| crate::security_group::desired(tables, region, id))?
            .map(DesiredBody::from),
        ObjectKey::Volume(id) => {
            let Some(volume) = tables.get::<Volume>(region, &id) else {
                return store::desired(root, tables, region, id).map(DesiredBody::from);
            };
            // What is to be captured stays until it is.
            let stays = volume.life != Life::Deleting || crate::snapshot::is_awaited(tables, region, id);
            stays.then(|| {
                let data_key = keys::data_key(root, tables, volume.encryption.as_ref());
                self::volume(volume, data_key).into()
            })
        }
        ObjectKey::Snapshot(id) => crate::snapshot::desired(root, tables, region, id).map(DesiredBody::from),
        ObjectKey::Instance(id) => {
            let instance = tables.get::<Instance>(region, &id)?;
            self::instance(tables, instance).map(DesiredBody::from)
        }
    }
}

/// An attached interface belongs to an instance that is not terminated: its end detaches it. Tunnels are there for their own
/// sake.
fn vpc_in_use(tables: &Tables, region: &Region, vpc: VpcId) -> bool {
    tables.find::<NetworkInterface>(region, "vpc", vpc).any(|n| n.is_carried())
        || crate::vpn_connection::any_in(tables, region, vpc)
}

fn group_in_use(tables: &Tables, region: &Region, group: SecurityGroupId) -> bool {
    tables.find::<NetworkInterface>(region, "group", group).any(|n| n.is_carried())
}

/// A volume, with its data key if it is encrypted.
pub fn volume(volume: &Volume, data_key: Option<DataKey>) -> VolumeDesired {
    let provision = volume.wanted();
    VolumeDesired {
        shared: provision.multi_attach,
        fork: volume.fork,
        volume: volume.volume,
        size: provision.size,
        image: volume.host_image.clone().filter(|_| volume.fork.is_none()),
        snapshot: volume.content(),
        limits: Some(plan::volume::share(plan::volume::limits(&provision), volume.attachments().count())),
        data_key,
    }
}

/// The image in the host's cache whose kernel boots an instance; none: its firmware boots the root volume.
pub fn kernel(tables: &Tables, instance: &Instance) -> Option<String> {
    match &instance.boot {
        Some(Boot::Firmware) => None,
        Some(Boot::Kernel(image)) => Some(image.clone()),
        None => {
            let image = tables.get::<Image>(&instance.zone.region, &instance.image)?;
            image.kernel().map(str::to_owned)
        }
    }
}

/// Whether the machine should run; `None`: there should be none, nor anything that belonged to it.
pub const fn power(phase: Phase, hibernation: Hibernation) -> Option<Power> {
    match phase {
        Phase::Pending | Phase::Running { .. } => Some(Power::On),
        Phase::Stopping { force: Force::Graceful } | Phase::Stopped
            if matches!(hibernation, Hibernation::Asked) =>
        {
            Some(Power::Hibernate)
        }
        Phase::Stopping { force: Force::Graceful }
        | Phase::Stopped
        | Phase::ShuttingDown { force: Force::Graceful } => Some(Power::Off),
        Phase::Stopping { force: Force::Forced } => Some(Power::ForceOff),
        Phase::ShuttingDown { force: Force::Forced } | Phase::Terminated { .. } => None,
    }
}

/// An instance.
pub fn instance(tables: &Tables, instance: &Instance) -> Option<InstanceDesired> {
    let power = power(instance.phase, instance.hibernation)?;
    let region = &instance.zone.region;
    // A type that left the catalogue: its instances stay as they are, and start no more.
    let kind = kind::facts(&instance.instance_type)?;
    let attachment = |n: &NetworkInterface| n.attachment.as_ref().map(|a| a.state.leaving());
    let mut interfaces: Vec<InterfaceDesired> = render::interfaces(tables, instance)
        .filter(|n| attachment(n) == Some(None))
        .filter_map(|n| interface(tables, region, n, &domain(tables, region, n.vpc)))
        .collect();
    // Four places are made for the first, and most instances have one.
    interfaces.shrink_to_fit();
    let mut volumes: Vec<AttachmentDesired> = instance
        .volumes
        .iter()
        .filter(|v| v.state.leaving().is_none())
        .map(|v| AttachmentDesired { volume: v.volume, device: v.device.clone(), medium: Medium::Volume })
        .chain(store::attached(instance))
        .collect();
    volumes.shrink_to_fit();
    Some(InstanceDesired {
        fork: instance.forked.filter(|_| instance.run == 1).map(|forked| forked.fork),
        instance: instance.instance,
        account: instance.account,
        zone: instance.zone.clone(),
        power,
        run: instance.run,
        reboots: instance.reboots,
        machine: Machine {
            instance_type: instance.instance_type.clone(),
            architecture: instance.architecture,
            vcpus: instance.cpus.map_or(kind.vcpus, CpuOptions::vcpus),
            memory: kind.memory,
            direct_kernel: kernel(tables, instance),
            firmware: instance.firmware,
        },
        volumes,
        torn_out: instance
            .volumes
            .iter()
            .filter(|v| v.state.leaving() == Some(Force::Forced))
            .map(|v| v.volume)
            .collect(),
        interfaces,
        cut_off: render::interfaces(tables, instance)
            .filter(|n| attachment(n) == Some(Some(Force::Forced)))
            .map(|n| n.interface)
            .collect(),
        metadata: metadata(tables, instance),
    })
}

/// The domain that the VPC's DHCP options hand out.
fn domain(tables: &Tables, region: &Region, vpc: VpcId) -> String {
    let options =
        tables.get::<Vpc>(region, &vpc).and_then(|vpc| tables.get::<DhcpOptions>(region, &vpc.dhcp_options));
    let named = options.and_then(|options| {
        let (_, values) = options.configuration.iter().find(|(name, _)| name == "domain-name")?;
        values.first().cloned()
    });
    named.unwrap_or_else(|| region.internal_domain())
}

pub(crate) fn interface(
    tables: &Tables,
    region: &Region,
    interface: &NetworkInterface,
    domain: &str,
) -> Option<InterfaceDesired> {
    let subnet = tables.get::<Subnet>(region, &interface.subnet)?;
    Some(InterfaceDesired {
        ipv6: interface.ipv6.clone(),
        ipv4_prefixes: interface.ipv4_prefixes.clone(),
        ipv6_prefixes: interface.ipv6_prefixes.clone(),
        interface: interface.interface,
        device_index: interface.attachment.as_ref().map_or(0, |a| a.device_index),
        mac: interface.mac,
        vpc: interface.vpc,
        subnet: interface.subnet,
        subnet_cidr: subnet.cidr,
        addresses: interface.addresses.iter().map(|a| crate::address::desired(tables, region, a)).collect(),
        security_groups: interface.groups.clone(),
        source_dest_check: interface.source_dest_check,
        hostname: names::host_of(interface).unwrap_or_default(),
        domain: domain.to_owned(),
        bandwidth: bandwidth(tables, region, interface),
    })
}

/// That of its instance's type.
fn bandwidth(tables: &Tables, region: &Region, interface: &NetworkInterface) -> Option<Bandwidth> {
    let id = interface.attachment.as_ref()?.instance;
    let instance = tables.get::<Instance>(region, &id)?;
    let rate = plan::instance_type::get(&instance.instance_type)?.bandwidth();
    Some(Bandwidth { instance: id, rate })
}

fn metadata(tables: &Tables, instance: &Instance) -> Metadata {
    Metadata {
        image: instance.image,
        reservation: instance.reservation,
        launch_index: instance.launch_index,
        pending_time: instance.launched_at,
        public_key: instance
            .key
            .as_ref()
            .map(|key| PublicKey { name: key.name.clone(), openssh: key.public_key.clone() }),
        user_data: instance.user_data.clone(),
        group_names: render::groups(tables, instance).map(|g| (g.group, g.name.clone())).collect(),
        interface_owners: render::interfaces(tables, instance).map(|n| (n.interface, n.account)).collect(),
        options: instance.metadata_options,
        hibernation: !instance.hibernation.is_off(),
        tags: instance.metadata_options.instance_tags.then(|| instance.tags.clone()),
    }
}
