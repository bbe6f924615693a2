//! Elastic addresses: `DescribeAddresses`, which clients ask along with their instances (libcloud with every list of nodes).
//!
//! None can be allocated yet, so an account has none; the address that a subnet gives to an instance is no elastic one.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>

mod describe;

use api_ec2::ops;
use control::Service;

pub fn register(service: &mut Service) {
    service.read(ops::DescribeAddresses, describe::touches, describe::describe);
}
