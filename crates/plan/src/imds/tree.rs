//! The tree of one instance's metadata.

use super::{Answer, Api, Signature};
use crate::machine::disk_serial;
use model::Blob;
use model::host::{AddressDesired, AttachmentDesired, InstanceDesired, InterfaceDesired, Medium, VpcDesired};
use model::{Region, VpcId};
use std::net::Ipv4Addr;

pub(super) enum Node {
    Directory(Vec<Entry>),
    Text(String),
    Bytes(Blob),
    Signed(Signature),
}

pub(super) struct Entry {
    name: String,
    /// How a listing shows it.
    label: String,
    node: Node,
}

impl Node {
    pub fn find(self, path: &[String]) -> Answer {
        match (self, path) {
            (Self::Directory(entries), [first, rest @ ..]) => {
                match entries.into_iter().find(|entry| entry.name == *first) {
                    Some(entry) => entry.node.find(rest),
                    None => Answer::NotFound,
                }
            }
            (Self::Directory(entries), []) => {
                let labels: Vec<String> = entries.into_iter().map(|entry| entry.label).collect();
                Answer::Text(labels.join("\n"))
            }
            (Self::Text(text), []) => Answer::Text(text),
            (Self::Bytes(bytes), []) => Answer::Bytes(bytes),
            (Self::Signed(signature), []) => Answer::Signed(signature),
            (Self::Text(_) | Self::Bytes(_) | Self::Signed(_), [_, ..]) => Answer::NotFound,
        }
    }
}

fn entry(name: impl Into<String>, node: Node) -> Entry {
    let name = name.into();
    let label = if matches!(node, Node::Directory(_)) { format!("{name}/") } else { name.clone() };
    Entry { name, label, node }
}

fn text(name: impl Into<String>, value: impl ToString) -> Entry {
    entry(name, Node::Text(value.to_string()))
}

fn directory(name: impl Into<String>, entries: Vec<Entry>) -> Entry {
    entry(name, Node::Directory(entries))
}

/// The tree below a version.
pub(super) fn root<'a>(
    instance: &InstanceDesired,
    vpcs: &impl Fn(VpcId) -> Option<&'a VpcDesired>,
    api: Option<&Api>,
) -> Node {
    let identity = vec![
        text("document", super::document(instance)),
        entry("pkcs7", Node::Signed(Signature::Pkcs7)),
        entry("rsa2048", Node::Signed(Signature::Pkcs7)),
        entry("signature", Node::Signed(Signature::Bare)),
    ];
    let mut dynamic = vec![directory("instance-identity", identity)];
    dynamic.extend(api.map(|api| {
        let mut entries = vec![text("endpoint", &api.endpoint)];
        entries.extend(api.authority.as_ref().map(|authority| text("ca.pem", authority)));
        directory("nube", entries)
    }));
    dynamic.push(directory("volumes", volumes(instance)));
    let mut top = vec![directory("dynamic", dynamic), directory("meta-data", metadata(instance, vpcs))];
    if let Some(data) = &instance.metadata.user_data {
        top.push(entry("user-data", Node::Bytes(data.clone())));
    }
    // This one listing shows its directories without a slash.
    for entry in &mut top {
        entry.label.clone_from(&entry.name);
    }
    Node::Directory(top)
}

fn metadata<'a>(instance: &InstanceDesired, vpcs: &impl Fn(VpcId) -> Option<&'a VpcDesired>) -> Vec<Entry> {
    let region = &instance.zone.region;
    let told = &instance.metadata;
    let primary = instance.interfaces.first();
    let address = primary.and_then(|interface| interface.addresses.first());
    let host_name = primary.map(full_name);
    let macs = instance
        .interfaces
        .iter()
        .map(|interface| directory(interface.mac.to_string(), interface_entries(interface, instance, vpcs)))
        .collect();

    let mut entries = vec![
        text("ami-id", told.image),
        text("ami-launch-index", told.launch_index),
        text("ami-manifest-path", "(unknown)"),
        directory("block-device-mapping", devices(instance)),
        directory(
            "events",
            vec![directory("maintenance", vec![text("history", "[]"), text("scheduled", "[]")])],
        ),
    ];
    entries.push(directory("hibernation", vec![text("configured", told.hibernation)]));
    entries.extend(host_name.clone().map(|name| text("hostname", name)));
    entries.extend([
        text("instance-action", "none"),
        text("instance-id", instance.instance),
        text("instance-life-cycle", "on-demand"),
        text("instance-type", &instance.machine.instance_type),
    ]);
    entries.extend(primary.and_then(|interface| interface.ipv6.first()).map(|address| text("ipv6", address)));
    entries.extend(host_name.map(|name| text("local-hostname", name)));
    entries.extend(address.map(|address| text("local-ipv4", address.private)));
    entries.extend(primary.map(|interface| text("mac", interface.mac)));
    entries.extend([
        directory("network", vec![directory("interfaces", vec![directory("macs", macs)])]),
        directory(
            "placement",
            vec![
                text("availability-zone", &instance.zone),
                text("availability-zone-id", instance.zone.id()),
                text("region", region),
            ],
        ),
        text("profile", "default-hvm"),
    ]);
    if let Some(public) = address.and_then(AddressDesired::shown) {
        entries.push(text("public-hostname", public_name(public, region)));
        entries.push(text("public-ipv4", public));
    }
    if let Some(key) = &told.public_key {
        let first = directory("0", vec![text("openssh-key", &key.openssh)]);
        entries.push(directory("public-keys", vec![Entry { label: format!("0={}", key.name), ..first }]));
    }
    entries.push(text("reservation-id", told.reservation));
    entries.extend(primary.map(|interface| text("security-groups", group_names(interface, instance))));
    let (domain, partition) = match region.as_str() {
        name if name.starts_with("cn-") => ("amazonaws.com.cn", "aws-cn"),
        name if name.starts_with("us-gov-") => ("amazonaws.com", "aws-us-gov"),
        _ => ("amazonaws.com", "aws"),
    };
    entries.push(directory("services", vec![text("domain", domain), text("partition", partition)]));
    entries.push(text("system", "nitro"));
    if let Some(tags) = told.tags.as_ref().filter(|_| told.options.instance_tags) {
        let tags = tags.iter().map(|(key, value)| text(key, value)).collect();
        entries.push(directory("tags", vec![directory("instance", tags)]));
    }
    entries
}

/// The root volume under two names, the others numbered from 1.
fn devices(instance: &InstanceDesired) -> Vec<Entry> {
    let short = |device: &str| device.strip_prefix("/dev/").unwrap_or(device).to_owned();
    let mut volumes = instance.volumes.iter().filter(|attached| attached.medium.is_volume());
    let Some(root) = volumes.next() else { return Vec::new() };
    let mut entries = vec![text("ami", short(&root.device))];
    entries.extend(volumes.zip(1..).map(|(volume, n)| text(format!("ebs{n}"), short(&volume.device))));
    // Those without a name are NVMe disks, which AWS does not list either.
    let store = instance.volumes.iter().filter(|attached| !attached.device.is_empty());
    entries.extend(store.filter_map(|attached| match attached.medium {
        Medium::Volume => None,
        Medium::InstanceStore(number) => Some(text(format!("ephemeral{number}"), short(&attached.device))),
    }));
    entries.push(text("root", &root.device));
    entries
}

/// Of our own: each volume's device name by the serial number that the guest reads from its disk. On EC2 the disk itself
/// tells its name, in a way that virtio has no place for.
fn volumes(instance: &InstanceDesired) -> Vec<Entry> {
    let name =
        |attached: &AttachmentDesired| text(disk_serial(attached.volume, attached.medium), &attached.device);
    instance.volumes.iter().filter(|attached| !attached.device.is_empty()).map(name).collect()
}

fn interface_entries<'a>(
    interface: &InterfaceDesired,
    instance: &InstanceDesired,
    vpcs: &impl Fn(VpcId) -> Option<&'a VpcDesired>,
) -> Vec<Entry> {
    let region = &instance.zone.region;
    let owner =
        instance.metadata.interface_owners.get(&interface.interface).copied().unwrap_or(instance.account);
    let public: Vec<(Ipv4Addr, Ipv4Addr)> =
        interface.addresses.iter().filter_map(|address| Some((address.shown()?, address.private))).collect();
    let mut entries =
        vec![text("device-number", interface.device_index), text("interface-id", interface.interface)];
    if !public.is_empty() {
        let associations = public.iter().map(|(public, private)| text(public.to_string(), private)).collect();
        entries.push(directory("ipv4-associations", associations));
    }
    if !interface.ipv4_prefixes.is_empty() {
        entries.push(text("ipv4-prefix", lines(&interface.ipv4_prefixes)));
    }
    if !interface.ipv6_prefixes.is_empty() {
        entries.push(text("ipv6-prefix", lines(&interface.ipv6_prefixes)));
    }
    if !interface.ipv6.is_empty() {
        entries.push(text("ipv6s", lines(&interface.ipv6)));
    }
    entries.push(text("local-hostname", full_name(interface)));
    if !interface.addresses.is_empty() {
        entries.push(text("local-ipv4s", lines(interface.addresses.iter().map(|address| address.private))));
    }
    entries.extend([text("mac", interface.mac), text("owner-id", owner)]);
    if let Some((first, _)) = public.first() {
        entries.push(text("public-hostname", public_name(*first, region)));
        entries.push(text("public-ipv4s", lines(public.iter().map(|(public, _)| public))));
    }
    entries.extend([
        text("security-group-ids", lines(&interface.security_groups)),
        text("security-groups", group_names(interface, instance)),
        text("subnet-id", interface.subnet),
    ]);
    entries.extend(interface.subnet_cidr.map(|cidr| text("subnet-ipv4-cidr-block", cidr)));
    let vpc = vpcs(interface.vpc);
    let subnet = vpc.and_then(|vpc| vpc.subnets.iter().find(|subnet| subnet.subnet == interface.subnet));
    if let Some(cidr) = subnet.and_then(|subnet| subnet.ipv6_cidr) {
        entries.push(text("subnet-ipv6-cidr-blocks", cidr));
    }
    entries.push(text("vpc-id", interface.vpc));
    if let Some(vpc) = vpc {
        entries.extend(vpc.cidrs.first().map(|first| text("vpc-ipv4-cidr-block", first)));
        entries.push(text("vpc-ipv4-cidr-blocks", lines(&vpc.cidrs)));
        if !vpc.ipv6_cidrs.is_empty() {
            entries.push(text("vpc-ipv6-cidr-blocks", lines(&vpc.ipv6_cidrs)));
        }
    }
    entries
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}

fn group_names(interface: &InterfaceDesired, instance: &InstanceDesired) -> String {
    let names = &instance.metadata.group_names;
    lines(interface.security_groups.iter().map(|id| names.get(id).cloned().unwrap_or_else(|| id.to_string())))
}

/// The name that the metadata service gives an interface: `ip-10-0-0-16.ec2.internal`.
pub fn full_name(interface: &InterfaceDesired) -> String {
    if interface.domain.is_empty() {
        interface.hostname.clone()
    } else {
        format!("{}.{}", interface.hostname, interface.domain)
    }
}

/// `ec2-198-18-0-5.compute-1.amazonaws.com`.
fn public_name(address: Ipv4Addr, region: &Region) -> String {
    format!("ec2-{}.{}", address.to_string().replace('.', "-"), region.public_domain())
}
