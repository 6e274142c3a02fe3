//! Leases of tasks: granted, renewed, checked.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Time,
    event::Change,
    ids::{BlockId, Label, TaskId},
    message::Message,
    refusal::Refusal,
    task::{Attempt, Checkpoint, Task, TaskLease, TaskStatus},
};

/// A worker that wants a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// How it calls itself.
    pub name: Label,
    /// How long its lease shall last.
    pub lease: Duration,
}

/// A sign of life of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Renewal {
    /// Which lease.
    pub attempt: Attempt,
    /// Whose it must be; none for anybody's.
    pub worker: Option<Label>,
    /// 0 to 1; none for no change.
    pub progress: Option<f64>,
    /// For people; none for no change.
    pub status_text: Option<String>,
    /// Left for the next attempt; none for no change.
    pub checkpoint: Option<Checkpoint>,
}

/// A task that is offered to workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer<'a> {
    /// Which.
    pub task: &'a Task,
    /// From when on; what is offered earlier comes first.
    pub from: Time,
}

/// A hint that a task waits for a worker may be lost: so soon after it began to
/// wait it is given once more, and from then on whenever it has waited for twice as
/// long.
const LOOK_DELAY: Duration = Duration::from_secs(2);

impl Offer<'_> {
    /// When somebody should see to it that workers know of it.
    pub(super) fn look_time(&self, now: Time) -> Time {
        let since = self.task.update_time.max(self.from);
        let waited = (now - since).to_std().unwrap_or_default();
        now.max(since) + LOOK_DELAY.max(waited)
    }
}

impl Message {
    /// The tasks that wait for a worker.
    pub fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        let is_open = !self.is_terminal() && !self.cancel_requested();
        let pending = self
            .tasks
            .iter()
            .filter(move |task| is_open && task.status == TaskStatus::Pending);
        pending.map(|task| Offer {
            task,
            from: task.retry_time.unwrap_or(task.create_time),
        })
    }

    /// How the task stands that is offered, if it is.
    pub fn offer(&self, id: &TaskId) -> Option<Offer<'_>> {
        self.offers().find(|offer| offer.task.id == *id)
    }

    /// The changes that give an offered task to a worker. What earlier attempts
    /// have written is withdrawn by them.
    pub fn grant(&self, offer: Offer<'_>, worker: &Worker, now: Time) -> Vec<Change> {
        let task = offer.task;
        let attempt_end = task.attempt_timeout.map(|timeout| now + timeout);
        let lease = TaskLease {
            end: now,
            duration: worker.lease,
            limit: [attempt_end, task.deadline].into_iter().flatten().min(),
            is_closed: false,
        };
        let granted = Task {
            status: TaskStatus::Processing,
            attempt: task.attempt + 1,
            progress: 0.0,
            status_text: String::new(),
            error: String::new(),
            retry_time: None,
            worker: Some(worker.name.clone()),
            lease: Some(lease.renewed(now)),
            update_time: now,
            ..task.clone()
        };
        let mut changes = self.withdrawn(task, now);
        changes.push(Change::TaskProgressed(granted));
        changes
    }

    /// The task of a lease that still holds.
    pub fn leased_task(&self, attempt: &Attempt) -> Result<&Task, Refusal> {
        let unknown = || Refusal::TaskUnknown(attempt.task.clone());
        let task = self.task(&attempt.task).ok_or_else(unknown)?;
        task.check_attempt(attempt.number)?;
        Ok(task)
    }

    /// The task with its lease renewed, and whether there is anything in it that
    /// watchers have not seen. None where the lease is lost.
    pub fn renewed(&self, renewal: &Renewal, now: Time) -> Option<(Task, bool)> {
        let old = self.leased_task(&renewal.attempt).ok()?;
        // One that has run out is still theirs until that is recorded, unless it
        // could not have been renewed for so long.
        let lease = old.held()?.renewed(now);
        let is_theirs = renewal.worker.is_none() || renewal.worker == old.worker;
        if self.is_terminal() || !is_theirs || lease.end <= now {
            return None;
        }
        let mut task = old.clone();
        task.lease = Some(lease);
        if let Some(checkpoint) = &renewal.checkpoint {
            task.checkpoint = Checkpoint {
                data: checkpoint.data.clone(),
                kept: self.own_blocks(old, &checkpoint.kept),
            };
        }
        if let Some(status_text) = &renewal.status_text {
            task.status_text.clone_from(status_text);
        }
        task.progress = renewal.progress.unwrap_or(0.0).max(old.progress);
        let is_news = task.progress > old.progress || task.status_text != old.status_text;
        if is_news {
            task.update_time = now;
        }
        Some((task, is_news))
    }

    /// Those of some blocks that were added under leases of the task. So a message
    /// keeps each id once at most, however many it is sent.
    fn own_blocks(&self, task: &Task, named: &BTreeSet<BlockId>) -> BTreeSet<BlockId> {
        let own = self.blocks.iter().filter(|block| {
            let is_own = block.task.as_ref() == Some(&task.id) && block.id != task.block;
            is_own && named.contains(&block.id)
        });
        own.map(|block| block.id.clone()).collect()
    }

    /// Takes in a task whose lease or checkpoint is another, of which the log
    /// tells nothing.
    pub fn replace_task(&mut self, task: Task) {
        if let Some(old) = self.tasks.iter_mut().find(|old| old.id == task.id) {
            *old = task;
        }
    }
}
