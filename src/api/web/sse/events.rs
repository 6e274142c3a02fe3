//! Frames of watches, written as events.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use super::shared;
use crate::{
    api::web::{
        json::{Printer, printer, put_text},
        problem::Problem,
        rpc::take_message,
    },
    proto as v1,
};

/// A `WatchMessageResponse` or `WatchFrame` whose parts were not read.
#[derive(Clone, PartialEq, Message)]
struct Unread {
    #[prost(string, tag = "1")]
    cursor: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    event: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    snapshot: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    gap: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    caught_up: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    heartbeat: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    end: Option<Bytes>,
}

/// A `WatchSessionResponse` whose frame was not read.
#[derive(Clone, PartialEq, Message)]
struct UnreadOfSession {
    #[prost(string, tag = "1")]
    resume_token: String,
    #[prost(string, tag = "2")]
    message_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    frame: Bytes,
}

/// What of an `Event` says its name.
#[derive(Clone, PartialEq, Message)]
struct Typed {
    #[prost(enumeration = "v1::EventType", tag = "3")]
    event_type: i32,
}

/// The frames of a watched message. Events others watch as well, and they come by
/// themselves; the rest is this watch's own.
pub(super) fn of_message(frames: Bytes) -> Bytes {
    match begins_with_event(frames.clone()) {
        true => shared::find_or_make(frames, write_all),
        false => write_all(frames),
    }
}

fn begins_with_event(mut frames: Bytes) -> bool {
    let first = take_message(&mut frames).map(Unread::decode);
    first.is_some_and(|first| first.is_ok_and(|first| first.event.is_some()))
}

fn write_all(mut frames: Bytes) -> Bytes {
    let mut out = Vec::with_capacity(4 * frames.len());
    while let Some(frame) = take_message(&mut frames) {
        if let Ok(frame) = Unread::decode(frame) {
            put(&frame.cursor, "", &frame, &mut out);
        }
    }
    out.into()
}

/// The frames of a watched session.
pub(super) fn of_session(mut frames: Bytes) -> Bytes {
    let mut out = Vec::with_capacity(4 * frames.len());
    while let Some(frame) = take_message(&mut frames) {
        let frame = UnreadOfSession::decode(frame)
            .and_then(|outer| Ok((Unread::decode(outer.frame.clone())?, outer)));
        if let Ok((frame, outer)) = frame {
            put(&outer.resume_token, &outer.message_id, &frame, &mut out);
        }
    }
    out.into()
}

/// How a watch ended that did not end well.
pub(super) fn problem(status: Status) -> Bytes {
    if status.code() == Code::Ok {
        return Bytes::new();
    }
    of_problem(&status.into())
}

pub(super) fn of_problem(problem: &Problem) -> Bytes {
    format!("event: problem\ndata: {}\n\n", problem.to_json()).into()
}

/// Whether nothing happened since, and nothing will.
pub(super) fn are_only_the_end(events: &[u8]) -> bool {
    let Ok(events) = std::str::from_utf8(events) else {
        return false;
    };
    let events = events
        .strip_prefix("event: caught_up\n")
        .map_or(events, |rest| {
            rest.split_once("\n\n").map_or("", |(_, rest)| rest)
        });
    let is_for_good = !events.contains(v1::WatchEndReason::ServerDraining.as_str_name());
    events.starts_with("event: end\n") && is_for_good
}

fn put(place: &str, message: &str, frame: &Unread, out: &mut Vec<u8>) {
    let printer = printer();
    if let Some(event) = &frame.event {
        let name = event_name(event);
        put_event(&name, place, out);
        put_data(printer, "Event", event, out);
    } else if let Some(snapshot) = &frame.snapshot {
        put_event("snapshot", place, out);
        put_data(printer, "Message", snapshot, out);
    } else if let Some(gap) = &frame.gap {
        put_event("gap", place, out);
        put_data_of(printer, "Gap", message, gap, out);
    } else if let Some(caught_up) = &frame.caught_up {
        put_event("caught_up", place, out);
        put_data(printer, "CaughtUp", caught_up, out);
    } else if let Some(end) = &frame.end {
        put_event("end", place, out);
        put_data_of(printer, "End", message, end, out);
    } else if frame.heartbeat.is_some() {
        out.extend_from_slice(b": heartbeat");
        put_id(place, out);
    }
    out.extend_from_slice(b"\n\n");
}

/// As in `text_delta`.
fn event_name(event: &Bytes) -> String {
    let typed = Typed::decode(event.clone()).unwrap_or_default();
    let name = typed.event_type().as_str_name();
    name.trim_start_matches("EVENT_TYPE_").to_lowercase()
}

fn put_event(name: &str, place: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    put_id(place, out);
    out.extend_from_slice(b"\ndata: ");
}

/// EventSource keeps that of a heartbeat, too, though it makes no event of it.
fn put_id(place: &str, out: &mut Vec<u8>) {
    if !place.is_empty() {
        out.extend_from_slice(b"\nid: ");
        out.extend_from_slice(place.as_bytes());
    }
}

fn put_data(printer: &Printer, kind: &str, content: &Bytes, out: &mut Vec<u8>) {
    let begin = out.len();
    let written = printer.put_named(kind, content.clone(), out);
    if written.is_none() {
        out.truncate(begin);
        out.extend_from_slice(b"{}");
    }
}

/// What does not name its message by itself does so here, in a session.
fn put_data_of(printer: &Printer, kind: &str, message: &str, content: &Bytes, out: &mut Vec<u8>) {
    if message.is_empty() {
        return put_data(printer, kind, content, out);
    }
    out.extend_from_slice(b"{\"messageId\":");
    put_text(message, out);
    let begin = out.len();
    put_data(printer, kind, content, out);
    // The brace of what follows becomes a comma, or goes where that is empty.
    match out.get(begin + 1) {
        Some(b'}') => drop(out.remove(begin)),
        _ => out[begin] = b',',
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{
        api::web::rpc::put_message, proto::watch_message_response::Frame, wire::frame::PLAIN,
    };

    fn chunk(frame: Frame) -> Bytes {
        let frame = v1::WatchMessageResponse {
            cursor: "7-1".to_owned(),
            frame: Some(frame),
        };
        let mut chunk = BytesMut::new();
        put_message(PLAIN, &frame.encode_to_vec(), &mut chunk);
        chunk.freeze()
    }

    #[test]
    fn only_what_others_are_sent_as_well_is_kept() {
        for (frame, is_kept) in [
            (Frame::Event(v1::Event::default()), true),
            (Frame::Snapshot(v1::Message::default()), false),
            (Frame::Heartbeat(v1::Heartbeat::default()), false),
        ] {
            let chunk = chunk(frame);
            of_message(chunk.clone());
            assert_eq!(!chunk.is_unique(), is_kept);
        }
    }

    #[test]
    fn a_heartbeat_is_a_comment_with_the_place_to_resume_from() {
        let beat = of_message(chunk(Frame::Heartbeat(v1::Heartbeat::default())));
        assert_eq!(beat, ": heartbeat\nid: 7-1\n\n");
    }
}
