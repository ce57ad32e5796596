//! Bytes that wait to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

/// A buffer that outgrows this is given back when it is empty, so that one burst does not cost an idle connection its memory for ever.
const KEPT: usize = 64 * 1024;

/// A queue of bytes. The ring lets both ends move without copying what waits.
#[derive(Debug, Default)]
pub(crate) struct Backlog(VecDeque<u8>);

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.0.extend(data);
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0.into()
    }

    /// Writes once, if there is something: both parts of the ring at a time.
    pub(crate) fn poll_write_to<W: AsyncWrite + ?Sized>(
        &mut self,
        to: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let written = match self.0.as_slices() {
            ([], []) => return Poll::Ready(Ok(())),
            (data, []) | ([], data) => ready!(to.poll_write(cx, data))?,
            (first, second) => {
                ready!(to.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.0.drain(..written);
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }
}
