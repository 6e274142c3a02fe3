//! Content as bytes: a download, whole or a range of it.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
        IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

use super::{
    fields::Fields,
    json,
    problem::Problem,
    rpc::{Call, Rpcs, take_message},
};
use crate::{api::status::from_engine, domain::refusal::Refusal, engine::EngineError, proto as v1};

/// Which bytes a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From one to another, or to the end; both are in it.
    From(u64, Option<u64>),
    Last(u64),
}

/// An answer that has begun.
struct Opened {
    content: v1::ContentRef,
    first: Bytes,
    rest: Body,
}

pub(super) async fn answer(
    rpcs: &Rpcs,
    head: &Parts,
    method: &MethodDescriptor,
    fields: Fields,
) -> Result<Response<Body>, Problem> {
    let source = Source {
        rpcs,
        head,
        method,
        fields,
    };
    match source.answer().await {
        Err(status) if status.code() == Code::OutOfRange => Ok(beyond_the_end(status)),
        other => Ok(other?),
    }
}

struct Source<'a> {
    rpcs: &'a Rpcs,
    head: &'a Parts,
    method: &'a MethodDescriptor,
    fields: Fields,
}

impl Source<'_> {
    async fn answer(&self) -> Result<Response<Body>, Status> {
        let asked = &self.head.headers;
        let mut wanted = wanted(asked);
        if asked.contains_key(IF_NONE_MATCH) || asked.contains_key(IF_RANGE) {
            // Before the range is asked for, which may lie behind the end by now.
            let etag = self.open(0, 1).await?.etag();
            let has = |name| etag.is_some() && asked.get(name) == etag.as_ref();
            if has(IF_NONE_MATCH) {
                return Ok(response(StatusCode::NOT_MODIFIED, etag, Body::default()));
            }
            if asked.contains_key(IF_RANGE) && !has(IF_RANGE) {
                wanted = Wanted::All;
            }
        }
        let (offset, limit) = match wanted {
            Wanted::All => return Ok(self.open(0, 0).await?.into_response(None)),
            Wanted::From(first, None) => (first, 0),
            Wanted::From(first, Some(last)) => (first, last.saturating_sub(first) + 1),
            Wanted::Last(length) => {
                let size = self.open(0, 1).await?.size();
                (size.saturating_sub(length), 0)
            }
        };
        self.part(offset, limit).await
    }

    async fn part(&self, offset: u64, limit: u64) -> Result<Response<Body>, Status> {
        let opened = self.open(offset, limit).await?;
        if offset >= opened.size() {
            let length = opened.size();
            return Err(from_engine(EngineError::Refused(Refusal::RangeBeyondEnd {
                offset,
                length,
            })));
        }
        Ok(opened.into_response(Some((offset, limit))))
    }

    async fn open(&self, offset: u64, limit: u64) -> Result<Opened, Status> {
        let mut fields = self.fields.clone();
        fields.insert("offset".to_owned(), offset.to_string().into());
        fields.insert("limit".to_owned(), limit.to_string().into());
        let call = Call {
            head: self.head,
            method: self.method,
            message: json::read(&self.method.input(), Value::Object(fields))?,
        };
        let mut rest = self.rpcs.stream(call).await?;
        let first = match rest.frame().await {
            Some(frame) => frame?,
            None => return Err(Status::internal("content has no first chunk")),
        };
        let mut first = first.into_data().map_err(|frame| {
            let trailers = frame.into_trailers().unwrap_or_default();
            Status::from_header_map(&trailers).unwrap_or_else(|| Status::internal("no content"))
        })?;
        let (content, first) = read_chunks(&mut first)?;
        Ok(Opened {
            content: content.unwrap_or_default(),
            first,
            rest,
        })
    }
}

/// What chunks say of the whole, and their bytes as one.
fn read_chunks(messages: &mut Bytes) -> Result<(Option<v1::ContentRef>, Bytes), Status> {
    let mut content = None;
    let mut data = Vec::new();
    while let Some(message) = take_message(messages) {
        let chunk = v1::ReadContentResponse::decode(message)
            .map_err(|_| Status::internal("a chunk cannot be read"))?;
        content = content.or(chunk.content);
        data.push(chunk.data);
    }
    let data = match data.len() {
        1 => data.swap_remove(0),
        _ => data.concat().into(),
    };
    Ok((content, data))
}

impl Opened {
    fn size(&self) -> u64 {
        u64::try_from(self.content.size).unwrap_or_default()
    }

    fn etag(&self) -> Option<HeaderValue> {
        let digest = &self.content.sha256;
        let tag = HeaderValue::from_str(&format!("\"{digest}\"")).ok();
        tag.filter(|_| !digest.is_empty())
    }

    fn into_response(self, range: Option<(u64, u64)>) -> Response<Body> {
        let size = self.size();
        let (offset, limit) = range.unwrap_or_default();
        let left = size.saturating_sub(offset);
        let length = if limit == 0 { left } else { limit.min(left) };
        let status = match range {
            Some(_) => StatusCode::PARTIAL_CONTENT,
            None => StatusCode::OK,
        };
        let (etag, kind) = (self.etag(), self.content.media_type);
        let mut response = response(status, etag, body(self.first, self.rest));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type(&kind));
        headers.insert(CONTENT_LENGTH, length.into());
        if range.is_some() {
            let last = (offset + length).saturating_sub(1);
            insert_range(headers, &format!("bytes {offset}-{last}/{size}"));
        }
        response
    }
}

/// The type of content, with the charset of what the service keeps as text. A file of
/// such a type, which says no other, can't be told from it, and is mostly the same:
/// without a charset browsers take it for Latin-1.
fn content_type(media_type: &str) -> HeaderValue {
    let known = match media_type {
        "" => "application/octet-stream",
        "text/plain" => "text/plain; charset=utf-8",
        "text/markdown" => "text/markdown; charset=utf-8",
        "text/html" => "text/html; charset=utf-8",
        other => other,
    };
    let any = HeaderValue::from_static("application/octet-stream");
    HeaderValue::from_str(known).unwrap_or(any)
}

fn response(status: StatusCode, etag: Option<HeaderValue>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Whoever wrote the content chose its type: what a browser makes of it shall
    // run nothing, and see nothing of this origin.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, nothing);
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
    response
}

/// The bytes of all chunks. What does not end well is cut off, or would pass for
/// the whole.
fn body(first: Bytes, mut rest: Body) -> Body {
    let chunks = async_stream::stream! {
        if !first.is_empty() {
            yield Ok(Frame::data(first));
        }
        while let Some(frame) = rest.frame().await {
            match frame.and_then(content_of) {
                Ok(data) => yield Ok::<_, Status>(Frame::data(data)),
                Err(error) => {
                    yield Err(error);
                    break;
                }
            }
        }
    };
    Body::new(StreamBody::new(chunks))
}

/// The content in a frame: none in the last, which may say what went wrong.
fn content_of(frame: Frame<Bytes>) -> Result<Bytes, Status> {
    match frame.into_data() {
        Ok(mut messages) => Ok(read_chunks(&mut messages)?.1),
        Err(end) => match end.trailers_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(Bytes::new()),
        },
    }
}

fn beyond_the_end(status: Status) -> Response<Body> {
    let info = status.get_details_error_info();
    let length = info.and_then(|info| info.metadata.get("length").cloned());
    let mut response = Problem::from(status).into_response();
    if let Some(length) = length {
        insert_range(response.headers_mut(), &format!("bytes */{length}"));
    }
    response
}

fn insert_range(headers: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(CONTENT_RANGE, range);
    }
}

/// The range that a request asks for. Several, and what is none, mean all, as
/// HTTP allows.
fn wanted(headers: &HeaderMap) -> Wanted {
    let text = headers.get(RANGE).and_then(|range| range.to_str().ok());
    text.and_then(range).unwrap_or(Wanted::All)
}

fn range(text: &str) -> Option<Wanted> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n < 1 << 62);
    match (first.trim(), last.trim()) {
        ("", last) => number(last).filter(|n| *n > 0).map(Wanted::Last),
        (first, "") => Some(Wanted::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::From(first, Some(last)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status;

    #[tokio::test]
    async fn content_that_does_not_end_well_does_not_pass_for_the_whole() {
        for (end, is_whole) in [
            (Status::ok(""), true),
            (Status::unavailable("the store is gone"), false),
        ] {
            let trailers = Frame::trailers(status::trailers(&end));
            let rest = StreamBody::new(tokio_stream::once(Ok::<_, Status>(trailers)));
            let body = body(Bytes::from("some"), Body::new(rest)).collect().await;
            assert_eq!(body.is_ok(), is_whole);
        }
    }

    #[test]
    fn text_says_that_it_is_utf_8_and_what_a_file_says_stays() {
        for (stored, sent) in [
            ("text/plain", "text/plain; charset=utf-8"),
            ("text/plain; charset=latin1", "text/plain; charset=latin1"),
            ("application/json", "application/json"),
            ("image/png", "image/png"),
            ("", "application/octet-stream"),
            ("a\nb", "application/octet-stream"),
        ] {
            assert_eq!(content_type(stored), sent, "{stored:?}");
        }
    }

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (text, expected) in [
            ("bytes=0-0", Some(Wanted::From(0, Some(0)))),
            ("bytes=5-", Some(Wanted::From(5, None))),
            ("bytes=-7", Some(Wanted::Last(7))),
            ("bytes=2-1", None),
            ("bytes=-0", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-1", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(range(text), expected, "{text}");
        }
    }
}
