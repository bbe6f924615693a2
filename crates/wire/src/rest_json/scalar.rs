//! Scalars as text, in paths, queries and headers.

use crate::decode::scalar;
use crate::{Fault, Target, Timestamp, TimestampFormat, ValueMut, ValueRef};

/// Reads `text`; times in `usual` form unless their shape says otherwise.
pub fn set(target: Target, slot: ValueMut<'_>, text: &str, usual: TimestampFormat) -> Result<(), Fault> {
    match (target, slot) {
        (Target::Timestamp(format), ValueMut::Timestamp(out)) => {
            *out = timestamp(text, or(format, usual))?;
            Ok(())
        }
        (target, slot) => scalar::set(target, slot, text),
    }
}

fn or(format: TimestampFormat, usual: TimestampFormat) -> TimestampFormat {
    if format == TimestampFormat::ProtocolDefault { usual } else { format }
}

fn timestamp(text: &str, format: TimestampFormat) -> Result<Timestamp, Fault> {
    match format {
        TimestampFormat::Rfc822 => {
            Timestamp::parse_http_date(text).ok_or(Fault::Malformed { expected: "a date of HTTP" })
        }
        TimestampFormat::UnixSeconds => {
            let seconds: f64 =
                text.parse().map_err(|_| Fault::Malformed { expected: "a time in seconds" })?;
            if !seconds.is_finite() {
                return Err(Fault::Malformed { expected: "a time in seconds" });
            }
            // What lies beyond the calendar is cut to its edge by the cast.
            Ok(Timestamp::from_millis((seconds * 1000.0).round() as i64))
        }
        TimestampFormat::Iso8601 | TimestampFormat::ProtocolDefault => {
            Timestamp::parse(text).ok_or(Fault::Malformed { expected: "a time in ISO 8601" })
        }
    }
}

/// Writes a scalar for a header; nothing for what is absent, a structure or a map.
pub fn render(target: Target, value: ValueRef<'_>) -> Option<String> {
    Some(match value {
        ValueRef::Boolean(value) => value.to_string(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Float(value) => float(f64::from(value)),
        ValueRef::Double(value) => float(value),
        ValueRef::Text(text) => text.to_owned(),
        ValueRef::Blob(blob) => blob.to_base64(),
        ValueRef::Timestamp(at) => {
            let format = match target {
                Target::Timestamp(format) => or(format, TimestampFormat::Rfc822),
                _ => TimestampFormat::Rfc822,
            };
            match format {
                TimestampFormat::Rfc822 => at.to_http_date(),
                TimestampFormat::UnixSeconds => at.secs().to_string(),
                TimestampFormat::Iso8601 | TimestampFormat::ProtocolDefault => at.to_string(),
            }
        }
        ValueRef::Absent | ValueRef::Structure(_) | ValueRef::List(_) | ValueRef::Map(_) => return None,
    })
}

fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        format!("{value:?}")
    }
}
