//! The writer. Element names and attributes come from static tables; text is always escaped.
//!
//! XML 1.0 cannot carry most control characters, escaped or not; they become U+FFFD, so that an answer always parses.

use std::fmt::{Display, Write as _};

/// Builds a document in memory. An element that gets no content is written as `<name/>`.
pub(crate) struct Writer {
    out: String,
    /// The start tag of the innermost element is not closed yet.
    pending: bool,
}

/// Of what follows a part that was taken.
const CLOSING: usize = 256;

/// Of a fragment's beginning.
const CAPACITY: usize = 8 * 1024;

impl Writer {
    /// One element and what is inside it, without a document around it.
    pub(crate) fn fragment() -> Self {
        Self { out: String::with_capacity(CAPACITY), pending: false }
    }

    /// A document for which so many bytes are expected.
    pub(crate) fn document(capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { out, pending: false }
    }

    pub(crate) fn open(&mut self, name: &str) {
        self.settle();
        self.out.push('<');
        self.out.push_str(name);
        self.pending = true;
    }

    /// Right after [`Self::open`].
    pub(crate) fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        self.escape(value);
        self.out.push('"');
    }

    pub(crate) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.settle();
            self.escape(text);
        }
    }

    pub(crate) fn close(&mut self, name: &str) {
        if self.pending {
            self.out.push_str("/>");
            self.pending = false;
        } else {
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
        }
    }

    pub(crate) fn text_element(&mut self, name: &str, text: &str) {
        if text.is_empty() || text.bytes().any(may_be_special) {
            self.open(name);
            self.text(text);
            self.close(name);
            return;
        }
        // What most elements are, in one step.
        self.settle();
        self.out.reserve(2 * name.len() + text.len() + "<></>".len());
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
        self.out.push_str(text);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element whose text can hold nothing that needs an escape: a number, a time.
    pub(crate) fn plain_element(&mut self, name: &str, value: &dyn Display) {
        self.open(name);
        self.settle();
        write!(self.out, "{value}").expect("a string takes everything");
        self.close(name);
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// What was written since the beginning, or since this was last called.
    pub(crate) fn take(&mut self) -> String {
        self.settle();
        if self.out.is_empty() {
            return String::new();
        }
        // Mostly little is left to be written.
        std::mem::replace(&mut self.out, String::with_capacity(CLOSING))
    }

    fn settle(&mut self) {
        if self.pending {
            self.out.push('>');
            self.pending = false;
        }
    }

    fn escape(&mut self, text: &str) {
        // Most text needs no escape, which bytes tell faster than characters.
        if !text.bytes().any(may_be_special) {
            self.out.push_str(text);
            return;
        }
        let mut rest = text;
        while let Some(at) = rest.find(is_special) {
            let (plain, tail) = rest.split_at(at);
            self.out.push_str(plain);
            let mut chars = tail.chars();
            self.out.push_str(match chars.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                // A parser would turn a bare one into a line feed.
                Some('\r') => "&#xD;",
                _ => "\u{FFFD}",
            });
            rest = chars.as_str();
        }
        self.out.push_str(rest);
    }
}

/// Whether a byte is the first of a character that [`is_special`].
fn may_be_special(byte: u8) -> bool {
    SPECIAL[byte as usize]
}

static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = matches!(byte as u8, b'&' | b'<' | b'>' | b'"' | 0..=0x8 | 0xB..=0x1F | 0xEF);
        byte += 1;
    }
    table
};

/// What needs an escape, or is no character of XML 1.0.
fn is_special(c: char) -> bool {
    matches!(
        c,
        '&' | '<' | '>' | '"' | '\0'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::Writer;

    fn text(text: &str) -> String {
        let mut out = Writer { out: String::new(), pending: false };
        out.text_element("a", text);
        out.finish()
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("a<b>&\"c'é\n\t"), "<a>a&lt;b&gt;&amp;&quot;c'é\n\t</a>");
        assert_eq!(text("]]>"), "<a>]]&gt;</a>");
    }

    #[test]
    fn a_carriage_return_survives_a_parser() {
        assert_eq!(text("a\r\nb"), "<a>a&#xD;\nb</a>");
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_replaced() {
        assert_eq!(text("a\0b\u{1b}[0m\u{b}\u{FFFF}"), "<a>a\u{FFFD}b\u{FFFD}[0m\u{FFFD}\u{FFFD}</a>");
    }

    #[test]
    fn an_element_without_content_is_empty() {
        assert_eq!(text(""), "<a/>");
    }
}
