//! An answer's body on its way to the client: its parts one after the other, so that a large one is never put together
//! in memory.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

pub(crate) struct Parts {
    rest: vec::IntoIter<Bytes>,
    bytes: u64,
}

impl From<wire::Body> for Parts {
    fn from(body: wire::Body) -> Self {
        let bytes = body.len() as u64;
        Self { rest: body.into_parts().into_iter(), bytes }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.rest.next();
        self.bytes -= next.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
