//! Sessions and the two indexes: a session's messages, a user's sessions.

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Value};

use super::{
    Page, Store, StoreError,
    entry::encode_event,
    functions,
    messages::LOOK_BATCH,
    reply::{Outcome, array, elements, parse, scored},
};
use crate::{
    domain::{
        Metadata, Time,
        cursor::Cursor,
        ids::{MessageId, SessionId, UserId},
        message::MessageState,
        session::Session,
    },
    proto as v1,
    wire::values::time_to_v1,
};

/// So long after it was announced, a message is announced anew where it does not
/// exist: before those who follow the session have given it up.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// Whether a message may be created in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may, and is in the session's index.
    Granted {
        /// Whose session it is.
        user: UserId,
        /// It was not in the index, or only a message that is gone was.
        is_new: bool,
    },
    /// There is no such session, or it is another user's.
    Missing,
    /// The session is closed.
    Closed,
}

/// A message in a session's index that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unended {
    /// Which.
    pub message: MessageId,
    /// When it was entered: before it is created.
    pub entered: Time,
    /// It is being written; if not, it is to be created, was not, or is gone.
    pub is_there: bool,
}

impl Store {
    /// Makes a session, or finds it. None where another user has it; otherwise
    /// whether it was made.
    pub async fn create_session(
        &self,
        session: &SessionId,
        user: &UserId,
        metadata: &Metadata,
        now: Time,
    ) -> Result<Option<bool>, StoreError> {
        let keys = [self.keys.session(session), self.keys.session_log(session)];
        let mut call = self
            .functions
            .write("create_session", &[&keys[0], &keys[1]]);
        call.arg(user.as_str())
            .arg(json(metadata))
            .arg(now.timestamp_micros());
        let answer: String = parse(self.link.repeatable(&call).await?)?;
        match answer.as_str() {
            "created" => {
                self.touch_user(user, session, now).await?;
                Ok(Some(true))
            }
            "found" => {
                // Whoever made it may have got no further.
                self.enter(user, session, "NX", now).await?;
                Ok(Some(false))
            }
            _ => Ok(None),
        }
    }

    /// Enters a message into its session's index, before it is created.
    ///
    /// An entry from long ago, whose message does not exist, is entered and announced
    /// anew: whoever follows the session has given that one up.
    pub async fn admit(
        &self,
        session: &SessionId,
        message: &MessageId,
        owner: Option<&UserId>,
        now: Time,
    ) -> Result<Admission, StoreError> {
        let mut call = self
            .functions
            .write("admit", &self.keys.of_session(session));
        call.arg(message.as_str())
            .arg(now.timestamp_micros())
            .arg(owner.map_or("", UserId::as_str))
            .arg(announcement(message, now));
        let (admission, entered) = self.admit_once(call.clone()).await?;
        let stale = (now - STALE_AFTER).timestamp_micros();
        if entered.is_none_or(|entered| entered >= stale as f64)
            || self.vitals(std::slice::from_ref(message)).await? != [None]
        {
            return Ok(admission);
        }
        call.arg(stale);
        let (admission, _) = self.admit_once(call).await?;
        Ok(match admission {
            Admission::Granted { user, .. } => Admission::Granted { user, is_new: true },
            refused => refused,
        })
    }

    /// Whether the message may be created, and since when it has been in the index.
    async fn admit_once(&self, call: Cmd) -> Result<(Admission, Option<f64>), StoreError> {
        let mut outcome = Outcome::parse(self.link.repeatable(&call).await?)?;
        Ok(match outcome.word.as_str() {
            "ok" => {
                let user: String = outcome.take()?;
                let entered: Option<f64> = outcome.take()?;
                let admission = Admission::Granted {
                    user: UserId::parse(&user).map_err(StoreError::corrupt)?,
                    is_new: entered.is_none(),
                };
                (admission, entered)
            }
            "missing" => (Admission::Missing, None),
            "closed" => (Admission::Closed, None),
            _ => return Err(outcome.unknown()),
        })
    }

    /// Moves a session to the front of its user's sessions.
    pub async fn touch_user(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Time,
    ) -> Result<(), StoreError> {
        self.enter(user, session, "GT", now).await
    }

    /// Enters a session into its user's index: where it is new (`NX`), or also
    /// where it stands at an earlier time (`GT`).
    async fn enter(
        &self,
        user: &UserId,
        session: &SessionId,
        condition: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        let key = self.keys.user_sessions(user);
        let mut calls = redis::pipe();
        calls
            .cmd("ZADD")
            .arg(&key)
            .arg(condition)
            .arg(now.timestamp_micros())
            .arg(session.as_str());
        let ttl = functions::millis(self.options.session_ttl);
        calls.cmd("PEXPIRE").arg(&key).arg(ttl);
        self.link.read(&calls).await.map(drop)
    }

    /// Loads sessions with their numbers of messages, in the same order.
    pub async fn load_sessions(
        &self,
        sessions: &[SessionId],
    ) -> Result<Vec<Option<(Session, u64)>>, StoreError> {
        let mut calls = redis::pipe();
        for session in sessions {
            calls.cmd("HGETALL").arg(self.keys.session(session));
            calls.cmd("ZCARD").arg(self.keys.session_messages(session));
        }
        let answers = self.link.read(&calls).await?;
        sessions
            .iter()
            .zip(answers.chunks_exact(2))
            .map(|(session, answers)| parse_session(session, answers))
            .collect()
    }

    /// Closes a session. False where there is none, or it is closed.
    pub async fn close_session(&self, id: &SessionId, now: Time) -> Result<bool, StoreError> {
        let closed = now.timestamp_micros().to_string();
        self.change_session(id, "closed", &closed, now).await
    }

    /// Replaces a session's metadata. False where there is none.
    pub async fn set_session_metadata(
        &self,
        id: &SessionId,
        metadata: &Metadata,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.change_session(id, "metadata", &json(metadata), now)
            .await
    }

    async fn change_session(
        &self,
        id: &SessionId,
        field: &str,
        value: &str,
        now: Time,
    ) -> Result<bool, StoreError> {
        let keys = self.keys.of_session(id);
        let mut call = self
            .functions
            .write("change_session", &[&keys[0], &keys[1], &keys[2]]);
        call.arg(field).arg(value).arg(now.timestamp_micros());
        parse(self.link.repeatable(&call).await?)
    }

    /// Erases a session whose messages are erased.
    pub async fn delete_session(&self, id: &SessionId, user: &UserId) -> Result<(), StoreError> {
        let keys = self.keys.of_session(id);
        let call = self
            .functions
            .write("delete_session", &[&keys[0], &keys[1], &keys[2]]);
        self.link.repeatable(&call).await?;
        let mut call = redis::cmd("ZREM");
        call.arg(self.keys.user_sessions(user)).arg(id.as_str());
        let forgotten = self.link.repeatable(&call).await.map(drop);
        forgotten.map_err(StoreError::after_a_write)
    }

    /// Reads a part of a session's log; none where there is no such session. A
    /// log without an entry has its head at sequence 0.
    pub async fn replay_session(
        &self,
        session: &SessionId,
        after: u64,
        count: usize,
    ) -> Result<Option<Page>, StoreError> {
        let log = self.session_log(session);
        let mut calls = redis::pipe();
        calls
            .cmd("HGET")
            .arg(self.keys.session(session))
            .arg("user");
        calls
            .cmd("XREVRANGE")
            .arg(&log.key)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1);
        let from = format!("0-{}", after.max(1));
        calls
            .cmd("XRANGE")
            .arg(&log.key)
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(count + 1);
        let [user, last, entries] = elements(Value::Array(self.link.read(&calls).await?))?;
        let Some(user) = parse::<Option<String>>(user)? else {
            return Ok(None);
        };
        let last = log.place_all(array(last)?.into_iter())?;
        Ok(Some(Page {
            user: UserId::parse(&user).map_err(StoreError::corrupt)?,
            state: MessageState::Streaming,
            head: last
                .last()
                .map_or(Cursor::BEGINNING, |placed| placed.cursor),
            events: log.place_all(array(entries)?.into_iter())?,
            log,
        }))
    }

    /// The messages of a session that are being written, or that may be about to be
    /// created.
    pub async fn unended_messages(&self, session: &SessionId) -> Result<Vec<Unended>, StoreError> {
        let streaming = [MessageState::Streaming.name(), session.as_str()];
        let streaming = streaming.map(|field| Some(field.to_owned()));
        let mut unended = Vec::new();
        let mut after = None;
        loop {
            let batch = self
                .list_messages(session, after.as_ref(), 0, LOOK_BATCH)
                .await?;
            let mut calls = redis::pipe();
            for (_, message) in &batch {
                let key = self.keys.message(message);
                calls.cmd("HMGET").arg(key).arg("status").arg("session");
            }
            let is_last = batch.len() < LOOK_BATCH;
            after = batch.last().cloned();
            let states = self.link.read(&calls).await?;
            for ((entered, message), state) in batch.into_iter().zip(states) {
                let state: [Option<String>; 2] = parse(state)?;
                let is_there = state != [None, None];
                if !is_there || state == streaming {
                    let entered = i64::try_from(entered).unwrap_or(i64::MAX);
                    unended.push(Unended {
                        message,
                        entered: Time::from_timestamp_micros(entered).unwrap_or_default(),
                        is_there,
                    });
                }
            }
            if is_last {
                return Ok(unended);
            }
        }
    }

    /// A user's sessions by last activity, newest first, before `before` if
    /// that is given: up to `count`, each with its time.
    pub async fn list_sessions(
        &self,
        user: &UserId,
        before: Option<&(u64, SessionId)>,
        count: usize,
    ) -> Result<Vec<(u64, SessionId)>, StoreError> {
        let from = before.map_or("+inf".to_owned(), |(time, _)| time.to_string());
        let mut offset = 0;
        let mut found = Vec::new();
        loop {
            let mut call = redis::cmd("ZRANGE");
            call.arg(self.keys.user_sessions(user));
            call.arg(&from).arg("-inf").arg("BYSCORE").arg("REV");
            call.arg("LIMIT")
                .arg(offset)
                .arg(count + 1)
                .arg("WITHSCORES");
            let batch = parse_ids(self.link.read_one(call).await?)?;
            let complete = batch.len() <= count;
            offset += batch.len();
            // Those of the same microsecond are ordered by id, backwards.
            found.extend(
                batch
                    .into_iter()
                    .filter(|entry| before.is_none_or(|b| entry < b)),
            );
            if complete || found.len() >= count {
                found.truncate(count);
                return Ok(found);
            }
        }
    }

    /// Takes sessions that do not exist from their user's index, unless they were
    /// entered anew since they were found there.
    pub async fn forget_sessions(
        &self,
        user: &UserId,
        found: &[(u64, SessionId)],
    ) -> Result<(), StoreError> {
        let entries: Vec<_> = found.iter().map(|(at, id)| (*at, id.as_str())).collect();
        let index = self.keys.user_sessions(user);
        self.forget_in(&index, &entries).await
    }

    /// Some of the sessions that have messages, and the place to go on from;
    /// begins and ends with place 0.
    pub async fn scan_sessions(&self, place: u64) -> Result<(u64, Vec<SessionId>), StoreError> {
        let mut call = redis::cmd("SCAN");
        call.arg(place)
            .arg("MATCH")
            .arg(self.keys.all_session_messages());
        call.arg("COUNT").arg(1_000).arg("TYPE").arg("zset");
        let (next, keys): (u64, Vec<String>) = parse(self.link.read_one(call).await?)?;
        let sessions = keys
            .iter()
            .filter_map(|key| self.keys.session_of_index(key));
        Ok((next, sessions.collect()))
    }
}

/// The event in a session's log that tells of a new message.
fn announcement(message: &MessageId, time: Time) -> Vec<u8> {
    let event = v1::Event {
        event_type: v1::EventType::MessageStart.into(),
        message_id: message.to_string(),
        time: Some(time_to_v1(time)),
        ..v1::Event::default()
    };
    let mut entry = Vec::new();
    encode_event(&event, &mut entry);
    entry
}

fn json(metadata: &Metadata) -> String {
    serde_json::Value::Object(metadata.clone()).to_string()
}

fn parse_ids(value: Value) -> Result<Vec<(u64, SessionId)>, StoreError> {
    scored(value)?
        .into_iter()
        .map(|(score, member)| {
            Ok((
                score,
                SessionId::parse(&member).map_err(StoreError::corrupt)?,
            ))
        })
        .collect()
}

fn parse_session(id: &SessionId, answers: &[Value]) -> Result<Option<(Session, u64)>, StoreError> {
    let fields: HashMap<String, String> = parse(answers[0].clone())?;
    if fields.is_empty() {
        return Ok(None);
    }
    let text = |name: &str| {
        fields
            .get(name)
            .ok_or_else(|| StoreError::Corrupt(format!("a session has no field {name}")))
    };
    let time = |name: &str| {
        let micros = text(name)?.parse().map_err(StoreError::corrupt)?;
        Time::from_timestamp_micros(micros).ok_or_else(|| StoreError::corrupt("no time"))
    };
    let session = Session {
        id: id.clone(),
        user: UserId::parse(text("user")?).map_err(StoreError::corrupt)?,
        metadata: serde_json::from_str(text("metadata")?).map_err(StoreError::corrupt)?,
        create_time: time("created")?,
        update_time: time("updated")?,
        close_time: fields
            .contains_key("closed")
            .then(|| time("closed"))
            .transpose()?,
    };
    Ok(Some((session, parse(answers[1].clone())?)))
}
