//! The one table of errors: what each means to a caller.
//!
//! Every status carries a `google.rpc.ErrorInfo` with a reason; nothing of
//! Redis's own text, keys or addresses is in it.

use std::time::Duration;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error;

use crate::{domain::refusal::Refusal, engine::EngineError, store::StoreError, wire::Malformed};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "throughline";

/// How long a caller should wait before it tries again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What an error of the engine means to a caller.
pub fn from_engine(error: EngineError) -> Status {
    match error {
        EngineError::Refused(refusal) => from_refusal(&refusal),
        EngineError::Store(error) => from_store(&error),
        EngineError::QueueFull { .. } => retry(Code::ResourceExhausted, "QUEUE_FULL", error),
        EngineError::Contended => reply(Code::Aborted, "CONTENDED", error, &[]),
        EngineError::WatchExpired => reply(Code::DeadlineExceeded, "WATCH_EXPIRED", error, &[]),
    }
}

fn from_refusal(refusal: &Refusal) -> Status {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, NotFound, OutOfRange};
    let mut metadata = Vec::new();
    let (code, reason) = match refusal {
        Refusal::SessionUnknown(_) => (NotFound, "SESSION_NOT_FOUND"),
        Refusal::MessageUnknown(_) => (NotFound, "MESSAGE_NOT_FOUND"),
        Refusal::BlockUnknown(_) => (NotFound, "BLOCK_NOT_FOUND"),
        Refusal::TaskUnknown(_) => (NotFound, "TASK_NOT_FOUND"),
        Refusal::ContentUnknown => (NotFound, "CONTENT_NOT_FOUND"),
        Refusal::SessionExists(_) => (AlreadyExists, "SESSION_EXISTS"),
        Refusal::MessageExists(_) => (AlreadyExists, "MESSAGE_EXISTS"),
        Refusal::BlockExists(_) => (AlreadyExists, "BLOCK_EXISTS"),
        Refusal::TaskExists(_) => (AlreadyExists, "TASK_EXISTS"),
        Refusal::SessionClosed(_) => (FailedPrecondition, "SESSION_CLOSED"),
        Refusal::MessageTerminal { state } => {
            metadata.push(("state", state.name().to_owned()));
            (FailedPrecondition, "MESSAGE_TERMINAL")
        }
        Refusal::RequestIdReused => {
            return invalid_because("REQUEST_ID_REUSED", "request_id", &refusal.to_string());
        }
        Refusal::WriterFenced { .. } => (Aborted, "WRITER_FENCED"),
        Refusal::WriterPresent { writer, expires } => {
            metadata.push(("writer_id", writer.to_string()));
            metadata.push(("lease_expire_time", expires.to_rfc3339()));
            (FailedPrecondition, "WRITER_PRESENT")
        }
        Refusal::OffsetMismatch { offset, length } => {
            metadata.push(("offset", offset.to_string()));
            metadata.push(("length", length.to_string()));
            (Aborted, "OFFSET_MISMATCH")
        }
        Refusal::BlockSealed(_) => (FailedPrecondition, "BLOCK_SEALED"),
        Refusal::BlockPlaceholder(_) => (FailedPrecondition, "BLOCK_PLACEHOLDER"),
        Refusal::BlockNotLeased(_) => (FailedPrecondition, "BLOCK_NOT_LEASED"),
        Refusal::NotAWorker => (Code::PermissionDenied, "NOT_A_WORKER"),
        Refusal::BlockKind(_) => (FailedPrecondition, "BLOCK_KIND"),
        Refusal::BlockNotJson(_) => (FailedPrecondition, "BLOCK_NOT_JSON"),
        Refusal::TaskTerminal { .. } => (FailedPrecondition, "TASK_TERMINAL"),
        Refusal::TaskProcessing => (FailedPrecondition, "TASK_PROCESSING"),
        Refusal::TaskLeaseLost { current, .. } => {
            metadata.push(("attempt", current.to_string()));
            (Aborted, "TASK_LEASE_LOST")
        }
        Refusal::LimitExceeded { max, .. } => {
            metadata.push(("max", max.to_string()));
            (FailedPrecondition, "LIMIT_EXCEEDED")
        }
        Refusal::CursorOutOfRange => (OutOfRange, "CURSOR_OUT_OF_RANGE"),
        Refusal::RangeBeyondEnd { length, .. } => {
            metadata.push(("length", length.to_string()));
            (OutOfRange, "RANGE_BEYOND_END")
        }
    };
    reply(code, reason, refusal, &metadata)
}

fn from_store(failure: &StoreError) -> Status {
    match failure {
        StoreError::Unavailable(_) => retry(
            Code::Unavailable,
            "STORE_UNAVAILABLE",
            "the store is unavailable, nothing was changed",
        ),
        StoreError::OutcomeUnknown(_) => retry(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "the store did not answer: repeat the call with the same request_id",
        ),
        StoreError::WritesRefused(_) | StoreError::Evicted => retry(
            Code::Unavailable,
            "STORE_READ_ONLY",
            "the store takes no writes at present",
        ),
        StoreError::Refused(_)
        | StoreError::TooOld { .. }
        | StoreError::Mode { .. }
        | StoreError::InvalidUrl
        | StoreError::Connect(_) => {
            error!(error = %failure, "redis refuses to work for us");
            reply(
                Code::Internal,
                "STORE_REFUSED",
                "the store refuses the service",
                &[],
            )
        }
        StoreError::Corrupt(_) => {
            error!(error = %failure, "stored data cannot be read");
            let text = "what is stored cannot be read";
            reply(Code::DataLoss, "STORED_DATA_DAMAGED", text, &[])
        }
    }
}

/// A field of a request that says nothing the service could mean.
pub fn invalid(field: &str, problem: impl ToString) -> Status {
    invalid_because("INVALID_FIELD", field, &problem.to_string())
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        invalid(&malformed.field, malformed.problem)
    }
}

fn invalid_because(reason: &str, field: &str, problem: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, problem);
    details.set_error_info(reason, DOMAIN, [("field".to_owned(), field.to_owned())]);
    let message = format!("{field}: {problem}");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A stream of writes that ends because this instance stops.
pub fn draining() -> Status {
    let text = "this instance stops: go on at another one";
    retry(Code::Unavailable, "DRAINING", text)
}

/// A watch that nobody has read for so long.
pub fn slow_watcher(timeout: Duration) -> Status {
    let text = format!("the watch was not read for {timeout:?}");
    retry(Code::ResourceExhausted, "SLOW_WATCHER", text)
}

/// A call whose own deadline has passed.
pub fn deadline_exceeded() -> Status {
    let text = "the call's deadline has passed";
    reply(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", text, &[])
}

/// A method that is a stream both ways, which not all doors are.
pub(super) fn only_by_grpc(method: &str) -> Status {
    let text = format!("{method} can be called by gRPC only");
    reply(Code::Unimplemented, "METHOD_NOT_OFFERED", text, &[])
}

/// A status as it ends an answer that has begun.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    status
        .add_header(&mut trailers)
        .expect("the text of a status is escaped");
    trailers
}

fn reply(code: Code, reason: &str, text: impl ToString, metadata: &[(&str, String)]) -> Status {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let details = ErrorDetails::with_error_info(
        reason,
        DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    Status::with_error_details(code, text.to_string(), details)
}

fn retry(code: Code, reason: &str, text: impl ToString) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
    details.set_error_info(reason, DOMAIN, std::collections::HashMap::new());
    Status::with_error_details(code, text.to_string(), details)
}
