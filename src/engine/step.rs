//! What a watch sends, and when it has lasted long enough.

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::{domain::cursor::Cursor, tail::Batch, wire::frame::EncodedFrame};

/// What is sent at once, and what it means for who sends it on.
#[derive(Debug, Clone)]
pub enum Step {
    /// Events.
    Events(Batch),
    /// The whole message, or a gap, with where to resume after it; none before
    /// the first place is known.
    Place(EncodedFrame, Option<Cursor>),
    /// All that had happened when the watch began was sent.
    CaughtUp(EncodedFrame),
    /// Nothing happened.
    Heartbeat(EncodedFrame),
    /// Nothing follows.
    End(EncodedFrame),
}

impl From<Step> for Bytes {
    fn from(step: Step) -> Self {
        match step {
            Step::Events(batch) => batch.bytes(),
            Step::Place(frame, _)
            | Step::CaughtUp(frame)
            | Step::Heartbeat(frame)
            | Step::End(frame) => frame.into(),
        }
    }
}

/// Waits for the end of a watch that has one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
