//! Changes of a message, and their places in its log.

use super::{
    Metadata, Time,
    content::{Block, ContentRef},
    cursor::Cursor,
    ids::{BlockId, Label, MessageId},
    refusal::Refusal,
    state::{EndReason, MessageState, Role},
    task::Task,
};

/// A change at its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Dense from 1.
    pub sequence: u64,
    /// When it happened.
    pub time: Time,
    /// What happened.
    pub change: Change,
}

impl Event {
    /// The event's place.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            sequence: self.sequence,
            time: self.time,
        }
    }
}

/// The changes that something causes, none where it was done before; or why it is
/// refused.
pub(super) type Decision = Result<Vec<Change>, Refusal>;

/// One change of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The message was created. Always first.
    Started {
        /// Who speaks.
        role: Role,
        /// What the product keeps with the message.
        metadata: Metadata,
        /// The message that this one answers or replaces.
        parent: Option<MessageId>,
    },
    /// The message ended. Always last. Seals every open block and cancels
    /// nothing by itself.
    Ended {
        /// Which final state.
        state: MessageState,
        /// Why.
        reason: EndReason,
        /// What went wrong.
        error: String,
        /// Where the long texts among the blocks that were open are kept.
        sealed: Vec<(BlockId, ContentRef)>,
    },
    /// Text was appended to an open block.
    TextAppended {
        /// Which block.
        block: BlockId,
        /// Its length in bytes before.
        offset: u64,
        /// The new text.
        delta: String,
    },
    /// A block was added after all others.
    ContentAdded(Block),
    /// A block was replaced.
    ContentUpdated(Block),
    /// A task was started.
    TaskStarted(Task),
    /// A task moved on.
    TaskProgressed(Task),
    /// A task ended well.
    TaskCompleted(Task),
    /// A task failed.
    TaskFailed(Task),
    /// A task was cancelled.
    TaskCancelled(Task),
    /// Somebody asked that the message be cancelled.
    CancelRequested {
        /// Why, for people.
        reason: String,
        /// When the message is cancelled, unless it has ended by then.
        deadline: Time,
    },
    /// Something went wrong.
    Failed {
        /// What, for people.
        message: String,
    },
    /// An event of the product's own.
    Custom {
        /// What it is called.
        name: Label,
        /// What it carries.
        data: Metadata,
    },
}

impl Change {
    /// The block that the change adds.
    pub fn added_block(&self) -> Option<&Block> {
        match self {
            Self::ContentAdded(block) => Some(block),
            _ => None,
        }
    }
}
