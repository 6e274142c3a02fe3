//! Tasks.

use prost_types::Timestamp;

use super::{
    Malformed,
    values::{
        duration_from_v1, duration_to_v1, metadata_from_v1, metadata_to_v1, time_from_v1,
        time_to_v1,
    },
};
use crate::{
    domain::{
        ids::{BlockId, Label, TaskId},
        message::Message,
        task::{
            Attempt, Checkpoint, StopReason, Task, TaskOutcome, TaskStatus, TaskUsage, Workflow,
        },
    },
    proto as v1,
};

/// A task as it is stored: the message says whose it is.
pub fn task_to_v1(task: &Task) -> v1::Task {
    v1::Task {
        task_id: task.id.to_string(),
        message_id: String::new(),
        session_id: String::new(),
        task_type: task.kind.to_string(),
        params: metadata_to_v1(&task.params),
        status: status_to_v1(task.status).into(),
        progress: task.progress,
        status_text: task.status_text.clone(),
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        error: task.error.clone(),
        workflow: workflow_to_v1(task.workflow).into(),
        max_iterations: task.max_iterations,
        block_id: task.block.to_string(),
        create_time: Some(time_to_v1(task.create_time)),
        update_time: Some(time_to_v1(task.update_time)),
        end_time: task.end_time.map(time_to_v1),
        queue: task.queue.to_string(),
        worker_id: task
            .worker
            .as_ref()
            .map(Label::to_string)
            .unwrap_or_default(),
        retry_time: task.retry_time.map(time_to_v1),
        deadline: task.deadline.map(time_to_v1),
        attempt_timeout: task.attempt_timeout.map(duration_to_v1),
        released: task.released,
        ends_message: task.ends_message,
        outcome: task.outcome.as_ref().map(outcome_to_v1),
    }
}

/// A task for clients.
pub fn task_of_message_to_v1(task: &Task, message: &Message) -> v1::Task {
    v1::Task {
        message_id: message.id.to_string(),
        session_id: message.session.to_string(),
        ..task_to_v1(task)
    }
}

/// A task that was stored, or that an event tells of: without what is not in
/// the log.
pub fn task_from_v1(task: v1::Task) -> Result<Task, Malformed> {
    let workflow = workflow_from_v1(task.workflow());
    let label = |field: &str, text: &str| Label::parse(text).map_err(|e| Malformed::new(field, e));
    let time = |field: &str, time: &Option<Timestamp>| {
        let time = time.as_ref();
        time.map(|time| time_from_v1(Some(time), field)).transpose()
    };
    let attempt_timeout = task.attempt_timeout.as_ref();
    let status = status_from_v1(task.status()).ok_or(Malformed::new("status", "is unknown"))?;
    Ok(Task {
        id: TaskId::parse(&task.task_id).map_err(|e| Malformed::new("task_id", e))?,
        kind: label("task_type", &task.task_type)?,
        params: metadata_from_v1(task.params.as_ref(), "params")?,
        status,
        progress: task.progress,
        status_text: task.status_text,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        error: task.error,
        outcome: task.outcome.as_ref().map(outcome_from_v1),
        block: BlockId::parse(&task.block_id).map_err(|e| Malformed::new("block_id", e))?,
        create_time: time_from_v1(task.create_time.as_ref(), "create_time")?,
        update_time: time_from_v1(task.update_time.as_ref(), "update_time")?,
        end_time: time("end_time", &task.end_time)?,
        // Tasks of earlier versions were in no queue.
        queue: match task.queue.as_str() {
            "" => label("task_type", &task.task_type)?,
            queue => label("queue", queue)?,
        },
        worker: match task.worker_id.as_str() {
            "" => None,
            worker => Some(label("worker_id", worker)?),
        },
        retry_time: time("retry_time", &task.retry_time)?,
        deadline: time("deadline", &task.deadline)?,
        attempt_timeout: attempt_timeout
            .map(|timeout| duration_from_v1(timeout, "attempt_timeout"))
            .transpose()?,
        released: task.released,
        ends_message: task.ends_message,
        workflow,
        max_iterations: task.max_iterations,
        lease: None,
        checkpoint: Checkpoint::default(),
    })
}

/// The lease of a task, as a worker names it in its writes.
pub fn attempt_to_v1(attempt: &Attempt) -> v1::TaskLease {
    v1::TaskLease {
        task_id: attempt.task.to_string(),
        attempt: attempt.number,
    }
}

fn outcome_to_v1(outcome: &TaskOutcome) -> v1::TaskOutcome {
    v1::TaskOutcome {
        stop_reason: stop_reason_to_v1(outcome.stop_reason).into(),
        usage: outcome.usage.map(|usage| v1::TaskUsage {
            model_calls: usage.model_calls,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            tool_calls: usage.tool_calls,
        }),
    }
}

/// What a worker says of its work. A stop reason that this version does not know
/// is none.
pub fn outcome_from_v1(outcome: &v1::TaskOutcome) -> TaskOutcome {
    TaskOutcome {
        stop_reason: stop_reason_from_v1(outcome.stop_reason()),
        usage: outcome.usage.as_ref().map(|usage| TaskUsage {
            model_calls: usage.model_calls,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            tool_calls: usage.tool_calls,
        }),
    }
}

fn stop_reason_to_v1(reason: Option<StopReason>) -> v1::StopReason {
    match reason {
        None => v1::StopReason::Unspecified,
        Some(StopReason::Done) => v1::StopReason::Done,
        Some(StopReason::MaxIterations) => v1::StopReason::MaxIterations,
        Some(StopReason::Length) => v1::StopReason::Length,
        Some(StopReason::ContentFilter) => v1::StopReason::ContentFilter,
        Some(StopReason::Cancelled) => v1::StopReason::Cancelled,
        Some(StopReason::Deadline) => v1::StopReason::Deadline,
        Some(StopReason::Budget) => v1::StopReason::Budget,
        Some(StopReason::Error) => v1::StopReason::Error,
    }
}

fn stop_reason_from_v1(reason: v1::StopReason) -> Option<StopReason> {
    match reason {
        v1::StopReason::Unspecified => None,
        v1::StopReason::Done => Some(StopReason::Done),
        v1::StopReason::MaxIterations => Some(StopReason::MaxIterations),
        v1::StopReason::Length => Some(StopReason::Length),
        v1::StopReason::ContentFilter => Some(StopReason::ContentFilter),
        v1::StopReason::Cancelled => Some(StopReason::Cancelled),
        v1::StopReason::Deadline => Some(StopReason::Deadline),
        v1::StopReason::Budget => Some(StopReason::Budget),
        v1::StopReason::Error => Some(StopReason::Error),
    }
}

fn workflow_to_v1(workflow: Option<Workflow>) -> v1::Workflow {
    match workflow {
        None => v1::Workflow::Unspecified,
        Some(Workflow::Simple) => v1::Workflow::Simple,
        Some(Workflow::Critic) => v1::Workflow::Critic,
        Some(Workflow::Planner) => v1::Workflow::Planner,
    }
}

/// A workflow that a client named; none for an unspecified one.
pub fn workflow_from_v1(workflow: v1::Workflow) -> Option<Workflow> {
    match workflow {
        v1::Workflow::Unspecified => None,
        v1::Workflow::Simple => Some(Workflow::Simple),
        v1::Workflow::Critic => Some(Workflow::Critic),
        v1::Workflow::Planner => Some(Workflow::Planner),
    }
}

/// A status for clients.
pub fn status_to_v1(status: TaskStatus) -> v1::TaskStatus {
    match status {
        TaskStatus::Pending => v1::TaskStatus::Pending,
        TaskStatus::Processing => v1::TaskStatus::Processing,
        TaskStatus::Completed => v1::TaskStatus::Completed,
        TaskStatus::Failed => v1::TaskStatus::Failed,
        TaskStatus::Cancelled => v1::TaskStatus::Cancelled,
    }
}

/// A status that a client named; none for an unspecified one.
pub fn status_from_v1(status: v1::TaskStatus) -> Option<TaskStatus> {
    match status {
        v1::TaskStatus::Unspecified => None,
        v1::TaskStatus::Pending => Some(TaskStatus::Pending),
        v1::TaskStatus::Processing => Some(TaskStatus::Processing),
        v1::TaskStatus::Completed => Some(TaskStatus::Completed),
        v1::TaskStatus::Failed => Some(TaskStatus::Failed),
        v1::TaskStatus::Cancelled => Some(TaskStatus::Cancelled),
    }
}
