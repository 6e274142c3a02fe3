//! Leases of tasks: granted for a ticket, renewed, given back.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Engine, EngineError, Request, clock, write::check_size};
use crate::{
    domain::{
        Time,
        claim::{Renewal, Worker},
        command::{Command, Right, UpdateTask},
        event::Change,
        ids::MessageId,
        message::Message,
        principal::Principal,
        refusal::Refusal,
        task::{Task, TaskStatus},
    },
    store::{Loaded, StoreError, Ticket},
};

/// Clocks of instances may differ by so much, and tickets count milliseconds.
const CLOCK_SKEW: Duration = Duration::from_millis(2);
/// A message that changes all the time is decided on so often.
const DECISIONS_MAX: usize = 64;
/// Messages whose leases are renewed at a time.
const CONCURRENCY: usize = 16;

/// What a ticket was worth.
pub(super) enum Grant {
    /// The task is the worker's.
    Granted(Box<Message>),
    /// It is not to be had before then.
    Later(Time),
    /// It waits no more.
    Stale,
}

/// What became of a lease that was to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It lasts until then.
    Held {
        /// When it is lost unless it is renewed again.
        end: Time,
        /// Somebody asked that the message be cancelled.
        cancel_requested: bool,
    },
    /// It is another's, or the task is over.
    Lost,
}

impl Engine {
    /// Gives the task of a ticket to a worker: one commit, which only one of those
    /// can make that hold a ticket for it.
    pub(super) async fn grant(
        &self,
        ticket: &Ticket,
        worker: &Worker,
    ) -> Result<Grant, EngineError> {
        for _ in 0..DECISIONS_MAX {
            let Some(loaded) = self.store.load(&ticket.message).await? else {
                return Ok(Grant::Stale);
            };
            let now = clock::now();
            let Some(offer) = loaded.message.offer(&ticket.task) else {
                return Ok(Grant::Stale);
            };
            if offer.from > now + CLOCK_SKEW {
                return Ok(Grant::Later(offer.from));
            }
            let changes = loaded.message.grant(offer, worker, now);
            let mut before = loaded.message.clone();
            before.visited(now);
            match self.commit(&loaded, before, changes, None, now).await {
                Ok(None) => {}
                Ok(Some(granted)) => return Ok(Grant::Granted(Box::new(granted))),
                Err(EngineError::Refused(Refusal::MessageUnknown(_))) => return Ok(Grant::Stale),
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Contended)
    }

    /// Gives back a task that nobody is there to work on.
    pub(super) async fn release(&self, message: &Message, task: &Task) -> Result<(), EngineError> {
        let request = Request {
            principal: Principal::Anonymous,
            message: message.id.clone(),
            right: Right::default(),
            repeat: None,
        };
        let release = Command::UpdateTask(UpdateTask {
            id: task.id.clone(),
            status: Some(TaskStatus::Pending),
            progress: None,
            status_text: None,
            content: None,
            error: String::new(),
            attempt: task.attempt,
            retry: None,
            outcome: None,
        });
        self.write(&request, &release).await.map(drop)
    }

    /// Renews leases, and says what became of each, in the same order.
    pub async fn renew(
        &self,
        principal: &Principal,
        renewals: &[(MessageId, Renewal)],
    ) -> Result<Vec<Renewed>, EngineError> {
        let mut by_message: HashMap<&MessageId, Vec<usize>> = HashMap::new();
        for (place, (message, _)) in renewals.iter().enumerate() {
            by_message.entry(message).or_default().push(place);
        }
        let renew = async |(message, places): (&MessageId, Vec<usize>)| {
            let of_message: Vec<_> = places.iter().map(|place| &renewals[*place].1).collect();
            let renewed = self.renew_in(principal, message, &of_message).await?;
            Ok::<_, EngineError>((places, renewed))
        };
        let all: Vec<_> = stream::iter(by_message)
            .map(renew)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut results = vec![Renewed::Lost; renewals.len()];
        for (places, renewed) in all {
            for (place, renewed) in places.into_iter().zip(renewed) {
                results[place] = renewed;
            }
        }
        Ok(results)
    }

    /// Renews leases of one message, in one commit.
    async fn renew_in(
        &self,
        principal: &Principal,
        message: &MessageId,
        renewals: &[&Renewal],
    ) -> Result<Vec<Renewed>, EngineError> {
        for _ in 0..DECISIONS_MAX {
            let loaded = match self.load_for(principal, message).await {
                // A message that cannot be read must not cost the leases of others.
                Err(EngineError::Refused(_) | EngineError::Store(StoreError::Corrupt(_))) => {
                    return Ok(vec![Renewed::Lost; renewals.len()]);
                }
                loaded => loaded?,
            };
            let now = clock::now();
            let (before, changes, results) = renew_all(&loaded, renewals, now);
            let adds =
                |renewal: &&Renewal| renewal.checkpoint.is_some() || renewal.status_text.is_some();
            if renewals.iter().any(adds) {
                check_size(before.blocks.iter(), before.tasks.iter())?;
            }
            let is_lost = |renewed: &Renewed| *renewed == Renewed::Lost;
            if results.iter().all(is_lost) {
                return Ok(results);
            }
            match self.commit(&loaded, before, changes, None, now).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(results),
                Err(EngineError::Refused(Refusal::MessageUnknown(_))) => {
                    return Ok(vec![Renewed::Lost; renewals.len()]);
                }
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Contended)
    }
}

/// The message with leases renewed, what is new in it for watchers, and what
/// became of each lease.
fn renew_all(
    loaded: &Loaded,
    renewals: &[&Renewal],
    now: Time,
) -> (Message, Vec<Change>, Vec<Renewed>) {
    let mut message = loaded.message.clone();
    let mut changes = Vec::new();
    let mut results = Vec::with_capacity(renewals.len());
    for renewal in renewals {
        let renewed = message.renewed(renewal, now);
        let end = renewed.as_ref().and_then(|(task, _)| task.held());
        results.push(end.map_or(Renewed::Lost, |lease| Renewed::Held {
            end: lease.end,
            cancel_requested: message.cancel_requested(),
        }));
        if let Some((task, is_news)) = renewed {
            if is_news {
                changes.push(Change::TaskProgressed(task.clone()));
            }
            message.replace_task(task);
        }
    }
    // What has no event must not hide whose the last one was.
    if !changes.is_empty() {
        message.visited(now);
    }
    (message, changes, results)
}
