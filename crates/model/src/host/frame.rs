//! Framing of the agent protocol: a 4-byte big-endian length, then that many bytes of JSON.
//!
//! Sans-io: the caller reads from its stream into a buffer and takes whole messages out of it. Both ends of the channel
//! use it. An error is final: the stream has no way back into step, so the connection ends.

use super::MAX_FRAME;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

const HEADER: usize = 4;

/// What is wrong with a frame.
#[derive(Debug)]
pub enum FrameError {
    /// It is longer than [`MAX_FRAME`].
    TooLong(usize),
    /// Its text is no message of this protocol.
    Malformed(serde_json::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "a frame of {length} bytes exceeds the limit of {MAX_FRAME}"),
            Self::Malformed(error) => write!(f, "a frame does not hold a message: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Appends one message to `buffer`; leaves it as it was on an error.
pub fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    let written = serde_json::to_writer(&mut *buffer, message).map_err(FrameError::Malformed);
    let length = buffer.len() - start - HEADER;
    let checked = written.and(if length > MAX_FRAME { Err(FrameError::TooLong(length)) } else { Ok(()) });
    if checked.is_err() {
        buffer.truncate(start);
        return checked;
    }
    buffer[start..start + HEADER].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Takes the first whole message off `buffer`; `None` until all of it has arrived.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let Some(text) = buffer.get(HEADER..HEADER + length) else { return Ok(None) };
    let message = serde_json::from_slice(text).map_err(FrameError::Malformed)?;
    buffer.drain(..HEADER + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Request, ToAgent};

    fn question(id: u64) -> ToAgent {
        ToAgent::Request { id, request: Request::Status }
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_arrive() {
        let mut sent = Vec::new();
        for id in 0..3 {
            encode(&question(id), &mut sent).unwrap();
        }
        let (mut buffer, mut got) = (Vec::new(), Vec::new());
        for byte in sent {
            buffer.push(byte);
            while let Some(message) = decode::<ToAgent>(&mut buffer).unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, (0..3).map(question).collect::<Vec<_>>());
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() {
        let mut buffer = (MAX_FRAME as u32 + 1).to_be_bytes().to_vec();
        assert!(matches!(decode::<ToAgent>(&mut buffer), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut buffer = b"\0\0\0\x02{}".to_vec();
        assert!(matches!(decode::<ToAgent>(&mut buffer), Err(FrameError::Malformed(_))));
    }
}
