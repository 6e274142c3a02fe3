//! One call of a model: asked again while it has said nothing, and heard as it speaks.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, error::Elapsed, sleep, sleep_until, timeout_at};
use tracing::debug;

use super::{
    Endpoint, LlmError, Reply,
    request::{Prompt, Tuning, Turn, body},
};
use crate::{
    proto::StopReason,
    worker::{
        budget::Meter, client::CallError, failure::Failure, spread::spread, text::TextWriter,
    },
};

const RETRY_DELAY: Duration = Duration::from_millis(500);
/// So long an answer that has its end is listened to: what it took may follow.
const AFTER_END: Duration = Duration::from_secs(2);

/// Where what a model says is written to while it says it.
pub(in crate::worker) struct Ear {
    pub answer: TextWriter,
    pub reasoning: TextWriter,
}

impl Ear {
    async fn hear(&mut self, text: &str, reasoning: &str) -> Result<(), CallError> {
        self.reasoning.push(reasoning).await?;
        if !text.is_empty() {
            // It has thought enough.
            self.reasoning.seal().await?;
        }
        self.answer.push(text).await
    }

    /// When something is to be written that waits.
    fn due(&self) -> Option<Instant> {
        self.answer.due().or(self.reasoning.due())
    }

    async fn flush(&mut self) -> Result<(), CallError> {
        self.reasoning.flush().await?;
        self.answer.flush().await
    }
}

/// A model, and what is known of its endpoint.
#[derive(Clone, Debug)]
pub(in crate::worker) struct Model {
    endpoint: Endpoint,
    /// It does not take `response_format`.
    is_shapeless: Arc<AtomicBool>,
}

/// An error, and whether the model had said something before.
struct Broken {
    failure: Failure,
    had_begun: bool,
}

impl Model {
    pub(in crate::worker) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            is_shapeless: Arc::default(),
        }
    }

    /// The model's answer. What came before an error has been written by then.
    /// Dropped, the call drops its connection.
    pub(in crate::worker) async fn call(
        &self,
        prompt: &Prompt,
        tuning: &Tuning,
        meter: &Meter,
        mut ear: Option<&mut Ear>,
    ) -> Result<Reply, Failure> {
        meter.take_call()?;
        let call = self.ask(prompt, tuning, ear.as_deref_mut());
        let reply = match timeout_at(meter.end, call).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure::Limit(StopReason::Deadline)),
        };
        if let Some(ear) = ear {
            ear.flush().await?;
        }
        let reply = reply?;
        meter.add_tokens(reply.input_tokens, reply.output_tokens);
        Ok(reply)
    }

    /// Asks for a shape by `response_format`, or in words where that is not known.
    async fn ask(
        &self,
        prompt: &Prompt,
        tuning: &Tuning,
        mut ear: Option<&mut Ear>,
    ) -> Result<Reply, Failure> {
        let is_known = prompt.shape.is_none() || !self.is_shapeless.load(Ordering::Relaxed);
        if is_known {
            match self.persist(prompt, tuning, ear.as_deref_mut()).await {
                Err(Failure::Model(error)) if prompt.shape.is_some() && error.is_of_request() => {}
                answer => return answer,
            }
        }
        let reply = self.persist(&in_words(prompt), tuning, ear).await?;
        self.is_shapeless.store(true, Ordering::Relaxed);
        Ok(reply)
    }

    /// Asks again as long as nothing was said and it may help.
    async fn persist(
        &self,
        prompt: &Prompt,
        tuning: &Tuning,
        mut ear: Option<&mut Ear>,
    ) -> Result<Reply, Failure> {
        let body = body(&self.endpoint.model, prompt, tuning);
        let pace = &self.endpoint.pace;
        let mut delay = RETRY_DELAY;
        for _ in 0..pace.retries {
            let broken = match self.listen(&body, ear.as_deref_mut()).await {
                Ok(reply) => return Ok(reply),
                Err(broken) => broken,
            };
            let wait = match &broken.failure {
                Failure::Model(error) if !broken.had_begun && error.is_worth_repeating() => {
                    debug!(error = error.kind(), "the model failed, will ask again");
                    error.retry_after().unwrap_or_else(|| spread(delay))
                }
                _ => return Err(broken.failure),
            };
            sleep(wait.min(pace.retry_delay_max)).await;
            delay = (delay * 2).min(pace.retry_delay_max);
        }
        let answer = self.listen(&body, ear).await;
        answer.map_err(|broken| broken.failure)
    }

    /// Asks once, and writes what is said as it comes.
    async fn listen(
        &self,
        body: &serde_json::Value,
        mut ear: Option<&mut Ear>,
    ) -> Result<Reply, Broken> {
        let pace = &self.endpoint.pace;
        let model = |error: LlmError, had_begun| Broken {
            failure: self.endpoint.told(error).into(),
            had_begun,
        };
        let written = |error: CallError| Broken {
            failure: error.into(),
            had_begun: true,
        };
        let mut had_begun = false;
        let mut patience = pace.first_token_timeout;
        let mut end = Instant::now() + patience;

        let opened = timeout_at(end, self.endpoint.post(body)).await;
        let opened = opened.map_err(|_| model(LlmError::TimedOut(patience), false))?;
        let mut events = pin!(opened.map_err(|error| model(error, false))?);
        let mut reply = Reply::default();
        while !reply.is_done() {
            let event = next(&mut events, end, ear.as_deref_mut()).await;
            let event = event.map_err(written)?;
            let event = event.unwrap_or(Some(Err(LlmError::TimedOut(patience))));
            let Some(event) = event else { break };
            let had_ended = reply.has_ended();
            let piece = match event.and_then(|data| reply.take(&data)) {
                Ok(piece) => piece,
                // It has been said in full.
                Err(_) if had_ended => break,
                Err(error) => return Err(model(error, had_begun)),
            };
            // Some say with each piece that it is the last.
            if piece.is_token {
                patience = pace.token_timeout;
                end = Instant::now() + patience;
            } else if reply.has_ended() && !had_ended {
                end = Instant::now() + AFTER_END;
            }
            had_begun |= piece.is_token;
            if let Some(ear) = ear.as_deref_mut() {
                let heard = ear.hear(&piece.text, &piece.reasoning).await;
                heard.map_err(written)?;
            }
        }
        match reply.has_ended() {
            true => Ok(reply),
            false => Err(model(LlmError::Cut, had_begun)),
        }
    }
}

/// What comes next, or nothing where that is not before `end`. What an ear holds is
/// written meanwhile.
async fn next<T>(
    events: &mut (impl Stream<Item = T> + Unpin),
    end: Instant,
    mut ear: Option<&mut Ear>,
) -> Result<Result<Option<T>, Elapsed>, CallError> {
    loop {
        let due = ear.as_deref().and_then(Ear::due);
        tokio::select! {
            event = timeout_at(end, events.next()) => return Ok(event),
            () = sleep_until(due.unwrap_or(end)), if due.is_some() => {
                if let Some(ear) = ear.as_deref_mut() {
                    ear.flush().await?;
                }
            }
        }
    }
}

/// The same prompt, with the shape of the answer in words.
fn in_words(prompt: &Prompt) -> Prompt {
    let schema = prompt.shape.map(|shape| (shape.schema)().to_string());
    let mut turns = prompt.turns.clone();
    turns.push(Turn::user(format!(
        "Answer with one JSON document and nothing else. It must follow this JSON schema:\n{}",
        schema.unwrap_or_default()
    )));
    Prompt {
        turns,
        shape: None,
        ..prompt.clone()
    }
}
