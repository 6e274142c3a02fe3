//! Pages of messages and sessions.

use std::{pin::pin, time::Duration};

use futures_util::TryStreamExt as _;
use prost::Message as _;

use super::{Engine, EngineError, clock};
use crate::{
    domain::{
        ids::{MessageId, SessionId, UserId},
        limits,
        message::Message,
        principal::Principal,
        session::Session,
    },
    proto as v1,
    wire::session::session_to_v1,
};

/// Messages that are loaded at once.
const LOAD_BATCH: usize = 64;
/// A message is entered into its session's index before it is written, with its
/// content perhaps. One that is not there so long after was not written, or is gone.
const WRITTEN_AFTER_MAX: Duration = Duration::from_secs(10 * 60);

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<Id> {
    /// The last one of the page before: its time and id.
    pub after: Option<(u64, Id)>,
    /// How many at most; at least 1.
    pub size: usize,
    /// How many to pass over first.
    pub skip: usize,
}

/// Messages of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePage {
    /// In the order of their creation.
    pub messages: Vec<v1::Message>,
    /// Where the next page begins, if there is one.
    pub next: Option<(u64, MessageId)>,
}

/// Sessions of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPage {
    /// Newest activity first.
    pub sessions: Vec<(Session, u64)>,
    /// Where the next page begins, if there is one.
    pub next: Option<(u64, SessionId)>,
}

/// Messages that are sent together.
#[derive(Default)]
struct Frame {
    messages: Vec<v1::Message>,
    size: usize,
}

impl Frame {
    /// Adds a message. False where it does not fit; one always does.
    fn add(&mut self, message: v1::Message) -> bool {
        self.size += message.encoded_len();
        let fits = self.messages.is_empty() || self.size <= limits::FRAME_BYTES_MAX;
        if fits {
            self.messages.push(message);
        }
        fits
    }
}

impl Engine {
    /// Lists a session's messages. The page ends before it exceeds a frame.
    pub async fn list_messages(
        &self,
        principal: &Principal,
        session: &SessionId,
        page: &PageRequest<MessageId>,
    ) -> Result<MessagePage, EngineError> {
        let (Session { user, .. }, _) = self.session(principal, session).await?;
        let mut after = page.after.clone();
        let mut skip = page.skip;
        let mut frame = Frame::default();
        loop {
            let wanted = (page.size - frame.messages.len()).min(LOAD_BATCH);
            // One more than wanted tells whether there is a next page.
            let mut found = self
                .store
                .list_messages(session, after.as_ref(), skip, wanted + 1)
                .await?;
            skip = 0;
            let is_last = found.len() <= wanted;
            found.truncate(wanted);
            let count = self.fill(&mut frame, session, &user, &found).await?;
            let is_full = count < found.len();
            after = found.drain(..count).next_back().or(after);
            if is_full || is_last || frame.messages.len() == page.size {
                return Ok(MessagePage {
                    messages: frame.messages,
                    next: after.filter(|_| is_full || !is_last),
                });
            }
        }
    }

    /// A session's latest messages, oldest first: up to `count`, as many as fit into
    /// a frame.
    pub(super) async fn latest_messages(
        &self,
        session: &SessionId,
        user: &UserId,
        count: usize,
    ) -> Result<Vec<v1::Message>, EngineError> {
        let mut frame = Frame::default();
        let found = self.store.latest_messages(session, count).await?;
        for batch in found.chunks(LOAD_BATCH) {
            let filled = self.fill(&mut frame, session, user, batch).await?;
            if filled < batch.len() {
                break;
            }
        }
        frame.messages.reverse();
        Ok(frame.messages)
    }

    /// Loads messages of the index of a user's session into a frame, and takes those
    /// from the index that are long gone, or another user's: an earlier session of
    /// that id had them. Returns how many it got through before the frame was full.
    async fn fill(
        &self,
        frame: &mut Frame,
        session: &SessionId,
        user: &UserId,
        found: &[(u64, MessageId)],
    ) -> Result<usize, EngineError> {
        let ids: Vec<_> = found.iter().map(|(_, id)| id.clone()).collect();
        let forgotten = (clock::now() - WRITTEN_AFTER_MAX).timestamp_micros();
        let forgotten = u64::try_from(forgotten).unwrap_or_default();
        let mut gone = Vec::new();
        let mut count = 0;
        let mut loads = pin!(self.store.load_each(&ids).await?);
        while let Some(loaded) = loads.try_next().await? {
            let is_own = |message: &Message| message.session == *session && message.user == *user;
            match loaded.filter(|loaded| is_own(&loaded.message)) {
                Some(loaded) => {
                    let message = self.view(loaded.message).await?.to_v1();
                    if !frame.add(message) {
                        break;
                    }
                }
                None if found[count].0 < forgotten => gone.push(found[count].clone()),
                None => {}
            }
            count += 1;
        }
        self.store.forget_messages(session, &gone).await?;
        Ok(count)
    }

    /// Lists a user's sessions. The page ends before it exceeds a frame.
    pub async fn list_sessions(
        &self,
        principal: &Principal,
        user: &UserId,
        page: &PageRequest<SessionId>,
    ) -> Result<SessionPage, EngineError> {
        let mut before = page.after.clone();
        let mut sessions = Vec::new();
        let mut size = 0;
        if principal.owner().is_some_and(|owner| owner != user) {
            return Ok(SessionPage {
                sessions,
                next: None,
            });
        }
        loop {
            let wanted = page.size - sessions.len();
            let mut found = self
                .store
                .list_sessions(user, before.as_ref(), wanted + 1)
                .await?;
            let has_more = found.len() > wanted;
            found.truncate(wanted);
            let ids: Vec<_> = found.iter().map(|(_, id)| id.clone()).collect();
            let loaded = self.store.load_sessions(&ids).await?;
            let mut gone = Vec::new();
            for (place, loaded) in found.into_iter().zip(loaded) {
                match loaded {
                    Some((session, count)) => {
                        size += session_to_v1(&session, count).encoded_len();
                        if size > limits::FRAME_BYTES_MAX && !sessions.is_empty() {
                            return Ok(SessionPage {
                                sessions,
                                next: before,
                            });
                        }
                        sessions.push((session, count));
                    }
                    None => gone.push(place.clone()),
                }
                before = Some(place);
            }
            self.store.forget_sessions(user, &gone).await?;
            if !has_more || sessions.len() == page.size {
                let next = before.filter(|_| has_more);
                return Ok(SessionPage { sessions, next });
            }
        }
    }
}
