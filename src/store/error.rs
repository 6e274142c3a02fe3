//! What can go wrong between us and Redis.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why Redis did not do what it was asked. The texts are for operators: doors
/// never pass them on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing was sent, or nothing was done: the call can be made again.
    #[error("redis cannot be reached: {0}")]
    Unavailable(RedisError),
    /// The call was sent and no answer came: it may have been carried out.
    #[error("redis did not answer: {0}")]
    OutcomeUnknown(RedisError),
    /// Redis is up, but takes no writes: out of memory, or a replica.
    #[error("redis takes no writes: {0}")]
    WritesRefused(RedisError),
    /// Redis has given up what was brought to it before it could be used.
    #[error("redis evicts what it has just been given: it needs more memory")]
    Evicted,
    /// Redis refuses us, or our functions fail: an operator must act.
    #[error("redis refuses: {0}")]
    Refused(RedisError),
    /// What is stored cannot be read.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// The Redis found is too old.
    #[error("redis {found} is too old, 7.0 or later is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The Redis found is not one that holds all keys by itself.
    #[error("redis runs as {found}, name one that runs by itself: a primary without cluster mode")]
    Mode {
        /// How it runs.
        found: String,
    },
    /// The url does not name a Redis.
    #[error("the redis url is not valid: use redis://, rediss:// or redis+unix://")]
    InvalidUrl,
    /// The Redis at the url could not be used when the service started.
    #[error("cannot connect to redis: {0}")]
    Connect(RedisError),
}

impl StoreError {
    /// Whether Redis was not there, as it may be again.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::OutcomeUnknown(_))
    }

    /// What this means to whoever has made a write before: something was changed.
    pub fn after_a_write(self) -> Self {
        match self {
            Self::Unavailable(error) | Self::WritesRefused(error) => Self::OutcomeUnknown(error),
            other => other,
        }
    }

    /// Whether other connections may help: Redis did not answer, or the one that was
    /// reached is a replica now, or none was reached since it did not let us in.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::OutcomeUnknown(_) => true,
            Self::WritesRefused(error) => code(error).as_deref() == Some("READONLY"),
            // It is no answer to a call.
            Self::Refused(error) => code(error).is_none(),
            _ => false,
        }
    }

    /// What a stored value is not.
    pub(super) fn corrupt(what: impl ToString) -> Self {
        Self::Corrupt(what.to_string())
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        use ServerErrorKind as Server;
        match error.kind() {
            ErrorKind::Io if error.is_connection_refusal() => Self::Unavailable(error),
            ErrorKind::Io => Self::OutcomeUnknown(error),
            ErrorKind::Server(Server::ReadOnly) => Self::WritesRefused(error),
            ErrorKind::Server(
                Server::BusyLoading | Server::MasterDown | Server::TryAgain | Server::ClusterDown,
            ) => Self::Unavailable(error),
            _ => match code(&error).as_deref() {
                Some("OOM" | "MISCONF" | "NOREPLICAS" | "READONLY") => Self::WritesRefused(error),
                Some("BUSY" | "LOADING") => Self::Unavailable(error),
                _ => Self::Refused(error),
            },
        }
    }
}

/// The word that Redis begins an error with; of several calls at once, that of
/// the first that failed.
fn code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}
