//! What a watch sends, and when it has lasted long enough.

use tokio::time::{Instant, sleep_until};

use crate::{domain::cursor::Cursor, wire::frame::EncodedFrame};

/// A frame, and what it means for who sends it on.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is sent.
    pub frame: EncodedFrame,
    /// Where to resume after it; none before the first place is known.
    pub cursor: Option<Cursor>,
    /// What it is.
    pub kind: StepKind,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// An event, a snapshot or a gap.
    Data,
    /// All that had happened when the watch began was sent.
    CaughtUp,
    /// Nothing happened.
    Heartbeat,
    /// Nothing follows.
    End,
}

/// Waits for the end of a watch that has one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
