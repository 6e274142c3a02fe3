//! Events that were read together, as ready-made frames behind one another.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{
    domain::{cursor::Cursor, message::MessageState},
    proto::{self as v1, event::Payload},
    store::Placed,
    wire::{
        frame::{EncodedFrame, put_event},
        message::state_from_v1,
    },
};

/// Frames of events that follow one another, at least one. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Batch {
    frames: Arc<[Frame]>,
    /// So many of them were passed over.
    skipped: usize,
    bytes: Bytes,
}

/// What is to be known of a frame without reading it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The event's place.
    pub cursor: Cursor,
    /// What happened.
    pub event_type: v1::EventType,
    /// To which message.
    pub message: String,
    /// The final state, where the event ended the message.
    pub ended: Option<MessageState>,
    /// Where its bytes end among those of the batch that it was made for.
    end: usize,
}

impl Batch {
    /// Events as one batch; none where there is none.
    pub fn of(events: impl IntoIterator<Item = Placed>) -> Option<Self> {
        let mut batch = Gathering::default();
        for placed in events {
            batch.push(placed);
        }
        batch.take()
    }

    fn new(frames: Vec<Frame>, bytes: BytesMut) -> Option<Self> {
        let is_empty = frames.is_empty();
        (!is_empty).then(|| Self {
            frames: frames.into(),
            skipped: 0,
            bytes: bytes.freeze(),
        })
    }

    /// All frames as gRPC sends them.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// What is to be known of each.
    pub fn frames(&self) -> &[Frame] {
        &self.frames[self.skipped..]
    }

    pub(super) fn first(&self) -> &Frame {
        &self.frames[self.skipped]
    }

    /// The last of them.
    pub fn last(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// Each by itself.
    pub fn each(&self) -> impl Iterator<Item = (&Frame, EncodedFrame)> {
        let mut begin = 0;
        let skipped = self.skipped_bytes();
        self.frames().iter().map(move |frame| {
            let end = frame.end - skipped;
            let encoded = EncodedFrame::part_of(&self.bytes, begin..end);
            begin = end;
            (frame, encoded)
        })
    }

    /// Those that are wanted; none where none is.
    pub fn only(&self, is_wanted: impl Fn(&Frame) -> bool) -> Option<Self> {
        let mut wanted = Gathering::default();
        for (frame, encoded) in self.each().filter(|(frame, _)| is_wanted(frame)) {
            wanted.bytes.extend_from_slice(&Bytes::from(encoded));
            let end = wanted.bytes.len();
            wanted.frames.push(Frame {
                end,
                ..frame.clone()
            });
        }
        wanted.take()
    }

    /// What of a ring's batch comes after a sequence that is not its last.
    pub(super) fn after(&self, sequence: u64) -> Self {
        let skipped = self
            .frames
            .partition_point(|frame| frame.cursor.sequence <= sequence);
        let begin = match skipped {
            0 => 0,
            skipped => self.frames[skipped - 1].end,
        };
        Self {
            frames: self.frames.clone(),
            skipped,
            bytes: self.bytes.slice(begin - self.skipped_bytes()..),
        }
    }

    fn skipped_bytes(&self) -> usize {
        match self.skipped {
            0 => 0,
            skipped => self.frames[skipped - 1].end,
        }
    }
}

/// A batch to be.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    frames: Vec<Frame>,
    bytes: BytesMut,
}

impl Gathering {
    pub(super) fn push(&mut self, Placed { cursor, event }: Placed) {
        let ended = match &event.payload {
            Some(Payload::MessageEnd(end)) => state_from_v1(end.state()),
            _ => None,
        };
        let event_type = event.event_type();
        let message = put_event(event, &mut self.bytes);
        self.frames.push(Frame {
            cursor,
            event_type,
            message,
            ended,
            end: self.bytes.len(),
        });
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// In bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What was gathered, if anything; this is then empty.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let Self { frames, bytes } = std::mem::take(self);
        Batch::new(frames, bytes)
    }
}
