//! The rules of tasks: how they are started, worked on and ended.

use super::{
    Metadata, Time,
    command::{Retry, StartTask, UpdateTask, placeholder},
    content::{Block, BlockState, Content},
    event::{Change, Decision},
    ids::TaskId,
    limits,
    message::{EndReason, Message, MessageState},
    offload::sha256_hex,
    refusal::{Refusal, within},
    task::{Checkpoint, Task, TaskStatus},
};

/// How the error of a task begins that has had all its attempts.
const ATTEMPTS_EXHAUSTED: &str = "ATTEMPTS_EXHAUSTED";
/// How the error of a task begins that took too long in all.
const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED: the task took too long";

/// What stands for the result of a task, and the task itself.
pub(super) fn started(start: &StartTask, now: Time) -> [Change; 2] {
    let task = Task {
        id: start.id.clone(),
        kind: start.kind.clone(),
        params: start.params.clone(),
        status: TaskStatus::Pending,
        progress: 0.0,
        status_text: String::new(),
        attempt: 0,
        max_attempts: start.max_attempts,
        released: 0,
        error: String::new(),
        outcome: None,
        block: start.block.clone(),
        queue: start.queue.clone(),
        workflow: start.workflow,
        max_iterations: start.max_iterations,
        ends_message: start.ends_message,
        attempt_timeout: start.attempt_timeout,
        deadline: start.timeout.map(|timeout| now + timeout),
        retry_time: None,
        worker: None,
        lease: None,
        checkpoint: Checkpoint::default(),
        create_time: now,
        update_time: now,
        end_time: None,
    };
    [
        Change::ContentAdded(placeholder(start, now)),
        Change::TaskStarted(task),
    ]
}

impl Message {
    pub(super) fn start_task(&self, start: &StartTask, now: Time) -> Decision {
        if self.task(&start.id).is_some() {
            return Err(Refusal::TaskExists(start.id.clone()));
        }
        if self.block(&start.block).is_some() {
            return Err(Refusal::BlockExists(start.block.clone()));
        }
        within("blocks", self.blocks.len() + 1, limits::BLOCKS_MAX)?;
        within(
            "open tasks",
            self.open_tasks().count() + 1,
            limits::OPEN_TASKS_MAX,
        )?;
        Ok(started(start, now).into())
    }

    fn open_task(&self, id: &TaskId) -> Result<&Task, Refusal> {
        let task = self.task(id).ok_or(Refusal::TaskUnknown(id.clone()))?;
        if task.status.is_terminal() {
            return Err(Refusal::TaskTerminal {
                status: task.status,
            });
        }
        Ok(task)
    }

    pub(super) fn update_task(&self, update: &UpdateTask, now: Time) -> Decision {
        let unknown = || Refusal::TaskUnknown(update.id.clone());
        let old = self.task(&update.id).ok_or_else(unknown)?;
        if update.attempt != 0 && update.attempt != old.attempt {
            // Also where the task has ended since.
            old.check_attempt(update.attempt)?;
        }
        let old = self.open_task(&update.id)?;
        old.check_attempt(update.attempt)?;
        if let Some(retry) = &update.retry {
            let failed = Task {
                error: update.error.clone(),
                outcome: update.outcome,
                ..old.clone()
            };
            return Ok(self.attempt_failed(failed, Some(retry), now));
        }
        if (old.status, update.status) == (TaskStatus::Processing, Some(TaskStatus::Pending)) {
            return match update.attempt {
                0 => Err(Refusal::TaskProcessing),
                _ => Ok(vec![released(old, now)]),
            };
        }
        let status = update.status.unwrap_or(old.status);
        let task = Task {
            status,
            progress: match status {
                TaskStatus::Completed => 1.0,
                _ => update.progress.unwrap_or(0.0).max(old.progress),
            },
            status_text: update
                .status_text
                .clone()
                .unwrap_or(old.status_text.clone()),
            error: update.error.clone(),
            outcome: update.outcome,
            ..old.clone()
        };
        self.moved_on(task, update.content.as_ref(), now)
    }

    /// A task that has moved on, perhaps to its end, with what becomes of its
    /// placeholder and of its message.
    fn moved_on(
        &self,
        mut task: Task,
        content: Option<&(Metadata, Content)>,
        now: Time,
    ) -> Decision {
        task.update_time = now;
        if task.status.is_terminal() {
            task.end_time = Some(now);
            task.retry_time = None;
            task.lease = None;
            task.checkpoint = Checkpoint::default();
        }
        let mut changes = self.result(&task, content, now)?;
        let end = self.end_with(&task, now);
        changes.push(match task.status {
            TaskStatus::Pending | TaskStatus::Processing => Change::TaskProgressed(task),
            TaskStatus::Completed => Change::TaskCompleted(task),
            TaskStatus::Failed => Change::TaskFailed(task),
            TaskStatus::Cancelled => Change::TaskCancelled(task),
        });
        changes.extend(end);
        Ok(changes)
    }

    /// What becomes of the placeholder.
    fn result(&self, task: &Task, content: Option<&(Metadata, Content)>, now: Time) -> Decision {
        let Some(placeholder) = self.block(&task.block) else {
            return Err(Refusal::BlockUnknown(task.block.clone()));
        };
        let is_over = task.status.is_terminal();
        if content.is_none() && !is_over {
            return Ok(Vec::new());
        }
        let mut block = placeholder.clone();
        block.update_time = now;
        if let Some((metadata, content)) = content {
            if !metadata.is_empty() {
                block.metadata = metadata.clone();
            }
            block.kind = Some(content.kind());
            block.content = Some(content.clone());
            // A preview takes the place of text that was streamed there.
            block.state = BlockState::Placeholder;
        }
        if is_over {
            block.state = BlockState::Sealed;
        }
        block.error = match task.status {
            TaskStatus::Failed | TaskStatus::Cancelled => Some(task.error.clone()),
            _ => None,
        };
        Ok(vec![Change::ContentUpdated(block)])
    }

    /// The end of the message that a task ends.
    fn end_with(&self, task: &Task, now: Time) -> Vec<Change> {
        let state = match task.status {
            _ if !task.ends_message => return Vec::new(),
            TaskStatus::Pending | TaskStatus::Processing => return Vec::new(),
            TaskStatus::Completed => MessageState::Completed,
            TaskStatus::Failed => MessageState::Failed,
            TaskStatus::Cancelled => MessageState::Cancelled,
        };
        let error = match state {
            MessageState::Failed => task.error.as_str(),
            _ => "",
        };
        self.end_without(Some(&task.id), state, EndReason::TaskEnded, error, now)
    }

    pub(super) fn cancel_task(&self, id: &TaskId, reason: &str, now: Time) -> Decision {
        let task = self.open_task(id)?;
        let task = Task {
            status: TaskStatus::Cancelled,
            error: reason.to_owned(),
            ..task.clone()
        };
        self.moved_on(task, None, now)
    }

    /// A task that is cancelled because its message ends.
    pub(super) fn cancelled(&self, task: &Task, now: Time) -> Vec<Change> {
        let task = Task {
            status: TaskStatus::Cancelled,
            error: "message ended".to_owned(),
            ends_message: false,
            ..task.clone()
        };
        self.moved_on(task, None, now).unwrap_or_default()
    }

    /// A task whose attempt came to nothing, as its error says: it is tried again,
    /// unless that was the last time.
    fn attempt_failed(&self, task: Task, retry: Option<&Retry>, now: Time) -> Vec<Change> {
        if task.is_last_attempt() {
            let error = exhausted(&task.error);
            return self.failed(task, error, now);
        }
        let delay = retry.map(|retry| retry.delay_after(task.attempt - task.released, now));
        vec![Change::TaskProgressed(Task {
            retry_time: delay.map(|delay| now + delay),
            ..offered_again(task, now)
        })]
    }

    fn failed(&self, task: Task, error: String, now: Time) -> Vec<Change> {
        let task = Task {
            status: TaskStatus::Failed,
            error,
            ..task
        };
        self.moved_on(task, None, now).unwrap_or_default()
    }

    /// What time has done to a task by `now`.
    pub(super) fn settle_task(&self, task: &Task, now: Time) -> Vec<Change> {
        if task.status.is_terminal() {
            Vec::new()
        } else if task.deadline.is_some_and(|deadline| deadline <= now) {
            self.failed(task.clone(), DEADLINE_EXCEEDED.to_owned(), now)
        } else if task.has_lost_lease(now) {
            let lost = Task {
                error: format!("the lease of attempt {} was lost", task.attempt),
                ..task.clone()
            };
            self.attempt_failed(lost, None, now)
        } else {
            Vec::new()
        }
    }

    /// Whether the message shows that an update was carried out: only for those
    /// that end a task.
    pub(super) fn has_updated(&self, update: &UpdateTask) -> bool {
        let error = match update.retry {
            Some(_) => exhausted(&update.error),
            None => update.error.clone(),
        };
        self.task(&update.id).is_some_and(|task| {
            task.status.is_terminal()
                && update.status == Some(task.status)
                && update.attempt == task.attempt
                && error == task.error
                && says_the_same(task, update)
                && self.holds_result(task, update)
        })
    }

    /// Whether the task's block is what `update` would make it. An update
    /// without content leaves what there is, perhaps a preview.
    fn holds_result(&self, task: &Task, update: &UpdateTask) -> bool {
        let Some((metadata, content)) = &update.content else {
            return true;
        };
        self.block(&task.block).is_some_and(|block| {
            let held = block.content.as_ref();
            held.is_some_and(|held| held.same_as(content, sha256_hex))
                && (metadata.is_empty() || block.metadata == *metadata)
        })
    }

    /// What of a task's blocks is to be seen no more, since it was written under
    /// leases that are over, and does not belong to the checkpoint.
    pub(super) fn withdrawn(&self, task: &Task, now: Time) -> Vec<Change> {
        let written = self.blocks.iter().filter(|block| {
            let is_empty = block.content.is_none() && block.state != BlockState::Open;
            let is_kept =
                block.state == BlockState::Sealed && task.checkpoint.kept.contains(&block.id);
            block.task.as_ref() == Some(&task.id) && !is_empty && !is_kept
        });
        let emptied = |block: &Block| {
            let is_placeholder = block.id == task.block;
            Change::ContentUpdated(Block {
                state: match is_placeholder {
                    true => BlockState::Placeholder,
                    false => BlockState::Sealed,
                },
                error: (!is_placeholder).then(|| format!("attempt {} was lost", task.attempt)),
                content: None,
                update_time: now,
                ..block.clone()
            })
        };
        written.map(emptied).collect()
    }
}

/// The error of a task whose last attempt failed with `error`.
fn exhausted(error: &str) -> String {
    let mut error = format!("{ATTEMPTS_EXHAUSTED}: {error}");
    error.truncate(error.floor_char_boundary(limits::NOTE_BYTES_MAX));
    error
}

/// The task as it waits for its next attempt. How it ends is not yet known.
fn offered_again(task: Task, now: Time) -> Task {
    Task {
        status: TaskStatus::Pending,
        outcome: None,
        worker: None,
        lease: None,
        update_time: now,
        ..task
    }
}

/// The task given back: the attempt does not count.
fn released(task: &Task, now: Time) -> Change {
    Change::TaskProgressed(Task {
        released: task.released + 1,
        ..offered_again(task.clone(), now)
    })
}

/// Whether what an update says of a task is what the task says of itself.
fn says_the_same(task: &Task, update: &UpdateTask) -> bool {
    let status_text = update.status_text.as_ref();
    update.outcome == task.outcome
        && status_text.is_none_or(|text| *text == task.status_text)
        && update
            .progress
            .is_none_or(|progress| progress <= task.progress)
}

#[cfg(test)]
mod tests;
