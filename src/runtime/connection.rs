//! The connections of clients, accepted one by one and cut all at once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::outbox::Outbox;
use crate::api::bundle::Bundle;

/// How long to leave the listener alone when it can't accept. The usual reason
/// is that file descriptors have run out, and asking again at once only burns
/// the processor until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for as long as it is polled. `cut` ends every one of
/// them, whatever it waits for.
pub(super) fn accept(
    listener: TcpListener,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    async_stream::stream! {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers would wait 40 ms for the client's next packet.
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%peer, %error, "setting TCP_NODELAY failed");
                    }
                    yield Ok(Connection::new(stream, &cut));
                }
                Err(error) => {
                    warn!(%error, "accepting a connection failed, will retry");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A client's connection, which the server can cut.
pub(super) struct Connection {
    stream: Outbox<TcpStream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    bundle: Bundle,
    /// It has let others run since it was flushed, and sends now.
    has_waited: bool,
}

impl Connection {
    fn new(stream: TcpStream, cut: &CancellationToken) -> Self {
        Self {
            stream: Outbox::new(stream),
            cut: Box::pin(cut.clone().cancelled_owned()),
            bundle: Bundle::default(),
            has_waited: false,
        }
    }

    /// Lets everything run that can run before something is sent, once, if that
    /// will probably add to it: a task that wakes itself comes after the others.
    fn poll_others(&mut self, context: &Context<'_>) -> Poll<()> {
        let expects_more = self.bundle.take_expected();
        if !expects_more || self.has_waited || !self.stream.has_unsent() {
            return Poll::Ready(());
        }
        self.has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An open connection is always being read, so here the cut is noticed
        // even while nothing can be written.
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.stream.is_amid() {
            ready!(self.poll_others(context));
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.has_waited &= self.stream.has_unsent();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = Bundle;

    fn connect_info(&self) -> Bundle {
        self.bundle.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::io::AsyncReadExt;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::api::bundle::Kind;

    #[tokio::test]
    async fn a_silent_connection_ends_when_it_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = CancellationToken::new();
        let mut incoming = pin!(accept(listener, cut.clone()));
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut connection = incoming.next().await.unwrap().unwrap();

        let read = tokio::spawn(async move { connection.read_u8().await });
        cut.cancel();
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_other_watches_will_add_is_waited_for_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = Connection::new(stream, &CancellationToken::new());
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        let mut connection = Pin::new(&mut connection);
        let mut sends = |connection: &mut Pin<&mut Connection>| {
            let written = connection.as_mut().poll_write(&mut context, b"x");
            assert!(written.is_ready());
            connection.as_mut().poll_flush(&mut context).is_ready()
        };

        let bundle = connection.connect_info();
        let watch = bundle.join(Kind::Watch);
        let _writes = bundle.join(Kind::Writes);
        watch.sends();
        assert!(sends(&mut connection), "no other watch is there");
        let other = bundle.join(Kind::Watch);
        for turn in 1..=2 {
            watch.sends();
            assert!(!sends(&mut connection));
            assert_eq!(wakes.0.load(Ordering::Relaxed), turn);
            other.sends();
            assert!(sends(&mut connection), "it has waited");
            assert!(sends(&mut connection), "nobody says that there is more");
        }
        drop(other);
        watch.sends();
        assert!(sends(&mut connection), "the other has gone");
    }

    #[tokio::test]
    async fn small_answers_are_sent_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = pin!(accept(listener, CancellationToken::new()));
        let _client = TcpStream::connect(address).await.unwrap();
        let connection = incoming.next().await.unwrap().unwrap();
        assert!(connection.stream.stream.nodelay().unwrap());
    }
}
