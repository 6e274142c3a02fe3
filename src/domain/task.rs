//! Work within a message.

use super::{
    Metadata, Time,
    ids::{BlockId, Label, TaskId},
};

/// A piece of work whose result takes the place of a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Unique within the message.
    pub id: TaskId,
    /// What is to be done.
    pub kind: Label,
    /// What the worker needs to know.
    pub params: Metadata,
    /// How far it has come.
    pub status: TaskStatus,
    /// 0 to 1.
    pub progress: f64,
    /// What the worker is doing, for people.
    pub status_text: String,
    /// Which lease it is worked on under; 0 before the first.
    pub attempt: u32,
    /// After so many attempts it fails for good.
    pub max_attempts: u32,
    /// What went wrong.
    pub error: String,
    /// The block that stands for the result.
    pub block: BlockId,
    /// When it was started.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
    /// When it ended.
    pub end_time: Option<Time>,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TaskStatus {
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl TaskStatus {
    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
