//! The filters of `DescribeImages`. Those on what no image of ours has (kernels, product codes) match nothing.

use super::{location, render};
use crate::noun::wire_time;
use control::Tables;
use control::filter::{FilterField, Values, maybe, one, shown};
use model::record::image::{Image, ImageDevice, Platform};
use std::borrow::Cow;

pub(super) const FILTERS: &[FilterField<Image, Tables>] = &[
    FilterField { name: "architecture", values: |i, _| one(i.architecture.as_str()) },
    FilterField {
        name: "block-device-mapping.delete-on-termination",
        values: |i, _| devices(i, |d| d.delete_on_termination.to_string().into()),
    },
    FilterField {
        name: "block-device-mapping.device-name",
        values: |i, _| devices(i, |d| d.device.as_str().into()),
    },
    FilterField {
        name: "block-device-mapping.encrypted",
        values: |i, _| devices(i, |d| d.encryption.is_some().to_string().into()),
    },
    FilterField {
        name: "block-device-mapping.snapshot-id",
        values: |i, _| i.devices.iter().filter_map(|d| d.snapshot).map(|s| s.to_string().into()).collect(),
    },
    FilterField {
        name: "block-device-mapping.volume-size",
        values: |i, _| devices(i, |d| d.size.0.to_string().into()),
    },
    FilterField {
        name: "block-device-mapping.volume-type",
        values: |i, _| devices(i, |d| d.volume_type.as_str().into()),
    },
    FilterField { name: "creation-date", values: |i, _| shown(wire_time(i.created_at)) },
    FilterField { name: "description", values: |i, _| maybe(i.description.as_deref()) },
    FilterField { name: "ena-support", values: |_, _| one("true") },
    FilterField { name: "free-tier-eligible", values: |_, _| one("false") },
    FilterField { name: "hypervisor", values: |_, _| one("xen") },
    FilterField { name: "image-id", values: |i, _| shown(i.image) },
    FilterField { name: "image-type", values: |_, _| one("machine") },
    FilterField { name: "is-public", values: |i, _| shown(i.public) },
    FilterField { name: "kernel-id", values: |_, _| Values::new() },
    FilterField { name: "manifest-location", values: |i, _| one(location(i)) },
    FilterField { name: "name", values: |i, _| one(i.name.as_str()) },
    FilterField { name: "owner-alias", values: |i, _| maybe(i.owner_alias.as_deref()) },
    FilterField { name: "owner-id", values: |i, _| shown(i.owner) },
    FilterField {
        name: "platform",
        values: |i, _| maybe((i.traits.platform == Platform::Windows).then_some("windows")),
    },
    FilterField { name: "product-code", values: |_, _| Values::new() },
    FilterField { name: "product-code.type", values: |_, _| Values::new() },
    FilterField { name: "ramdisk-id", values: |_, _| Values::new() },
    FilterField { name: "root-device-name", values: |i, _| one(i.root_device.as_str()) },
    FilterField { name: "root-device-type", values: |_, _| one("ebs") },
    FilterField {
        name: "source-image-id",
        values: |i, _| maybe(i.registration.source_image.as_ref().map(|(id, _)| id.to_string())),
    },
    FilterField {
        name: "source-image-region",
        values: |i, _| maybe(i.registration.source_image.as_ref().map(|(_, region)| region.as_str())),
    },
    FilterField {
        name: "source-instance-id",
        values: |i, _| maybe(i.registration.source_instance.map(|id| id.to_string())),
    },
    FilterField { name: "sriov-net-support", values: |_, _| one("simple") },
    FilterField { name: "state", values: |i, _| one(i.state_name()) },
    FilterField {
        name: "state-reason-code",
        values: |i, _| maybe(render::state_reason(i).and_then(|reason| reason.code)),
    },
    FilterField {
        name: "state-reason-message",
        values: |i, _| maybe(render::state_reason(i).and_then(|reason| reason.message)),
    },
    FilterField { name: "virtualization-type", values: |_, _| one("hvm") },
];

fn devices<'a>(image: &'a Image, value: fn(&'a ImageDevice) -> Cow<'a, str>) -> Values<'a> {
    image.devices.iter().map(value).collect()
}
