//! Messages to which something happens by itself, by time.
//!
//! What is kept here is a hint: the time is never too late, but may be too early,
//! since text that is appended renews a lease without a word. The message itself
//! says what is due.

use std::time::Duration;

use super::{
    Store, StoreError,
    reply::{elements, parse},
};
use crate::domain::{Time, ids::MessageId, message::Message};

/// A message is looked at so often in the time that it is kept, though nothing is
/// due: each look lets it live on.
const LOOKS_PER_TTL: u32 = 2;

/// Messages that are perhaps due.
#[derive(Debug, Clone)]
pub struct Due {
    /// Which.
    pub messages: Vec<MessageId>,
    /// When they are due again, if nothing becomes of them.
    pub taken_until: Time,
    /// When the next one is due; none where there is no other.
    pub next: Option<Time>,
}

impl Store {
    /// Takes up to `count` messages that are perhaps due. Nobody else is given
    /// them for so long.
    pub async fn take_due(
        &self,
        now: Time,
        count: usize,
        hold: Duration,
    ) -> Result<Due, StoreError> {
        let taken_until = now + hold;
        let mut call = self.functions.write("take_due", &[self.keys.due()]);
        call.arg(now.timestamp_micros())
            .arg(count)
            .arg(taken_until.timestamp_micros());
        let [messages, next] = elements(self.link.repeatable(&call).await?)?;
        let (messages, next): (Vec<String>, String) = (parse(messages)?, parse(next)?);
        let ids = messages.iter().map(|id| MessageId::parse(id));
        Ok(Due {
            messages: ids.collect::<Result<_, _>>().map_err(StoreError::corrupt)?,
            taken_until,
            next: next.parse().ok().and_then(Time::from_timestamp_micros),
        })
    }

    /// Says when a message is due that was taken until then, and lets it live on;
    /// with no time, nothing will happen to it, or it is gone.
    pub async fn postpone(
        &self,
        message: &MessageId,
        taken_until: Time,
        now: Time,
        due: Option<Time>,
    ) -> Result<(), StoreError> {
        let [hash, text_prefix] = self.keys.of_message(message);
        let keys = [hash.as_str(), text_prefix.as_str(), self.keys.due()];
        let mut call = self.functions.write("postpone", &keys);
        call.arg(message.as_str())
            .arg(taken_until.timestamp_micros())
            .arg(due.map_or_else(none, |due| self.score(due, now)));
        self.link.repeatable(&call).await.map(drop)
    }

    /// What a commit has to say of when its message is due: nothing where it is
    /// not earlier than it was.
    pub(super) fn due_argument(
        &self,
        before: Option<&Message>,
        after: &Message,
        now: Time,
    ) -> String {
        match (
            before.and_then(|before| before.due_time(now)),
            after.due_time(now),
        ) {
            (Some(_), None) => none(),
            (None, Some(due)) => self.score(due, now),
            (Some(before), Some(due)) if due < before => self.score(due, now),
            _ => String::new(),
        }
    }

    fn score(&self, due: Time, now: Time) -> String {
        let look = now.checked_add_signed(self.look_interval());
        let score = look.map_or(due, |look| look.min(due));
        score.timestamp_micros().to_string()
    }

    fn look_interval(&self) -> chrono::TimeDelta {
        let interval = self.options.message_ttl / LOOKS_PER_TTL;
        chrono::TimeDelta::from_std(interval).unwrap_or(chrono::TimeDelta::MAX)
    }
}

/// What Redis is told where nothing will happen.
fn none() -> String {
    "-".to_owned()
}
