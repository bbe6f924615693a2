//! Regions, and what an account is told of itself in one: `DescribeRegions`, `DescribeAccountAttributes`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>
//! Differs: every region of the cloud is open to every account.

mod account;
mod describe;

use api_ec2::ops;
use control::Service;

pub fn register(service: &mut Service) {
    service.read(ops::DescribeRegions, describe::touches, describe::describe).read(
        ops::DescribeAccountAttributes,
        account::touches,
        account::describe,
    );
}
