//! Why the service refuses what it was asked.

use super::{
    Time,
    ids::{BlockId, Label, MessageId, SessionId, TaskId},
    state::{MessageState, TaskStatus},
};

/// Why a command is refused, with what the caller needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    #[error("session {0} does not exist")]
    SessionUnknown(SessionId),
    #[error("message {0} does not exist")]
    MessageUnknown(MessageId),
    #[error("block {0} does not exist")]
    BlockUnknown(BlockId),
    #[error("task {0} does not exist")]
    TaskUnknown(TaskId),
    #[error("content does not exist")]
    ContentUnknown,
    #[error("session {0} belongs to another user")]
    SessionExists(SessionId),
    #[error("message {0} exists with another session or role")]
    MessageExists(MessageId),
    #[error("block {0} exists already")]
    BlockExists(BlockId),
    #[error("task {0} exists already")]
    TaskExists(TaskId),
    #[error("session {0} is closed")]
    SessionClosed(SessionId),
    #[error("message is {} and can no longer be written", state.name())]
    MessageTerminal { state: MessageState },
    #[error("request id was used before with another payload")]
    RequestIdReused,
    #[error("fence {fence} is not the current writer's")]
    WriterFenced { fence: u64 },
    #[error("{writer} is the message's writer until {expires}")]
    WriterPresent { writer: Label, expires: Time },
    #[error("text is {length} bytes long, not {offset}")]
    OffsetMismatch { offset: u64, length: u64 },
    #[error("block {0} is sealed")]
    BlockSealed(BlockId),
    #[error("block {0} is the placeholder of a task")]
    BlockPlaceholder(BlockId),
    #[error("block {0} is not the task's that the lease is of")]
    BlockNotLeased(BlockId),
    #[error("block {0} holds content of another kind")]
    BlockKind(BlockId),
    #[error("block {0} does not hold JSON yet")]
    BlockNotJson(BlockId),
    #[error("task is {status:?} already")]
    TaskTerminal { status: TaskStatus },
    #[error("a task that is being processed does not become pending by an update")]
    TaskProcessing,
    #[error("attempt {attempt} does not hold the task; its last one is {current}")]
    TaskLeaseLost { attempt: u32, current: u32 },
    #[error("a user cannot claim tasks, workers do")]
    NotAWorker,
    #[error("{what} would exceed {max}")]
    LimitExceeded { what: &'static str, max: u64 },
    #[error("the log does not hold the events after the cursor")]
    CursorOutOfRange,
    #[error("offset {offset} is beyond the end at {length}")]
    RangeBeyondEnd { offset: u64, length: u64 },
}

/// Refuses more of something than there may be.
pub(super) fn within(what: &'static str, wanted: usize, max: usize) -> Result<(), Refusal> {
    if wanted > max {
        let max = max as u64;
        return Err(Refusal::LimitExceeded { what, max });
    }
    Ok(())
}
