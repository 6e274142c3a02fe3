//! Calls of the RPCs within the process, through all that a gRPC call passes.

use std::convert::Infallible;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{self, CONTENT_TYPE},
    request::Parts,
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use super::json;
use crate::wire::frame::{PLAIN, PREFIX_BYTES, put_prefix};

/// Headers about the body and the connection of the request that is translated,
/// which say nothing of the call.
const OF_THE_BODY: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::EXPECT,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The gRPC services.
#[derive(Clone)]
pub(super) struct Rpcs(Inner);

/// A call in the making.
pub(super) struct Call<'a> {
    /// Of the request that is translated.
    pub(super) head: &'a Parts,
    pub(super) method: &'a MethodDescriptor,
    /// As protobuf.
    pub(super) message: Bytes,
}

impl Rpcs {
    pub(super) fn new<S, B>(grpc: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
    {
        let boxed = grpc.map_response(|response: Response<B>| response.map(Body::new));
        Self(BoxCloneSyncService::new(boxed))
    }

    /// Answers a gRPC-Web request.
    pub(super) async fn grpc_web(&self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = GrpcWebLayer::new()
            .layer(self.0.clone())
            .oneshot(request)
            .await;
        response
    }

    /// Calls an RPC with one answer, and returns that.
    pub(super) async fn unary(&self, call: Call<'_>) -> Result<Bytes, Status> {
        let body = self.stream(call).await?.collect().await?;
        if let Some(status) = body.trailers().and_then(Status::from_header_map) {
            refused(status)?;
        }
        let mut bytes = body.to_bytes();
        take_message(&mut bytes).ok_or_else(|| Status::internal("a call has no answer"))
    }

    /// Calls an RPC, and returns the body of its answer: messages behind their
    /// prefixes, then a status in trailers.
    pub(super) async fn stream(&self, call: Call<'_>) -> Result<Body, Status> {
        let Ok(response) = self.0.clone().oneshot(call.request()).await;
        match Status::from_header_map(response.headers()) {
            Some(status) => refused(status).map(|()| response.into_body()),
            None => Ok(response.into_body()),
        }
    }
}

fn refused(status: Status) -> Result<(), Status> {
    match status.code() {
        Code::Ok => Ok(()),
        _ => Err(status),
    }
}

impl Call<'_> {
    fn request(self) -> Request<Body> {
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + self.message.len());
        put_message(PLAIN, &self.message, &mut framed);
        let body = http_body_util::Full::new(framed.freeze());
        let body = Body::new(body.map_err(|never: Infallible| match never {}));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::try_from(json::path(self.method)).unwrap_or_default();
        *request.headers_mut() = metadata(&self.head.headers);
        *request.extensions_mut() = self.head.extensions.clone();
        request
    }
}

fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in OF_THE_BODY {
        headers.remove(name);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(timeout) = headers.remove("connect-timeout-ms") {
        let timeout = [timeout.as_bytes(), b"m"].concat();
        if let Ok(timeout) = HeaderValue::from_bytes(&timeout) {
            headers.insert("grpc-timeout", timeout);
        }
    }
    headers
}

/// Adds a message behind its prefix.
pub(super) fn put_message(flags: u8, message: &[u8], bytes: &mut BytesMut) {
    bytes.reserve(PREFIX_BYTES + message.len());
    put_prefix(flags, message.len(), bytes);
    bytes.put_slice(message);
}

/// Takes the first message, if the whole of it is there.
pub(super) fn take_message(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.get(1..PREFIX_BYTES)?;
    let length = length.try_into().map(u32::from_be_bytes).ok()? as usize;
    bytes.get(PREFIX_BYTES..PREFIX_BYTES.checked_add(length)?)?;
    bytes.advance(PREFIX_BYTES);
    Some(bytes.split_to(length))
}

/// Makes another body of an answer's: of what goes before it, of its chunks, which
/// are whole messages, and of how it ended. It asks for a chunk when it is asked for one, so that who
/// does not read it stands still.
pub(super) fn rewrite(
    before: Bytes,
    mut answer: Body,
    mut each: impl FnMut(Bytes) -> Result<Bytes, Status> + Send + 'static,
    end: impl FnOnce(Status) -> Bytes + Send + 'static,
) -> Body {
    let chunks = async_stream::stream! {
        if !before.is_empty() {
            yield Ok::<_, Status>(Frame::data(before));
        }
        let mut status = Status::ok("");
        while let Some(frame) = answer.frame().await {
            match frame.and_then(|frame| part(frame, &mut each)) {
                Ok(Part::Data(data)) => yield Ok(Frame::data(data)),
                Ok(Part::End(end)) => status = end,
                Err(error) => {
                    status = error;
                    break;
                }
            }
        }
        let end = end(status);
        if !end.is_empty() {
            yield Ok(Frame::data(end));
        }
    };
    Body::new(StreamBody::new(chunks))
}

enum Part {
    Data(Bytes),
    End(Status),
}

fn part(
    frame: Frame<Bytes>,
    each: &mut impl FnMut(Bytes) -> Result<Bytes, Status>,
) -> Result<Part, Status> {
    match frame.into_data() {
        Ok(data) => each(data).map(Part::Data),
        Err(frame) => {
            let trailers = frame.into_trailers().unwrap_or_default();
            let status = Status::from_header_map(&trailers);
            Ok(Part::End(status.unwrap_or_else(|| Status::ok(""))))
        }
    }
}
