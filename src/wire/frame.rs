//! Frames of a watch, encoded once and shared by everybody who watches.
//!
//! They are kept as gRPC sends them, each behind its prefix, so that a watch
//! sends what others send as well without touching it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{self, string},
};

use crate::{
    domain::{ids::MessageId, message::MessageState},
    proto::{self as v1, watch_message_response::Frame as V1},
    wire::message::state_to_v1,
};

/// Flags and length before each message of gRPC.
pub const PREFIX_BYTES: usize = 5;
/// Flags of a message that is not compressed.
pub const PLAIN: u8 = 0;

/// A `WatchMessageResponse` as gRPC sends it. Cloning shares its bytes.
#[derive(Debug, Clone)]
pub struct EncodedFrame(Bytes);

/// A `WatchSessionResponse` as gRPC sends it: a frame of one of the session's
/// messages, as it is, with what belongs to the session around it.
///
/// `WatchFrame` has the fields of `WatchMessageResponse`, so that a frame serves
/// both.
#[derive(Debug, Clone)]
pub struct EncodedSessionFrame(Bytes);

impl EncodedSessionFrame {
    /// A frame of a message, or of the session where that is none.
    pub fn new(resume_token: &str, message: Option<&MessageId>, frame: &EncodedFrame) -> Self {
        let resume_token = resume_token.to_owned();
        let message_id = message.map(MessageId::to_string).unwrap_or_default();
        let frame = frame.0.slice(PREFIX_BYTES..);
        let length = string::encoded_len(1, &resume_token)
            + string::encoded_len(2, &message_id)
            + encoding::bytes::encoded_len(3, &frame);
        let mut sent = BytesMut::with_capacity(PREFIX_BYTES + length);
        put_prefix(PLAIN, length, &mut sent);
        string::encode(1, &resume_token, &mut sent);
        string::encode(2, &message_id, &mut sent);
        // A message is encoded like its bytes.
        encoding::bytes::encode(3, &frame, &mut sent);
        Self(sent.freeze())
    }
}

impl From<EncodedSessionFrame> for Bytes {
    fn from(EncodedSessionFrame(bytes): EncodedSessionFrame) -> Self {
        bytes
    }
}

impl From<EncodedFrame> for Bytes {
    fn from(EncodedFrame(bytes): EncodedFrame) -> Self {
        bytes
    }
}

/// Adds the frame of an event at its place to others, and returns the event's
/// message.
pub fn put_event(event: v1::Event, frames: &mut BytesMut) -> String {
    let message = event.message_id.clone();
    put_frame(event.cursor.clone(), V1::Event(event), frames);
    message
}

fn put_frame(cursor: String, frame: V1, frames: &mut BytesMut) {
    let frame = v1::WatchMessageResponse {
        cursor,
        frame: Some(frame),
    };
    let length = frame.encoded_len();
    frames.reserve(PREFIX_BYTES + length);
    put_prefix(PLAIN, length, frames);
    frame.encode_raw(frames);
}

/// Adds what goes before a message of so many bytes.
pub fn put_prefix(flags: u8, length: usize, sent: &mut BytesMut) {
    sent.put_u8(flags);
    // Far below: what is sent has a limit.
    sent.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Why the events after a cursor cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// Retention removed them.
    Trimmed,
    /// The log ends before the cursor.
    AheadOfHead,
    /// At the cursor's sequence stands another event.
    HistoryChanged,
}

/// Why a watch ended, other than by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// The message is final, and all its events were sent.
    MessageEnded(MessageState),
    /// The message was deleted.
    Deleted,
    /// The message was kept for its time.
    Expired,
    /// This instance stops.
    Draining,
}

impl EncodedFrame {
    /// One of several frames that lie behind one another.
    pub(crate) fn part_of(frames: &Bytes, range: std::ops::Range<usize>) -> Self {
        Self(frames.slice(range))
    }

    /// The whole message at its place.
    pub fn snapshot(message: v1::Message) -> Self {
        Self::encode(message.cursor.clone(), V1::Snapshot(message))
    }

    /// Events after `cursor` cannot be had.
    pub fn gap(cursor: String, reason: GapReason) -> Self {
        let reason = match reason {
            GapReason::Trimmed => v1::GapReason::Trimmed,
            GapReason::AheadOfHead => v1::GapReason::AheadOfHead,
            GapReason::HistoryChanged => v1::GapReason::HistoryChanged,
        };
        Self::encode(
            cursor,
            V1::Gap(v1::Gap {
                reason: reason.into(),
            }),
        )
    }

    /// All that had happened was sent.
    pub fn caught_up(cursor: String) -> Self {
        Self::encode(cursor, V1::CaughtUp(v1::CaughtUp {}))
    }

    /// Nothing happened.
    pub fn heartbeat(cursor: String) -> Self {
        Self::encode(cursor, V1::Heartbeat(v1::Heartbeat {}))
    }

    /// Nothing follows.
    pub fn end(cursor: String, end: WatchEnd) -> Self {
        use v1::WatchEndReason as Reason;
        let (reason, state) = match end {
            WatchEnd::MessageEnded(state) => (Reason::MessageEnded, state_to_v1(state)),
            WatchEnd::Deleted => (Reason::Deleted, v1::MessageState::Unspecified),
            WatchEnd::Expired => (Reason::Expired, v1::MessageState::Unspecified),
            WatchEnd::Draining => (Reason::ServerDraining, v1::MessageState::Unspecified),
        };
        Self::encode(
            cursor,
            V1::End(v1::End {
                reason: reason.into(),
                state: state.into(),
            }),
        )
    }

    fn encode(cursor: String, frame: V1) -> Self {
        let mut sent = BytesMut::new();
        put_frame(cursor, frame, &mut sent);
        Self(sent.freeze())
    }
}
