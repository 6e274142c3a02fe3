//! Why the service did not do what it was asked.

use crate::{
    domain::{ids::Label, refusal::Refusal},
    store::StoreError,
};

/// Why the service did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others changed the message faster than this write could be decided.
    #[error("the message changes too fast, try again")]
    Contended,
    /// Too many tasks wait.
    #[error("queue {queue} has {limit} tasks already")]
    QueueFull {
        /// Where.
        queue: Label,
        /// How many it may have.
        limit: u64,
    },
    /// A watch lasted as long as it was asked to.
    #[error("the watch has lasted as long as was asked")]
    WatchExpired,
}

impl EngineError {
    /// What this means to whoever has made a write before: something was changed.
    pub(super) fn after_a_write(self) -> Self {
        match self {
            Self::Store(error) => Self::Store(error.after_a_write()),
            other => other,
        }
    }
}
