//! The filters of `DescribeSnapshots`.

use super::render;
use crate::noun::wire_time;
use control::Tables;
use control::filter::{FilterField, Values, maybe, one, shown};
use model::record::snapshot::Snapshot;

pub static FIELDS: &[FilterField<Snapshot, Tables>] = &[
    FilterField { name: "description", values: |s, _| one(s.description.as_str()) },
    FilterField { name: "encrypted", values: |s, _| shown(s.encryption.is_some()) },
    FilterField { name: "owner-alias", values: |_, _| Values::new() },
    FilterField { name: "owner-id", values: |s, _| shown(s.account) },
    FilterField { name: "progress", values: |s, _| one(render::progress(s)) },
    FilterField { name: "snapshot-id", values: |s, _| shown(s.snapshot) },
    FilterField { name: "start-time", values: |s, _| shown(wire_time(s.started_at)) },
    FilterField { name: "status", values: |s, _| one(s.state_name()) },
    FilterField { name: "storage-tier", values: |s, _| one(render::tier(s).as_str().to_owned()) },
    FilterField {
        name: "transfer-type",
        values: |s, _| maybe(render::transfer(s).map(|kind| kind.as_str().to_owned())),
    },
    FilterField { name: "volume-id", values: |s, _| one(render::volume(s)) },
    FilterField { name: "volume-size", values: |s, _| shown(s.size.0) },
];
