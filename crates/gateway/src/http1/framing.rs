//! Where a head ends, and bodies in chunks.

use bytes::{Buf as _, Bytes, BytesMut};

/// How the input begins.
pub(super) enum End {
    /// A head, which ends there.
    Head(usize),
    /// That of HTTP/2.
    Preface,
}

/// After the first empty line. `searched` remembers how far the search came.
pub(super) fn end_of_head(input: &[u8], searched: &mut usize) -> Option<usize> {
    let mut at = *searched;
    while let Some(found) = input[at..].iter().position(|byte| *byte == b'\n') {
        let next = at + found + 1;
        match &input[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            // Not known yet: this line's end is looked at again.
            [] | [b'\r'] => {
                *searched = next - 1;
                return None;
            }
            _ => at = next,
        }
    }
    *searched = input.len();
    None
}

/// The longest line of a chunk's size, with its extensions; also of a trailer.
const LINE: usize = 4096;
/// The most trailers, which nobody looks at.
const TRAILERS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadChunk {
    Malformed,
    TooLarge,
}

enum State {
    Size,
    Data(usize),
    DataEnd,
    Trailers(usize),
}

/// A body in chunks, as far as it came.
pub(super) struct Chunks {
    most: usize,
    state: State,
    body: BytesMut,
}

impl Chunks {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: State::Size, body: BytesMut::new() }
    }

    /// Takes what there is of it out of the input; the whole body once it has ended.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, BadChunk> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(input)? else { return Ok(None) };
                    let digits = line[..].split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                    let size = size(digits).ok_or(BadChunk::Malformed)?;
                    if size > self.most - self.body.len() {
                        return Err(BadChunk::TooLarge);
                    }
                    self.state = if size == 0 { State::Trailers(0) } else { State::Data(size) };
                }
                State::Data(left) => {
                    let now = left.min(input.len());
                    self.body.extend_from_slice(&input[..now]);
                    input.advance(now);
                    if now < left {
                        self.state = State::Data(left - now);
                        return Ok(None);
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => {
                    let Some(line) = line(input)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(BadChunk::Malformed);
                    }
                    self.state = State::Size;
                }
                State::Trailers(seen) => {
                    let Some(line) = line(input)? else { return Ok(None) };
                    if line.is_empty() {
                        return Ok(Some(std::mem::take(&mut self.body).freeze()));
                    }
                    if seen == TRAILERS {
                        return Err(BadChunk::Malformed);
                    }
                    self.state = State::Trailers(seen + 1);
                }
            }
        }
    }
}

/// The next line, without its end.
fn line(input: &mut BytesMut) -> Result<Option<BytesMut>, BadChunk> {
    let Some(end) = input.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < LINE { Ok(None) } else { Err(BadChunk::Malformed) };
    };
    let mut line = input.split_to(end + 1);
    line.truncate(end);
    // A line ends in both: whoever takes either alone may be made to read another body than we.
    if line.last() != Some(&b'\r') {
        return Err(BadChunk::Malformed);
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

fn size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0, |sum, byte| Some(sum << 4 | (*byte as char).to_digit(16)? as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_comes() {
        for (text, end) in
            [("a\r\nb\r\n\r\nc", 8), ("a\nb\n\nc", 5), ("a\n\r\nc", 4), ("a\r\n\n", 4), ("\r\n\r\n", 4)]
        {
            let mut searched = 0;
            let found = (0..=text.len()).find_map(|n| end_of_head(&text.as_bytes()[..n], &mut searched));
            assert_eq!(found, Some(end), "{text:?}");
            assert_eq!(end_of_head(text.as_bytes(), &mut 0), Some(end), "{text:?}");
        }
        assert_eq!(end_of_head(b"a\r\nb\r\n", &mut 0), None);
    }

    fn whole(text: &str, most: usize) -> Result<Option<(String, String)>, BadChunk> {
        let mut input = BytesMut::from(text);
        let body = Chunks::new(most).take(&mut input)?;
        let rest = String::from_utf8(input.to_vec()).unwrap();
        Ok(body.map(|body| (String::from_utf8(body.to_vec()).unwrap(), rest)))
    }

    #[test]
    fn a_body_is_put_together_from_its_chunks() {
        let text = "3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nsum: 1\r\n\r\nrest";
        assert_eq!(whole(text, 13), Ok(Some(("abc0123456789".to_owned(), "rest".to_owned()))));
        // Byte by byte.
        let (mut chunks, mut input) = (Chunks::new(13), BytesMut::new());
        let came = text.bytes().find_map(|byte| {
            input.extend_from_slice(&[byte]);
            chunks.take(&mut input).unwrap()
        });
        assert_eq!(came.as_deref(), Some(&b"abc0123456789"[..]));
        assert_eq!(whole("0\r\n\r\n", 0), Ok(Some((String::new(), String::new()))));
        assert_eq!(whole("3\r\nab", 9), Ok(None));
    }

    #[test]
    fn chunks_that_are_none_or_too_many_are_refused() {
        assert_eq!(whole("1\r\na\r\n1\r\nb\r\n0\r\n\r\n", 1), Err(BadChunk::TooLarge));
        assert_eq!(whole("fffffffffffffff\r\n", 9), Err(BadChunk::TooLarge));
        for text in ["x\r\n", "\r\n", "-1\r\n", "ffffffffffffffff\r\n", "1\r\nab\r\n", "1\na\r\n", "0\r\n\n"]
        {
            assert_eq!(whole(text, 9), Err(BadChunk::Malformed), "{text:?}");
        }
        assert_eq!(whole(&"0".repeat(LINE), 9), Err(BadChunk::Malformed));
        assert_eq!(whole(&format!("0\r\n{}", "a: b\r\n".repeat(TRAILERS + 1)), 9), Err(BadChunk::Malformed));
    }
}
