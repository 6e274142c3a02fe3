//! Long answers that were given before.
//!
//! To read a long text from Redis, and to encode it, takes many times as long as to
//! ask whether anything has happened to its message. So the answer is kept, and given
//! again to whoever asks next, as long as Redis says that it is still true.
//!
//! None is kept for long: what was erased shall not stay in memory.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use quick_cache::{Weighter, sync::Cache};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

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
/// So long is an answer kept, and at most by as much longer as lies between two looks.
const KEPT_FOR: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// The messages that were asked for last, as they were sent. Cloning shares them.
#[derive(Clone)]
pub struct Answers(Arc<Cache<MessageId, Sent, Size>>);

#[derive(Clone)]
struct Sent {
    seen: Seen,
    answer: Ready,
    since: Instant,
}

#[derive(Clone)]
struct Size;

impl Weighter<MessageId, Sent> for Size {
    fn weight(&self, _: &MessageId, sent: &Sent) -> u64 {
        sent.answer.size() as u64
    }
}

impl Default for Answers {
    fn default() -> Self {
        // A cache of so few is not divided: each may take all the room that there is.
        let longest = KEPT_BYTES_MAX as usize / limits::FRAME_BYTES_MAX;
        let cache = Cache::with_weighter(longest, KEPT_BYTES_MAX, Size);
        Self(Arc::new(cache))
    }
}

impl Answers {
    /// Forgets those that were kept for long enough, until stopped.
    pub async fn forget_forever(self, stop: CancellationToken) {
        let mut timer = interval(LOOK_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            self.0.retain(|_, sent| sent.since.elapsed() < KEPT_FOR);
        }
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
        self.keep(id, seen, answer.clone());
        Ok(answer.into_response())
    }

    fn keep(&self, id: &MessageId, seen: Seen, answer: Ready) {
        let since = Instant::now();
        let sent = Sent {
            seen,
            answer,
            since,
        };
        self.0.insert(id.clone(), sent);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_after_a_while_though_nobody_asks() {
        let answers = Answers::default();
        let stop = CancellationToken::new();
        let forgetting = tokio::spawn(answers.clone().forget_forever(stop.clone()));
        let [early, late] = ["early", "late"].map(|id| MessageId::parse(id).unwrap());
        let answer = Ready::of(&v1::GetMessageResponse::default());
        answers.keep(&early, Seen::never("u"), answer.clone());
        sleep(KEPT_FOR / 2).await;
        answers.keep(&late, Seen::never("u"), answer);
        sleep(KEPT_FOR / 2 + LOOK_INTERVAL).await;
        let are_kept = || [&early, &late].map(|id| answers.0.get(id).is_some());
        assert_eq!(are_kept(), [false, true]);
        sleep(KEPT_FOR).await;
        assert_eq!(are_kept(), [false, false]);
        stop.cancel();
        forgetting.await.unwrap();
    }
}
