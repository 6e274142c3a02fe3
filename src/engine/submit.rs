//! Tasks that are submitted with the message that they answer in.

use super::{
    Engine, EngineError, Receipt, Request, Written, clock,
    messages::{Creation, NewMessage},
};
use crate::domain::{
    Metadata,
    command::{Command, CreateMessage, Right, StartTask},
    decide,
    ids::{MessageId, RequestId, SessionId},
    message::Role,
    principal::Principal,
    refusal::Refusal,
};

/// A task for an agent, that answers in a session.
#[derive(Debug, Clone)]
pub struct SubmitRequest {
    /// Who asks.
    pub principal: Principal,
    /// In which session.
    pub session: SessionId,
    /// The message that the answer goes to; it is made where there is none.
    pub message: MessageId,
    /// What is to be done.
    pub start: StartTask,
    /// What a repeat is recognised by, with a digest of the request.
    pub repeat: Option<(RequestId, String)>,
}

impl Engine {
    /// Makes a message with a task in it, or starts the task in one that there is.
    pub async fn submit(&self, submit: &SubmitRequest) -> Result<Written, EngineError> {
        // First, so that nobody learns from it of a message that is not theirs.
        self.session(&submit.principal, &submit.session).await?;
        let mut session = self.session_of(&submit.message).await?;
        if session.is_none() {
            if let Some(written) = self.create_with_task(submit).await? {
                return Ok(written);
            }
            // Somebody else has made it meanwhile.
            session = self.session_of(&submit.message).await?;
        }
        if session.is_some_and(|session| session != submit.session) {
            return Err(Refusal::MessageUnknown(submit.message.clone()).into());
        }
        let request = Request {
            principal: submit.principal.clone(),
            message: submit.message.clone(),
            right: Right::default(),
            repeat: submit.repeat.clone(),
        };
        let start = Command::StartTask(submit.start.clone());
        self.write(&request, &start).await
    }

    async fn session_of(&self, message: &MessageId) -> Result<Option<SessionId>, EngineError> {
        let loaded = self.store.load(message).await?;
        Ok(loaded.map(|loaded| loaded.message.session))
    }

    /// The message with its task, in one commit; none where there is such a
    /// message.
    async fn create_with_task(
        &self,
        submit: &SubmitRequest,
    ) -> Result<Option<Written>, EngineError> {
        let now = clock::now();
        let message = CreateMessage {
            role: Role::Assistant,
            metadata: Metadata::new(),
            parent: None,
            blocks: Vec::new(),
            complete: false,
        };
        let start = StartTask {
            ends_message: true,
            ..submit.start.clone()
        };
        let changes = decide::create_with_task(&message, &start, now);
        self.check_room(&changes).await?;
        let detail = start.id.to_string();
        let repeat = submit.repeat.as_ref();
        let new = NewMessage {
            session: &submit.session,
            id: &submit.message,
            changes,
            request: repeat.map(|(id, print)| (id, print.as_str(), detail.as_str())),
        };
        match self.create(&submit.principal, new, now).await? {
            Creation::Done(message) => {
                self.follow_tickets(None, &message).await;
                Ok(Some(Written {
                    receipt: Receipt::of(&message),
                    message: *message,
                    detail,
                }))
            }
            Creation::Exists => Ok(None),
            Creation::Closed => Err(Refusal::SessionClosed(submit.session.clone()).into()),
        }
    }
}
