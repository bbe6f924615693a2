//! Writing JSON text by shape.

use super::decode::Bound;
use crate::{Location, Structure, Target, TimestampFormat, Value, ValueRef};
use std::fmt::Write as _;

pub fn structure(out: &mut String, value: &dyn Structure, bound: Bound) {
    out.push('{');
    let mut first = true;
    for (index, member) in value.shape().members.iter().enumerate() {
        let value = value.member(index);
        let is_elsewhere = bound == Bound::AsShaped && member.location != Location::Body;
        if is_elsewhere || matches!(value.view(), ValueRef::Absent) {
            continue;
        }
        key(out, &mut first, member.wire_name());
        self::value(out, member.target, value);
    }
    out.push('}');
}

fn key(out: &mut String, first: &mut bool, name: &str) {
    if !std::mem::take(first) {
        out.push(',');
    }
    text(out, name);
    out.push(':');
}

fn value(out: &mut String, target: Target, value: &dyn Value) {
    // Writing to a string does not fail.
    let _ = match value.view() {
        ValueRef::Absent => write!(out, "null"),
        ValueRef::Boolean(value) => write!(out, "{value}"),
        ValueRef::Integer(value) => write!(out, "{value}"),
        ValueRef::Float(value) => return float(out, f64::from(value)),
        ValueRef::Double(value) => return float(out, value),
        ValueRef::Timestamp(at) => {
            match target {
                Target::Timestamp(TimestampFormat::Iso8601) => return text(out, &at.to_string()),
                Target::Timestamp(TimestampFormat::Rfc822) => return text(out, &at.to_http_date()),
                _ => {}
            }
            let (secs, millis) = (at.secs(), at.millis().rem_euclid(1000));
            if millis == 0 { write!(out, "{secs}") } else { write!(out, "{:?}", at.millis() as f64 / 1000.0) }
        }
        ValueRef::Text(value) => return text(out, value),
        ValueRef::Blob(blob) => return text(out, &blob.to_base64()),
        ValueRef::Structure(inner) => return structure(out, inner, Bound::Body),
        ValueRef::List(list) => {
            let item = if let Target::List(shape) = target { shape.item } else { target };
            out.push('[');
            for index in 0..list.len() {
                if index > 0 {
                    out.push(',');
                }
                self::value(out, item, list.item(index));
            }
            out.push(']');
            return;
        }
        ValueRef::Map(map) => {
            let held_target = if let Target::Map(shape) = target { shape.value } else { target };
            out.push('{');
            let mut first = true;
            map.each(&mut |name, held| {
                key(out, &mut first, name);
                self::value(out, held_target, held);
            });
            out.push('}');
            return;
        }
    };
}

/// What is no number in JSON is a string, as in the protocol.
fn float(out: &mut String, value: f64) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        text(out, name);
    }
}

pub fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
