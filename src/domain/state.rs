//! Who speaks in a message, whether it is still being written, and why not; and how
//! far its tasks have come.

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Role {
    User,
    Assistant,
    System,
    Tool,
}

/// Whether a message is still being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MessageState {
    Streaming,
    Completed,
    Failed,
    Cancelled,
    Interrupted,
}

/// Why a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum EndReason {
    Client,
    WriterLost,
    CancelRequested,
    TaskEnded,
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

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// The name that people and Redis see.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The value of that name.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names!(Role { User = "user", Assistant = "assistant", System = "system", Tool = "tool" });
names!(MessageState {
    Streaming = "streaming",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
    Interrupted = "interrupted",
});
names!(EndReason {
    Client = "client",
    WriterLost = "writer_lost",
    CancelRequested = "cancel_requested",
    TaskEnded = "task_ended",
});
