//! The answer of a watch: frames that many watches send, as they are.
//!
//! tonic would copy each frame for each watch. So a handler puts the frames among
//! the extensions of its response, from where a layer makes them its body, and
//! has nothing for tonic to send.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap};
use http_body::{Body, Frame};
use tokio_stream::{Once, Stream, StreamExt};
use tonic::{Response, Status};

use super::{
    bundle::{Bundle, Kind},
    status,
};

/// What is ready is gathered until it has so many bytes: HTTP/2 and the system
/// are called once for all of it.
const CHUNK_BYTES: usize = 16 * 1024;

/// What tonic is given to send: an error, that is never seen where the layer is.
pub(super) type Unsent<T> = Once<Result<T, Status>>;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// The body of a watch's response.
pub(super) enum WatchBody {
    Open(Chunks),
    /// All was sent but how it ended.
    Ending(HeaderMap),
    Over,
}

/// The body that a response is to have in place of its own, among its
/// extensions: for the one who takes it first.
#[derive(Clone)]
struct Promised(Arc<Mutex<Option<WatchBody>>>);

/// What a door makes of each chunk of frames before it is gathered with others,
/// among the extensions of its request.
#[derive(Clone, Copy)]
pub(super) struct Rewrite(pub(super) fn(Bytes) -> Bytes);

/// The way from a watch to its client.
pub(super) struct Way {
    rewrite: Rewrite,
    bundle: Bundle,
}

impl Way {
    /// The way that a request came, by its extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        let rewrite = extensions.get().copied();
        let bundle = extensions.get().cloned();
        Self {
            rewrite: rewrite.unwrap_or(Rewrite(|chunk| chunk)),
            bundle: bundle.unwrap_or_default(),
        }
    }

    /// Answers with chunks of frames as gRPC sends them, or as they are rewritten.
    pub(super) fn answer<T>(
        self,
        chunks: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
    ) -> Response<Unsent<T>> {
        let error = Status::internal("nobody took the frames of a watch");
        let mut response = Response::new(tokio_stream::once(Err(error)));
        let Self { rewrite, bundle } = self;
        let member = bundle.join(Kind::Watch);
        let chunks = chunks.map(move |chunk| {
            member.sends();
            chunk.map(rewrite.0)
        });
        promise(response.extensions_mut(), chunks);
        response
    }
}

/// Makes chunks of frames the body of the response that has these extensions.
pub(super) fn promise(
    extensions: &mut Extensions,
    chunks: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
) {
    let body = WatchBody::Open(Box::pin(chunks));
    extensions.insert(Promised(Arc::new(Mutex::new(Some(body)))));
}

impl WatchBody {
    /// The body of a response, if it is that of a watch.
    pub(super) fn of<B>(response: &mut http::Response<B>) -> Option<Self> {
        let Promised(body) = response.extensions_mut().remove()?;
        body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Body for WatchBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut gathered = Gathered::default();
        while let Self::Open(chunks) = &mut *self
            && gathered.size < CHUNK_BYTES
        {
            let end = match chunks.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    gathered.add(chunk);
                    continue;
                }
                Poll::Pending if gathered.size == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => Status::ok(""),
                Poll::Ready(Some(Err(status))) => status,
            };
            *self = Self::Ending(status::trailers(&end));
        }
        if gathered.size > 0 {
            return Poll::Ready(Some(Ok(Frame::data(gathered.joined()))));
        }
        match std::mem::replace(&mut *self, Self::Over) {
            Self::Ending(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Self::Open(_) | Self::Over => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Over)
    }
}

/// Chunks that are sent as one.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    more: Vec<Bytes>,
    size: usize,
}

impl Gathered {
    fn add(&mut self, chunk: Bytes) {
        self.size += chunk.len();
        match self.first.is_empty() {
            true => self.first = chunk,
            false => self.more.push(chunk),
        }
    }

    /// A single one is shared as it is.
    fn joined(self) -> Bytes {
        if self.more.is_empty() {
            return self.first;
        }
        let mut joined = BytesMut::with_capacity(self.size);
        joined.extend_from_slice(&self.first);
        self.more
            .iter()
            .for_each(|chunk| joined.extend_from_slice(chunk));
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tonic::Code;

    use super::*;

    async fn next(body: &mut WatchBody) -> Option<Frame<Bytes>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context))
            .await
            .transpose()
            .unwrap()
    }

    fn body(chunks: Vec<Result<Bytes, Status>>) -> WatchBody {
        let mut response = http::Response::new(());
        promise(response.extensions_mut(), tokio_stream::iter(chunks));
        WatchBody::of(&mut response).unwrap()
    }

    #[tokio::test]
    async fn what_is_ready_is_sent_at_once_and_then_how_it_ended() {
        let chunks = ["one", "two"].map(|chunk| Ok(Bytes::from(chunk)));
        let mut body = body(chunks.into());
        let data = next(&mut body).await.unwrap().into_data().unwrap();
        assert_eq!(data, "onetwo");
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(body.is_end_stream());
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_ready_before_it() {
        let error = Err(Status::deadline_exceeded("late"));
        let mut body = body(vec![Ok(Bytes::from("one")), error]);
        assert!(next(&mut body).await.unwrap().is_data());
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_large_chunk_is_sent_without_being_copied() {
        let large = Bytes::from(vec![b'x'; CHUNK_BYTES]);
        let mut body = body(vec![Ok(large.clone()), Ok(Bytes::from("more"))]);
        let data = next(&mut body).await.unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), large.as_ptr());
        let data = next(&mut body).await.unwrap().into_data().unwrap();
        assert_eq!(data, "more");
    }
}
