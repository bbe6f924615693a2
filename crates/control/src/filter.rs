//! `Filter.N`: values OR, filters AND, `*` and `?` as wildcards, `\` to escape them.
//!
//! A noun declares its filters as a table of names and the values that a record has under them; `tag:KEY` and `tag-key`
//! come from the record's tags. An unknown filter is the caller's mistake.

use crate::tag::Tags;
use crate::{Result, errors};
use std::borrow::Cow;

/// One filter of a noun: its name, and the values under which a record is found. `X` is whatever else it must look at.
pub struct FilterField<R: ?Sized, X: ?Sized> {
    pub name: &'static str,
    pub values: for<'a> fn(&'a R, &'a X) -> Values<'a>,
}

/// What a record has under one filter: mostly one value.
pub type Values<'a> = Vec<Cow<'a, str>>;

/// One value.
pub fn one<'a>(value: impl Into<Cow<'a, str>>) -> Values<'a> {
    vec![value.into()]
}

/// One value that has to be written out first.
pub fn shown<'a>(value: impl std::fmt::Display) -> Values<'a> {
    vec![Cow::Owned(value.to_string())]
}

/// A value that may be missing.
pub fn maybe<'a, T: Into<Cow<'a, str>>>(value: Option<T>) -> Values<'a> {
    value.into_iter().map(Into::into).collect()
}

enum Test<R: ?Sized + 'static, X: ?Sized + 'static> {
    Field(&'static FilterField<R, X>),
    Tag(String),
    TagKey,
}

/// The filters of one request, ready to judge records.
pub struct Filters<R: ?Sized + 'static, X: ?Sized + 'static>(Vec<(Test<R, X>, Vec<Pattern>)>);

impl<R: ?Sized, X: ?Sized> Filters<R, X> {
    /// `given` are names and their values, as the request carries them.
    pub fn parse<'a, V: AsRef<str> + 'a>(
        given: impl IntoIterator<Item = (Option<&'a str>, Option<&'a [V]>)>,
        fields: &'static [FilterField<R, X>],
    ) -> Result<Self> {
        let mut parsed = Vec::new();
        for (name, values) in given {
            let name = name.unwrap_or_default();
            if name.is_empty() {
                return Err(errors::invalid_parameter_value("A filter must have a name."));
            }
            let values = values.unwrap_or_default();
            if values.is_empty() {
                return Err(errors::invalid_parameter_value(format!("The filter '{name}' has no values.")));
            }
            if values.len() > 200 {
                return Err(errors::invalid_parameter_value(format!(
                    "The filter '{name}' has more than 200 values."
                )));
            }
            let test = if let Some(key) = name.strip_prefix("tag:") {
                Test::Tag(key.to_owned())
            } else if name == "tag-key" {
                Test::TagKey
            } else if let Some(field) = fields.iter().find(|f| f.name == name) {
                Test::Field(field)
            } else {
                return Err(errors::invalid_parameter_value(format!("The filter '{name}' is invalid")));
            };
            parsed.push((test, values.iter().map(|v| Pattern::new(v.as_ref())).collect()));
        }
        Ok(Self(parsed))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn accept(&self, record: &R, tags: &Tags, extra: &X) -> bool {
        self.0.iter().all(|(test, patterns)| match test {
            Test::Field(field) => {
                let values = (field.values)(record, extra);
                values.iter().any(|value| patterns.iter().any(|p| p.matches(value)))
            }
            Test::Tag(key) => tags.get(key).is_some_and(|value| patterns.iter().any(|p| p.matches(value))),
            Test::TagKey => tags.keys().any(|key| patterns.iter().any(|p| p.matches(key))),
        })
    }

    /// The exact values asked of `name`, when the filter is there and uses no wildcard: what an index can answer.
    pub fn exact(&self, name: &str) -> Option<Vec<&str>> {
        let (_, patterns) =
            self.0.iter().find(|(test, _)| matches!(test, Test::Field(field) if field.name == name))?;
        patterns.iter().map(Pattern::literal).collect()
    }
}

/// A value with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    literal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Any,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                other => Token::Char(other),
            });
        }
        let literal = tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect();
        Self { tokens, literal }
    }

    /// The text, when there is no wildcard in it.
    pub fn literal(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    pub fn matches(&self, text: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == text;
        }
        let text: Vec<char> = text.chars().collect();
        // Greedy with one point to return to: linear but for repeated stars, quadratic at worst.
        let (mut t, mut p, mut star) = (0, 0, None);
        while t < text.len() {
            match self.tokens.get(p) {
                Some(Token::Any) => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(Token::One) => {
                    t += 1;
                    p += 1;
                }
                Some(Token::Char(c)) if *c == text[t] => {
                    t += 1;
                    p += 1;
                }
                _ => match star {
                    Some((at, from)) => {
                        star = Some((at, from + 1));
                        p = at + 1;
                        t = from + 1;
                    }
                    None => return false,
                },
            }
        }
        self.tokens[p..].iter().all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_ec2() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "Web", false),
            ("web*", "web-1", true),
            ("*-?", "web-1", true),
            ("*-?", "web-12", false),
            ("a*b*c", "axxbxxbc", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }
}
