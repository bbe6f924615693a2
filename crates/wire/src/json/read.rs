//! Reading JSON text, one value at a time. Nothing is built but what is asked for.

use std::borrow::Cow;

/// The body stops being JSON at this byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    pub at: usize,
}

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, Broken>;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Read<Self> {
        let text = std::str::from_utf8(bytes).map_err(|error| Broken { at: error.valid_up_to() })?;
        Ok(Self { text, at: 0 })
    }

    fn broken<T>(&self) -> Read<T> {
        Err(Broken { at: self.at })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over `byte`, if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { self.broken() }
    }

    pub fn is_at_end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    pub fn end(&mut self) -> Read<()> {
        if self.is_at_end() { Ok(()) } else { self.broken() }
    }

    pub fn kind(&mut self) -> Read<Kind> {
        self.space();
        match self.byte() {
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'"') => Ok(Kind::Text),
            Some(b'[') => Ok(Kind::List),
            Some(b'{') => Ok(Kind::Object),
            Some(_) | None => self.broken(),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    pub fn null(&mut self) -> Read<()> {
        self.space();
        if self.word("null") { Ok(()) } else { self.broken() }
    }

    pub fn boolean(&mut self) -> Read<bool> {
        self.space();
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            self.broken()
        }
    }

    /// A number as it is written.
    pub fn number(&mut self) -> Read<&'a str> {
        self.space();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            Some(_) | None => return self.broken(),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.broken() } else { Ok(()) }
    }

    pub fn text(&mut self) -> Read<Cow<'a, str>> {
        self.expect(b'"')?;
        let mut out = Cow::Borrowed("");
        loop {
            let start = self.at;
            while self.byte().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= b' ') {
                self.at += 1;
            }
            let plain = &self.text[start..self.at];
            if out.is_empty() {
                out = Cow::Borrowed(plain);
            } else {
                out.to_mut().push_str(plain);
            }
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    out.to_mut().push(escaped);
                }
                Some(_) | None => return self.broken(),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let escaped = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(_) | None => return self.broken(),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// One character of one or two halves; a half alone is no character.
    fn unicode(&mut self) -> Read<char> {
        let first = self.half()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.word("\\u") {
                return self.broken();
            }
            let second = self.half()?;
            if !(0xdc00..0xe000).contains(&second) {
                return self.broken();
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).map_or_else(|| self.broken(), Ok)
    }

    fn half(&mut self) -> Read<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.broken();
        };
        self.at += 4;
        Ok(code)
    }
}
