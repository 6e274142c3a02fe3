//! A model behind an endpoint that speaks OpenAI's chat completions.

mod call;
mod endpoint;
pub(super) mod request;
mod sse;
mod stream;

pub use endpoint::{Endpoint, Pace};

pub(super) use call::{Ear, Model};
pub(super) use stream::Reply;

use std::time::Duration;

/// Why a model gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// `--llm-url`, the key or the system's certificates can't be used.
    #[error("--llm-url: {0}")]
    Setup(String),
    /// The endpoint does not take the request.
    #[error("it refused the request ({status}): {message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// What the endpoint said.
        message: String,
    },
    /// The endpoint is too busy, or broken.
    #[error("it can't answer now ({status}): {message}")]
    Busy {
        /// The status of HTTP.
        status: u16,
        /// What the endpoint said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// There is no connection, or none any more.
    #[error("it can't be reached: {0}")]
    Connection(String),
    /// It said nothing for too long.
    #[error("it said nothing for {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The answer ended before its end.
    #[error("its answer was cut")]
    Cut,
    /// It failed amid its answer.
    #[error("it failed amid its answer: {0}")]
    Reported(String),
    /// What it sends can't be understood.
    #[error("its answer can't be read: {0}")]
    Malformed(String),
}

impl LlmError {
    /// What happened, without a word of what the endpoint or the model said.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Refused { status, .. } => format!("it refused the request ({status})"),
            Self::Busy { status, .. } => format!("it can't answer now ({status})"),
            Self::Reported(_) => "it failed amid its answer".to_owned(),
            Self::Malformed(_) => "its answer can't be read".to_owned(),
            Self::Setup(_) | Self::Connection(_) | Self::TimedOut(_) | Self::Cut => {
                self.to_string()
            }
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        !matches!(self, Self::Setup(_) | Self::Refused { .. })
    }

    /// Whether it is worth asking again at once, if nothing was said yet. Who waited
    /// for long does not wait once more.
    fn is_worth_repeating(&self) -> bool {
        self.is_transient() && !matches!(self, Self::TimedOut(_))
    }

    /// Whether the endpoint does not know what the request asks for.
    pub(in crate::worker) fn is_of_request(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400 | 422,
                ..
            }
        )
    }

    /// When the endpoint wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
