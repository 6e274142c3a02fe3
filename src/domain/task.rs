//! Work within a message.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Metadata, Time,
    ids::{BlockId, Label, TaskId},
    refusal::Refusal,
};

pub use super::state::TaskStatus;

/// A piece of work whose result takes the place of a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Unique within the message.
    pub id: TaskId,
    /// What is to be done.
    pub kind: Label,
    /// What the worker needs to know.
    pub params: Metadata,
    /// How far it has come.
    pub status: TaskStatus,
    /// 0 to 1.
    pub progress: f64,
    /// What the worker is doing, for people.
    pub status_text: String,
    /// Which lease it is worked on under; 0 before the first.
    pub attempt: u32,
    /// After so many attempts it fails for good.
    pub max_attempts: u32,
    /// Attempts that were given back, which do not count.
    pub released: u32,
    /// What went wrong: for good, or with the last attempt.
    pub error: String,
    /// What the worker said of its work when it ended the task.
    pub outcome: Option<TaskOutcome>,
    /// The block that stands for the result.
    pub block: BlockId,
    /// What workers claim it from.
    pub queue: Label,
    /// How an agent carries it out, where one does.
    pub workflow: Option<Workflow>,
    /// How often the workflow may refine or plan anew; 0 for its own default.
    pub max_iterations: u32,
    /// Its end is the message's.
    pub ends_message: bool,
    /// How long one attempt may take.
    pub attempt_timeout: Option<Duration>,
    /// When it fails unless it has ended by then.
    pub deadline: Option<Time>,
    /// Not offered before.
    pub retry_time: Option<Time>,
    /// Who works on it.
    pub worker: Option<Label>,
    /// How long they may. Like the checkpoint it is no part of the conversation:
    /// neither is in the log.
    pub lease: Option<TaskLease>,
    /// What the attempts so far left for the next.
    pub checkpoint: Checkpoint,
    /// When it was started.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
    /// When it ended.
    pub end_time: Option<Time>,
}

/// What the attempts at a task leave for the next one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// As the worker put it.
    pub data: Metadata,
    /// Blocks of the task that belong to it: what is sealed of them is not
    /// withdrawn when an attempt is lost.
    pub kept: BTreeSet<BlockId>,
}

/// What a worker says of the work on a task when it ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskOutcome {
    /// Why the work stopped; none where the worker does not say.
    pub stop_reason: Option<StopReason>,
    /// What it took; none where the worker did not count.
    pub usage: Option<TaskUsage>,
}

/// Why the work on a task stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum StopReason {
    Done,
    MaxIterations,
    Length,
    ContentFilter,
    Cancelled,
    Deadline,
    Budget,
    Error,
}

/// What the work on a task took, as far as the worker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskUsage {
    /// Calls of a language model.
    pub model_calls: u32,
    /// Tokens that went into them.
    pub input_tokens: u64,
    /// Tokens that came out of them.
    pub output_tokens: u64,
    /// Calls of tools.
    pub tool_calls: u32,
}

/// How long a worker may work on a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLease {
    /// When it is lost unless it is renewed.
    pub end: Time,
    /// How long it lasts from each renewal on.
    pub duration: Duration,
    /// When it is lost however often it is renewed.
    pub limit: Option<Time>,
    /// It is about to be recorded as lost, and nothing is accepted under it.
    pub is_closed: bool,
}

impl TaskLease {
    /// The lease renewed; until the limit at most.
    pub fn renewed(self, now: Time) -> Self {
        let end = now + self.duration;
        Self {
            end: self.limit.map_or(end, |limit| limit.min(end)),
            ..self
        }
    }
}

/// The lease of a task that a write is made under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Of which task.
    pub task: TaskId,
    /// Which of them; from 1.
    pub number: u32,
}

/// How an agent carries a task out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Workflow {
    Simple,
    Critic,
    Planner,
}

impl Workflow {
    /// What a task of it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Critic => "critic",
            Self::Planner => "planner",
        }
    }
}

impl Task {
    /// How writes name the last lease.
    pub fn last_attempt(&self) -> Attempt {
        Attempt {
            task: self.id.clone(),
            number: self.attempt,
        }
    }

    /// The lease that a worker holds.
    pub fn held(&self) -> Option<&TaskLease> {
        self.lease().filter(|lease| !lease.is_closed)
    }

    fn lease(&self) -> Option<&TaskLease> {
        let is_claimed = self.status == TaskStatus::Processing;
        self.lease.as_ref().filter(|_| is_claimed)
    }

    /// Whether the lease has run out.
    pub(super) fn has_lost_lease(&self, now: Time) -> bool {
        self.lease().is_some_and(|lease| lease.end <= now)
    }

    /// Refuses who does not hold the task: any number but that of the lease, or
    /// but 0 where it was never claimed.
    pub(super) fn check_attempt(&self, attempt: u32) -> Result<(), Refusal> {
        let current = self.attempt;
        if attempt == current && (current == 0 || self.held().is_some()) {
            return Ok(());
        }
        Err(Refusal::TaskLeaseLost { attempt, current })
    }

    /// When something happens to it by itself.
    pub(super) fn due_time(&self) -> Option<Time> {
        if self.status.is_terminal() {
            return None;
        }
        let lease_end = self.lease().map(|lease| lease.end);
        [lease_end, self.deadline].into_iter().flatten().min()
    }

    /// Whether there is no attempt after this one.
    pub(super) fn is_last_attempt(&self) -> bool {
        self.attempt.saturating_sub(self.released) >= self.max_attempts
    }
}
