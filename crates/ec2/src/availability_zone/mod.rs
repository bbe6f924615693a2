//! Availability zones: `DescribeAvailabilityZones`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>
//! Differs: a letter means the same zone in every account; there are no local or wavelength zones.

mod describe;

use api_ec2::ops;
use control::Service;

pub fn register(service: &mut Service) {
    service.read(ops::DescribeAvailabilityZones, describe::touches, describe::describe);
}
