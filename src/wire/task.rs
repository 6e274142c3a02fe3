//! Tasks.

use super::{
    Malformed,
    values::{metadata_from_v1, metadata_to_v1, time_from_v1, time_to_v1},
};
use crate::{
    domain::{
        ids::{BlockId, Label, TaskId},
        message::Message,
        task::{Task, TaskStatus},
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
        workflow: v1::Workflow::Unspecified.into(),
        max_iterations: 0,
        block_id: task.block.to_string(),
        create_time: Some(time_to_v1(task.create_time)),
        update_time: Some(time_to_v1(task.update_time)),
        end_time: task.end_time.map(time_to_v1),
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

/// A task that was stored.
pub fn task_from_v1(task: v1::Task) -> Result<Task, Malformed> {
    let status = status_from_v1(task.status()).ok_or(Malformed::new("status", "is unknown"))?;
    Ok(Task {
        id: TaskId::parse(&task.task_id).map_err(|e| Malformed::new("task_id", e))?,
        kind: Label::parse(&task.task_type).map_err(|e| Malformed::new("task_type", e))?,
        params: metadata_from_v1(task.params.as_ref(), "params")?,
        status,
        progress: task.progress,
        status_text: task.status_text,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        error: task.error,
        block: BlockId::parse(&task.block_id).map_err(|e| Malformed::new("block_id", e))?,
        create_time: time_from_v1(task.create_time.as_ref(), "create_time")?,
        update_time: time_from_v1(task.update_time.as_ref(), "update_time")?,
        end_time: task
            .end_time
            .map(|time| time_from_v1(Some(&time), "end_time"))
            .transpose()?,
    })
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
