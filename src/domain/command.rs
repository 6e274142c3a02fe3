//! What a client may ask of a message.

use std::time::Duration;

use super::{
    Metadata, Time,
    content::{Block, Content, ContentKind},
    ids::{BlockId, Label, MessageId, TaskId},
    message::{MessageState, Role},
    task::{Attempt, TaskOutcome, TaskStatus, Workflow},
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
    /// Whether it adds blocks to a message, or what goes with them. Others change a
    /// message by little, and are not refused where it is full.
    pub fn adds(&self) -> bool {
        match self {
            Self::AppendText(_)
            | Self::AddContent(_)
            | Self::UpdateContent(_)
            | Self::StartTask(_) => true,
            Self::UpdateTask(update) => update.content.is_some(),
            Self::Publish { .. }
            | Self::End { .. }
            | Self::CancelTask { .. }
            | Self::RequestCancel { .. } => false,
        }
    }

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

/// By what right a write is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Right {
    /// As which writer; 0 for none.
    pub fence: u64,
    /// Under the lease of which task.
    pub attempt: Option<Attempt>,
}

impl Right {
    /// The fence, where no lease stands in for it.
    pub fn needed_fence(&self) -> Option<u64> {
        self.attempt.is_none().then_some(self.fence)
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
    /// What workers claim it from.
    pub queue: Label,
    /// How long it may take in all.
    pub timeout: Option<Duration>,
    /// How long one attempt may take.
    pub attempt_timeout: Option<Duration>,
    /// How an agent carries it out, where one does.
    pub workflow: Option<Workflow>,
    /// How often the workflow may refine or plan anew; 0 for its own default.
    pub max_iterations: u32,
    /// Its end shall be the message's.
    pub ends_message: bool,
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
    /// It is the attempt that failed: the task may be tried again.
    pub retry: Option<Retry>,
    /// What is said of the work; only where it ends the task, or an attempt.
    pub outcome: Option<TaskOutcome>,
}

/// When a task is tried again whose attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// After so long; none for longer with each failure.
    pub delay: Option<Duration>,
}

impl Retry {
    /// The delay after so many failures, the last one `now`: 1 s, doubled with
    /// each of them up to 60 s, and up to a fifth more or less, so that what failed
    /// together is not tried again together.
    pub(super) fn delay_after(&self, failures: u32, now: Time) -> Duration {
        const DELAY_SECONDS_MAX: u64 = 60;
        let doubled = 1 << failures.saturating_sub(1).min(6);
        let delay = Duration::from_secs(DELAY_SECONDS_MAX.min(doubled));
        // The last digits of the time are as good as drawn.
        let drawn = now.timestamp_subsec_micros() % 1_000;
        self.delay
            .unwrap_or_else(|| delay * (800 + drawn * 2 / 5) / 1_000)
    }
}

/// A block that stands for the result of a task.
pub(super) fn placeholder(task: &StartTask, now: Time) -> Block {
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
