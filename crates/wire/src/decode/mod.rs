//! Decoding a form into a structure, by its shape; shared by the ec2 and the query protocol, which differ in names and
//! in what stands around list items.
//!
//! Invariants: never panics; depth is bounded; memory is bounded by what was sent (an index is a number, never a length);
//! a required member is present afterwards, or the answer is an error. The first fault found is the one reported.

mod error;
pub(crate) mod scalar;

pub use error::{DecodeError, Fault};
pub(crate) use scalar::number as check_number;

use crate::form::Form;
use crate::{Limits, ListShape, MapShape, Member, Structure, Target, ValueMut};

/// Whether a length keeps its bounds.
pub(crate) fn check_length(length: u64, limits: Limits) -> Result<(), Fault> {
    scalar::length(length, limits.min, limits.max).map_or(Ok(()), Err)
}

/// Deeper than any shape of a model that does not recur.
pub(crate) const MAX_DEPTH: usize = 32;

/// In what the form protocols differ.
pub(crate) struct Dialect {
    /// Whether a form segment names this member.
    pub names: fn(&Member, &str) -> bool,
    /// How an error names a member.
    pub spells: fn(&Member) -> String,
    /// The segment between a list and its index, unless the list is flattened; `None`: all are.
    pub item: Option<&'static str>,
    /// `Key=` is an empty list.
    pub empty_lists: bool,
}

/// Parameters of the protocol, not of the operation.
fn is_envelope(name: &str) -> bool {
    matches!(
        name,
        "Action"
            | "Version"
            | "AWSAccessKeyId"
            | "Expires"
            | "Signature"
            | "SignatureMethod"
            | "SignatureVersion"
            | "Timestamp"
            | "SecurityToken"
    ) || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("X-Amz-"))
}

/// One parameter: the whole key, and its value.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

/// Parameters that share everything before `at`, sorted by segments.
#[derive(Clone, Copy)]
struct Group<'a> {
    pairs: &'a [Pair<'a>],
    at: usize,
}

impl<'a> Group<'a> {
    /// The segment that all pairs share at `at`, and what lies below it.
    fn segment(self) -> (&'a str, Group<'a>) {
        let rest = &self.pairs[0].key[self.at..];
        let segment = rest.split('.').next().unwrap_or(rest);
        (segment, Group { pairs: self.pairs, at: self.at + segment.len() + 1 })
    }

    /// The groups of equal segment.
    fn runs(self) -> impl Iterator<Item = (&'a str, Group<'a>)> {
        self.pairs
            .chunk_by(move |a, b| segment_at(a.key, self.at) == segment_at(b.key, self.at))
            .map(move |pairs| Group { pairs, at: self.at }.segment())
    }

    /// The value, when the key ends before `at` and nothing lies below it.
    fn leaf(self) -> Option<&'a str> {
        match self.pairs {
            [only] if only.key.len() < self.at => Some(only.value),
            _ => None,
        }
    }

    /// The first key that ends before `at`, where a structure or a list is expected.
    fn is_bare(self) -> bool {
        self.pairs[0].key.len() < self.at
    }

    /// The key down to `at`, for errors.
    fn path(self) -> &'a str {
        let key = self.pairs[0].key;
        &key[..key.len().min(self.at.saturating_sub(1))]
    }

    /// The deepest key, for errors about what is below a scalar.
    fn last_key(self) -> &'a str {
        self.pairs[self.pairs.len() - 1].key
    }
}

fn segment_at(key: &str, at: usize) -> &str {
    let rest = key.get(at..).unwrap_or_default();
    rest.split('.').next().unwrap_or(rest)
}

/// Decodes the parameters of `form` into `target`.
pub(crate) fn decode(form: &Form, dialect: &Dialect, target: &mut dyn Structure) -> Result<(), DecodeError> {
    let mut pairs: Vec<Pair<'_>> = form.pairs.iter().map(|(key, value)| Pair { key, value }).collect();
    // By segments, so that parameters with a common start are neighbours (`A-b` would come between `A` and `A.1`).
    pairs.sort_by(|a, b| a.key.split('.').cmp(b.key.split('.')));
    if let Some(twice) = pairs.windows(2).find(|two| two[0].key == two[1].key) {
        return Err(DecodeError::new(Fault::Duplicate, twice[0].key));
    }
    structure(Group { pairs: &pairs, at: 0 }, dialect, target, 0)
}

fn structure(
    group: Group<'_>,
    dialect: &Dialect,
    target: &mut dyn Structure,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::new(Fault::TooDeep, group.path()));
    }
    let shape = target.shape();
    let mut seen = vec![false; shape.members.len()];
    for (segment, below) in group.runs() {
        let index = shape.members.iter().position(|member| (dialect.names)(member, segment));
        let Some(index) = index else {
            if group.at == 0 && is_envelope(segment) {
                continue;
            }
            return Err(DecodeError::new(Fault::Unknown, below.pairs[0].key));
        };
        if std::mem::replace(&mut seen[index], true) {
            return Err(DecodeError::new(Fault::Duplicate, below.path()));
        }
        let member = &shape.members[index];
        value(below, dialect, member.target, member.flattened, target.member_mut(index).slot(), depth + 1)?;
    }
    let missing = shape.members.iter().zip(seen).find(|(member, seen)| member.required && !seen);
    if let Some((member, _)) = missing {
        let name = (dialect.spells)(member);
        let path = if group.at == 0 { name } else { format!("{}.{name}", group.path()) };
        return Err(DecodeError::new(Fault::Missing, path));
    }
    Ok(())
}

fn value(
    group: Group<'_>,
    dialect: &Dialect,
    target: Target,
    flattened: bool,
    slot: ValueMut<'_>,
    depth: usize,
) -> Result<(), DecodeError> {
    match (target, slot) {
        (Target::Structure(_), ValueMut::Structure(inner)) => {
            if group.is_bare() {
                return Err(DecodeError::new(Fault::Unknown, group.path()));
            }
            structure(group, dialect, inner, depth)
        }
        (Target::List(shape), ValueMut::List(items)) => {
            if group.is_bare() {
                let is_scalar =
                    !matches!(shape.item, Target::Structure(_) | Target::List(_) | Target::Map(_));
                return match group.leaf() {
                    Some("") if dialect.empty_lists => Ok(()),
                    // One value, without its index: `KeyName=mine`, as libcloud sends it.
                    Some(_) if is_scalar && dialect.item.is_none() => {
                        value(group, dialect, shape.item, false, items.push_item().slot(), depth + 1)
                    }
                    _ => Err(DecodeError::new(Fault::Unknown, group.path())),
                };
            }
            let item = dialect.item.filter(|_| !flattened && !shape.flattened);
            let group = below(group, item.map(|default| shape.item_name.unwrap_or(default)))?;
            list(group, dialect, shape, items, depth)
        }
        (Target::Map(shape), ValueMut::Map(entries)) => {
            if group.is_bare() {
                return Err(DecodeError::new(Fault::Unknown, group.path()));
            }
            let group = below(group, if flattened || shape.flattened { None } else { Some("entry") })?;
            map(group, dialect, shape, entries, depth)
        }
        (target, slot) => match group.leaf() {
            Some(text) => scalar::set(target, slot, text)
                .map_err(|fault| DecodeError::of_value(fault, group.path(), text, target)),
            None => Err(DecodeError::new(Fault::Unknown, group.last_key())),
        },
    }
}

/// Steps over the one segment that must stand here, if any.
fn below<'a>(group: Group<'a>, segment: Option<&str>) -> Result<Group<'a>, DecodeError> {
    let Some(expected) = segment else { return Ok(group) };
    if let Some((_, other)) = group.runs().find(|(segment, _)| *segment != expected) {
        return Err(DecodeError::new(Fault::Unknown, other.pairs[0].key));
    }
    let (_, inner) = group.segment();
    if inner.is_bare() {
        return Err(DecodeError::new(Fault::Unknown, inner.path()));
    }
    Ok(inner)
}

/// Indices in their order; gaps are skipped, an index that is no number is unknown.
fn indexed(group: Group<'_>) -> Result<Vec<(u32, Group<'_>)>, DecodeError> {
    let mut runs = Vec::new();
    for (segment, below) in group.runs() {
        let number =
            segment.bytes().all(|byte| byte.is_ascii_digit()).then(|| segment.parse().ok()).flatten();
        let Some(index) = number else {
            return Err(DecodeError::new(Fault::Unknown, below.pairs[0].key));
        };
        runs.push((index, below));
    }
    runs.sort_by_key(|(index, _)| *index);
    // `1` and `01`.
    if let Some(twice) = runs.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(DecodeError::new(Fault::Duplicate, twice[1].1.path()));
    }
    Ok(runs)
}

fn list(
    group: Group<'_>,
    dialect: &Dialect,
    shape: &ListShape,
    items: &mut dyn crate::List,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::new(Fault::TooDeep, group.path()));
    }
    let runs = indexed(group)?;
    let Limits { min, max } = shape.length;
    let count = runs.len() as u64;
    if let Some(fault) = scalar::length(count, min, max) {
        return Err(DecodeError::new(fault, group.path()).with_value(format!("{count} items")));
    }
    for (_, below) in runs {
        value(below, dialect, shape.item, false, items.push_item().slot(), depth + 1)?;
    }
    Ok(())
}

fn map(
    group: Group<'_>,
    dialect: &Dialect,
    shape: &MapShape,
    entries: &mut dyn crate::Map,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::new(Fault::TooDeep, group.path()));
    }
    let (key_name, value_name) = (shape.key_name.unwrap_or("key"), shape.value_name.unwrap_or("value"));
    for (_, entry) in indexed(group)? {
        if entry.is_bare() {
            return Err(DecodeError::new(Fault::Unknown, entry.path()));
        }
        let (mut key, mut held) = (None, None);
        for (segment, below) in entry.runs() {
            match segment {
                segment if segment == key_name => key = below.leaf(),
                segment if segment == value_name => held = Some(below),
                _ => return Err(DecodeError::new(Fault::Unknown, below.pairs[0].key)),
            }
        }
        let missing = |name: &str| DecodeError::new(Fault::Missing, format!("{}.{name}", entry.path()));
        let key = key.ok_or_else(|| missing(key_name))?;
        let held = held.ok_or_else(|| missing(value_name))?;
        let place =
            entries.insert_key(key).ok_or_else(|| DecodeError::new(Fault::Duplicate, entry.path()))?;
        value(held, dialect, shape.value, false, place.slot(), depth + 1)?;
    }
    Ok(())
}
