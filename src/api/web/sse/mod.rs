//! Watches as server-sent events: `id` is the place to resume from, `event` says
//! what happened, `data` is it in JSON. A heartbeat is a comment, with an `id` where
//! there is a place to resume from.
//!
//! The frames are those of gRPC's watches, and who does not read them is ended by
//! the same sweep.

mod events;
mod shared;

pub use self::shared::forget_forever;

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};

use super::{
    fields::{Fields, set},
    json,
    problem::Problem,
    rpc::{Call, Rpcs, rewrite},
};
use crate::api::{status::invalid, watch_body::Rewrite};

/// What the first frame is waited for. It tells whether there is anything to
/// watch; only a message that does not exist yet lets one wait.
const FIRST_FRAME: Duration = Duration::from_millis(500);

const EVENT_STREAM: &str = "text/event-stream";
/// How long a browser waits before it connects again.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// Answers with a stream. EventSource comes back to one that has ended, but gives up
/// for good where the answer is any other than a stream: so what will pass is told
/// in one.
pub(super) async fn answer(
    rpcs: &Rpcs,
    head: Parts,
    method: &MethodDescriptor,
    fields: Fields,
    resume: &str,
) -> Result<Response<Body>, Problem> {
    let is_event_source = wants_events(&head.headers);
    match open(rpcs, head, method, fields, resume).await {
        Err(problem) if is_event_source => come_back(problem),
        answer => answer,
    }
}

/// Whether an answer of no other kind is asked for, as EventSource does.
fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes() == EVENT_STREAM.as_bytes())
}

async fn open(
    rpcs: &Rpcs,
    mut head: Parts,
    method: &MethodDescriptor,
    mut fields: Fields,
    resume: &str,
) -> Result<Response<Body>, Problem> {
    let place = head.headers.get("last-event-id");
    // Who has seen no id has none to go before `last_id`.
    if let Some(place) = place.filter(|place| !place.is_empty()) {
        let place = place.to_str();
        let place = place.map_err(|_| invalid("last-event-id", "must be an id of the stream"))?;
        set(&method.input(), &mut fields, resume, place.into());
    }
    let is_of_session = method.name() == "WatchSession";
    let events = match is_of_session {
        true => events::of_session,
        false => events::of_message,
    };
    head.extensions.insert(Rewrite(events));
    let call = Call {
        head: &head,
        method,
        message: json::read(&method.input(), Value::Object(fields))?,
    };
    let mut watch = rpcs.stream(call).await?;
    let first = match timeout(FIRST_FRAME, watch.frame()).await {
        Ok(first) => data(first)?,
        Err(_) => Bytes::new(),
    };
    // The end of a message is not that of its session, to which others may come.
    if !is_of_session && events::are_only_the_end(&first) {
        return Ok(no_content());
    }
    Ok(event_stream(first, watch))
}

/// The data of a frame, or how the watch was refused.
fn data(frame: Option<Result<Frame<Bytes>, Status>>) -> Result<Bytes, Status> {
    let Some(frame) = frame.transpose()? else {
        return Ok(Bytes::new());
    };
    match frame.into_data() {
        Ok(data) => Ok(data),
        Err(frame) => {
            let trailers = frame.into_trailers().unwrap_or_default();
            match Status::from_header_map(&trailers) {
                Some(status) if status.code() != Code::Ok => Err(status),
                _ => Ok(Bytes::new()),
            }
        }
    }
}

fn event_stream(first: Bytes, watch: Body) -> Response<Body> {
    let first = [RETRY, &first].concat();
    of_events(rewrite(first.into(), watch, Ok, events::problem))
}

/// A stream of nothing but a problem that will pass, and when to try again.
fn come_back(problem: Problem) -> Result<Response<Body>, Problem> {
    let Some(seconds) = problem.retry_after() else {
        return Err(problem);
    };
    let retry = format!("retry: {}\n\n", 1_000 * seconds);
    let events = [retry.as_bytes(), &events::of_problem(&problem)].concat();
    Ok(of_events(Body::new(Full::from(events))))
}

fn of_events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather what they pass on would keep events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Tells a browser that there is nothing to connect again for.
fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
