//! Messages: created, read, erased.

use std::time::Duration;

use tracing::debug;

use super::{
    Engine, EngineError, Receipt, View, clock,
    write::{apply_all, check_size},
};
use crate::{
    domain::{
        Time,
        command::CreateMessage,
        decide,
        event::{Change, Event},
        ids::{MessageId, RequestId, SessionId, UserId},
        message::Message,
        offload::{BlobNames, offload},
        principal::Principal,
        refusal::Refusal,
        session::Session,
    },
    store::{Admission, Commit, Committed, Inspected, StoreError},
};

/// A message that was created, now or before.
#[derive(Debug, Clone)]
pub struct Created {
    /// The message.
    pub view: View,
    /// It was created now.
    pub created: bool,
    /// Where.
    pub receipt: Receipt,
}

/// A message that is to be created.
pub(super) struct NewMessage<'a> {
    pub(super) session: &'a SessionId,
    pub(super) id: &'a MessageId,
    /// Its first events.
    pub(super) changes: Vec<Change>,
    /// What a repeat is recognised by, with the digest of the request and what
    /// else it is answered.
    pub(super) request: Option<(&'a RequestId, &'a str, &'a str)>,
}

/// What became of it.
pub(super) enum Creation {
    /// It is there.
    Done(Box<Message>),
    /// There was one of its id.
    Exists,
    /// Its session is closed.
    Closed,
}

/// Which messages to erase by age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleanup {
    /// Those created longer ago than this.
    pub older_than: Duration,
    /// Only in this session.
    pub session: Option<SessionId>,
    /// Count only.
    pub validate_only: bool,
}

impl Engine {
    /// Creates a message, or finds it.
    pub async fn create_message(
        &self,
        principal: &Principal,
        session: &SessionId,
        id: &MessageId,
        command: &CreateMessage,
    ) -> Result<Created, EngineError> {
        let now = clock::now();
        let changes = decide::create(command, now);
        let new = NewMessage {
            session,
            id,
            changes,
            request: None,
        };
        let otherwise = match self.create(principal, new, now).await? {
            Creation::Done(message) => {
                let receipt = Receipt::of(&message);
                let view = self.view(*message).await;
                return Ok(Created {
                    receipt,
                    view: view.map_err(EngineError::after_a_write)?,
                    created: true,
                });
            }
            Creation::Exists => Refusal::MessageExists(id.clone()),
            Creation::Closed => Refusal::SessionClosed(session.clone()),
        };
        self.find_created(principal, session, id, command, otherwise)
            .await
    }

    /// Enters a message into its session, and writes it.
    pub(super) async fn create(
        &self,
        principal: &Principal,
        new: NewMessage<'_>,
        now: Time,
    ) -> Result<Creation, EngineError> {
        let mut names = clock::blob_names();
        let created = self.create_named(principal, new, now, &mut names).await;
        self.leave(names, &created).await;
        created
    }

    /// The same, with names for the content in it.
    async fn create_named(
        &self,
        principal: &Principal,
        mut new: NewMessage<'_>,
        now: Time,
        names: &mut BlobNames,
    ) -> Result<Creation, EngineError> {
        let NewMessage { session, id, .. } = new;
        let blocks = new.changes.iter().filter_map(Change::added_block);
        check_size(blocks.collect::<Vec<_>>().into_iter(), [].iter())?;
        let (user, is_new) = match self
            .store
            .admit(session, id, principal.owner(), now)
            .await?
        {
            Admission::Granted { user, is_new } => (user, is_new),
            Admission::Missing => return Err(Refusal::SessionUnknown(session.clone()).into()),
            Admission::Closed => return Ok(Creation::Closed),
        };
        let blobs = offload(None, &mut new.changes, names);
        let message = fold(id, session, &user, &new.changes, now)
            .ok_or_else(|| Refusal::MessageUnknown(id.clone()))?;
        let commit = Commit {
            before: None,
            after: &message,
            changes: &new.changes,
            time: now,
            blobs: &blobs,
            request: new.request,
        };
        let touch = async {
            match is_new {
                true => self.store.touch_user(&user, session, now).await,
                false => Ok(()),
            }
        };
        let (committed, touched) = tokio::join!(self.store.commit(commit), touch);
        if let Err(error) = touched {
            debug!(%error, "a session is not at the front of its user's sessions");
        }
        Ok(match committed? {
            Committed::Exists => Creation::Exists,
            Committed::Done(_) => {
                names.keep();
                Creation::Done(Box::new(message))
            }
            Committed::Conflict | Committed::Missing => return Err(EngineError::Contended),
        })
    }

    /// The message, if it is the one that `command` would have created;
    /// `otherwise` if not.
    async fn find_created(
        &self,
        principal: &Principal,
        session: &SessionId,
        id: &MessageId,
        command: &CreateMessage,
        otherwise: Refusal,
    ) -> Result<Created, EngineError> {
        let Some(loaded) = self.store.load(id).await? else {
            return Err(otherwise.into());
        };
        let message = loaded.message;
        if message.session != *session {
            self.store.withdraw(id, session).await?;
        }
        principal.authorize(&message.user, otherwise.clone())?;
        if message.session != *session || message.role != command.role {
            return Err(Refusal::MessageExists(id.clone()).into());
        }
        Ok(Created {
            receipt: Receipt {
                deduplicated: true,
                ..Receipt::of(&message)
            },
            view: self.view(message).await?,
            created: false,
        })
    }

    /// A message as it stands, for somebody who needs no more of its text than its
    /// blocks hold.
    pub async fn message_without_text(
        &self,
        principal: &Principal,
        id: &MessageId,
    ) -> Result<View, EngineError> {
        let loaded = self.load_for(principal, id).await?;
        Ok(View::without_text(loaded.message))
    }

    /// A message, and how it lies in Redis.
    pub async fn inspect(
        &self,
        principal: &Principal,
        id: &MessageId,
    ) -> Result<(View, Inspected), EngineError> {
        let loaded = self.load_for(principal, id).await?;
        let inspected = self.store.inspect(&loaded).await?;
        Ok((self.view(loaded.message).await?, inspected))
    }

    /// Erases a message.
    pub async fn delete_message(
        &self,
        principal: &Principal,
        id: &MessageId,
    ) -> Result<(), EngineError> {
        let message = self.load_for(principal, id).await?.message;
        if !self.erase(id, &message.session, &message.user).await? {
            return Err(Refusal::MessageUnknown(id.clone()).into());
        }
        Ok(())
    }

    /// Erases a message, and what queues say of it. False where the user's session
    /// has no such message.
    pub(super) async fn erase(
        &self,
        id: &MessageId,
        session: &SessionId,
        user: &UserId,
    ) -> Result<bool, EngineError> {
        let loaded = match self.store.load(id).await {
            // What cannot be read can be erased. Its tickets are found to be stale.
            Err(StoreError::Corrupt(_)) => None,
            loaded => loaded?,
        };
        let is_erased = self.store.delete_message(id, session, user).await?;
        if let Some(loaded) = loaded.filter(|_| is_erased) {
            self.discard_tickets(&loaded.message).await;
        }
        Ok(is_erased)
    }

    /// Erases messages by age, whatever their state, and counts them.
    pub async fn cleanup(
        &self,
        principal: &Principal,
        cleanup: &Cleanup,
    ) -> Result<u64, EngineError> {
        let age = chrono::TimeDelta::from_std(cleanup.older_than).unwrap_or(chrono::TimeDelta::MAX);
        // Before the beginning of time there is nothing.
        let Some(before) = clock::now().checked_sub_signed(age) else {
            return Ok(0);
        };
        if let Some(session) = &cleanup.session {
            let (session, _) = self.session(principal, session).await?;
            return self
                .cleanup_session(&session, before, cleanup.validate_only)
                .await;
        }
        let mut count = 0;
        let mut place = 0;
        loop {
            let (next, sessions) = self.store.scan_sessions(place).await?;
            for session in &sessions {
                match self.session(principal, session).await {
                    Ok((session, _)) => {
                        count += self
                            .cleanup_session(&session, before, cleanup.validate_only)
                            .await?;
                    }
                    // Another user's, or expired meanwhile.
                    Err(EngineError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if next == 0 {
                return Ok(count);
            }
            place = next;
        }
    }

    async fn cleanup_session(
        &self,
        session: &Session,
        before: Time,
        validate_only: bool,
    ) -> Result<u64, EngineError> {
        let Session { id, user, .. } = session;
        let messages = self.store.messages_before(id, before).await?;
        if validate_only {
            return Ok(self.store.count_messages(id, user, &messages).await?);
        }
        let mut count = 0;
        for message in &messages {
            count += u64::from(self.erase(message, id, user).await?);
        }
        Ok(count)
    }
}

/// The message that its first changes make.
fn fold(
    id: &MessageId,
    session: &SessionId,
    user: &UserId,
    changes: &[Change],
    time: Time,
) -> Option<Message> {
    let (first, rest) = changes.split_first()?;
    let first = Event {
        sequence: 1,
        time,
        change: first.clone(),
    };
    let mut message = Message::started(id.clone(), session.clone(), user.clone(), &first)?;
    apply_all(&mut message, rest, time);
    Some(message)
}
