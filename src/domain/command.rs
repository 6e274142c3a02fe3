//! What a client may ask of a message.

use std::time::Duration;

use super::{
    Metadata,
    content::{Block, Content, ContentKind},
    ids::{BlockId, Label, MessageId, TaskId},
    message::{MessageState, Role},
    task::TaskStatus,
};

/// A block as a client describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBlock {
    /// Chosen by the client, or drawn for it.
    pub id: BlockId,
    /// Leave it open for appends; only for content made of text.
    pub open: bool,
    /// What the product keeps with it.
    pub metadata: Metadata,
    /// What it holds.
    pub content: Content,
}

/// What makes a message.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateMessage {
    /// Who speaks.
    pub role: Role,
    /// What the product keeps with it.
    pub metadata: Metadata,
    /// The message that this one answers or replaces.
    pub parent: Option<MessageId>,
    /// The first blocks: at most 1,000, each with an id of its own.
    pub blocks: Vec<NewBlock>,
    /// End it at once.
    pub complete: bool,
}

/// A change that a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Append text where no block is open for it yet.
    AppendText(AppendText),
    /// Add a block after all others.
    AddContent(NewBlock),
    /// Replace or seal an open block.
    UpdateContent(UpdateContent),
    /// Publish an event of the product's own.
    Publish {
        /// What it is called.
        name: Label,
        /// What it carries.
        data: Metadata,
    },
    /// End the message.
    End {
        /// Which final state.
        state: MessageState,
        /// What went wrong.
        error: String,
    },
    /// Start a task, with a placeholder for its result.
    StartTask(StartTask),
    /// Move a task on, or end it.
    UpdateTask(UpdateTask),
    /// Cancel a task.
    CancelTask {
        /// Which.
        id: TaskId,
        /// Why, for people.
        reason: String,
    },
    /// Ask that the message be cancelled.
    RequestCancel {
        /// Why, for people.
        reason: String,
        /// How long the writer has to end the message itself.
        grace: Duration,
    },
}

impl Command {
    /// Whether only the writer of a message may give it, where there is one. Who
    /// has claimed a task is not the writer: the attempt is their fence.
    pub fn is_of_writer(&self) -> bool {
        match self {
            Self::RequestCancel { .. } => false,
            Self::UpdateTask(update) => update.attempt == 0,
            _ => true,
        }
    }
}

/// Text for a block.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendText {
    /// Which block; none for the last one, if text can be appended there.
    pub block: Option<BlockId>,
    /// Id of the block that is opened where there is none.
    pub new_block: BlockId,
    /// At least one byte.
    pub delta: String,
    /// Length in bytes that the caller believes the block to have.
    pub expected_offset: Option<u64>,
}

/// New content or state for an open block.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateContent {
    /// Which block.
    pub id: BlockId,
    /// Leave it open.
    pub open: bool,
    /// Replaces the block's metadata.
    pub metadata: Option<Metadata>,
    /// Replaces the block's content.
    pub content: Option<Content>,
}

/// A task as a client describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct StartTask {
    /// Chosen by the client, or drawn for it.
    pub id: TaskId,
    /// What is to be done.
    pub kind: Label,
    /// What the worker needs to know.
    pub params: Metadata,
    /// After so many attempts it fails for good.
    pub max_attempts: u32,
    /// Id of the placeholder.
    pub block: BlockId,
    /// Kind of the content that is coming, where known.
    pub content_kind: Option<ContentKind>,
    /// What the product keeps with the placeholder.
    pub metadata: Metadata,
}

/// News of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateTask {
    /// Which.
    pub id: TaskId,
    /// How far it has come; none for no change.
    pub status: Option<TaskStatus>,
    /// 0 to 1; none for no change.
    pub progress: Option<f64>,
    /// For people; none for no change.
    pub status_text: Option<String>,
    /// The result, or a preview of it.
    pub content: Option<(Metadata, Content)>,
    /// What went wrong.
    pub error: String,
    /// The lease it is sent under; 0 for a task that was never claimed.
    pub attempt: u32,
}

/// A block that stands for the result of a task.
pub(super) fn placeholder(task: &StartTask, now: super::Time) -> Block {
    Block {
        id: task.block.clone(),
        state: super::content::BlockState::Placeholder,
        kind: task.content_kind,
        metadata: task.metadata.clone(),
        task: Some(task.id.clone()),
        error: None,
        create_time: now,
        update_time: now,
        content: None,
    }
}
