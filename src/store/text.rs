//! Text for the open block of a message, and what becomes of it.

use crate::domain::{
    Time,
    cursor::Cursor,
    ids::{BlockId, MessageId, RequestId, UserId},
    message::MessageState,
    task::Attempt,
};

/// Text for an open block: all of it is appended, or nothing.
#[derive(Debug)]
pub struct Append<'a> {
    /// Which message.
    pub message: &'a MessageId,
    /// Which block; none for the last one, if it is an open text.
    pub block: Option<&'a BlockId>,
    /// At least one.
    pub deltas: Vec<Delta<'a>>,
    /// When.
    pub time: Time,
    /// The length that the text must have.
    pub expected_offset: Option<u64>,
    /// Which writer.
    pub fence: u64,
    /// Under the lease of which task, so that the writer does not matter.
    pub attempt: Option<&'a Attempt>,
    /// Whose the message must be.
    pub owner: Option<&'a UserId>,
}

/// What becomes one event.
#[derive(Debug)]
pub struct Delta<'a> {
    /// At least one byte.
    pub text: &'a str,
    /// What a repeat is recognised by, with the digest of the request.
    pub request: Option<(&'a RequestId, &'a str)>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is written.
    Done {
        /// Place of the first event; the others follow.
        first: Cursor,
        /// Where the text went.
        block: BlockId,
        /// Length of the text before.
        offset: u64,
        /// Somebody asked that the message be cancelled.
        cancel_requested: bool,
    },
    /// It was written before under the same request id.
    Repeated {
        /// Place of the event then.
        cursor: Cursor,
        /// Block and offset then.
        detail: String,
        /// Somebody asked that the message be cancelled.
        cancel_requested: bool,
    },
    /// The text, or its beginning, stands at the expected offset already, and
    /// nothing was appended.
    Applied {
        /// Where the text is.
        block: BlockId,
        /// The expected offset.
        offset: u64,
        /// How many bytes of it stand there: all of a single delta.
        bytes: u64,
    },
    /// There is no such message, or it is another user's.
    Missing,
    /// The message has ended.
    Terminal(MessageState),
    /// The fence is not the current writer's.
    Fenced,
    /// The request id was used with another payload.
    Reused,
    /// The text has another length than expected.
    OffsetMismatch {
        /// Its length.
        length: u64,
    },
    /// The text would be too long.
    TooLong,
    /// The block is not open, or no block is: load and decide.
    Unopened,
    /// Of several deltas one is a repeat or does not fit: append one by one.
    Split,
}

impl Append<'_> {
    pub(super) fn text(&self) -> String {
        self.deltas.iter().map(|delta| delta.text).collect()
    }

    /// Whether one of the deltas has to be recognised when it is repeated.
    pub(super) fn has_requests(&self) -> bool {
        self.deltas.iter().any(|delta| delta.request.is_some())
    }

    /// Whether making it twice is the same as making it once.
    pub(super) fn is_repeatable(&self) -> bool {
        self.expected_offset.is_some() || self.deltas.iter().all(|delta| delta.request.is_some())
    }
}
