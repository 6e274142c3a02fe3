//! Why an attempt comes to no answer, and whether another may.

use std::time::Duration;

use super::{client::CallError, llm::LlmError};
use crate::proto::StopReason;

/// Why a piece of work ended without its result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A limit was reached: BUDGET or DEADLINE.
    #[error("{}: {}", .0.as_str_name().trim_start_matches("STOP_REASON_"), limit_text(*.0))]
    Limit(StopReason),
    /// The model failed.
    #[error("the model failed: {0}")]
    Model(#[from] LlmError),
    /// The service took no writes.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A structured answer that is none, also after it was asked for once more.
    #[error("BAD_JSON: the {what} can't be read: {error}")]
    BadJson {
        /// Which answer.
        what: &'static str,
        /// What is wrong with it.
        error: String,
    },
    /// The model answered, and said nothing.
    #[error("EMPTY_OUTPUT: the model answered without a word ({})", .0.as_str_name())]
    Empty(StopReason),
    /// The task asks for what this worker does not do.
    #[error("INVALID_TASK: {0}")]
    Invalid(String),
}

impl Failure {
    /// Whether the task may succeed in another attempt.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Model(error) => error.is_transient(),
            Self::Call(CallError::Unreachable(_)) | Self::BadJson { .. } => true,
            Self::Call(_) | Self::Limit(_) | Self::Empty(_) | Self::Invalid(_) => false,
        }
    }

    /// What a log may say of it: nothing that a model, its endpoint or a task has said.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Model(error) => format!("the model failed: {}", error.kind()),
            Self::BadJson { what, .. } => format!("BAD_JSON: the {what} can't be read"),
            Self::Invalid(_) => "INVALID_TASK".to_owned(),
            Self::Limit(_) | Self::Call(_) | Self::Empty(_) => self.to_string(),
        }
    }

    /// When another attempt may be worth it, where somebody said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Model(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether all work on the task is to stop, with the best there is.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Call(CallError::Full(_)))
    }

    /// What the task's outcome says.
    pub(super) fn reason(&self) -> StopReason {
        match self {
            Self::Limit(reason) => *reason,
            Self::Call(CallError::Full(_)) => StopReason::Budget,
            Self::Empty(reason) if *reason != StopReason::Done => *reason,
            _ => StopReason::Error,
        }
    }
}

fn limit_text(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Deadline => "the time for it was over before there was an answer",
        _ => "its calls or tokens were used up before there was an answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_nothing_that_was_said() {
        let said = || "said".to_owned();
        for failure in [
            Failure::Invalid(said()),
            Failure::BadJson {
                what: "plan",
                error: said(),
            },
            LlmError::Reported(said()).into(),
            LlmError::Malformed(said()).into(),
            LlmError::Refused {
                status: 400,
                message: said(),
            }
            .into(),
            LlmError::Busy {
                status: 503,
                message: said(),
                retry_after: None,
            }
            .into(),
        ] {
            assert!(failure.to_string().contains("said"));
            assert!(!failure.kind().contains("said"), "{}", failure.kind());
        }
    }
}
