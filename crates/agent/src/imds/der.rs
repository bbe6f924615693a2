//! The little of DER that a self-signed certificate and a PKCS#7 envelope need.
//!
//! Written by hand because the general libraries weigh more than the whole of this service.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// One element out of its content's parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The first element of some bytes, and what follows it.
pub(super) struct Split<'a> {
    pub tag: u8,
    /// With tag and length.
    pub whole: &'a [u8],
    pub content: &'a [u8],
    pub rest: &'a [u8],
}

pub(super) fn split(input: &[u8]) -> Option<Split<'_>> {
    let (tag, first) = (*input.first()?, *input.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        let count = usize::from(first & 0x7f);
        let digits = input.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
        (2 + count, digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
    };
    let end = header.checked_add(length)?;
    Some(Split { tag, whole: input.get(..end)?, content: input.get(header..end)?, rest: input.get(end..)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_of_any_length_splits_into_what_it_was_made_of() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let mut bytes = element(OCTET_STRING, &[&content]);
            let whole = bytes.len();
            bytes.push(9);
            let first = split(&bytes).unwrap();
            assert_eq!((first.tag, first.whole.len()), (OCTET_STRING, whole));
            assert_eq!((first.content, first.rest), (&content[..], &[9][..]));
            assert!(split(&bytes[..whole - 1]).is_none());
        }
    }
}
