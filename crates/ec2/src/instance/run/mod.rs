//! RunInstances: facts, admission, and the records of everything that the launch creates, in one transaction.
//!
//! It runs exclusively: what the host has left is a sum over all instances, which no version guards.

mod launch;

use self::launch::Launch;
use super::render;
use super::{errors, kind, spec, store};
use crate::defaults::group_name_claim;
use crate::encryption::{self, Choice};
use crate::errors as ids;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::image as images;
use crate::network_interface::{self as interfaces, allocate::available};
use crate::noun::{Noun as _, created};
use crate::snapshot;
use api_ec2::{Reservation, RunInstancesRequest};
use control::keys::KeyError;
use control::{Arn, Context, Result, Tables, Touched, Txn};
use model::metadata::MetadataOptions;
use model::record::image::Image;
use model::record::instance::LaunchKey;
use model::record::key_pair::KeyPair;
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::snapshot::Snapshot;
use model::record::vpc::{Subnet, Vpc};
use model::{ImageId, NetworkInterfaceId, ReservationId, SecurityGroupId, SubnetId, VpcId};
use plan::instance::{DevicePlan, Facts, GroupChoice, LaunchSpec, NetworkSpec, admit, hibernation};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of a launch that names none, as on AWS.
const DEFAULT_TYPE: &str = "m1.small";
/// The most security groups of one interface.
const MOST_GROUPS: usize = 16;

/// What a launch touches: the new instances, volumes and interfaces, and what they are made from.
pub fn touches(ctx: &Context, request: &RunInstancesRequest, tables: &Tables) -> Vec<Touched> {
    let kind = request.instance_type.as_ref().map_or("", |t| t.as_str());
    let mut touched = vec![
        created(ctx, "instance").condition("ec2:InstanceType", kind),
        created(ctx, "volume"),
        created(ctx, "network-interface"),
    ];
    let arn = |kind, id: String| Arn::new("ec2", &ctx.region, ctx.account(), kind, id);
    if let Some(image) = request.image_id.as_deref().and_then(|id| ImageId::parse(id).ok())
        && let Some(image) = visible_image(ctx, tables, image)
    {
        touched.push(Touched::new(image.arn(ctx)).tagged(&image.tags));
    }
    let nested = request.network_interfaces.iter().flatten();
    let subnets = request.subnet_id.iter().chain(nested.clone().filter_map(|n| n.subnet_id.as_ref()));
    for subnet in subnets.filter_map(|id| SubnetId::parse(id).ok()) {
        if let Some(subnet) = tables.get::<Subnet>(&ctx.region, &subnet) {
            touched.push(Touched::new(arn("subnet", subnet.subnet.to_string())).tagged(&subnet.tags));
        }
    }
    let groups = request.security_group_ids.iter().flatten();
    let groups = groups.chain(nested.clone().flat_map(|n| n.groups.iter().flatten()));
    for group in groups.filter_map(|id| SecurityGroupId::parse(id).ok()) {
        if let Some(group) = tables.get::<SecurityGroup>(&ctx.region, &group) {
            touched.push(Touched::new(arn("security-group", group.group.to_string())).tagged(&group.tags));
        }
    }
    for interface in nested.filter_map(|n| n.network_interface_id.as_ref()) {
        if let Ok(id) = NetworkInterfaceId::parse(interface)
            && let Some(interface) = tables.get::<NetworkInterface>(&ctx.region, &id)
        {
            touched.push(Touched::new(arn("network-interface", id.to_string())).tagged(&interface.tags));
        }
    }
    let mappings = request.block_device_mappings.iter().flatten().filter_map(|mapping| mapping.ebs.as_ref());
    touched.extend(crate::noun::touched::<Snapshot>(
        ctx,
        tables,
        mappings.filter_map(|ebs| ebs.snapshot_id.as_ref()),
    ));
    if let Some(name) = &request.key_name
        && let Some(key) = key_pair(ctx, tables, name)
    {
        touched.push(Touched::new(key.arn(ctx)).tagged(&key.tags));
    }
    touched
}

/// Launches.
pub fn run(ctx: &Context, request: &RunInstancesRequest, txn: &mut Txn<'_>) -> Result<Reservation> {
    let mut spec = spec::parse(ctx, request)?;
    let image = image(ctx, txn, spec.image)?;
    images::is_ready(&image)?;
    let of_image: Vec<_> = image.snapshots().collect();
    snapshot::resolve(ctx, txn, &mut spec.devices, &of_image)?;
    if image.traits.imds_v2 {
        ask_for_tokens(&mut spec.metadata_options, request);
    }
    let name = spec.instance_type.as_deref().unwrap_or(DEFAULT_TYPE);
    let machine = kind::facts(name)
        .ok_or_else(|| invalid_parameter_value(format!("Invalid value '{name}' for InstanceType.")))?;
    let ephemeral = store::mapped(&spec.devices);
    let key = spec.key_name.as_deref().map(|name| launch_key(ctx, txn, name)).transpose()?;
    let place = place(ctx, txn, &spec)?;
    let interfaces = spec.interfaces().count();
    interfaces::limits(machine.name, interfaces, 0, 0)?;
    spec::names(request, &place.subnet)?;
    for ((_, network), subnet) in spec.interfaces().zip(place.subnets()) {
        let native = subnet.is_ipv6_native();
        if native && plan::instance_type::get(machine.name).is_some_and(|t| t.hypervisor == Some("xen")) {
            return Err(errors::not_nitro(machine.name, subnet.subnet));
        }
        if let NetworkSpec::New { secondary, prefixes, ipv6, ipv6_prefixes, .. } = network {
            interfaces::too_many(machine.name, 1 + secondary.each().len() + prefixes.each().len())?;
            let addresses = ipv6.count().max(usize::from(native));
            interfaces::ipv6::too_many(machine.name, addresses + ipv6_prefixes.each().len())?;
        }
    }
    for existing in place.existing.iter().chain(place.further.iter().filter_map(|f| f.existing.as_ref())) {
        interfaces::too_many(machine.name, existing.ipv4_places())?;
    }
    let host = kind::host(&ctx.cloud, txn.tables());
    let admitted = admit(&Facts { image: &image, machine, host }, &spec)
        .map_err(|refusal| errors::refused(refusal, machine.name, &place.subnet.zone))?;
    let most = kind::most_volumes(machine.name, interfaces, store::count(machine.name, &ephemeral));
    if admitted.devices.len() > most {
        return Err(errors::too_many_volumes(machine.name, most));
    }
    let count = admitted.count.min(room(ctx, txn.tables(), &spec, &place).max(spec.min));
    let choices = choices(ctx, txn, &admitted.devices);
    if spec.hibernation {
        may_hibernate(&image, machine.name, &admitted.devices, choices.as_deref())?;
    }
    let launch = Launch {
        reservation: ReservationId::from_entropy(ctx.bits()),
        spec,
        image,
        instance_type: machine.name,
        key,
        place,
        devices: admitted.devices,
        ephemeral,
        choices,
    };
    let shown = (0..count).map(|index| launch.one(ctx, txn, index)).collect::<Result<Vec<_>>>()?;
    Ok(render::reservation(launch.reservation, ctx.account(), shown))
}

/// How many instances the subnets have IPv4 addresses for. Fewer than the least: the allocation itself refuses.
fn room(ctx: &Context, tables: &Tables, spec: &LaunchSpec, place: &Place) -> u32 {
    let mut wanted: BTreeMap<SubnetId, (&Arc<Subnet>, usize)> = BTreeMap::new();
    let with_ipv4 = spec.interfaces().zip(place.subnets()).filter(|(_, subnet)| !subnet.is_ipv6_native());
    for ((_, network), subnet) in with_ipv4 {
        if let NetworkSpec::New { secondary, prefixes, .. } = network {
            let addresses = 1 + secondary.each().len() + prefixes.each().len() * interfaces::prefix::SIZE;
            wanted.entry(subnet.subnet).or_insert((subnet, 0)).1 += addresses;
        }
    }
    let fit = wanted.into_values().map(|(subnet, each)| available(tables, &ctx.region, subnet) / each);
    fit.min().and_then(|fit| u32::try_from(fit).ok()).unwrap_or(u32::MAX)
}

/// What an image that wants version 2 of the metadata service changes in a launch that says nothing of it.
fn ask_for_tokens(options: &mut MetadataOptions, request: &RunInstancesRequest) {
    let given = request.metadata_options.as_ref();
    if given.is_none_or(|given| given.http_tokens.is_none()) {
        options.tokens_required = true;
    }
    if given.is_none_or(|given| given.http_put_response_hop_limit.is_none()) {
        options.hop_limit = 2;
    }
}

fn visible_image<'a>(ctx: &Context, tables: &'a Tables, id: ImageId) -> Option<&'a Arc<Image>> {
    tables.get::<Image>(&ctx.region, &id).filter(|image| images::may_see(ctx, tables, image))
}

fn image(ctx: &Context, txn: &mut Txn<'_>, id: ImageId) -> Result<Arc<Image>> {
    txn.get::<Image>(&ctx.region, &id)
        .filter(|image| images::may_see(ctx, txn.tables(), image))
        .ok_or_else(|| ids::IMAGE.not_found(format_args!("[{id}]")))
}

fn key_pair<'a>(ctx: &'a Context, tables: &'a Tables, name: &str) -> Option<&'a Arc<KeyPair>> {
    tables.find::<KeyPair>(&ctx.region, "account", ctx.account()).find(|key| key.name == name)
}

fn launch_key(ctx: &Context, txn: &mut Txn<'_>, name: &str) -> Result<LaunchKey> {
    let id = key_pair(ctx, txn.tables(), name).map(|key| key.key_pair);
    let key = id.and_then(|id| txn.get::<KeyPair>(&ctx.region, &id));
    key.map(|key| LaunchKey { name: key.name.clone(), public_key: key.public_key.clone() })
        .ok_or_else(|| ids::KEY_PAIR.not_found(name))
}

/// Where the instances go, and with which groups: by their primary interface, and the others.
struct Place {
    subnet: Arc<Subnet>,
    groups: Vec<Arc<SecurityGroup>>,
    existing: Option<Arc<NetworkInterface>>,
    vpc: Option<Arc<Vpc>>,
    further: Vec<Seat>,
}

/// Where one of the interfaces goes.
struct Seat {
    subnet: Arc<Subnet>,
    groups: Vec<Arc<SecurityGroup>>,
    existing: Option<Arc<NetworkInterface>>,
}

impl Place {
    /// Of each interface, in their order.
    fn subnets(&self) -> impl Iterator<Item = &Arc<Subnet>> {
        std::iter::once(&self.subnet).chain(self.further.iter().map(|seat| &seat.subnet))
    }
}

fn place(ctx: &Context, txn: &mut Txn<'_>, spec: &LaunchSpec) -> Result<Place> {
    let primary = seat(ctx, txn, spec, &spec.network)?;
    let vpc = txn.tables().get::<Vpc>(&ctx.region, &primary.subnet.vpc).cloned();
    let mut taken: Vec<NetworkInterfaceId> = primary.existing.iter().map(|i| i.interface).collect();
    let mut further = Vec::new();
    for interface in &spec.further {
        let seat = seat(ctx, txn, spec, &interface.network)?;
        if seat.subnet.zone != primary.subnet.zone {
            return Err(invalid_parameter_combination(
                "All network interfaces of an instance must be in the same availability zone.",
            ));
        }
        if let Some(existing) = &seat.existing {
            if taken.contains(&existing.interface) {
                return Err(interfaces::in_use(existing));
            }
            taken.push(existing.interface);
        }
        further.push(seat);
    }
    let Seat { subnet, groups, existing } = primary;
    Ok(Place { subnet, groups, existing, vpc, further })
}

fn seat(ctx: &Context, txn: &mut Txn<'_>, spec: &LaunchSpec, network: &NetworkSpec) -> Result<Seat> {
    let (subnet, groups, existing) = match network {
        NetworkSpec::New { subnet, groups, .. } => {
            let subnet = match subnet {
                Some(id) => self::subnet(ctx, txn, *id)?,
                None => default_subnet(ctx, txn, spec)?,
            };
            let groups = security_groups(ctx, txn, subnet.vpc, subnet.subnet, groups)?;
            (subnet, groups, None)
        }
        NetworkSpec::Existing { interface, .. } => {
            let interface = txn
                .get::<NetworkInterface>(&ctx.region, interface)
                .filter(|n| n.account == ctx.account())
                .ok_or_else(|| ids::NETWORK_INTERFACE.not_found(interface))?;
            if interface.is_in_use() {
                return Err(interfaces::in_use(&interface));
            }
            let groups =
                interface.groups.iter().filter_map(|id| txn.get::<SecurityGroup>(&ctx.region, id)).collect();
            (self::subnet(ctx, txn, interface.subnet)?, groups, Some(interface))
        }
    };
    if let Some(zone) = &spec.zone
        && *zone != subnet.zone
    {
        return Err(invalid_parameter_value(format!(
            "The subnet {} is in {}, not in the availability zone {zone}.",
            subnet.subnet, subnet.zone
        )));
    }
    Ok(Seat { subnet, groups, existing })
}

fn subnet(ctx: &Context, txn: &mut Txn<'_>, id: SubnetId) -> Result<Arc<Subnet>> {
    txn.get::<Subnet>(&ctx.region, &id)
        .filter(|subnet| subnet.account == ctx.account())
        .ok_or_else(|| ids::SUBNET.not_found(id))
}

/// The default subnet of the zone asked for, or of the first zone that has one.
fn default_subnet(ctx: &Context, txn: &mut Txn<'_>, spec: &LaunchSpec) -> Result<Arc<Subnet>> {
    let tables = txn.tables();
    let vpc = tables
        .find::<Vpc>(&ctx.region, "account", ctx.account())
        .find(|vpc| vpc.is_default)
        .ok_or_else(|| client("VPCIdNotSpecified", "No default VPC for this user"))?;
    let subnets = tables.find::<Subnet>(&ctx.region, "vpc", vpc.vpc).filter(|s| s.default_for_zone);
    let chosen = match &spec.zone {
        Some(zone) => subnets.filter(|s| s.zone == *zone).map(|s| s.subnet).next(),
        None => subnets.min_by_key(|s| s.zone.clone()).map(|s| s.subnet),
    };
    match (chosen, &spec.zone) {
        (Some(id), _) => subnet(ctx, txn, id),
        (None, Some(zone)) => {
            Err(client("MissingInput", format!("No default subnet for availability zone: '{zone}'.")))
        }
        (None, None) => Err(client(
            "MissingInput",
            format!("No subnets found for the default VPC '{}'. Please specify a subnet.", vpc.vpc),
        )),
    }
}

/// The groups asked for, which must be of the subnet's VPC; none asked for: the VPC's default group.
fn security_groups(
    ctx: &Context,
    txn: &mut Txn<'_>,
    vpc: VpcId,
    subnet: SubnetId,
    choice: &GroupChoice,
) -> Result<Vec<Arc<SecurityGroup>>> {
    let mut chosen = choice.ids.clone();
    let mut names: Vec<&str> = choice.names.iter().map(String::as_str).collect();
    if chosen.is_empty() && names.is_empty() {
        names.push("default");
    }
    for name in names {
        let holder = txn.tables().claimed(&ctx.region, &group_name_claim(vpc, name));
        let id = holder.and_then(|id| SecurityGroupId::parse(id).ok()).ok_or_else(|| {
            client(
                "InvalidGroup.NotFound",
                format!("The security group '{name}' does not exist in default VPC '{vpc}'"),
            )
        })?;
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    if chosen.len() > MOST_GROUPS {
        return Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            format!("A network interface can have at most {MOST_GROUPS} security groups."),
        ));
    }
    chosen
        .into_iter()
        .map(|id| {
            let group = txn
                .get::<SecurityGroup>(&ctx.region, &id)
                .filter(|group| group.account == ctx.account())
                .ok_or_else(|| ids::SECURITY_GROUP.not_found(id))?;
            if group.vpc == vpc {
                Ok(group)
            } else {
                Err(client(
                    "InvalidParameter",
                    format!("Security group {id} and subnet {subnet} belong to different networks."),
                ))
            }
        })
        .collect()
}

/// What the volumes are encrypted with, if their keys can be used. That they cannot is told afterwards, as on AWS.
fn choices(ctx: &Context, txn: &mut Txn<'_>, devices: &[DevicePlan]) -> Option<Vec<Choice>> {
    let each = devices.iter().map(|plan| {
        let source = plan.snapshot.and_then(|id| txn.get::<Snapshot>(&ctx.region, &id));
        encryption::choose_of(ctx, txn, plan.encryption.as_ref(), source.as_deref())
    });
    let chosen = each.collect::<Result<Vec<_>, KeyError>>();
    chosen.inspect_err(|error| tracing::info!(?error, "a launch fails for a key")).ok()
}

/// Whether instances of this launch can be hibernated. Of a key that cannot be used nothing is said here, as without hibernation.
fn may_hibernate(
    image: &Image,
    kind: &str,
    devices: &[DevicePlan],
    choices: Option<&[Choice]>,
) -> Result<()> {
    let (Some(kind), Some(root)) = (plan::instance_type::get(kind), devices.first()) else { return Ok(()) };
    let facts = hibernation::Facts {
        kind,
        platform: image.traits.platform,
        root: root.provision,
        root_is_encrypted: choices
            .is_none_or(|choices| !matches!(choices.first(), Some(Choice::Plain) | None)),
    };
    hibernation::check(&facts).map_err(|unfit| errors::cannot_hibernate(&unfit))
}
