//! XML: a small escaping writer, and the encoding of structures that the ec2 and the query protocol share.

mod writer;

pub(crate) use writer::Writer;

use crate::{Member, Structure, Target, ValueRef};

/// Writes the members of `value`, without an element around them. `item` is the element of list items whose shape names none.
pub(crate) fn members(out: &mut Writer, value: &dyn Structure, item: &'static str) {
    for (index, member) in value.shape().members.iter().enumerate() {
        element(out, wire_name(member), member.target, member.flattened, value.member(index).view(), item);
    }
}

/// A flattened list shows its items under their own name.
fn wire_name(member: &Member) -> &'static str {
    match member.target {
        Target::List(shape) if member.flattened || shape.flattened => {
            shape.item_name.unwrap_or_else(|| member.wire_name())
        }
        _ => member.wire_name(),
    }
}

fn element(
    out: &mut Writer,
    name: &'static str,
    target: Target,
    flattened: bool,
    value: ValueRef<'_>,
    item: &'static str,
) {
    match value {
        ValueRef::Absent => {}
        ValueRef::Boolean(value) => out.text_element(name, if value { "true" } else { "false" }),
        ValueRef::Integer(value) => out.plain_element(name, &value),
        ValueRef::Float(value) => out.text_element(name, &float(value.is_infinite(), value > 0.0, &value)),
        ValueRef::Double(value) => out.text_element(name, &float(value.is_infinite(), value > 0.0, &value)),
        ValueRef::Text(value) => out.text_element(name, value),
        ValueRef::Timestamp(value) => out.plain_element(name, &value),
        ValueRef::Blob(value) => out.text_element(name, &value.to_base64()),
        ValueRef::Structure(value) => {
            out.open(name);
            members(out, value, item);
            out.close(name);
        }
        ValueRef::List(list) => {
            let Target::List(shape) = target else { return };
            let items = (0..list.len()).map(|index| list.item(index).view());
            if flattened || shape.flattened {
                items.for_each(|value| element(out, name, shape.item, false, value, item));
            } else {
                let inner = shape.item_name.unwrap_or(item);
                out.open(name);
                items.for_each(|value| element(out, inner, shape.item, false, value, item));
                out.close(name);
            }
        }
        ValueRef::Map(map) => {
            let Target::Map(shape) = target else { return };
            let flattened = flattened || shape.flattened;
            let entry = if flattened { name } else { "entry" };
            if !flattened {
                out.open(name);
            }
            map.each(&mut |key, value| {
                out.open(entry);
                out.text_element(shape.key_name.unwrap_or("key"), key);
                element(out, shape.value_name.unwrap_or("value"), shape.value, false, value.view(), item);
                out.close(entry);
            });
            if !flattened {
                out.close(name);
            }
        }
    }
}

/// XML Schema's spelling of what is no finite number.
fn float(infinite: bool, positive: bool, value: &dyn std::fmt::Display) -> String {
    match (infinite, positive) {
        (true, true) => "Infinity".to_owned(),
        (true, false) => "-Infinity".to_owned(),
        (false, _) => value.to_string(),
    }
}
