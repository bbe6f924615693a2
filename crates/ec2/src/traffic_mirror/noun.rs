//! What the four nouns are called and found by.

use super::render;
use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use control::Tables;
use control::filter::{FilterField, maybe, one, shown};
use model::record::traffic_mirror::{
    TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
};
use std::ops::RangeInclusive;

const PAGE: RangeInclusive<i32> = 5..=1000;

impl Noun for TrafficMirrorTarget {
    const RESOURCE_TYPE: &'static str = "traffic-mirror-target";
    const ERRORS: IdErrors = errors::TRAFFIC_MIRROR_TARGET;
    const PAGE: RangeInclusive<i32> = PAGE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "description", values: |t, _| maybe(t.description.as_deref()) },
            FilterField { name: "network-interface-id", values: |t, _| shown(t.interface) },
            FilterField { name: "network-load-balancer-arn", values: |_, _| Vec::new() },
            FilterField { name: "owner-id", values: |t, _| shown(t.account) },
            FilterField { name: "traffic-mirror-target-id", values: |t, _| shown(t.target) },
        ]
    }
}

impl Noun for TrafficMirrorFilter {
    const RESOURCE_TYPE: &'static str = "traffic-mirror-filter";
    const ERRORS: IdErrors = errors::TRAFFIC_MIRROR_FILTER;
    const PAGE: RangeInclusive<i32> = PAGE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "description", values: |f, _| maybe(f.description.as_deref()) },
            FilterField { name: "traffic-mirror-filter-id", values: |f, _| shown(f.filter) },
        ]
    }
}

impl Noun for TrafficMirrorFilterRule {
    const RESOURCE_TYPE: &'static str = "traffic-mirror-filter-rule";
    const ERRORS: IdErrors = errors::TRAFFIC_MIRROR_FILTER_RULE;
    const PAGE: RangeInclusive<i32> = PAGE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "description", values: |r, _| maybe(r.description.as_deref()) },
            FilterField { name: "destination-cidr-block", values: |r, _| shown(r.rule.destination) },
            FilterField {
                name: "protocol",
                values: |r, _| maybe(r.rule.protocol.map(|number| number.to_string())),
            },
            FilterField {
                name: "rule-action",
                values: |r, _| one(render::action(r.rule.action).as_str().to_owned()),
            },
            FilterField { name: "rule-number", values: |r, _| shown(r.rule.number) },
            FilterField { name: "source-cidr-block", values: |r, _| shown(r.rule.source) },
            FilterField {
                name: "traffic-direction",
                values: |r, _| one(render::direction(r.direction).as_str().to_owned()),
            },
            FilterField { name: "traffic-mirror-filter-id", values: |r, _| shown(r.filter) },
            FilterField { name: "traffic-mirror-filter-rule-id", values: |r, _| shown(r.id) },
        ]
    }
}

impl Noun for TrafficMirrorSession {
    const RESOURCE_TYPE: &'static str = "traffic-mirror-session";
    const ERRORS: IdErrors = errors::TRAFFIC_MIRROR_SESSION;
    const PAGE: RangeInclusive<i32> = PAGE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "description", values: |s, _| maybe(s.description.as_deref()) },
            FilterField { name: "network-interface-id", values: |s, _| shown(s.source) },
            FilterField { name: "owner-id", values: |s, _| shown(s.account) },
            FilterField {
                name: "packet-length",
                values: |s, _| maybe(s.length.map(|length| length.to_string())),
            },
            FilterField { name: "session-number", values: |s, _| shown(s.number) },
            FilterField { name: "traffic-mirror-filter-id", values: |s, _| shown(s.filter) },
            FilterField { name: "traffic-mirror-session-id", values: |s, _| shown(s.session) },
            FilterField { name: "traffic-mirror-target-id", values: |s, _| shown(s.target) },
            FilterField { name: "virtual-network-id", values: |s, _| shown(s.network) },
        ]
    }
}
