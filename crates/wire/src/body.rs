//! The body of an answer, in the parts in which it was encoded: what was encoded before is shared, not copied.

use bytes::Bytes;

/// The parts, in their order; none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Body {
    pub fn push(&mut self, part: impl Into<Bytes>) {
        let part = part.into();
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push(part);
        }
    }

    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// All of it in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        match &mut *self.parts {
            [only] => std::mem::take(only),
            parts => parts.concat().into(),
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::Body;

    #[test]
    fn a_body_is_the_sum_of_its_parts() {
        let mut body = Body::from("ab".to_owned());
        body.push("");
        body.push("c");
        assert_eq!(body.len(), 3);
        assert_eq!(body.clone().into_parts().len(), 2);
        assert_eq!(&*body.into_bytes(), b"abc");
        assert!(Body::default().into_bytes().is_empty());
    }
}
