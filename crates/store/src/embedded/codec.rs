//! How entries and events lie on disk. Integers are little-endian.
//!
//! - entry: version u64, value
//! - event: changes u32, then each: 0 (deleted) or 1 (put), key length u16, key, and for a put: value length u32, value

use bytes::{Buf, BufMut, Bytes};

use crate::{Change, Event, Key, Revision, Versioned};

#[derive(Debug, thiserror::Error)]
#[error("the store holds a record that it cannot have written")]
pub(super) struct Garbled;

const DELETED: u8 = 0;
const PUT: u8 = 1;

pub(super) fn encode_entry(buffer: &mut Vec<u8>, version: Revision, value: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(&version.to_le_bytes());
    buffer.extend_from_slice(value);
}

pub(super) fn entry_version(entry: &[u8]) -> Result<Revision, Garbled> {
    let version = entry.first_chunk().ok_or(Garbled)?;
    Ok(Revision::from_le_bytes(*version))
}

pub(super) fn decode_entry(entry: &[u8]) -> Result<Versioned, Garbled> {
    let version = entry_version(entry)?;
    Ok(Versioned { value: Bytes::copy_from_slice(&entry[8..]), version })
}

pub(super) fn encode_changes(out: &mut Vec<u8>, changes: &[Change]) {
    out.put_u32_le(changes.len() as u32);
    for change in changes {
        out.put_u8(if change.value.is_some() { PUT } else { DELETED });
        let key = change.key.as_str().as_bytes();
        out.put_u16_le(key.len() as u16);
        out.put_slice(key);
        if let Some(value) = &change.value {
            out.put_u32_le(value.len() as u32);
            out.put_slice(value);
        }
    }
}

pub(super) fn decode_event(revision: Revision, record: &[u8]) -> Result<Event, Garbled> {
    let mut rest = Bytes::copy_from_slice(record);
    let count = rest.try_get_u32_le().map_err(|_| Garbled)?;
    let changes = (0..count).map(|_| decode_change(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    if rest.has_remaining() {
        return Err(Garbled);
    }
    Ok(Event { revision, changes: changes.into() })
}

fn decode_change(rest: &mut Bytes) -> Result<Change, Garbled> {
    let kind = rest.try_get_u8().map_err(|_| Garbled)?;
    let key = rest.try_get_u16_le().map_err(|_| Garbled)?;
    let key = take(rest, key as usize)?;
    let key = std::str::from_utf8(&key).ok().and_then(|key| Key::new(key).ok()).ok_or(Garbled)?;
    let value = match kind {
        DELETED => None,
        PUT => {
            let value = rest.try_get_u32_le().map_err(|_| Garbled)?;
            Some(take(rest, value as usize)?)
        }
        _ => return Err(Garbled),
    };
    Ok(Change { key, value })
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, Garbled> {
    if rest.len() < length { Err(Garbled) } else { Ok(rest.split_to(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_written_and_no_cut_of_it_does() {
        let changes: Vec<Change> = vec![
            Change { key: Key::new("a/ü").unwrap(), value: Some(Bytes::from_static(b"\0\xff")) },
            Change { key: Key::new("b").unwrap(), value: None },
            Change { key: Key::new("c").unwrap(), value: Some(Bytes::new()) },
        ];
        let mut record = Vec::new();
        encode_changes(&mut record, &changes);
        assert_eq!(decode_event(7, &record).unwrap(), Event { revision: 7, changes: changes.into() });
        for cut in 0..record.len() {
            assert!(decode_event(7, &record[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_entry_carries_its_version() {
        let mut buffer = Vec::new();
        encode_entry(&mut buffer, 9, b"value");
        assert_eq!(
            decode_entry(&buffer).unwrap(),
            Versioned { value: Bytes::from_static(b"value"), version: 9 }
        );
        assert!(decode_entry(&buffer[..7]).is_err());
    }
}
