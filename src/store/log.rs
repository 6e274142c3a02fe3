//! The log of a message, and what a place in it still means.

use redis::Value;

use super::{
    Append, Store, StoreError,
    entry::{Entry, EntryEvents, ends, only_entry},
    reply::{array, elements, parse},
};
use crate::{
    domain::{
        cursor::{Cursor, Position},
        event::Change,
        ids::{BlockId, MessageId, SessionId, UserId},
        message::MessageState,
    },
    proto as v1,
    wire::{
        event::{change_to_v1, delta_to_v1, place_event},
        frame::GapReason,
    },
};

/// A page that holds so many bytes gets no further entries: a reader that does not
/// get rid of a page holds it.
const PAGE_BYTES: usize = 64 * 1024;
/// Nor one that reaches over so many events: the frames of short ones are much longer
/// than they are here.
const PAGE_EVENTS: u64 = 512;

/// A log that can be followed: of a message, or of a session, which tells of
/// each message that is created in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its key.
    pub(super) key: String,
    /// Key of the hash that it belongs to.
    holder: String,
    session: SessionId,
    /// None for the log of a session.
    message: Option<MessageId>,
}

impl Log {
    /// The session that it is of, or that its message is of.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Tells logs apart.
    pub fn name(&self) -> &str {
        &self.key
    }

    /// What reading this log gives of text that was appended at this place.
    pub fn appended(
        &self,
        append: &Append<'_>,
        first: Cursor,
        block: &BlockId,
        offset: u64,
    ) -> Vec<Placed> {
        let deltas = append.deltas.iter().map(|delta| delta.text.to_owned());
        self.place_deltas(deltas, first, block.as_str(), offset)
    }

    /// What reading this log gives of changes that were committed as its events
    /// from this one on.
    pub fn committed(&self, changes: &[Change], first: Cursor) -> Vec<Placed> {
        let changes = changes.iter().zip(first.sequence..);
        changes
            .map(|(change, sequence)| {
                let event = change_to_v1(change, first.time);
                self.place_one(event, Cursor { sequence, ..first })
            })
            .collect()
    }

    /// Any log.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            key: "log".to_owned(),
            holder: "message".to_owned(),
            session: SessionId::parse("s").expect("an id"),
            message: None,
        }
    }

    /// The events of an entry, for clients.
    pub fn place(&self, events: EntryEvents) -> Vec<Placed> {
        let first = events.first();
        let stored = events.stored;
        if !stored.deltas.is_empty() {
            let deltas = stored.deltas.into_iter();
            return self.place_deltas(deltas, first, &stored.block, stored.offset);
        }
        let events = stored.events.into_iter().zip(first.sequence..);
        events
            .map(|(event, sequence)| self.place_one(event, Cursor { sequence, ..first }))
            .collect()
    }

    /// The events of entries, for clients.
    pub(super) fn place_all(
        &self,
        entries: impl Iterator<Item = Value>,
    ) -> Result<Vec<Placed>, StoreError> {
        let mut placed = Vec::new();
        for entry in entries {
            if let Entry::Events(events) = Entry::decode(entry)? {
                placed.extend(self.place(events));
            }
        }
        Ok(placed)
    }

    fn place_deltas(
        &self,
        deltas: impl Iterator<Item = String>,
        first: Cursor,
        block: &str,
        mut offset: u64,
    ) -> Vec<Placed> {
        let deltas = deltas.zip(first.sequence..);
        deltas
            .map(|(delta, sequence)| {
                let begin = offset;
                offset += delta.len() as u64;
                let event = delta_to_v1(block, begin, delta, first.time);
                self.place_one(event, Cursor { sequence, ..first })
            })
            .collect()
    }

    fn place_one(&self, event: v1::Event, cursor: Cursor) -> Placed {
        let Cursor { sequence, time } = cursor;
        Placed {
            cursor,
            event: place_event(event, sequence, time, &self.session, self.message.as_ref()),
        }
    }
}

/// An event as clients see it, at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its place.
    pub cursor: Cursor,
    /// The event, complete.
    pub event: v1::Event,
}

/// A part of a log, and of which message it is.
#[derive(Debug, Clone)]
pub struct Page {
    /// Which log.
    pub log: Log,
    /// Who owns the session.
    pub user: UserId,
    /// Whether the message is still being written.
    pub state: MessageState,
    /// The last event of the log.
    pub head: Cursor,
    /// Events of the entry that holds the place, and what follows.
    pub events: Vec<Placed>,
}

/// What a place in a log means now.
#[derive(Debug, Clone, PartialEq)]
pub enum Resume {
    /// The place holds what the reader saw; these are the events after it.
    Continue(Vec<Placed>),
    /// What the reader saw is not there, so what follows is not known.
    Gap(GapReason),
}

impl Page {
    /// Judges a place by the page that was read from around it. Sequence 0 is
    /// the place before the first event.
    pub fn resume(self, after: Position) -> Resume {
        let mut events = self.events;
        if after.sequence == 0 {
            let first = events.first().map_or(1, |placed| placed.cursor.sequence);
            return match first {
                1 => Resume::Continue(events),
                _ => Resume::Gap(GapReason::Trimmed),
            };
        }
        let found = events
            .iter()
            .position(|placed| placed.cursor.sequence == after.sequence);
        match found {
            Some(at) => {
                let cursor = events[at].cursor;
                if after.time.is_some_and(|time| time != cursor.time) {
                    return Resume::Gap(GapReason::HistoryChanged);
                }
                Resume::Continue(events.split_off(at + 1))
            }
            None if after.sequence > self.head.sequence => Resume::Gap(GapReason::AheadOfHead),
            None => Resume::Gap(GapReason::Trimmed),
        }
    }
}

/// What became of a log that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is the log that was read so far, and reaches up to this sequence.
    Same(u64),
    /// It is another one, or has lost what was read.
    Changed,
    /// The message was deleted.
    Deleted,
    /// The message is gone.
    Expired,
}

impl Store {
    /// The log of a message.
    pub fn message_log(&self, message: &MessageId, session: &SessionId) -> Log {
        Log {
            key: self.keys.log(session, message),
            holder: self.keys.message(message),
            session: session.clone(),
            message: Some(message.clone()),
        }
    }

    /// Name of the log of a message that this process has written to, where it is
    /// known.
    pub fn known_log(&self, message: &MessageId) -> Option<String> {
        self.known.log(message)
    }

    /// The log of a session.
    pub fn session_log(&self, session: &SessionId) -> Log {
        Log {
            key: self.keys.session_log(session),
            holder: self.keys.session(session),
            session: session.clone(),
            message: None,
        }
    }

    /// Reads what follows a place in a message's log, up to `count` entries, with
    /// the entry that holds the place; from the first event that is retained
    /// where `after` is 0. None where there is no such message.
    pub async fn replay(
        &self,
        message: &MessageId,
        after: u64,
        count: usize,
    ) -> Result<Option<Page>, StoreError> {
        let mut call = self
            .functions
            .read("replay", &[&self.keys.message(message)]);
        call.arg(after).arg(count).arg(PAGE_BYTES).arg(PAGE_EVENTS);
        match self.link.read_one(call).await? {
            Value::Nil => Ok(None),
            value => self.parse_page(value, message).map(Some),
        }
    }

    fn parse_page(&self, value: Value, message: &MessageId) -> Result<Page, StoreError> {
        let [status, session, user, last, place, entries] = elements(value)?;
        let status: String = parse(status)?;
        let session = SessionId::parse(&parse::<String>(session)?).map_err(StoreError::corrupt)?;
        let log = self.message_log(message, &session);
        let entries = array(place)?.into_iter().chain(array(entries)?);
        Ok(Page {
            user: UserId::parse(&parse::<String>(user)?).map_err(StoreError::corrupt)?,
            state: MessageState::named(&status)
                .ok_or_else(|| StoreError::corrupt("the status of a message is unknown"))?,
            head: ends(last)?[1],
            events: log.place_all(entries)?,
            log,
        })
    }

    /// Looks after logs that are followed, each read up to a place.
    pub async fn look<'a>(
        &self,
        followed: impl Iterator<Item = (&'a Log, Cursor)> + Clone,
    ) -> Result<Vec<Look>, StoreError> {
        let mut calls = redis::pipe();
        for (log, read) in followed.clone() {
            let mut call = self.functions.read("look", &[&log.holder, &log.key]);
            call.arg(read.sequence);
            calls.add_command(call);
        }
        let answers = self.link.read(&calls).await?;
        followed
            .zip(answers)
            .map(|((_, read), answer)| parse_look(answer, read))
            .collect()
    }

    /// Lets messages live on because somebody watches them.
    pub async fn keep<'a>(&self, logs: impl Iterator<Item = &'a Log>) -> Result<(), StoreError> {
        let mut calls = redis::pipe();
        let messages = logs.filter_map(|log| log.message.as_ref());
        for message in messages.filter(|message| self.known.is_due(message)) {
            let keys = [self.keys.message(message), self.keys.text_prefix(message)];
            let call = self.functions.write("keep", &[&keys[0], &keys[1]]);
            calls.add_command(call);
        }
        if calls.is_empty() {
            return Ok(());
        }
        self.link.read(&calls).await.map(drop)
    }
}

fn parse_look(value: Value, read: Cursor) -> Result<Look, StoreError> {
    let [exists, head, at] = elements(value)?;
    let head = only_entry(head)?;
    if !parse::<bool>(exists)? {
        return Ok(match head {
            Some(Entry::Deleted) => Look::Deleted,
            _ => Look::Expired,
        });
    }
    let head = match head {
        Some(Entry::Events(events)) => events.last(),
        // A session in which no message was created yet.
        _ if read == Cursor::BEGINNING => return Ok(Look::Same(0)),
        _ => return Ok(Look::Changed),
    };
    if read == Cursor::BEGINNING {
        return Ok(Look::Same(head.sequence));
    }
    let same = match only_entry(at)? {
        Some(Entry::Events(events)) => events.hold(read),
        Some(Entry::Deleted) => false,
        // What was read last is trimmed already: the reader is far behind.
        None => head.sequence > read.sequence,
    };
    Ok(match same {
        true => Look::Same(head.sequence),
        false => Look::Changed,
    })
}
