//! A request into a structure, each member from where its shape says that it travels.
//!
//! Invariants: never panics; memory is bounded by what was sent; a required member is present afterwards, or the answer is
//! an error. JSON is read by [`crate::json`].

use super::Request;
use super::route::labels;
use super::scalar;
use crate::decode::check_length;
use crate::form::{Form, unescape_path};
use crate::{Blob, DecodeError, Fault, Location, Member, OperationShape, Structure, Target, TimestampFormat};
use crate::{Value, ValueMut, json};

type Done = Result<(), DecodeError>;

/// Reads all parts of the request for an operation; the path must fit its template.
pub fn decode_into(operation: &OperationShape, request: Request<'_>, target: &mut dyn Structure) -> Done {
    let shape = target.shape();
    let query = Form::parse(request.query.as_bytes())?;
    let labels =
        labels(operation.uri, request.path).ok_or_else(|| DecodeError::new(Fault::Encoding, "the path"))?;
    for (index, member) in shape.members.iter().enumerate() {
        let is_there = match member.location {
            Location::Body | Location::StatusCode => continue,
            Location::Uri => {
                let found = labels.iter().find(|(name, _)| *name == member.wire_name());
                match found {
                    Some((_, raw)) => {
                        let text = unescape_path(raw.as_bytes())?;
                        set(member, target.member_mut(index), &text, TimestampFormat::Iso8601)?;
                        true
                    }
                    None => false,
                }
            }
            Location::QueryString => from_query(&query, shape.members, member, target.member_mut(index))?,
            Location::Header => from_header(request, member, target.member_mut(index))?,
            Location::Headers => from_headers(request, member, target.member_mut(index))?,
        };
        if member.required && !is_there {
            return Err(DecodeError::new(Fault::Missing, spells(member)));
        }
    }
    match shape.payload.and_then(|name| shape.index_of(name)) {
        Some(index) => payload(&shape.members[index], target.member_mut(index), request.body),
        None => json::decode_bound(request.body, target),
    }
}

/// As errors name a member: in lower camel case, wherever it travels.
fn spells(member: &Member) -> String {
    let mut name = member.name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

fn set(member: &Member, value: &mut dyn Value, text: &str, usual: TimestampFormat) -> Done {
    scalar::set(member.target, value.slot(), text, usual)
        .map_err(|fault| DecodeError::of_value(fault, &spells(member), text, member.target))
}

/// Fills a list, item by item.
fn list<'t>(
    member: &Member,
    value: &mut dyn Value,
    texts: impl Iterator<Item = &'t str>,
    usual: TimestampFormat,
) -> Done {
    let (Target::List(shape), ValueMut::List(items)) = (member.target, value.slot()) else {
        return Err(DecodeError::new(Fault::Unknown, spells(member)));
    };
    for text in texts {
        scalar::set(shape.item, items.push_item().slot(), text, usual)
            .map_err(|fault| DecodeError::of_value(fault, &spells(member), text, shape.item))?;
    }
    let length = items.len() as u64;
    check_length(length, shape.length)
        .map_err(|fault| DecodeError::new(fault, spells(member)).with_value(format!("{length} items")))
}

fn from_query(
    query: &Form,
    members: &[Member],
    member: &Member,
    value: &mut dyn Value,
) -> Result<bool, DecodeError> {
    if let Target::Map(shape) = member.target {
        return rest_of_query(query, members, member, shape.value, value);
    }
    let mut given = query.iter().filter(|(name, _)| *name == member.wire_name()).map(|(_, text)| text);
    let usual = TimestampFormat::Iso8601;
    if matches!(member.target, Target::List(_)) {
        let mut given = given.peekable();
        let is_there = given.peek().is_some();
        if is_there {
            list(member, value, given, usual)?;
        }
        return Ok(is_there);
    }
    let Some(text) = given.next() else { return Ok(false) };
    if given.next().is_some() {
        return Err(DecodeError::new(Fault::Duplicate, spells(member)));
    }
    set(member, value, text, usual)?;
    Ok(true)
}

/// A map takes all parameters that no other member takes.
fn rest_of_query(
    query: &Form,
    members: &[Member],
    member: &Member,
    held: Target,
    value: &mut dyn Value,
) -> Result<bool, DecodeError> {
    let taken = |name: &str| {
        members.iter().any(|other| {
            other.location == Location::QueryString
                && !matches!(other.target, Target::Map(_))
                && other.wire_name() == name
        })
    };
    let mut names: Vec<&str> = query.iter().map(|(name, _)| name).filter(|name| !taken(name)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(false);
    }
    let unknown = || DecodeError::new(Fault::Unknown, spells(member));
    let ValueMut::Map(entries) = value.slot() else { return Err(unknown()) };
    for name in names {
        let texts = query.iter().filter(|(given, _)| *given == name).map(|(_, text)| text);
        let entry = entries.insert_key(name).ok_or_else(unknown)?;
        let inner = Member { name: member.name, target: held, ..Member::BASE };
        if matches!(held, Target::List(_)) {
            list(&inner, entry, texts, TimestampFormat::Iso8601)?;
        } else {
            for text in texts.take(1) {
                set(&inner, entry, text, TimestampFormat::Iso8601)?;
            }
        }
    }
    Ok(true)
}

/// The text of a header, which is UTF-8 or refused.
fn text<'a>(member: &Member, value: &'a [u8]) -> Result<&'a str, DecodeError> {
    let text = std::str::from_utf8(value).map_err(|_| DecodeError::new(Fault::Encoding, spells(member)))?;
    Ok(text.trim_matches([' ', '\t']))
}

fn from_header(request: Request<'_>, member: &Member, value: &mut dyn Value) -> Result<bool, DecodeError> {
    let name = member.wire_name();
    let mut given = request.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
    let Some((_, first)) = given.next() else { return Ok(false) };
    let first = text(member, first)?;
    let usual = TimestampFormat::Rfc822;
    if matches!(member.target, Target::List(_)) {
        let mut all = vec![first];
        for (_, more) in given {
            all.push(text(member, more)?);
        }
        let items: Vec<String> = all.iter().flat_map(|line| split(line)).collect();
        list(member, value, items.iter().map(String::as_str), usual)?;
        return Ok(true);
    }
    if given.next().is_some() {
        return Err(DecodeError::new(Fault::Duplicate, spells(member)));
    }
    set(member, value, first, usual)?;
    Ok(true)
}

/// The items of a header that is a list: between commas, in quotes if they hold commas themselves.
fn split(line: &str) -> Vec<String> {
    let (mut items, mut item, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                item.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    let trimmed = items.iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
}

/// A map takes all headers that begin with its name.
fn from_headers(request: Request<'_>, member: &Member, value: &mut dyn Value) -> Result<bool, DecodeError> {
    let prefix = member.location_name.unwrap_or_default();
    let begins =
        |name: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let mut is_there = false;
    for (name, given) in request.headers.iter().filter(|(name, _)| begins(name)) {
        let unknown = || DecodeError::new(Fault::Unknown, spells(member));
        let (Target::Map(shape), ValueMut::Map(entries)) = (member.target, value.slot()) else {
            return Err(unknown());
        };
        let entry = entries
            .insert_key(&name[prefix.len()..])
            .ok_or_else(|| DecodeError::new(Fault::Duplicate, spells(member)))?;
        let inner = Member { name: member.name, target: shape.value, ..Member::BASE };
        set(&inner, entry, text(member, given)?, TimestampFormat::Rfc822)?;
        is_there = true;
    }
    Ok(is_there)
}

/// The whole body is one member.
fn payload(member: &Member, value: &mut dyn Value, body: &[u8]) -> Done {
    if body.is_empty() && !member.required {
        return Ok(());
    }
    match (member.target, value.slot()) {
        (Target::Blob, ValueMut::Blob(out)) => *out = Blob(body.to_vec()),
        (Target::String(_), ValueMut::Text(out)) => {
            let text = std::str::from_utf8(body);
            out.set(text.map_err(|_| DecodeError::new(Fault::Encoding, spells(member)))?);
        }
        (Target::Structure(_), ValueMut::Structure(inner)) => return json::decode_into(body, inner),
        _ => return Err(DecodeError::new(Fault::Unknown, spells(member))),
    }
    Ok(())
}
