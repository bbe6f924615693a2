//! Instances: launch, lifecycle, attributes, and the way from their records to the host and back.
//!
//! Operations write intent (`run`, `lifecycle`, `attribute`); `desired` derives what the host should hold; `reconcile`
//! sends it; `absorb` writes back what the host observed. `sweep` lets terminated instances fade.

pub mod absorb;
mod attachable;
mod attribute;
mod console;
mod credit;
mod describe;
pub mod desired;
mod encodings;
pub(crate) mod errors;
mod filters;
pub mod fork;
pub(crate) mod kind;
mod lifecycle;
pub mod names;
mod options;
pub mod reconcile;
pub(crate) mod render;
mod run;
pub(crate) mod spec;
mod status;
pub mod store;
pub mod sweep;

pub use absorb::absorb;
pub(crate) use attachable::attachable;
pub use kind::host;
pub use lifecycle::give_public_address;
pub use reconcile::{Objects, start};

use crate::errors::{self as ids, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, Filters};
use control::{Context, Service, Tables, Touched};
use model::InstanceId;
use model::record::instance::Instance;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Noun for Instance {
    const RESOURCE_TYPE: &'static str = "instance";
    const ERRORS: IdErrors = ids::INSTANCE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        filters::FIELDS
    }

    fn narrowed<'a>(
        ctx: &Context,
        tables: &'a Tables,
        filters: &Filters<Self, Tables>,
    ) -> Option<BTreeMap<InstanceId, &'a Arc<Self>>> {
        filters::narrowed(&ctx.region, tables, filters)
    }
}

pub fn register(service: &mut Service) {
    let encodings = encodings::Encodings::default();
    service
        .exclusive(ops::RunInstances, run::touches, run::run)
        .read_encoded(
            ops::DescribeInstances,
            |_, _, _| Touched::anything(),
            move |ctx, request, tables, answer| describe::run(&encodings, ctx, request, tables, answer),
        )
        .read(ops::DescribeInstanceStatus, |_, _, _| Touched::anything(), status::run)
        .read(ops::DescribeInstanceCreditSpecifications, |_, _, _| Touched::anything(), credit::describe)
        .read(ops::GetDefaultCreditSpecification, |_, _, _| Touched::anything(), credit::default)
        .exclusive(ops::StartInstances, lifecycle::touches_start, lifecycle::start)
        .write(ops::StopInstances, lifecycle::touches_stop, lifecycle::stop)
        .write(ops::RebootInstances, lifecycle::touches_reboot, lifecycle::reboot)
        .write(ops::TerminateInstances, lifecycle::touches_terminate, lifecycle::terminate)
        .call(
            ops::GetConsoleOutput,
            |ctx, request, tables| touched::<Instance>(ctx, tables, [&request.instance_id]),
            console::run,
        )
        .read(
            ops::DescribeInstanceAttribute,
            |ctx, request, tables| touched::<Instance>(ctx, tables, [&request.instance_id]),
            attribute::describe,
        )
        .exclusive(
            ops::ModifyInstanceAttribute,
            |ctx, request, tables| touched::<Instance>(ctx, tables, [&request.instance_id]),
            attribute::modify,
        )
        .write(
            ops::ResetInstanceAttribute,
            |ctx, request, tables| touched::<Instance>(ctx, tables, [&request.instance_id]),
            attribute::reset,
        )
        .write(
            ops::ModifyInstanceMetadataOptions,
            |ctx, request, tables| touched::<Instance>(ctx, tables, [&request.instance_id]),
            options::metadata,
        )
        .write(
            ops::MonitorInstances,
            |ctx, request, tables| touched::<Instance>(ctx, tables, &request.instance_ids),
            options::monitor,
        )
        .write(
            ops::UnmonitorInstances,
            |ctx, request, tables| touched::<Instance>(ctx, tables, &request.instance_ids),
            options::unmonitor,
        );
}
