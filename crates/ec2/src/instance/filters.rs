//! The filters of DescribeInstances.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>

use super::{names, render};
use crate::network_interface::allocate::{private_claim, public_holder};
use crate::network_interface::render::attachment_status;
use crate::noun::wire_time;
use control::Tables;
use control::filter::{FilterField, Filters, Values, maybe, one, shown};
use model::record::image::Platform;
use model::record::instance::Instance;
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::vpc::Subnet;
use model::{InstanceId, NetworkInterfaceId, Region};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

type Field = FilterField<Instance, Tables>;

/// The instances that filters by id or by address without wildcards leave to be looked at; `None`: there is no such filter.
pub fn narrowed<'a>(
    region: &Region,
    tables: &'a Tables,
    filters: &Filters<Instance, Tables>,
) -> Option<BTreeMap<InstanceId, &'a Arc<Instance>>> {
    let ids: Vec<InstanceId> = if let Some(ids) = filters.exact("instance-id") {
        ids.into_iter().filter_map(|id| InstanceId::parse(id).ok()).collect()
    } else if let Some(addresses) = filters.exact("private-ip-address") {
        let subnets: Vec<_> = tables.all::<Subnet>(region).collect();
        let addresses = addresses.into_iter().filter_map(|a| a.parse::<Ipv4Addr>().ok());
        let claims = addresses.flat_map(|address| {
            let subnets =
                subnets.iter().filter(move |subnet| subnet.cidr.is_some_and(|cidr| cidr.contains(&address)));
            subnets.map(move |subnet| private_claim(subnet.subnet, address))
        });
        let held = claims.filter_map(|claim| {
            let interface = NetworkInterfaceId::parse(tables.claimed(region, &claim)?).ok()?;
            tables.get::<NetworkInterface>(region, &interface)
        });
        held.filter_map(|interface| Some(interface.attachment.as_ref()?.instance)).collect()
    } else if let Some(addresses) = filters.exact("ip-address") {
        let addresses = addresses.into_iter().filter_map(|a| a.parse().ok());
        let held = addresses.filter_map(|address| public_holder(tables, region, address));
        held.filter_map(|interface| Some(interface.attachment.as_ref()?.instance)).collect()
    } else {
        return None;
    };
    Some(ids.into_iter().filter_map(|id| Some((id, tables.get::<Instance>(region, &id)?))).collect())
}

/// A filter on the interfaces: one value of each, or several.
fn on_interfaces<'a, V: Into<Cow<'a, str>>>(
    instance: &'a Instance,
    tables: &'a Tables,
    of: impl Fn(&'a NetworkInterface) -> Vec<V>,
) -> Values<'a> {
    render::interfaces(tables, instance).flat_map(|n| of(n)).map(Into::into).collect()
}

fn primary<'a>(instance: &'a Instance, tables: &'a Tables) -> Option<&'a Arc<NetworkInterface>> {
    render::interfaces(tables, instance).next()
}

fn publics(interface: &NetworkInterface) -> impl Iterator<Item = std::net::Ipv4Addr> + '_ {
    interface.addresses.iter().filter_map(|a| a.public.as_ref()).map(PublicAddress::address)
}

fn public_names(interface: &NetworkInterface) -> Vec<String> {
    publics(interface).map(|address| names::public(&interface.zone.region, address)).collect()
}

fn ipv6(interface: &NetworkInterface) -> Vec<String> {
    interface.ipv6.iter().map(ToString::to_string).collect()
}

fn flag(on: bool) -> Values<'static> {
    one(if on { "true" } else { "false" })
}

fn switch(on: bool) -> Values<'static> {
    one(if on { "enabled" } else { "disabled" })
}

/// Filters on what no instance here has: they match nothing, as on AWS.
const fn never(name: &'static str) -> Field {
    FilterField { name, values: |_, _| Vec::new() }
}

const fn constant(name: &'static str, values: for<'a> fn(&'a Instance, &'a Tables) -> Values<'a>) -> Field {
    FilterField { name, values }
}

pub static FIELDS: &[Field] = &[
    constant("affinity", |_, _| one("default")),
    FilterField { name: "architecture", values: |i, _| one(i.architecture.as_str()) },
    FilterField { name: "availability-zone", values: |i, _| shown(&i.zone) },
    FilterField { name: "availability-zone-id", values: |i, _| one(i.zone.id()) },
    FilterField {
        name: "block-device-mapping.attach-time",
        values: |i, _| i.volumes.iter().map(|v| wire_time(v.attached_at).to_string().into()).collect(),
    },
    FilterField {
        name: "block-device-mapping.delete-on-termination",
        values: |i, _| i.volumes.iter().flat_map(|v| flag(v.delete_on_termination)).collect(),
    },
    FilterField {
        name: "block-device-mapping.device-name",
        values: |i, _| i.volumes.iter().map(|v| v.device.as_str().into()).collect(),
    },
    FilterField {
        name: "block-device-mapping.status",
        values: |i, _| {
            let status =
                |m: api_ec2::InstanceBlockDeviceMapping| Some(m.ebs?.status?.as_str().to_owned().into());
            render::block_devices(i).into_iter().filter_map(status).collect()
        },
    },
    FilterField {
        name: "block-device-mapping.volume-id",
        values: |i, _| i.volumes.iter().map(|v| v.volume.to_string().into()).collect(),
    },
    never("capacity-reservation-id"),
    constant("capacity-reservation-specification.capacity-reservation-preference", |_, _| one("open")),
    FilterField { name: "client-token", values: |i, _| maybe(i.client_token.as_deref()) },
    FilterField { name: "current-instance-boot-mode", values: |i, _| one(i.firmware.as_str()) },
    FilterField { name: "dns-name", values: |i, t| on_interfaces(i, t, public_names) },
    FilterField { name: "ebs-optimized", values: |i, _| flag(i.ebs_optimized) },
    constant("ena-support", |_, _| flag(true)),
    constant("enclave-options.enabled", |_, _| flag(false)),
    FilterField { name: "hibernation-options.configured", values: |i, _| flag(!i.hibernation.is_off()) },
    never("host-id"),
    constant("hypervisor", |_, _| one("xen")),
    never("iam-instance-profile.arn"),
    never("iam-instance-profile.id"),
    never("iam-instance-profile.name"),
    FilterField { name: "image-id", values: |i, _| shown(i.image) },
    FilterField { name: "instance-id", values: |i, _| shown(i.instance) },
    never("instance-lifecycle"),
    FilterField { name: "instance-state-code", values: |i, _| shown(i.phase.code()) },
    FilterField { name: "instance-state-name", values: |i, _| one(i.phase.name()) },
    FilterField { name: "instance-type", values: |i, _| one(i.instance_type.as_str()) },
    FilterField {
        name: "instance.group-id",
        values: |i, t| render::groups(t, i).map(|g| g.group.to_string().into()).collect(),
    },
    FilterField {
        name: "instance.group-name",
        values: |i, t| render::groups(t, i).map(|g| g.name.as_str().into()).collect(),
    },
    FilterField {
        name: "ip-address",
        values: |i, t| on_interfaces(i, t, |n| publics(n).map(|a| a.to_string()).collect()),
    },
    FilterField { name: "ipv6-address", values: |i, t| on_interfaces(i, t, ipv6) },
    never("kernel-id"),
    FilterField { name: "key-name", values: |i, _| maybe(i.key.as_ref().map(|k| k.name.as_str())) },
    FilterField { name: "launch-index", values: |i, _| shown(i.launch_index) },
    FilterField { name: "launch-time", values: |i, _| shown(wire_time(i.launched_at)) },
    constant("maintenance-options.auto-recovery", |_, _| one("default")),
    FilterField {
        name: "metadata-options.http-endpoint",
        values: |i, _| switch(i.metadata_options.endpoint_enabled),
    },
    constant("metadata-options.http-protocol-ipv4", |_, _| switch(true)),
    FilterField {
        name: "metadata-options.http-protocol-ipv6",
        values: |i, _| switch(i.metadata_options.ipv6),
    },
    FilterField {
        name: "metadata-options.http-put-response-hop-limit",
        values: |i, _| shown(i.metadata_options.hop_limit),
    },
    FilterField {
        name: "metadata-options.http-tokens",
        values: |i, _| one(if i.metadata_options.tokens_required { "required" } else { "optional" }),
    },
    FilterField {
        name: "metadata-options.instance-metadata-tags",
        values: |i, _| switch(i.metadata_options.instance_tags),
    },
    FilterField { name: "monitoring-state", values: |i, _| switch(i.monitoring) },
    FilterField {
        name: "network-interface.addresses.association.public-ip",
        values: |i, t| on_interfaces(i, t, |n| publics(n).map(|a| a.to_string()).collect()),
    },
    FilterField {
        name: "network-interface.addresses.primary",
        values: |i, t| {
            on_interfaces(i, t, |n| {
                (0..n.addresses.len()).map(|at| if at == 0 { "true" } else { "false" }).collect()
            })
        },
    },
    FilterField {
        name: "network-interface.addresses.private-ip-address",
        values: |i, t| on_interfaces(i, t, |n| n.addresses.iter().map(|a| a.address.to_string()).collect()),
    },
    never("network-interface.association.carrier-ip"),
    FilterField {
        name: "network-interface.association.public-ip",
        values: |i, t| on_interfaces(i, t, |n| publics(n).map(|a| a.to_string()).collect()),
    },
    FilterField {
        name: "network-interface.attachment.attachment-id",
        values: |i, t| {
            on_interfaces(i, t, |n| n.attachment.iter().map(|a| a.attachment.to_string()).collect())
        },
    },
    FilterField {
        name: "network-interface.attachment.delete-on-termination",
        values: |i, t| {
            on_interfaces(i, t, |n| {
                n.attachment.iter().map(|a| a.delete_on_termination.to_string()).collect()
            })
        },
    },
    FilterField {
        name: "network-interface.attachment.device-index",
        values: |i, t| {
            on_interfaces(i, t, |n| n.attachment.iter().map(|a| a.device_index.to_string()).collect())
        },
    },
    FilterField {
        name: "network-interface.attachment.status",
        values: |i, t| {
            on_interfaces(i, t, |n| {
                let states = n.attachment.iter().map(|a| attachment_status(a.state));
                states.map(|status| status.as_str().to_owned()).collect()
            })
        },
    },
    FilterField {
        name: "network-interface.availability-zone",
        values: |i, t| on_interfaces(i, t, |n| vec![n.zone.to_string()]),
    },
    FilterField {
        name: "network-interface.description",
        values: |i, t| on_interfaces(i, t, |n| vec![n.description.as_str()]),
    },
    FilterField {
        name: "network-interface.group-id",
        values: |i, t| on_interfaces(i, t, |n| n.groups.iter().map(ToString::to_string).collect()),
    },
    FilterField {
        name: "network-interface.group-name",
        values: |i, t| render::groups(t, i).map(|g| g.name.as_str().into()).collect(),
    },
    FilterField {
        name: "network-interface.mac-address",
        values: |i, t| on_interfaces(i, t, |n| vec![n.mac.to_string()]),
    },
    FilterField {
        name: "network-interface.network-interface-id",
        values: |i, t| on_interfaces(i, t, |n| vec![n.interface.to_string()]),
    },
    FilterField {
        name: "network-interface.owner-id",
        values: |i, t| on_interfaces(i, t, |n| vec![n.account.to_string()]),
    },
    FilterField {
        name: "network-interface.ipv6-addresses.ipv6-address",
        values: |i, t| on_interfaces(i, t, ipv6),
    },
    FilterField {
        name: "network-interface.private-dns-name",
        values: |i, t| {
            on_interfaces(i, t, |n| {
                let further = n.addresses.iter().skip(1).map(|a| names::private(&n.zone.region, a.address));
                names::private_of(n).into_iter().chain(further).collect()
            })
        },
    },
    FilterField {
        name: "network-interface.source-dest-check",
        values: |i, t| on_interfaces(i, t, |n| vec![n.source_dest_check.to_string()]),
    },
    FilterField { name: "network-interface.status", values: |i, t| on_interfaces(i, t, |_| vec!["in-use"]) },
    FilterField {
        name: "network-interface.subnet-id",
        values: |i, t| on_interfaces(i, t, |n| vec![n.subnet.to_string()]),
    },
    FilterField {
        name: "network-interface.vpc-id",
        values: |i, t| on_interfaces(i, t, |n| vec![n.vpc.to_string()]),
    },
    constant("network-performance-options.bandwidth-weighting", |_, _| one("default")),
    constant("operator.managed", |_, _| flag(false)),
    never("outpost-arn"),
    FilterField { name: "owner-id", values: |i, _| shown(i.account) },
    never("placement-group-name"),
    never("placement-partition-number"),
    FilterField {
        name: "platform",
        values: |i, _| maybe((i.platform == Platform::Windows).then_some("windows")),
    },
    FilterField { name: "platform-details", values: |i, _| one(i.platform.details()) },
    FilterField {
        name: "private-dns-name",
        values: |i, t| maybe(primary(i, t).and_then(|n| names::private_of(n))),
    },
    constant("private-dns-name-options.enable-resource-name-dns-a-record", |_, _| flag(false)),
    FilterField {
        name: "private-dns-name-options.enable-resource-name-dns-aaaa-record",
        values: |i, t| flag(primary(i, t).is_some_and(|n| n.primary().is_none())),
    },
    FilterField {
        name: "private-dns-name-options.hostname-type",
        values: |i, t| one(render::hostname_type(primary(i, t).map(|n| &**n)).as_str().to_owned()),
    },
    FilterField {
        name: "private-ip-address",
        values: |i, t| maybe(primary(i, t).and_then(|n| n.primary()).map(|a| a.address.to_string())),
    },
    never("product-code"),
    never("product-code.type"),
    never("ramdisk-id"),
    FilterField { name: "reason", values: |i, _| one(render::transition_reason(i)) },
    never("requester-id"),
    FilterField { name: "reservation-id", values: |i, _| shown(i.reservation) },
    FilterField { name: "root-device-name", values: |i, _| one(i.root_device.as_str()) },
    constant("root-device-type", |_, _| one("ebs")),
    FilterField {
        name: "source-dest-check",
        values: |i, t| maybe(primary(i, t).map(|n| n.source_dest_check.to_string())),
    },
    never("spot-instance-request-id"),
    FilterField {
        name: "state-reason-code",
        values: |i, _| maybe(i.reason.as_ref().map(|r| r.code.as_str())),
    },
    FilterField {
        name: "state-reason-message",
        values: |i, _| maybe(i.reason.as_ref().map(|r| r.message.as_str())),
    },
    FilterField { name: "subnet-id", values: |i, _| here(i, i.subnet.to_string()) },
    constant("tenancy", |_, _| one("default")),
    never("tpm-support"),
    constant("usage-operation", |_, _| one("RunInstances")),
    FilterField { name: "usage-operation-update-time", values: |i, _| shown(wire_time(i.launched_at)) },
    constant("virtualization-type", |_, _| one("hvm")),
    FilterField { name: "vpc-id", values: |i, _| here(i, i.vpc.to_string()) },
];

/// A terminated instance is nowhere.
fn here(instance: &Instance, place: String) -> Values<'static> {
    if instance.phase.is_terminated() { Vec::new() } else { one(place) }
}
