//! The instance identity document, with the keys, order and spacing of EC2's.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>

use model::Timestamp;
use model::host::InstanceDesired;

/// The document's text, without a newline at its end. Signatures are over exactly these bytes.
pub fn document(instance: &InstanceDesired) -> String {
    let private = instance.interfaces.first().and_then(|interface| interface.addresses.first());
    let values = [
        ("accountId", Some(instance.account.to_string())),
        ("architecture", Some(instance.machine.architecture.as_str().to_owned())),
        ("availabilityZone", Some(instance.zone.to_string())),
        ("billingProducts", None),
        ("devpayProductCodes", None),
        ("marketplaceProductCodes", None),
        ("imageId", Some(instance.metadata.image.to_string())),
        ("instanceId", Some(instance.instance.to_string())),
        ("instanceType", Some(instance.machine.instance_type.clone())),
        ("kernelId", None),
        ("pendingTime", Some(utc(instance.metadata.pending_time))),
        ("privateIp", private.map(|address| address.private.to_string())),
        ("ramdiskId", None),
        ("region", Some(instance.zone.region.to_string())),
        ("version", Some("2017-09-30".to_owned())),
    ];
    let lines: Vec<String> = values
        .into_iter()
        .map(|(key, value)| match value {
            Some(value) => format!("  \"{key}\" : \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            None => format!("  \"{key}\" : null"),
        })
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// `2006-01-02T15:04:05Z`.
pub fn utc(time: Timestamp) -> String {
    let (days, second) = (time.as_secs().div_euclid(86_400), time.as_secs().rem_euclid(86_400));
    // Days since 0000-03-01 in the proleptic Gregorian calendar: then leap days fall at the end of a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(Timestamp::from_millis(seconds * 1000)), text);
        }
    }
}
