//! Pages of messages and sessions.

use prost::Message as _;

use super::{Engine, EngineError};
use crate::{
    domain::{
        ids::{MessageId, SessionId, UserId},
        limits,
        principal::Principal,
        session::Session,
    },
    proto as v1,
    wire::session::session_to_v1,
};

/// Messages that are loaded at once.
const LOAD_BATCH: usize = 64;

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

impl Engine {
    /// Lists a session's messages. The page ends before it exceeds a frame.
    pub async fn list_messages(
        &self,
        principal: &Principal,
        session: &SessionId,
        page: &PageRequest<MessageId>,
    ) -> Result<MessagePage, EngineError> {
        self.session(principal, session).await?;
        let mut after = page.after.clone();
        let mut skip = page.skip;
        let mut messages = Vec::new();
        let mut size = 0;
        loop {
            let wanted = (page.size - messages.len()).min(LOAD_BATCH);
            // One more than wanted tells whether there is a next page.
            let mut found = self
                .store
                .list_messages(session, after.as_ref(), skip, wanted + 1)
                .await?;
            skip = 0;
            let has_more = found.len() > wanted;
            found.truncate(wanted);
            for (place, view) in self.load_listed(session, found).await? {
                if let Some(view) = view {
                    size += view.encoded_len();
                    if size > limits::FRAME_BYTES_MAX && !messages.is_empty() {
                        return Ok(MessagePage {
                            messages,
                            next: after,
                        });
                    }
                    messages.push(view);
                }
                after = Some(place);
            }
            if !has_more || messages.len() == page.size {
                let next = after.filter(|_| has_more);
                return Ok(MessagePage { messages, next });
            }
        }
    }

    /// A session's latest messages, oldest first: up to `count`, as many as fit into
    /// a frame.
    pub(super) async fn latest_messages(
        &self,
        session: &SessionId,
        count: usize,
    ) -> Result<Vec<v1::Message>, EngineError> {
        let mut messages = Vec::new();
        let mut size = 0;
        let found = self.store.latest_messages(session, count).await?;
        for batch in found.chunks(LOAD_BATCH) {
            for (_, view) in self.load_listed(session, batch.to_vec()).await? {
                let Some(view) = view else { continue };
                size += view.encoded_len();
                if size > limits::FRAME_BYTES_MAX {
                    messages.reverse();
                    return Ok(messages);
                }
                messages.push(view);
            }
        }
        messages.reverse();
        Ok(messages)
    }

    /// Loads messages of an index, and takes those from it that are gone.
    async fn load_listed(
        &self,
        session: &SessionId,
        found: Vec<(u64, MessageId)>,
    ) -> Result<Vec<((u64, MessageId), Option<v1::Message>)>, EngineError> {
        let ids: Vec<_> = found.iter().map(|(_, id)| id.clone()).collect();
        let loaded = self.store.load_all(&ids).await?;
        let mut listed = Vec::with_capacity(found.len());
        let mut gone = Vec::new();
        for (place, loaded) in found.into_iter().zip(loaded) {
            let view = match loaded {
                Some(loaded) if loaded.message.session == *session => {
                    Some(self.view(loaded.message).await?.to_v1())
                }
                _ => {
                    gone.push(place.1.clone());
                    None
                }
            };
            listed.push((place, view));
        }
        self.store.forget_messages(session, &gone).await?;
        Ok(listed)
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
                    None => gone.push(place.1.clone()),
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
