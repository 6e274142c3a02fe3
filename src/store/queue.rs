//! Queues hold tickets, not truth: a ticket says that a task may wait for a
//! worker, the message says whether it does. A ticket that is lost, doubled or
//! stale costs a look, no more.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{
    ClientId, Store, StoreError,
    link::Dedicated,
    reply::{array, elements, parse, scored},
};
use crate::domain::{
    Time,
    ids::{Label, MessageId, TaskId},
};

/// Says that a task may wait for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// In which message.
    pub message: MessageId,
    /// Which task of it.
    pub task: TaskId,
}

/// A ticket, and when it can be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// Which task may wait.
    pub ticket: Ticket,
    /// From when on; the oldest is taken first.
    pub from: Time,
}

/// What was taken from a queue.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The oldest first.
    pub entries: Vec<QueueEntry>,
    /// When the next one can be taken; none where there is none.
    pub next: Option<Time>,
}

/// A connection that hears when tickets are put into queues.
pub struct QueueBells(Dedicated);

impl Store {
    /// Whether a queue has fewer tickets than `limit`.
    pub async fn has_room(&self, queue: &Label, limit: u64) -> Result<bool, StoreError> {
        let [key, _] = self.keys.queue(queue);
        let mut call = redis::cmd("ZCARD");
        call.arg(key);
        let count: u64 = parse(self.link.repeatable(&call).await?)?;
        Ok(count < limit)
    }

    /// Puts tickets into their queues, unless they are there, and throws others
    /// away.
    pub async fn offer(
        &self,
        offered: &[(Label, QueueEntry)],
        gone: &[(Label, Ticket)],
    ) -> Result<(), StoreError> {
        let mut calls = redis::pipe();
        for (queue, entry) in offered {
            calls.add_command(self.offer_call(queue, "NX", entry));
        }
        for (queue, ticket) in gone {
            let mut call = self.functions.write("discard", &self.keys.queue(queue));
            call.arg(member(ticket));
            calls.add_command(call);
        }
        let answers = self.link.write_all(&calls, |_| true).await;
        answers.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// Puts a ticket back that was taken.
    pub async fn give_back(&self, queue: &Label, entry: &QueueEntry) -> Result<(), StoreError> {
        let call = self.offer_call(queue, "CH", entry);
        self.link.repeatable(&call).await.map(drop)
    }

    fn offer_call(&self, queue: &Label, how: &str, entry: &QueueEntry) -> Cmd {
        let mut call = self.functions.write("offer", &self.keys.queue(queue));
        call.arg(how)
            .arg(entry.from.timestamp_millis())
            .arg(member(&entry.ticket));
        call
    }

    /// Takes up to `count` tickets from a queue. Nobody else is given them for the
    /// time of `hold`.
    pub async fn take(
        &self,
        queue: &Label,
        count: usize,
        now: Time,
        hold: Duration,
    ) -> Result<Taken, StoreError> {
        let mut call = self.functions.write("take", &self.keys.queue(queue));
        call.arg(now.timestamp_millis())
            .arg(count)
            .arg((now + hold).timestamp_millis());
        // What a lost answer named can be taken again after the hold.
        parse_taken(self.link.repeatable(&call).await?)
    }

    /// Opens a connection that waits for tickets.
    pub async fn queue_bells(&self) -> Result<QueueBells, StoreError> {
        self.link.dedicated().await.map(QueueBells)
    }

    /// Waits until tickets are put into one of these queues, and tells which;
    /// none where `wait` is over, or [`Store::unblock`] has interrupted it.
    pub async fn hear_queue(
        &self,
        bells: &mut QueueBells,
        queues: &[Label],
        wait: Duration,
    ) -> Result<Option<Label>, StoreError> {
        let mut call = redis::cmd("BLPOP");
        for queue in queues {
            let [_, bell] = self.keys.queue(queue);
            call.arg(bell);
        }
        call.arg(wait.as_secs_f64());
        let answer = bells.0.ask(&call, wait).await?;
        match array(answer)?.into_iter().next() {
            None => Ok(None),
            Some(key) => Ok(self.keys.queue_of_bell(&parse::<String>(key)?)),
        }
    }
}

impl QueueBells {
    /// Names the connection in [`Store::unblock`].
    pub fn client(&self) -> &ClientId {
        self.0.client()
    }
}

/// How a ticket is written.
fn member(ticket: &Ticket) -> String {
    format!("{} {}", ticket.message, ticket.task)
}

fn parse_taken(answer: Value) -> Result<Taken, StoreError> {
    let [entries, next] = elements(answer)?;
    let next: String = parse(next)?;
    let entries = scored(entries)?.into_iter().map(|(from, member)| {
        let damaged = || StoreError::corrupt("a ticket cannot be read");
        let (message, task) = member.split_once(' ').ok_or_else(damaged)?;
        Ok(QueueEntry {
            ticket: Ticket {
                message: MessageId::parse(message).map_err(StoreError::corrupt)?,
                task: TaskId::parse(task).map_err(StoreError::corrupt)?,
            },
            from: time(from).ok_or_else(damaged)?,
        })
    });
    Ok(Taken {
        entries: entries.collect::<Result<_, StoreError>>()?,
        next: next.parse().ok().and_then(time),
    })
}

fn time(millis: u64) -> Option<Time> {
    Time::from_timestamp_millis(i64::try_from(millis).ok()?)
}
