//! Instance types as the API shows them; the facts are in `plan::instance_type`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html>
//! Differs: every type is offered in every zone of every region, whether or not the host has room for it.

mod describe;
mod filters;
mod offerings;
mod render;
mod requirements;

use api_ec2::ops;
use control::{Service, Touched};

pub fn register(service: &mut Service) {
    service
        .read(ops::DescribeInstanceTypes, |_, _, _| Touched::anything(), describe::describe)
        .read(ops::DescribeInstanceTypeOfferings, |_, _, _| Touched::anything(), offerings::describe)
        .read(
            ops::GetInstanceTypesFromInstanceRequirements,
            |_, _, _| Touched::anything(),
            requirements::run,
        );
}
