//! The firmware tables that make a machine recognisable as an EC2 instance.
//!
//! cloud-init's Ec2 data source and other agents look for a system UUID and serial number that are equal, lower case, and
//! begin with `ec2`, and for EC2's name in the vendor fields.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>

use model::InstanceId;

const VENDOR: &str = "Amazon EC2";

/// A version-4-shaped UUID that begins with `ec2` and holds every digit of the instance's id, so no two instances share it.
pub fn uuid(instance: InstanceId) -> String {
    let bits = instance.bits();
    // Ids of old carry their mark in the highest bit.
    let old = bits >> 127;
    let digits = format!("{:017x}", bits & ((1 << 68) - 1));
    format!(
        "ec2{}-{}-4{}-8{}-{old:x}000000000{}",
        &digits[..5],
        &digits[5..9],
        &digits[9..12],
        &digits[12..15],
        &digits[15..17]
    )
}

/// The values of QEMU's `-smbios` options.
pub fn tables(instance: InstanceId, instance_type: &str) -> [String; 4] {
    let uuid = uuid(instance);
    let product = escape(instance_type);
    [
        format!("type=0,vendor={VENDOR},version=1.0"),
        format!("type=1,manufacturer={VENDOR},product={product},uuid={uuid},serial={uuid}"),
        format!("type=2,manufacturer={VENDOR},asset={instance}"),
        format!("type=3,manufacturer={VENDOR},asset={VENDOR}"),
    ]
}

/// QEMU takes two commas for one.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_begins_with_ec2_and_is_the_instances_own() {
        let uuid_of = |id: &str| uuid(InstanceId::parse(id).unwrap());
        assert_eq!(uuid_of("i-0123456789abcdef0"), "ec201234-5678-49ab-8cde-0000000000f0");
        assert_eq!(uuid_of("i-1234abcd"), "ec200000-0000-4123-84ab-1000000000cd");
        assert_ne!(uuid_of("i-1234abcd"), uuid_of("i-0000000001234abcd"));
    }

    #[test]
    fn a_comma_in_a_type_name_adds_no_option() {
        let tables = tables(InstanceId::parse("i-0123456789abcdef0").unwrap(), "a,uuid=b");
        assert!(tables[1].contains("product=a,,uuid=b,"));
    }
}
