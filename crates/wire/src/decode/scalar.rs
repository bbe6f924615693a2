//! Text to numbers, booleans, times and bytes, held against the bounds of the model.

use crate::{Blob, Fault, NumberShape, Target, Timestamp, ValueMut};

pub(crate) fn set(target: Target, slot: ValueMut<'_>, text: &str) -> Result<(), Fault> {
    match (target, slot) {
        (Target::Boolean, ValueMut::Boolean(out)) => {
            *out = if text.eq_ignore_ascii_case("true") {
                true
            } else if text.eq_ignore_ascii_case("false") {
                false
            } else {
                return Err(Fault::Malformed { expected: "true or false" });
            };
        }
        (Target::Integer(shape), ValueMut::Integer(out)) => {
            *out = text.parse().map_err(|_| Fault::Malformed { expected: "an integer of 32 bits" })?;
            number(f64::from(*out), shape)?;
        }
        (Target::Long(shape), ValueMut::Long(out)) => {
            *out = text.parse().map_err(|_| Fault::Malformed { expected: "an integer of 64 bits" })?;
            number(*out as f64, shape)?;
        }
        (Target::Float(shape), ValueMut::Float(out)) => {
            let value: f32 = text.parse().map_err(|_| Fault::Malformed { expected: "a number" })?;
            number(f64::from(value), shape)?;
            *out = value;
        }
        (Target::Double(shape), ValueMut::Double(out)) => {
            let value: f64 = text.parse().map_err(|_| Fault::Malformed { expected: "a number" })?;
            number(value, shape)?;
            *out = value;
        }
        (Target::String(shape), ValueMut::Text(out)) => {
            if let Some(fault) = length(text.chars().count() as u64, shape.length.min, shape.length.max) {
                return Err(fault);
            }
            out.set(text);
        }
        (Target::Timestamp(_), ValueMut::Timestamp(out)) => {
            *out = Timestamp::parse(text).ok_or(Fault::Malformed { expected: "a time in ISO 8601" })?;
        }
        (Target::Blob, ValueMut::Blob(out)) => {
            *out = Blob::from_base64(text).ok_or(Fault::Malformed { expected: "base64" })?;
        }
        // Shape and value come from the same generator; a mismatch is refused rather than trusted.
        _ => return Err(Fault::Unknown),
    }
    Ok(())
}

pub(crate) fn number(value: f64, shape: &NumberShape) -> Result<(), Fault> {
    if !value.is_finite() {
        return Err(Fault::Malformed { expected: "a finite number" });
    }
    if let Some(min) = shape.min.filter(|min| value < *min) {
        return Err(Fault::TooSmall { min });
    }
    if let Some(max) = shape.max.filter(|max| value > *max) {
        return Err(Fault::TooLarge { max });
    }
    Ok(())
}

pub(super) fn length(length: u64, min: Option<u64>, max: Option<u64>) -> Option<Fault> {
    if let Some(min) = min.filter(|min| length < *min) {
        return Some(Fault::TooShort { min });
    }
    max.filter(|max| length > *max).map(|max| Fault::TooLong { max })
}
