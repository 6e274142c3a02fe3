//! The log of a message: entries of events, and what a place in it still means.

use prost::Message as _;
use redis::Value;

use super::{
    Store, StoreError, functions,
    reply::{array, elements, parse},
};
use crate::{
    domain::{
        Time,
        cursor::{Cursor, Position},
        event::Change,
        ids::{MessageId, SessionId, UserId},
        limits::ENTRY_EVENTS_MAX,
        message::MessageState,
    },
    proto::{self as v1, event::Payload},
    wire::{
        event::{change_to_v1, place_event, time_of},
        frame::GapReason,
    },
};

/// An entry that holds more bytes than this gets no further event: one read
/// shall not take long.
pub(super) const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// A page that holds more bytes than this gets no further entry.
const PAGE_BYTES: usize = 1024 * 1024;

/// What stands in the field `e` of an entry. Sequences are not in it: the id of
/// the entry is that of its first event.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredEntry {
    #[prost(message, repeated, tag = "1")]
    events: Vec<v1::Event>,
    /// The block of those TEXT_DELTAs that name none.
    #[prost(string, tag = "2")]
    block: String,
    /// Length of that block's text before the first of them.
    #[prost(fixed64, tag = "3")]
    offset: u64,
}

/// Encodes changes that happen at `time`, as the bytes of entries and the
/// number of events in each.
pub(super) fn encode(changes: &[Change], time: Time) -> Vec<(Vec<u8>, usize)> {
    let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
    for change in changes {
        let fits = |(bytes, count): &&mut (Vec<u8>, usize)| {
            *count < ENTRY_EVENTS_MAX as usize && bytes.len() < ENTRY_BYTES_MAX
        };
        let event = change_to_v1(change, time);
        match entries.last_mut().filter(fits) {
            Some((bytes, count)) => {
                encode_event(&event, bytes);
                *count += 1;
            }
            None => {
                let mut bytes = Vec::with_capacity(event.encoded_len() + 8);
                encode_event(&event, &mut bytes);
                entries.push((bytes, 1));
            }
        }
    }
    entries
}

/// Adds an event to the bytes of an entry.
pub(super) fn encode_event(event: &v1::Event, entry: &mut Vec<u8>) {
    prost::encoding::message::encode(1, event, entry);
}

/// An event as clients see it, at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its place.
    pub cursor: Cursor,
    /// The event, complete.
    pub event: v1::Event,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Events that were committed together; at least one.
    Events(Vec<Placed>),
    /// The message was deleted. The last entry of a log.
    Deleted,
}

impl Entry {
    /// Reads an entry as XRANGE and XREAD give it.
    pub(super) fn decode(
        entry: Value,
        session: &SessionId,
        message: &MessageId,
    ) -> Result<Self, StoreError> {
        let [id, fields] = elements(entry)?;
        let id: String = parse(id)?;
        let mut fields = array(fields)?.into_iter();
        let (name, value) = (fields.next(), fields.next().unwrap_or_default());
        if name.map(parse::<String>).transpose()?.as_deref() == Some("deleted") {
            return Ok(Self::Deleted);
        }
        let first = id
            .strip_prefix("0-")
            .and_then(|sequence| sequence.parse().ok())
            .ok_or_else(|| StoreError::corrupt("the id of an entry is not 0-<sequence>"))?;
        let bytes: Vec<u8> = parse(value)?;
        let stored = StoredEntry::decode(bytes.as_slice()).map_err(StoreError::corrupt)?;
        place(stored, first, session, message).map(Self::Events)
    }

    /// The place of the last event, if there are events.
    fn last(&self) -> Option<Cursor> {
        match self {
            Self::Events(events) => events.last().map(|placed| placed.cursor),
            Self::Deleted => None,
        }
    }
}

fn place(
    stored: StoredEntry,
    first: u64,
    session: &SessionId,
    message: &MessageId,
) -> Result<Vec<Placed>, StoreError> {
    let mut offset = stored.offset;
    let events = stored.events.into_iter().zip(first..);
    events
        .map(|(mut event, sequence)| {
            if let Some(Payload::TextDelta(delta)) = &mut event.payload
                && delta.block_id.is_empty()
            {
                delta.block_id.clone_from(&stored.block);
                delta.offset = offset;
                offset += delta.delta.len() as u64;
            }
            let time = time_of(&event).map_err(StoreError::corrupt)?;
            Ok(Placed {
                cursor: Cursor { sequence, time },
                event: place_event(event, sequence, time, session, message),
            })
        })
        .collect()
}

/// A part of a log, and of which message it is.
#[derive(Debug, Clone)]
pub struct Page {
    /// Key of the log.
    pub log: String,
    /// Whose log it is.
    pub session: SessionId,
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
    /// Judges a place by the page that was read from around it.
    pub fn resume(self, after: Position) -> Resume {
        let mut events = self.events;
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
    /// It is the log that was read so far.
    Same,
    /// It is another one, or has lost what was read.
    Changed,
    /// The message was deleted.
    Deleted,
    /// The message is gone.
    Expired,
}

impl Store {
    /// Reads what follows a place in a log, up to `count` entries, with the
    /// entry that holds the place; from the first event that is retained where
    /// `after` is 0. None where there is no such message.
    pub async fn replay(
        &self,
        message: &MessageId,
        after: u64,
        count: usize,
    ) -> Result<Option<Page>, StoreError> {
        let mut call = functions::read("replay", &[&self.keys.message(message)]);
        call.arg(after).arg(count).arg(PAGE_BYTES);
        match self.link.read_one(call).await? {
            Value::Nil => Ok(None),
            value => parse_page(value, message).map(Some),
        }
    }

    /// Looks after messages that are followed: for each, its log and the place
    /// up to which that was read.
    pub async fn look<'a>(
        &self,
        followed: impl Iterator<Item = (&'a MessageId, &'a SessionId, Cursor)> + Clone,
    ) -> Result<Vec<Look>, StoreError> {
        let mut calls = redis::pipe();
        for (message, session, read) in followed.clone() {
            let keys = [self.keys.message(message), self.keys.log(session, message)];
            let mut call = functions::read("look", &[&keys[0], &keys[1]]);
            call.arg(read.sequence);
            calls.add_command(call);
        }
        let answers = self.link.read(&calls).await?;
        followed
            .zip(answers)
            .map(|((message, session, read), answer)| parse_look(answer, session, message, read))
            .collect()
    }

    /// Lets messages live on because somebody watches them.
    pub async fn keep(&self, messages: impl Iterator<Item = &MessageId>) -> Result<(), StoreError> {
        let mut calls = redis::pipe();
        for message in messages.filter(|message| self.freshness.is_due(message)) {
            let keys = [self.keys.message(message), self.keys.text_prefix(message)];
            let mut call = functions::write("keep", &[&keys[0], &keys[1]]);
            call.arg(self.message_ttl_millis())
                .arg(self.content_ttl_millis());
            calls.add_command(call);
        }
        if calls.is_empty() {
            return Ok(());
        }
        self.link.read(&calls).await.map(drop)
    }

    /// Which of these messages exist.
    pub async fn exist(&self, messages: &[MessageId]) -> Result<Vec<bool>, StoreError> {
        let mut calls = redis::pipe();
        for message in messages {
            calls.cmd("EXISTS").arg(self.keys.message(message));
        }
        self.link
            .read(&calls)
            .await?
            .into_iter()
            .map(parse)
            .collect()
    }
}

fn parse_page(value: Value, message: &MessageId) -> Result<Page, StoreError> {
    let [status, log, session, user, last, place, entries] = elements(value)?;
    let status: String = parse(status)?;
    let session = SessionId::parse(&parse::<String>(session)?).map_err(StoreError::corrupt)?;
    let mut events = Vec::new();
    for entry in array(place)?.into_iter().chain(array(entries)?) {
        if let Entry::Events(more) = Entry::decode(entry, &session, message)? {
            events.extend(more);
        }
    }
    Ok(Page {
        log: parse(log)?,
        user: UserId::parse(&parse::<String>(user)?).map_err(StoreError::corrupt)?,
        state: MessageState::named(&status)
            .ok_or_else(|| StoreError::corrupt("the status of a message is unknown"))?,
        head: last_cursor(last, &session, message)?,
        session,
        events,
    })
}

/// The place of the last event, from the answer of XREVRANGE COUNT 1.
pub(super) fn last_cursor(
    entries: Value,
    session: &SessionId,
    message: &MessageId,
) -> Result<Cursor, StoreError> {
    last_entry(entries, session, message)?
        .and_then(|entry| entry.last())
        .ok_or_else(|| StoreError::corrupt("a message has no log"))
}

/// The place of the first event, from the answer of XRANGE COUNT 1.
pub(super) fn first_cursor(
    entries: Value,
    session: &SessionId,
    message: &MessageId,
) -> Result<Cursor, StoreError> {
    match last_entry(entries, session, message)? {
        Some(Entry::Events(events)) => events.first().map(|placed| placed.cursor),
        _ => None,
    }
    .ok_or_else(|| StoreError::corrupt("a message has no log"))
}

fn last_entry(
    entries: Value,
    session: &SessionId,
    message: &MessageId,
) -> Result<Option<Entry>, StoreError> {
    let entry = array(entries)?.pop();
    entry
        .map(|entry| Entry::decode(entry, session, message))
        .transpose()
}

fn parse_look(
    value: Value,
    session: &SessionId,
    message: &MessageId,
    read: Cursor,
) -> Result<Look, StoreError> {
    let [exists, head, at] = elements(value)?;
    let head = last_entry(head, session, message)?;
    if !parse::<bool>(exists)? {
        return Ok(match head {
            Some(Entry::Deleted) => Look::Deleted,
            _ => Look::Expired,
        });
    }
    let Some(head) = head.and_then(|head| head.last()) else {
        return Ok(Look::Changed);
    };
    let holds = |entry: Entry| match entry {
        Entry::Events(events) => events.iter().any(|placed| placed.cursor == read),
        Entry::Deleted => false,
    };
    let same = match last_entry(at, session, message)? {
        Some(entry) => holds(entry),
        // What was read last is trimmed already: the reader is far behind.
        None => head.sequence > read.sequence,
    };
    Ok(if same { Look::Same } else { Look::Changed })
}
