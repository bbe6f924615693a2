//! `Clone` and `PartialEq` of every structure, by reflection.
//!
//! Slower than derives, and good enough: requests and responses are rarely cloned, and compared in tests only.

use crate::{Structure, Value, ValueMut, ValueRef};

/// What the `Clone` of generated structures calls. Generic, because a coercion in every structure costs check time.
#[inline]
pub fn clone_structure<T: Structure + Default>(from: &T) -> T {
    let mut out = T::default();
    copy_structure(from, &mut out);
    out
}

/// What the `PartialEq` of generated structures calls.
#[inline]
pub fn same_structures<T: Structure>(a: &T, b: &T) -> bool {
    eq_structures(a, b)
}

/// `to` is a default value of the same type.
fn copy_structure(from: &dyn Structure, to: &mut dyn Structure) {
    for index in 0..from.shape().members.len() {
        copy(from.member(index), to.member_mut(index));
    }
}

fn copy(from: &dyn Value, to: &mut dyn Value) {
    let view = from.view();
    if matches!(view, ValueRef::Absent) {
        return;
    }
    match (view, to.slot()) {
        (ValueRef::Boolean(from), ValueMut::Boolean(to)) => *to = from,
        (ValueRef::Integer(from), ValueMut::Integer(to)) => *to = from as i32,
        (ValueRef::Integer(from), ValueMut::Long(to)) => *to = from,
        (ValueRef::Float(from), ValueMut::Float(to)) => *to = from,
        (ValueRef::Double(from), ValueMut::Double(to)) => *to = from,
        (ValueRef::Text(from), ValueMut::Text(to)) => to.set(from),
        (ValueRef::Timestamp(from), ValueMut::Timestamp(to)) => *to = from,
        (ValueRef::Blob(from), ValueMut::Blob(to)) => to.clone_from(from),
        (ValueRef::Structure(from), ValueMut::Structure(to)) => copy_structure(from, to),
        (ValueRef::List(from), ValueMut::List(to)) => {
            (0..from.len()).for_each(|index| copy(from.item(index), to.push_item()));
        }
        (ValueRef::Map(from), ValueMut::Map(to)) => from.each(&mut |key, value| {
            if let Some(held) = to.insert_key(key) {
                copy(value, held);
            }
        }),
        _ => unreachable!("both are of one type"),
    }
}

/// Both are of the same type.
fn eq_structures(a: &dyn Structure, b: &dyn Structure) -> bool {
    (0..a.shape().members.len()).all(|index| equal(a.member(index), b.member(index)))
}

#[allow(clippy::float_cmp)] // as a derive would
fn equal(a: &dyn Value, b: &dyn Value) -> bool {
    match (a.view(), b.view()) {
        (ValueRef::Absent, ValueRef::Absent) => true,
        (ValueRef::Boolean(a), ValueRef::Boolean(b)) => a == b,
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a == b,
        (ValueRef::Float(a), ValueRef::Float(b)) => a == b,
        (ValueRef::Double(a), ValueRef::Double(b)) => a == b,
        (ValueRef::Text(a), ValueRef::Text(b)) => a == b,
        (ValueRef::Timestamp(a), ValueRef::Timestamp(b)) => a == b,
        (ValueRef::Blob(a), ValueRef::Blob(b)) => a == b,
        (ValueRef::Structure(a), ValueRef::Structure(b)) => eq_structures(a, b),
        (ValueRef::List(a), ValueRef::List(b)) => {
            a.len() == b.len() && (0..a.len()).all(|index| equal(a.item(index), b.item(index)))
        }
        (ValueRef::Map(a), ValueRef::Map(b)) => {
            let mut same = a.len() == b.len();
            a.each(&mut |key, value| same = same && b.value(key).is_some_and(|other| equal(value, other)));
            same
        }
        _ => false,
    }
}
