//! Answers that are sent as they lie in memory.
//!
//! tonic would encode each of them, which for a long one means to write it once more.
//! So a handler puts its bytes among the extensions of its response, from where a
//! layer makes them its body, and has nothing for tonic to send.

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use tonic::{Response, Status, body::Body};

use super::status;
use crate::wire::frame::{PLAIN, PREFIX_BYTES, put_prefix};

/// An answer as gRPC sends it. Cloning shares its bytes.
#[derive(Debug, Clone)]
pub(super) struct Ready(Bytes);

impl Ready {
    pub(super) fn of(answer: &impl Message) -> Self {
        let length = answer.encoded_len();
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
        put_prefix(PLAIN, length, &mut bytes);
        answer.encode_raw(&mut bytes);
        Self(bytes.freeze())
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// A response that is this, below a layer that [unpacks](unpack) it.
    pub(super) fn into_response<T: Default>(self) -> Response<T> {
        let mut response = Response::new(T::default());
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a response its answer, if that is ready.
pub(super) fn unpack(mut response: http::Response<Body>) -> http::Response<Body> {
    let Some(Ready(bytes)) = response.extensions_mut().remove() else {
        return response;
    };
    let trailers = Frame::trailers(status::trailers(&Status::ok("")));
    let frames = [Frame::data(bytes), trailers].map(Ok::<_, Status>);
    // It does not say its length: gRPC-Web writes the status behind it, or all of it
    // in base64, and would be cut off there.
    response.map(|_| Body::new(StreamBody::new(tokio_stream::iter(frames))))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::proto as v1;

    fn answer() -> v1::GetSessionRequest {
        v1::GetSessionRequest {
            session_id: "s".to_owned(),
        }
    }

    fn response<T>(answer: Response<T>) -> http::Response<Body> {
        let mut response = http::Response::new(Body::empty());
        *response.extensions_mut() = answer.into_parts().2;
        response
    }

    #[tokio::test]
    async fn a_ready_answer_is_sent_as_grpc_sends_it() {
        let ready = Ready::of(&answer());
        let unpacked = unpack(response(ready.into_response::<()>()));
        let sent = unpacked.into_body().collect().await.unwrap();
        assert_eq!(sent.trailers().unwrap()["grpc-status"], "0");
        let bytes = sent.to_bytes();
        let (prefix, message) = bytes.split_at(PREFIX_BYTES);
        assert_eq!(prefix, [0, 0, 0, 0, 3]);
        assert_eq!(v1::GetSessionRequest::decode(message).unwrap(), answer());
    }

    #[tokio::test]
    async fn another_answer_is_left_as_it_is() {
        let unpacked = unpack(response(Response::new(())));
        let sent = unpacked.into_body().collect().await.unwrap();
        assert!(sent.trailers().is_none());
        assert!(sent.to_bytes().is_empty());
    }
}
