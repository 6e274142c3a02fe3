//! What HTTP/2 writes frame by frame, sent at once.
//!
//! h2 writes and flushes each frame of more than 256 bytes by itself, and each time
//! the system would be called, and wake the other end, for a part of what is ready.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_write_buf;

/// No more bytes than this are kept.
const ROOM_BYTES: usize = 64 * 1024;
/// A write of more bytes than this is passed on: to call the system for it costs
/// less than to copy it once more.
const KEPT_WRITE_BYTES: usize = 8 * 1024;

/// A stream whose writes are kept until they are to be flushed.
pub(crate) struct Outbox<S> {
    pub(super) stream: S,
    unsent: BytesMut,
    /// The last write was a frame that h2 flushes before it looks for the next.
    is_amid: bool,
}

impl<S> Outbox<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            unsent: BytesMut::new(),
            is_amid: false,
        }
    }

    /// Whether something is kept.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the next flush sends nothing, for another will follow it.
    pub(super) fn is_amid(&self) -> bool {
        self.is_amid
    }
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent.has_remaining() {
            let sent = ready!(poll_write_buf(
                Pin::new(&mut self.stream),
                context,
                &mut self.unsent
            ))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        // A connection that is silent holds nothing.
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outbox<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outbox<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let is_large = length > KEPT_WRITE_BYTES;
        if is_large || self.unsent.len() + length > ROOM_BYTES {
            ready!(self.poll_send(context))?;
        }
        if is_large {
            self.is_amid = false;
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        for slice in slices {
            self.unsent.extend_from_slice(slice);
        }
        self.is_amid = slices.len() > 1;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_amid) {
            // Whoever flushes only once is brought to do so again.
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes as h2 writes a frame: its head, and the rest.
    async fn write_frame(outbox: &mut Outbox<DuplexStream>, head: &[u8], rest: &[u8]) {
        let slices = [IoSlice::new(head), IoSlice::new(rest)];
        let write = |context: &mut Context<'_>| {
            Pin::new(&mut *outbox).poll_write_vectored(context, &slices)
        };
        assert_eq!(poll_fn(write).await.unwrap(), head.len() + rest.len());
    }

    /// What has arrived.
    fn arrived(other: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(other).poll_read(&mut context, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().to_vec()).unwrap(),
            Poll::Pending => Vec::new(),
        }
    }

    #[tokio::test]
    async fn frames_that_are_flushed_one_by_one_are_sent_at_once() {
        let (stream, mut other) = duplex(1024);
        let mut outbox = Outbox::new(stream);
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        for (number, rest) in [b"one", b"two"].into_iter().enumerate() {
            write_frame(&mut outbox, b"-", rest).await;
            assert!(Pin::new(&mut outbox).poll_flush(&mut context).is_ready());
            assert_eq!(arrived(&mut other), b"", "it would be a call for each");
            // Who flushes no more is called again, to do so.
            assert_eq!(wakes.0.load(Ordering::Relaxed), number + 1);
        }
        outbox.flush().await.unwrap();
        assert_eq!(arrived(&mut other), b"-one-two");
        assert!(!outbox.has_unsent());
    }

    #[tokio::test]
    async fn what_is_written_in_one_piece_is_sent_when_it_is_flushed() {
        let (stream, mut other) = duplex(1024);
        let mut outbox = Outbox::new(stream);
        outbox.write_all(b"small").await.unwrap();
        assert_eq!(arrived(&mut other), b"");
        outbox.flush().await.unwrap();
        assert_eq!(arrived(&mut other), b"small");
    }

    #[tokio::test]
    async fn much_is_not_kept_and_stays_in_order() {
        let (stream, mut other) = duplex(4 * ROOM_BYTES);
        let mut outbox = Outbox::new(stream);
        write_frame(&mut outbox, b"a", b"b").await;
        let large = vec![b'c'; KEPT_WRITE_BYTES + 1];
        outbox.write_all(&large).await.unwrap();
        outbox.write_all(b"d").await.unwrap();
        outbox.shutdown().await.unwrap();
        let mut all = Vec::new();
        other.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), large.len() + 3);
        assert!(all.starts_with(b"abc") && all.ends_with(b"cd"));
    }

    #[tokio::test]
    async fn who_does_not_read_is_waited_for_and_loses_nothing() {
        let (stream, mut other) = duplex(16);
        let mut outbox = Outbox::new(stream);
        let sent: Vec<u8> = (0..200_u8).cycle().take(3 * ROOM_BYTES).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            for part in sent.chunks(1_000) {
                outbox.write_all(part).await.unwrap();
                assert!(outbox.unsent.len() <= ROOM_BYTES);
            }
            outbox.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        other.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, expected);
        writing.await.unwrap();
    }
}
