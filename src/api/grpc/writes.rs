//! Requests that write, as the engine understands them.

use std::time::Duration;

use tonic::Status;

use super::{blocks, fields};
use crate::{
    api::status::invalid,
    domain::{
        command::{Command, CreateMessage, Retry, Right, StartTask, UpdateTask},
        ids::{BlockId, Label, MessageId, SessionId, TaskId},
        limits,
        message::MessageState,
        principal::Principal,
        task::{TaskOutcome, TaskStatus},
    },
    engine::{AppendRequest, Request, WriterRequest},
    proto as v1,
    wire::{
        content::kind_from_v1,
        message::role_from_v1,
        task::{outcome_from_v1, status_from_v1},
    },
};

/// Who writes what.
pub(super) struct Write {
    pub(super) request: Request,
    pub(super) command: Command,
}

/// Clears request id and fence, and reads what every write carries; with `leased` also
/// the lease that it is made under.
macro_rules! envelope {
    ($principal:expr, $method:literal, $request:ident) => {
        envelope!(@ $principal, $method, $request, None)
    };
    (leased $principal:expr, $method:literal, $request:ident) => {
        envelope!(@ $principal, $method, $request, fields::lease($request.lease.as_ref())?)
    };
    (@ $principal:expr, $method:literal, $request:ident, $attempt:expr) => {{
        let request_id = std::mem::take(&mut $request.request_id);
        let right = Right {
            // A writer that starts anew has another, and repeats the same write.
            fence: std::mem::take(&mut $request.fence),
            attempt: $attempt,
        };
        fields::request(
            $principal,
            $method,
            &$request.message_id,
            right,
            &request_id,
            &$request,
        )?
    }};
}

pub(super) fn create_message(
    request: v1::CreateMessageRequest,
) -> Result<(SessionId, MessageId, CreateMessage), Status> {
    let session = fields::id("session_id", &request.session_id, SessionId::parse)?;
    let message = fields::id_or_fresh("message_id", &request.message_id, MessageId::parse)?;
    let role = fields::known("role", request.role)?;
    let parent = fields::optional_id(
        "parent_message_id",
        &request.parent_message_id,
        MessageId::parse,
    )?;
    let command = CreateMessage {
        role: role_from_v1(role).ok_or_else(|| invalid("role", "must be given"))?,
        metadata: fields::metadata("metadata", request.metadata.as_ref())?,
        parent,
        blocks: blocks::new_blocks("blocks", request.blocks)?,
        complete: request.complete,
    };
    Ok((session, message, command))
}

pub(super) fn append_text(
    principal: Principal,
    mut request: v1::AppendTextRequest,
) -> Result<AppendRequest, Status> {
    let envelope = envelope!(leased principal, "AppendText", request);
    if request.delta.is_empty() {
        return Err(invalid("delta", "must not be empty"));
    }
    fields::text("delta", &request.delta, limits::DELTA_BYTES_MAX)?;
    Ok(AppendRequest {
        request: envelope,
        block: fields::optional_id("block_id", &request.block_id, BlockId::parse)?,
        delta: request.delta,
        expected_offset: request.expected_offset,
    })
}

pub(super) fn add_content(
    principal: Principal,
    mut request: v1::AddContentRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(leased principal, "AddContent", request);
    let block = request
        .block
        .ok_or_else(|| invalid("block", "must be given"))?;
    let block = blocks::new_block("block", block)?;
    Ok(Write {
        request: envelope,
        command: Command::AddContent(block),
    })
}

pub(super) fn update_content(
    principal: Principal,
    mut request: v1::UpdateContentRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(leased principal, "UpdateContent", request);
    let block = request
        .block
        .ok_or_else(|| invalid("block", "must be given"))?;
    Ok(Write {
        request: envelope,
        command: Command::UpdateContent(blocks::update("block", block)?),
    })
}

pub(super) fn publish_event(
    principal: Principal,
    mut request: v1::PublishEventRequest,
) -> Result<Write, Status> {
    Ok(Write {
        request: envelope!(leased principal, "PublishEvent", request),
        command: Command::Publish {
            name: fields::id("name", &request.name, Label::parse)?,
            data: fields::metadata("data", request.data.as_ref())?,
        },
    })
}

pub(super) fn end_message(
    principal: Principal,
    mut request: v1::EndMessageRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(leased principal, "EndMessage", request);
    let state = match fields::known("state", request.state)? {
        v1::MessageState::Unspecified | v1::MessageState::Completed => MessageState::Completed,
        v1::MessageState::Failed => MessageState::Failed,
        v1::MessageState::Cancelled => MessageState::Cancelled,
        v1::MessageState::Streaming | v1::MessageState::Interrupted => {
            return Err(invalid("state", "must be COMPLETED, FAILED or CANCELLED"));
        }
    };
    if state == MessageState::Completed && !request.error.is_empty() {
        return Err(invalid(
            "error",
            "must be empty in a message that is COMPLETED",
        ));
    }
    fields::text("error", &request.error, limits::NOTE_BYTES_MAX)?;
    Ok(Write {
        request: envelope,
        command: Command::End {
            state,
            error: request.error,
        },
    })
}

pub(super) fn request_cancel(
    principal: Principal,
    mut request: v1::RequestCancelRequest,
) -> Result<Write, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let id = &request.message_id;
    let envelope = fields::request(
        principal,
        "RequestCancel",
        id,
        Right::default(),
        &request_id,
        &request,
    )?;
    fields::text("reason", &request.reason, limits::LINE_BYTES_MAX)?;
    let range = Duration::ZERO..=limits::CANCEL_GRACE_MAX;
    let grace = fields::optional_duration("grace", request.grace.as_ref(), range)?;
    Ok(Write {
        request: envelope,
        command: Command::RequestCancel {
            reason: request.reason,
            grace: grace.unwrap_or(limits::CANCEL_GRACE_DEFAULT),
        },
    })
}

pub(super) fn acquire_writer(request: &v1::AcquireWriterRequest) -> Result<WriterRequest, Status> {
    let range = limits::WRITER_TTL_MIN..=limits::WRITER_TTL_MAX;
    let ttl = fields::optional_duration("ttl", request.ttl.as_ref(), range)?;
    Ok(WriterRequest {
        message: fields::id("message_id", &request.message_id, MessageId::parse)?,
        writer: fields::id("writer_id", &request.writer_id, Label::parse)?,
        ttl: ttl.unwrap_or(limits::WRITER_TTL_DEFAULT),
        takeover: request.takeover,
    })
}

pub(super) fn start_task(
    principal: Principal,
    mut request: v1::StartTaskRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(principal, "StartTask", request);
    let id = fields::id_or_fresh("task_id", &request.task_id, TaskId::parse)?;
    let kind = fields::id("task_type", &request.task_type, Label::parse)?;
    let queue = fields::optional_id("queue", &request.queue, Label::parse)?;
    let placeholder = request.placeholder.unwrap_or_default();
    blocks::describes_only("placeholder", &placeholder)?;
    let content_type = fields::known("placeholder.content_type", placeholder.content_type)?;
    let block = fields::id_or_fresh(
        "placeholder.block_id",
        &placeholder.block_id,
        BlockId::parse,
    )?;
    let metadata = fields::metadata("placeholder.metadata", placeholder.metadata.as_ref())?;
    Ok(Write {
        request: envelope,
        command: Command::StartTask(StartTask {
            id,
            queue: queue.unwrap_or_else(|| kind.clone()),
            kind,
            params: fields::metadata("params", request.params.as_ref())?,
            max_attempts: max_attempts(request.max_attempts),
            timeout: timeout("timeout", request.timeout.as_ref())?,
            attempt_timeout: timeout("attempt_timeout", request.attempt_timeout.as_ref())?,
            block,
            content_kind: kind_from_v1(content_type),
            metadata,
            workflow: None,
            max_iterations: 0,
            ends_message: false,
        }),
    })
}

/// How long a task may take; absent without a limit.
pub(super) fn timeout(
    field: &str,
    timeout: Option<&prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let range = limits::TASK_TIMEOUT_MIN..=limits::TASK_TIMEOUT_MAX;
    fields::optional_duration(field, timeout, range)
}

pub(super) fn max_attempts(attempts: u32) -> u32 {
    match attempts {
        0 => limits::ATTEMPTS_DEFAULT,
        attempts => attempts,
    }
}

/// Whether an update of a task says that only an attempt failed.
fn retry(request: &v1::UpdateTaskRequest) -> Result<Option<Retry>, Status> {
    let range = Duration::ZERO..=limits::RETRY_DELAY_MAX;
    let delay = fields::optional_duration("retry_delay", request.retry_delay.as_ref(), range)?;
    if !request.retryable {
        return match delay {
            Some(_) => Err(invalid("retry_delay", "must be absent without retryable")),
            None => Ok(None),
        };
    }
    if request.status() != v1::TaskStatus::Failed || request.attempt == 0 {
        let problem = "must be false unless a claimed task is FAILED";
        return Err(invalid("retryable", problem));
    }
    Ok(Some(Retry { delay }))
}

/// What an update says of the work that it ends.
fn outcome(
    request: &v1::UpdateTaskRequest,
    status: Option<TaskStatus>,
) -> Result<Option<TaskOutcome>, Status> {
    let Some(outcome) = &request.outcome else {
        return Ok(None);
    };
    if !status.is_some_and(TaskStatus::is_terminal) {
        let problem = "must be absent unless the task is COMPLETED, FAILED or CANCELLED";
        return Err(invalid("outcome", problem));
    }
    fields::known::<v1::StopReason>("outcome.stop_reason", outcome.stop_reason)?;
    Ok(Some(outcome_from_v1(outcome)))
}

pub(super) fn update_task(
    principal: Principal,
    mut request: v1::UpdateTaskRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(principal, "UpdateTask", request);
    let id = fields::id("task_id", &request.task_id, TaskId::parse)?;
    let status = status_from_v1(fields::known("status", request.status)?);
    fields::progress("progress", request.progress)?;
    let status_text = request.status_text.as_deref().unwrap_or_default();
    fields::text("status_text", status_text, limits::LINE_BYTES_MAX)?;
    fields::text("error", &request.error, limits::NOTE_BYTES_MAX)?;
    let has_failed = matches!(status, Some(TaskStatus::Failed | TaskStatus::Cancelled));
    if !request.error.is_empty() && !has_failed {
        return Err(invalid(
            "error",
            "must be empty unless the task is FAILED or CANCELLED",
        ));
    }
    let retry = retry(&request)?;
    if retry.is_some() && request.content.is_some() {
        let problem = "must be absent where the task is tried again";
        return Err(invalid("content", problem));
    }
    let outcome = outcome(&request, status)?;
    let content = request.content.map(|block| {
        let result = blocks::sealed("content", block)?;
        Ok::<_, Status>((result.metadata, result.content))
    });
    Ok(Write {
        request: envelope,
        command: Command::UpdateTask(UpdateTask {
            id,
            status,
            progress: request.progress,
            status_text: request.status_text,
            content: content.transpose()?,
            error: request.error,
            attempt: request.attempt,
            retry,
            outcome,
        }),
    })
}

pub(super) fn cancel_task(
    principal: Principal,
    mut request: v1::CancelTaskRequest,
) -> Result<Write, Status> {
    let envelope = envelope!(principal, "CancelTask", request);
    let id = fields::id("task_id", &request.task_id, TaskId::parse)?;
    fields::text("reason", &request.reason, limits::NOTE_BYTES_MAX)?;
    let reason = match request.reason {
        reason if reason.is_empty() => "cancelled".to_owned(),
        reason => reason,
    };
    Ok(Write {
        request: envelope,
        command: Command::CancelTask { id, reason },
    })
}
