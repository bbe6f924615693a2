//! Options of gateways and attachments as requests give them.

use crate::errors::invalid_parameter_value;
use control::Result;

/// A value that is `enable` or `disable` on the wire.
pub type Switch = Option<bool>;

/// Reads a switch; `InvalidParameterValue` for anything else.
pub fn switch<T: wire::OpenEnum>(name: &str, value: Option<&T>) -> Result<Switch> {
    match value.map(wire::OpenEnum::text) {
        None => Ok(None),
        Some("enable") => Ok(Some(true)),
        Some("disable") => Ok(Some(false)),
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            Err(invalid_parameter_value(format!("Value ({shown}) for parameter {name} is invalid.")))
        }
    }
}

/// A private AS number, of 16 or 32 bits.
pub fn asn(given: Option<i64>) -> Result<Option<i64>> {
    match given {
        None => Ok(None),
        Some(asn @ (64_512..=65_534 | 4_200_000_000..=4_294_967_294)) => Ok(Some(asn)),
        Some(asn) => Err(invalid_parameter_value(format!(
            "Value ({asn}) for parameter AmazonSideAsn is invalid. It must be in the range 64512-65534 or \
             4200000000-4294967294."
        ))),
    }
}
