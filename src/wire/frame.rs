//! Frames of a watch, encoded once and shared by everybody who watches.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, message, skip_field, string},
};

use crate::{
    domain::{cursor::Cursor, ids::MessageId, message::MessageState},
    proto::{self as v1, watch_message_response::Frame as V1},
    wire::message::state_to_v1,
};

/// The bytes of a `WatchMessageResponse`. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct EncodedFrame(Bytes);

impl Message for EncodedFrame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    /// The service only sends frames. What it would read is passed over.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, ctx)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// The bytes of a `WatchSessionResponse`: a frame of one of the session's
/// messages, as it is, with what belongs to the session around it.
///
/// `WatchFrame` has the fields of `WatchMessageResponse`, so that a frame serves
/// both.
#[derive(Debug, Clone, Default)]
pub struct EncodedSessionFrame {
    resume_token: String,
    message_id: String,
    frame: EncodedFrame,
}

impl EncodedSessionFrame {
    /// A frame of a message, or of the session where that is none.
    pub fn new(resume_token: String, message: Option<&MessageId>, frame: EncodedFrame) -> Self {
        Self {
            resume_token,
            message_id: message.map(MessageId::to_string).unwrap_or_default(),
            frame,
        }
    }
}

impl Message for EncodedSessionFrame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        string::encode(1, &self.resume_token, buf);
        string::encode(2, &self.message_id, buf);
        message::encode(3, &self.frame, buf);
    }

    fn encoded_len(&self) -> usize {
        string::encoded_len(1, &self.resume_token)
            + string::encoded_len(2, &self.message_id)
            + message::encoded_len(3, &self.frame)
    }

    /// The service only sends frames. What it would read is passed over.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, ctx)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
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
    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// An event at its place.
    pub fn event(event: v1::Event) -> Self {
        Self::encode(event.cursor.clone(), V1::Event(event))
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
    pub fn caught_up(cursor: Option<Cursor>) -> Self {
        Self::encode(text(cursor), V1::CaughtUp(v1::CaughtUp {}))
    }

    /// Nothing happened.
    pub fn heartbeat(cursor: Option<Cursor>) -> Self {
        Self::encode(text(cursor), V1::Heartbeat(v1::Heartbeat {}))
    }

    /// Nothing follows.
    pub fn end(cursor: Option<Cursor>, end: WatchEnd) -> Self {
        use v1::WatchEndReason as Reason;
        let (reason, state) = match end {
            WatchEnd::MessageEnded(state) => (Reason::MessageEnded, state_to_v1(state)),
            WatchEnd::Deleted => (Reason::Deleted, v1::MessageState::Unspecified),
            WatchEnd::Expired => (Reason::Expired, v1::MessageState::Unspecified),
            WatchEnd::Draining => (Reason::ServerDraining, v1::MessageState::Unspecified),
        };
        Self::encode(
            text(cursor),
            V1::End(v1::End {
                reason: reason.into(),
                state: state.into(),
            }),
        )
    }

    fn encode(cursor: String, frame: V1) -> Self {
        let frame = v1::WatchMessageResponse {
            cursor,
            frame: Some(frame),
        };
        Self(frame.encode_to_vec().into())
    }
}

/// A watch that has not seen a place yet has none to resume from.
fn text(cursor: Option<Cursor>) -> String {
    cursor.map(|cursor| cursor.to_string()).unwrap_or_default()
}
