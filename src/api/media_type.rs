//! Answers 415 to what is not gRPC. tonic would take any body for a message,
//! whatever its content type says.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use tokio_util::either::Either;
use tower::{Layer, Service};

/// Wraps a service so that only gRPC reaches it.
#[derive(Clone, Copy, Debug)]
pub struct GrpcOnlyLayer;

impl<S> Layer<S> for GrpcOnlyLayer {
    type Service = GrpcOnly<S>;

    fn layer(&self, inner: S) -> GrpcOnly<S> {
        GrpcOnly { inner }
    }
}

/// The service that [`GrpcOnlyLayer`] makes.
#[derive(Clone, Debug)]
pub struct GrpcOnly<S> {
    inner: S,
}

impl<S, Q, R> Service<Request<Q>> for GrpcOnly<S>
where
    S: Service<Request<Q>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        if is_grpc(&request) {
            return Either::Left(self.inner.call(request));
        }
        let mut refusal = Response::new(R::default());
        *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Either::Right(ready(Ok(refusal)))
    }
}

fn is_grpc<Q>(request: &Request<Q>) -> bool {
    request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn status_for(content_type: Option<&str>) -> StatusCode {
        let accept_all = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(()))));
        let mut request = Request::new(());
        if let Some(content_type) = content_type {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let Ok(response) = GrpcOnlyLayer.layer(accept_all).oneshot(request).await;
        response.status()
    }

    #[tokio::test]
    async fn grpc_passes() {
        for content_type in ["application/grpc", "application/grpc+proto"] {
            assert_eq!(status_for(Some(content_type)).await, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn anything_else_is_an_unsupported_media_type() {
        for content_type in [None, Some("text/plain"), Some("application/json")] {
            assert_eq!(
                status_for(content_type).await,
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            );
        }
    }
}
