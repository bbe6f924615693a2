//! `Debug` of every structure, by reflection: members by their AWS names, absent ones left out, secrets masked.

use std::fmt;

use crate::{Structure, Target, Value, ValueRef};

const MASK: &str = "***";

/// What the `Debug` of generated structures calls.
#[inline]
pub fn debug_structure<T: Structure>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_structure(value, f)
}

fn fmt_structure(value: &dyn Structure, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shape = value.shape();
    if shape.sensitive {
        return write!(f, "{}({MASK})", shape.name);
    }
    let mut out = f.debug_struct(shape.name);
    for (index, member) in shape.members.iter().enumerate() {
        let value = value.member(index);
        if !matches!(value.view(), ValueRef::Absent) {
            out.field(member.name, &Shown { value, target: member.target });
        }
    }
    out.finish()
}

struct Shown<'a> {
    value: &'a dyn Value,
    target: Target,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Target::String(shape) = self.target
            && shape.sensitive
        {
            return f.write_str(MASK);
        }
        match self.value.view() {
            ValueRef::Absent => f.write_str("None"),
            ValueRef::Boolean(value) => value.fmt(f),
            ValueRef::Integer(value) => value.fmt(f),
            ValueRef::Float(value) => value.fmt(f),
            ValueRef::Double(value) => value.fmt(f),
            ValueRef::Text(value) => value.fmt(f),
            ValueRef::Timestamp(value) => value.fmt(f),
            ValueRef::Blob(value) => value.fmt(f),
            ValueRef::Structure(value) => fmt_structure(value, f),
            ValueRef::List(list) => {
                let target = if let Target::List(shape) = self.target { shape.item } else { self.target };
                let items = (0..list.len()).map(|index| Shown { value: list.item(index), target });
                f.debug_list().entries(items).finish()
            }
            ValueRef::Map(map) => {
                let target = if let Target::Map(shape) = self.target { shape.value } else { self.target };
                let mut out = f.debug_map();
                map.each(&mut |key, value| {
                    out.entry(&key, &Shown { value, target });
                });
                out.finish()
            }
        }
    }
}
