//! Keeps the deadline that a client sends as `grpc-timeout`, for calls and for
//! streams alike, and answers DEADLINE_EXCEEDED.
//!
//! tonic by itself keeps it for calls only, and answers CANCELLED. It counts from when
//! a call comes in, so ours must be counted from then as well.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use super::status;

/// Wraps a service so that every call and stream ends by its deadline.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<S, Q, R> Service<Request<Q>> for Deadline<S>
where
    S: Service<Request<Q>, Response = Response<R>>,
{
    type Response = Response<DeadlineBody<R>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let noted = request.extensions().get().copied();
        let deadline = noted.or_else(|| Due::now_for(request.headers()));
        DeadlineFuture {
            call: self.inner.call(request),
            alarm: deadline.map(|Due(time)| sleep_until(time)),
        }
    }
}

/// When a call must be over.
#[derive(Clone, Copy)]
struct Due(Instant);

impl Due {
    /// That of a call which comes in now.
    fn now_for(headers: &HeaderMap) -> Option<Self> {
        let timeout = grpc_timeout(headers)?;
        Instant::now().checked_add(timeout).map(Self)
    }
}

/// Notes the deadline of a call that comes in now, for the layer that is called later.
pub(super) fn note<B>(request: &mut Request<B>) {
    if let Some(due) = Due::now_for(request.headers()) {
        request.extensions_mut().insert(due);
    }
}

pin_project! {
    /// A call with its deadline.
    pub struct DeadlineFuture<F> {
        #[pin]
        call: F,
        #[pin]
        alarm: Option<Sleep>,
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<DeadlineBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(outcome) = this.call.poll(context) {
            let deadline = this.alarm.as_ref().get_ref().as_ref().map(Sleep::deadline);
            return Poll::Ready(outcome.map(|response| {
                response.map(|body| DeadlineBody {
                    body: Some(body),
                    alarm: deadline.map(sleep_until),
                })
            }));
        }
        if is_due(this.alarm.as_mut(), context) {
            return Poll::Ready(Ok(status::deadline_exceeded().into_http()));
        }
        Poll::Pending
    }
}

pin_project! {
    /// An answer that ends with DEADLINE_EXCEEDED where it is not complete by
    /// then.
    pub struct DeadlineBody<B> {
        // None once the deadline has passed: what the call still held is free.
        #[pin]
        body: Option<B>,
        #[pin]
        alarm: Option<Sleep>,
    }
}

impl<B> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self {
            body: None,
            alarm: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for DeadlineBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        // First of all, or a stream that always has something to send would
        // never be stopped.
        if is_due(this.alarm.as_mut(), context) {
            this.body.set(None);
            let trailers = status::trailers(&status::deadline_exceeded());
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Whether the alarm's time has come; otherwise it will wake the task.
///
/// The clock is asked as well, since tonic's own alarm is set to the same
/// moment: when that one fires, it polls this call first, and must find it due
/// although the timer may not have come to ours yet.
fn is_due(alarm: Pin<&mut Option<Sleep>>, context: &mut Context<'_>) -> bool {
    alarm
        .as_pin_mut()
        .is_some_and(|alarm| alarm.deadline() <= Instant::now() || alarm.poll(context).is_ready())
}

/// The time that the caller gives a call: up to eight digits and a unit. A
/// header that is not so is ignored, as gRPC servers do.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let well_formed = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !well_formed {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 60 * 60)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use tonic::{Code, Status, body::Body as TonicBody};
    use tower::{ServiceExt, service_fn};

    use super::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        grpc_timeout(&headers)
    }

    fn request(timeout: &str) -> Request<()> {
        Request::builder()
            .header("grpc-timeout", timeout)
            .body(())
            .unwrap()
    }

    /// A body that never has anything to send.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    /// A body that always has something to send.
    struct Talkative;

    impl Body for Talkative {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    async fn answer_with<B>(timeout: &str, body: fn() -> B) -> Response<DeadlineBody<B>> {
        let service =
            service_fn(
                move |_: Request<()>| async move { Ok::<_, Infallible>(Response::new(body())) },
            );
        let Ok(response) = DeadlineLayer.layer(service).oneshot(request(timeout)).await;
        response
    }

    async fn next_frame<B: Body<Data = Bytes>>(body: &mut Pin<Box<B>>) -> Option<Frame<Bytes>> {
        std::future::poll_fn(|context| body.as_mut().poll_frame(context))
            .await
            .and_then(Result::ok)
    }

    fn code_of(trailers: &HeaderMap) -> Code {
        Status::from_header_map(trailers).unwrap().code()
    }

    #[test]
    fn every_unit_of_a_timeout_is_understood() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("2M"), Some(Duration::from_secs(120)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("2m"), Some(Duration::from_millis(2)));
        assert_eq!(timeout("2u"), Some(Duration::from_micros(2)));
        assert_eq!(timeout("2n"), Some(Duration::from_nanos(2)));
        assert_eq!(
            timeout("99999999H"),
            Some(Duration::from_secs(359_999_996_400))
        );
    }

    #[test]
    fn a_malformed_timeout_is_ignored() {
        for text in [
            "",
            "S",
            "5",
            "5s",
            "+5S",
            "-5S",
            "5.5S",
            "123456789S",
            "5 S",
        ] {
            assert_eq!(timeout(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_past_its_deadline_is_answered_and_dropped() {
        let service = service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>());
        let begin = Instant::now();
        let Ok(response) = DeadlineLayer.layer(service).oneshot(request("50m")).await;
        assert_eq!(code_of(response.headers()), Code::DeadlineExceeded);
        assert!(response.body().body.is_none());
        // The timer counts whole milliseconds.
        assert!(begin.elapsed() <= Duration::from_millis(51));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_within_its_deadline_is_left_alone() {
        let mut body = Box::pin(
            answer_with("1S", || TonicBody::new(Talkative))
                .await
                .into_body(),
        );
        let frame = next_frame(&mut body).await.unwrap();
        assert_eq!(frame.into_data().unwrap(), "x");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_ends_with_trailers_at_its_deadline() {
        let mut body = Box::pin(answer_with("50m", || Silent).await.into_body());
        let trailers = next_frame(&mut body)
            .await
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(code_of(&trailers), Code::DeadlineExceeded);
        assert!(next_frame(&mut body).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_talkative_stream_ends_with_trailers_at_its_deadline() {
        let mut body = Box::pin(answer_with("50m", || Talkative).await.into_body());
        tokio::time::advance(Duration::from_millis(49)).await;
        assert!(next_frame(&mut body).await.unwrap().is_data());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(next_frame(&mut body).await.unwrap().is_trailers());
    }
}
