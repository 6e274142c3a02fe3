//! Long answers that were given before.
//!
//! To read a long text from Redis, and to encode it, takes many times as long as to
//! ask whether anything has happened to its message. So the answer is kept, and given
//! again to whoever asks next, as long as Redis says that it is still true.

use prost::Message as _;
use quick_cache::{Weighter, sync::Cache};

use super::Answer;
use crate::{
    api::{ready::Ready, status::from_engine},
    domain::{ids::MessageId, limits, principal::Principal},
    engine::{Engine, Seen},
    proto as v1,
};

/// What is kept together has no more bytes than this.
const KEPT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A shorter answer is made as fast as it is found to be true.
const LONG_BYTES: usize = 16 * 1024;

/// The messages that were asked for last, as they were sent.
pub(super) struct Answers(Cache<MessageId, Sent, Size>);

#[derive(Clone)]
struct Sent {
    seen: Seen,
    answer: Ready,
}

#[derive(Clone)]
struct Size;

impl Weighter<MessageId, Sent> for Size {
    fn weight(&self, _: &MessageId, sent: &Sent) -> u64 {
        sent.answer.size() as u64
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        // A cache of so few is not divided: each may take all the room that there is.
        let longest = KEPT_BYTES_MAX as usize / limits::FRAME_BYTES_MAX;
        Self(Cache::with_weighter(longest, KEPT_BYTES_MAX, Size))
    }

    /// Answers with a message as it stands.
    pub(super) async fn give(
        &self,
        engine: &Engine,
        principal: &Principal,
        id: &MessageId,
    ) -> Answer<v1::GetMessageResponse> {
        let (view, seen) = match self.0.get(id) {
            None => engine.message(principal, id).await.map_err(from_engine)?,
            Some(sent) => match engine.message_unless(principal, id, &sent.seen).await {
                Ok(None) => return Ok(sent.answer.into_response()),
                Ok(Some(message)) => message,
                Err(error) => {
                    // Perhaps it is gone.
                    self.0.remove(id);
                    return Err(from_engine(error));
                }
            },
        };
        let answer = v1::GetMessageResponse {
            message: Some(view.to_v1()),
        };
        if answer.encoded_len() < LONG_BYTES {
            return Ok(tonic::Response::new(answer));
        }
        let answer = Ready::of(&answer);
        let sent = Sent {
            seen,
            answer: answer.clone(),
        };
        self.0.insert(id.clone(), sent);
        Ok(answer.into_response())
    }
}
