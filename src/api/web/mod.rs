//! The web door: REST and server-sent events, gRPC-Web and Connect, on the port
//! of gRPC. It translates and calls the RPCs of the first door; what they do and
//! refuse is decided there.

mod connect;
mod console;
mod content;
mod cors;
mod fields;
mod hosts;
mod json;
mod openapi;
mod problem;
mod rest;
mod routes;
mod rpc;
mod short;
mod sse;

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    TryFutureExt,
    future::{BoxFuture, MapOk},
};
use http::{
    Method, Request, Response, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body as _;
use http_body_util::Either;
use tokio_util::either::Either as OneOf;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use self::{cors::Cors, hosts::Hosts, problem::Problem, rpc::Rpcs};
pub use self::{
    cors::{InvalidOrigin, Origin},
    sse::forget_forever,
};
use super::deadline;

/// Wraps the gRPC services so that they can be called in other ways as well.
/// What already is gRPC goes straight to them.
#[derive(Clone, Debug)]
pub struct WebLayer {
    cors: Cors,
    hosts: Hosts,
}

impl WebLayer {
    /// Of a service at this address. Pages of these origins may call it, beside its
    /// own.
    pub fn new(address: SocketAddr, origins: &[Origin]) -> Self {
        Self {
            cors: Cors::of(origins),
            hosts: Hosts::of(address, origins),
        }
    }
}

impl<S, B> Layer<S> for WebLayer
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
{
    type Service = Web<S>;

    fn layer(&self, grpc: S) -> Web<S> {
        Web {
            door: Door {
                rpcs: Rpcs::new(grpc.clone()),
                cors: self.cors.clone(),
                hosts: self.hosts.clone(),
            },
            grpc,
        }
    }
}

/// The service that [`WebLayer`] makes.
#[derive(Clone)]
pub struct Web<S> {
    grpc: S,
    door: Door,
}

type Native<B> = fn(Response<B>) -> Response<Either<B, Body>>;

impl<S, B> Service<Request<Body>> for Web<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Either<B, Body>>;
    type Error = Infallible;
    type Future =
        OneOf<MapOk<S::Future, Native<B>>, BoxFuture<'static, Result<Self::Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.grpc.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if is_native_grpc(&request) {
            let native: Native<B> = |response| response.map(Either::Left);
            return OneOf::Left(self.grpc.call(request).map_ok(native));
        }
        deadline::note(&mut request);
        let door = self.door.clone();
        let answer = async move { Ok(door.answer(request).await.map(Either::Right)) };
        OneOf::Right(Box::pin(answer))
    }
}

fn content_type<B>(request: &Request<B>) -> Option<&[u8]> {
    let value = request.headers().get(CONTENT_TYPE)?;
    Some(value.as_bytes())
}

/// Whether a request is what no page can send: browsers speak HTTP/2 with TLS only.
fn is_native_grpc<B>(request: &Request<B>) -> bool {
    let kind = content_type(request).and_then(|kind| kind.strip_prefix(b"application/grpc"));
    request.version() == Version::HTTP_2 && kind.is_some_and(|rest| !rest.starts_with(b"-web"))
}

#[derive(Clone)]
struct Door {
    rpcs: Rpcs,
    cors: Cors,
    hosts: Hosts,
}

impl Door {
    async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        if !self.hosts.admit(&request) {
            return Problem::ForeignHost.into_response();
        }
        if let Some(preflight) = self.cors.preflight(&request) {
            return preflight;
        }
        let Ok(grant) = self.cors.admit(&request) else {
            return Problem::ForeignOrigin.into_response();
        };
        let is_head = request.method() == Method::HEAD;
        if is_head {
            *request.method_mut() = Method::GET;
        }
        let mut response = self.translate(request).await;
        grant.mark(response.headers_mut());
        match is_head {
            true => without_body(response),
            false => response,
        }
    }

    async fn translate(&self, request: Request<Body>) -> Response<Body> {
        if content_type(&request).is_some_and(|kind| kind.starts_with(b"application/grpc-web")) {
            return self.rpcs.grpc_web(request).await;
        }
        let path = request.uri().path();
        if let Some(method) = json::method(path) {
            return connect::answer(&self.rpcs, &method, request).await;
        }
        if path == "/openapi.json" {
            return openapi::answer(request.method());
        }
        if let Some(file) = console::answer(&request) {
            return file;
        }
        rest::answer(&self.rpcs, request)
            .await
            .unwrap_or_else(Problem::into_response)
    }
}

/// The head of an answer, with the length of the body that GET would get.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| Body::default())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::{Instant, advance};
    use tower::service_fn;

    use super::*;
    use crate::api::deadline::DeadlineLayer;

    /// tonic counts from the call, and would answer first, without what CORS needs.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_counted_from_the_call_and_not_from_when_its_body_was_read() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let never = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let mut web = WebLayer::new(address, &[]).layer(DeadlineLayer.layer(never));
        let request = Request::post("/throughline.v1.MessageService/GetMessage")
            .header(CONTENT_TYPE, "application/grpc-web+proto")
            .header("grpc-timeout", "50m");
        let begin = Instant::now();
        let call = web.call(request.body(Body::default()).unwrap());
        advance(Duration::from_millis(40)).await;
        let Ok(response) = call.await;
        assert_eq!(response.headers()["grpc-status"], "4");
        assert!(begin.elapsed() <= Duration::from_millis(51));
    }
}
