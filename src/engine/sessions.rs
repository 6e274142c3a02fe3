//! Sessions.

use super::{Engine, EngineError, clock};
use crate::domain::{
    Metadata,
    ids::{SessionId, UserId},
    principal::Principal,
    refusal::Refusal,
    session::Session,
};

/// A session with its number of messages.
type Counted = (Session, u64);

impl Engine {
    /// Makes a session, or finds it; says whether it was made.
    pub async fn create_session(
        &self,
        principal: &Principal,
        id: &SessionId,
        user: &UserId,
        metadata: &Metadata,
    ) -> Result<(Counted, bool), EngineError> {
        let exists = Refusal::SessionExists(id.clone());
        principal.authorize(user, exists.clone())?;
        let now = clock::now();
        let created = self.store.create_session(id, user, metadata, now).await?;
        let created = created.ok_or(exists)?;
        Ok((self.session(principal, id).await?, created))
    }

    /// A session as it stands.
    pub async fn session(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<Counted, EngineError> {
        let unknown = Refusal::SessionUnknown(id.clone());
        let mut loaded = self.store.load_sessions(std::slice::from_ref(id)).await?;
        let session = loaded.pop().flatten().ok_or_else(|| unknown.clone())?;
        principal.authorize(&session.0.user, unknown)?;
        Ok(session)
    }

    /// Replaces a session's metadata.
    pub async fn set_session_metadata(
        &self,
        principal: &Principal,
        id: &SessionId,
        metadata: &Metadata,
    ) -> Result<Counted, EngineError> {
        let (session, _) = self.session(principal, id).await?;
        let now = clock::now();
        if self.store.set_session_metadata(id, metadata, now).await? {
            self.store.touch_user(&session.user, id, now).await?;
        }
        self.session(principal, id).await
    }

    /// Closes a session to new messages.
    pub async fn close_session(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<Counted, EngineError> {
        let (session, _) = self.session(principal, id).await?;
        let now = clock::now();
        if self.store.close_session(id, now).await? {
            self.store.touch_user(&session.user, id, now).await?;
        }
        self.session(principal, id).await
    }

    /// Erases a session with all its messages, and counts them.
    pub async fn delete_session(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<u64, EngineError> {
        // Closed first, so that no message is created behind our back.
        let (session, _) = self.close_session(principal, id).await?;
        let mut count = 0;
        loop {
            let messages = self.store.list_messages(id, None, 0, 1_000).await?;
            if messages.is_empty() {
                break;
            }
            for (_, message) in &messages {
                count += u64::from(self.erase(message, id, &session.user).await?);
            }
        }
        self.store.delete_session(id, &session.user).await?;
        Ok(count)
    }
}
