//! A JSON object into a structure, by its shape.
//!
//! Invariants: never panics; depth is bounded, of what is passed over too; memory is bounded by what was sent (items and
//! entries are counted); a required member is present afterwards, or the answer is an error.

use super::read::{Broken, Kind, Reader};
use crate::decode::{MAX_DEPTH, check_length, check_number};
use crate::form::MAX_PAIRS;
use crate::{
    Blob, DecodeError, Fault, Location, Member, Structure, Target, Timestamp, TimestampFormat, ValueMut,
};

type Done = Result<(), DecodeError>;

impl From<Broken> for DecodeError {
    fn from(broken: Broken) -> Self {
        Self::new(Fault::Encoding, format!("what is at byte {} was not expected", broken.at))
    }
}

/// With `bound`, members of the outermost structure that travel elsewhere are none of the body's.
pub fn decode(body: &[u8], target: &mut dyn Structure, bound: Bound) -> Done {
    let mut decoder = Decoder { reader: Reader::new(body)?, path: Vec::new(), values: 0, bound };
    if decoder.reader.is_at_end() {
        return decoder.required(target, &vec![false; target.shape().members.len()]);
    }
    decoder.structure(target)?;
    Ok(decoder.reader.end()?)
}

/// Whether members travel elsewhere than in the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Body,
    AsShaped,
}

struct Decoder<'a> {
    reader: Reader<'a>,
    /// From the body down to the value at hand.
    path: Vec<String>,
    /// How many values of lists, maps and objects were read.
    values: usize,
    bound: Bound,
}

impl Decoder<'_> {
    fn fault(&self, fault: Fault) -> DecodeError {
        DecodeError::new(fault, self.path.join("."))
    }

    fn is_elsewhere(&self, member: &Member) -> bool {
        self.bound == Bound::AsShaped && self.path.is_empty() && member.location != Location::Body
    }

    fn malformed(&self, expected: &'static str) -> DecodeError {
        self.fault(Fault::Malformed { expected })
    }

    /// Counts one value more.
    fn count(&mut self) -> Done {
        self.values += 1;
        if self.values > MAX_PAIRS { Err(self.fault(Fault::TooMany)) } else { Ok(()) }
    }

    fn within<T>(
        &mut self,
        name: String,
        inner: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.fault(Fault::TooDeep));
        }
        self.path.push(name);
        let done = inner(self)?;
        self.path.pop();
        Ok(done)
    }

    /// Each key of an object, with the reader before its value.
    fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Done) -> Done {
        if self.reader.kind()? != Kind::Object {
            return Err(self.malformed("an object"));
        }
        self.reader.expect(b'{')?;
        if self.reader.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.reader.text()?;
            self.reader.expect(b':')?;
            self.count()?;
            each(self, &key)?;
            if !self.reader.eat(b',') {
                return Ok(self.reader.expect(b'}')?);
            }
        }
    }

    fn structure(&mut self, target: &mut dyn Structure) -> Done {
        let shape = target.shape();
        let mut seen = vec![false; shape.members.len()];
        self.object(|decoder, key| {
            let mut members = shape.members.iter();
            let found = members.position(|member| member.wire_name() == key && !decoder.is_elsewhere(member));
            let Some(index) = found else {
                return decoder.within(String::from("…"), Self::pass_over);
            };
            let member = &shape.members[index];
            decoder.within(spells(member), |decoder| {
                if decoder.reader.kind()? == Kind::Null {
                    return Ok(decoder.reader.null()?);
                }
                if std::mem::replace(&mut seen[index], true) {
                    return Err(decoder.fault(Fault::Duplicate));
                }
                decoder.value(member.target, target.member_mut(index).slot())
            })
        })?;
        self.required(target, &seen)
    }

    fn required(&self, target: &dyn Structure, seen: &[bool]) -> Done {
        let mut members = target.shape().members.iter().zip(seen);
        let missing = members.find(|(member, seen)| member.required && !**seen && !self.is_elsewhere(member));
        let Some((member, _)) = missing else { return Ok(()) };
        let path: Vec<String> = self.path.iter().cloned().chain([spells(member)]).collect();
        Err(DecodeError::new(Fault::Missing, path.join(".")))
    }

    fn value(&mut self, target: Target, slot: ValueMut<'_>) -> Done {
        match (target, slot) {
            (Target::Structure(_), ValueMut::Structure(inner)) => self.structure(inner),
            (Target::List(shape), ValueMut::List(items)) => {
                if self.reader.kind()? != Kind::List {
                    return Err(self.malformed("a list"));
                }
                self.reader.expect(b'[')?;
                let mut length = 0;
                if !self.reader.eat(b']') {
                    loop {
                        self.count()?;
                        length += 1;
                        self.within(String::from("member"), |decoder| {
                            decoder.value(shape.item, items.push_item().slot())
                        })?;
                        if !self.reader.eat(b',') {
                            self.reader.expect(b']')?;
                            break;
                        }
                    }
                }
                check_length(length, shape.length)
                    .map_err(|fault| self.fault(fault).with_value(format!("{length} items")))
            }
            (Target::Map(shape), ValueMut::Map(entries)) => self.object(|decoder, key| {
                decoder.within(String::from("member"), |decoder| {
                    let place = entries.insert_key(key).ok_or_else(|| decoder.fault(Fault::Duplicate))?;
                    decoder.value(shape.value, place.slot())
                })
            }),
            (Target::Boolean, ValueMut::Boolean(out)) => {
                if self.reader.kind()? != Kind::Boolean {
                    return Err(self.malformed("true or false"));
                }
                *out = self.reader.boolean()?;
                Ok(())
            }
            (Target::Integer(shape), ValueMut::Integer(out)) => {
                *out = self.number("an integer of 32 bits")?;
                self.bounds(f64::from(*out), shape)
            }
            (Target::Long(shape), ValueMut::Long(out)) => {
                *out = self.number("an integer of 64 bits")?;
                self.bounds(*out as f64, shape)
            }
            (Target::Float(shape), ValueMut::Float(out)) => {
                *out = self.number("a number")?;
                self.bounds(f64::from(*out), shape)
            }
            (Target::Double(shape), ValueMut::Double(out)) => {
                *out = self.number("a number")?;
                self.bounds(*out, shape)
            }
            (Target::Timestamp(TimestampFormat::Iso8601), ValueMut::Timestamp(out)) => {
                let text = self.text("a time in ISO 8601")?;
                *out = Timestamp::parse(&text).ok_or_else(|| self.malformed("a time in ISO 8601"))?;
                Ok(())
            }
            (Target::Timestamp(TimestampFormat::Rfc822), ValueMut::Timestamp(out)) => {
                let text = self.text("a date of HTTP")?;
                *out = Timestamp::parse_http_date(&text).ok_or_else(|| self.malformed("a date of HTTP"))?;
                Ok(())
            }
            (Target::Timestamp(_), ValueMut::Timestamp(out)) => {
                let seconds: f64 = self.number("a time in seconds")?;
                self.bounds(seconds, &crate::NumberShape::ANY)?;
                // What lies beyond the calendar is cut to its edge by the cast.
                *out = Timestamp::from_millis((seconds * 1000.0).round() as i64);
                Ok(())
            }
            (target @ Target::String(shape), ValueMut::Text(out)) => {
                let text = self.text("a string")?;
                check_length(text.chars().count() as u64, shape.length)
                    .map_err(|fault| DecodeError::of_value(fault, &self.path.join("."), &text, target))?;
                out.set(&text);
                Ok(())
            }
            (Target::Blob, ValueMut::Blob(out)) => {
                let text = self.text("base64")?;
                *out = Blob::from_base64(&text).ok_or_else(|| self.malformed("base64"))?;
                Ok(())
            }
            // Shape and value come from the same generator; a mismatch is refused rather than trusted.
            _ => Err(self.fault(Fault::Unknown)),
        }
    }

    fn text(&mut self, expected: &'static str) -> Result<String, DecodeError> {
        if self.reader.kind()? != Kind::Text {
            return Err(self.malformed(expected));
        }
        Ok(self.reader.text()?.into_owned())
    }

    fn number<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T, DecodeError> {
        if self.reader.kind()? != Kind::Number {
            return Err(self.malformed(expected));
        }
        self.reader.number()?.parse().map_err(|_| self.malformed(expected))
    }

    fn bounds(&self, value: f64, shape: &crate::NumberShape) -> Done {
        check_number(value, shape).map_err(|fault| self.fault(fault).with_value(value.to_string()))
    }

    /// Steps over a value, whatever it is.
    fn pass_over(&mut self) -> Done {
        match self.reader.kind()? {
            Kind::Null => self.reader.null()?,
            Kind::Boolean => drop(self.reader.boolean()?),
            Kind::Number => drop(self.reader.number()?),
            Kind::Text => drop(self.reader.text()?),
            Kind::Object => {
                self.object(|decoder, _| decoder.within(String::from("…"), Self::pass_over))?;
            }
            Kind::List => {
                self.reader.expect(b'[')?;
                if !self.reader.eat(b']') {
                    loop {
                        self.count()?;
                        self.within(String::from("…"), Self::pass_over)?;
                        if !self.reader.eat(b',') {
                            self.reader.expect(b']')?;
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// As errors name a member: in lower camel case.
fn spells(member: &Member) -> String {
    let mut name = member.wire_name().to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}
