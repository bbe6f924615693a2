//! A value for every member of any shape: distinct, deterministic, bounded. For tests that hold a codec against
//! another implementation, and for examples.

use crate::{
    Blob, Location, NumberShape, StringShape, StructShape, Structure, Target, Timestamp, Value, ValueMut,
};

/// A default value of `T`, filled.
pub fn filled<T: Structure + Default>() -> T {
    let mut out = T::default();
    fill(&mut out);
    out
}

/// Sets every member of `target`. Lists near the top get two items, deeper ones one; a shape inside itself stays absent.
/// Strings cover what an escaping writer must survive; numbers keep the bounds of the model.
pub fn fill(target: &mut dyn Structure) {
    Filler { next: 0, within: Vec::new(), plain: false }.structure(target);
}

struct Filler {
    next: u32,
    within: Vec<&'static StructShape>,
    /// What is filled travels in a header, which takes visible characters alone.
    plain: bool,
}

impl Filler {
    fn structure(&mut self, target: &mut dyn Structure) {
        let shape = target.shape();
        self.within.push(shape);
        for (index, member) in shape.members.iter().enumerate() {
            self.plain = member.location != Location::Body;
            if !self.recurs(member.target) {
                self.value(member.target, target.member_mut(index));
            }
        }
        self.within.pop();
    }

    /// Whether a value of this target would hold a structure that is being filled.
    fn recurs(&self, target: Target) -> bool {
        match target {
            Target::Structure(shape) => self.within.iter().any(|outer| std::ptr::eq(*outer, shape)),
            Target::List(shape) => self.recurs(shape.item),
            Target::Map(shape) => self.recurs(shape.value),
            _ => false,
        }
    }

    fn value(&mut self, target: Target, value: &mut dyn Value) {
        self.next += 1;
        let number = self.next;
        match (target, value.slot()) {
            (Target::Boolean, ValueMut::Boolean(out)) => *out = number % 2 == 1,
            (Target::Integer(shape), ValueMut::Integer(out)) => *out = bounded(number, shape) as i32,
            (Target::Long(shape), ValueMut::Long(out)) => {
                *out = if shape.max.is_none() {
                    (1 << 40) + i64::from(number)
                } else {
                    bounded(number, shape) as i64
                };
            }
            (Target::Float(shape), ValueMut::Float(out)) => *out = bounded(number, shape) as f32 + 0.25,
            (Target::Double(shape), ValueMut::Double(out)) => *out = bounded(number, shape) + 0.125,
            (Target::String(shape), ValueMut::Text(out)) => out.set(&text(number, shape, self.plain)),
            (Target::Timestamp(_), ValueMut::Timestamp(out)) => {
                *out = Timestamp::from_millis(1_700_000_000_000 + i64::from(number) * 1_001);
            }
            (Target::Blob, ValueMut::Blob(out)) => *out = Blob(number.to_be_bytes().to_vec()),
            (Target::Structure(_), ValueMut::Structure(out)) => self.structure(out),
            (Target::List(shape), ValueMut::List(out)) => {
                let items = if self.within.len() <= 2 { 2 } else { 1 };
                for _ in 0..items {
                    self.value(shape.item, out.push_item());
                }
            }
            (Target::Map(shape), ValueMut::Map(out)) => {
                for key in ["first", if self.plain { "second" } else { "second <&>" }] {
                    if let Some(held) = out.insert_key(key) {
                        self.value(shape.value, held);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A number within bounds, distinct while they allow.
fn bounded(number: u32, shape: &NumberShape) -> f64 {
    match (shape.min, shape.max) {
        (None, None) => f64::from(number),
        (Some(min), None) => min + f64::from(number),
        (min, Some(max)) => {
            let low = min.unwrap_or(0.0).min(max);
            let room = (max - low).floor().max(0.0) as u32;
            low + f64::from(number % room.max(1))
        }
    }
}

fn text(number: u32, shape: &StringShape, plain: bool) -> String {
    if !shape.values.is_empty() {
        return shape.values[number as usize % shape.values.len()].to_owned();
    }
    let mut out = match number % 4 {
        0 if !plain => format!("<v&{number}> \"é\" \r\n\t'"),
        _ => format!("value-{number}"),
    };
    if let Some(min) = shape.length.min {
        let lacking = (min as usize).saturating_sub(out.chars().count());
        out.extend(std::iter::repeat_n('x', lacking));
    }
    match shape.length.max {
        Some(max) => out.chars().take(max as usize).collect(),
        None => out,
    }
}
