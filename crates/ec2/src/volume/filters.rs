//! The filters of `DescribeVolumes`.

use super::render;
use crate::noun::wire_time;
use control::Tables;
use control::filter::{FilterField, maybe, one, shown};
use model::record::volume::Volume;

pub static FIELDS: &[FilterField<Volume, Tables>] = &[
    FilterField {
        name: "attachment.attach-time",
        values: |v, _| v.attachments().map(|a| wire_time(a.at).to_string().into()).collect(),
    },
    FilterField {
        name: "attachment.delete-on-termination",
        values: |v, _| v.attachments().map(|a| a.delete_on_termination.to_string().into()).collect(),
    },
    FilterField {
        name: "attachment.device",
        values: |v, _| v.attachments().map(|a| a.device.as_str().into()).collect(),
    },
    FilterField {
        name: "attachment.instance-id",
        values: |v, _| v.attachments().map(|a| a.instance.to_string().into()).collect(),
    },
    FilterField {
        name: "attachment.status",
        values: |v, t| {
            v.attachments().map(|a| render::attachment_state(t, v, a).as_str().to_owned().into()).collect()
        },
    },
    FilterField { name: "availability-zone", values: |v, _| shown(&v.zone) },
    FilterField { name: "availability-zone-id", values: |v, _| one(v.zone.id()) },
    FilterField { name: "create-time", values: |v, _| shown(wire_time(v.created_at)) },
    FilterField { name: "encrypted", values: |v, _| shown(v.encryption.is_some()) },
    FilterField { name: "fast-restored", values: |v, _| shown(v.fast_restored) },
    FilterField { name: "multi-attach-enabled", values: |v, _| shown(v.provision.multi_attach) },
    FilterField { name: "operator.managed", values: |_, _| one("false") },
    FilterField { name: "operator.principal", values: |_, _| Vec::new() },
    FilterField { name: "size", values: |v, _| shown(v.provision.size.0) },
    FilterField { name: "snapshot-id", values: |v, _| maybe(v.snapshot.map(|s| s.to_string())) },
    FilterField { name: "status", values: |v, _| one(v.state_name()) },
    FilterField { name: "volume-id", values: |v, _| shown(v.volume) },
    FilterField { name: "volume-type", values: |v, _| one(v.provision.volume_type.as_str()) },
];
