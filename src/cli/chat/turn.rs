//! One question and its answer.

use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;

use super::{Chat, view::View};
use crate::{
    cli::{
        CliError,
        content::read_text,
        follow::{Follow, Retry, WatchedMessage},
        terminal::Terminal,
        words,
    },
    engine::fresh_id,
    proto::{
        ContentBlock, CreateMessageRequest, MessageState, RequestCancelRequest, Role,
        SubmitTaskRequest, TextContent, WatchEndReason, content_block::Content,
        message_service_client::MessageServiceClient, text_content, watch_message_response::Frame,
    },
    runtime::drain::{StopSignal, StopSignals},
};

/// After so long without a worker a person is told what may be missing.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// What became of a question.
pub(super) enum Outcome {
    /// The answer ended so.
    Ended(MessageState),
    /// Somebody erased the answer.
    Gone,
    /// The person left before it ended.
    Left,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(state) => f.write_str(&words::message_state(*state)),
            Self::Gone => f.write_str("it was erased"),
            Self::Left => f.write_str("it was not waited for"),
        }
    }
}

impl Chat {
    /// Asks, and shows the answer as it comes. The first Ctrl-C asks that it be
    /// cancelled, and waits for what the agent makes of that; the next one leaves.
    pub(super) async fn ask(
        &mut self,
        question: &str,
        stop: &mut StopSignals,
    ) -> Result<Outcome, CliError> {
        let message_id = tokio::select! {
            submitted = self.submit(question) => submitted?,
            () = stop.next() => return Ok(Outcome::Left),
        };
        let mut turn = Turn::new(&message_id, self.messages.clone(), self.retry.clone());
        tokio::select! {
            outcome = turn.answer(&mut self.terminal) => return outcome,
            signal = stop.next_signal() => if signal == StopSignal::Terminate {
                return Ok(Outcome::Left);
            },
        }
        // Its state is in the turn, so that the answer goes on where it was.
        let cancelled = async {
            self.cancel(&message_id).await?;
            turn.answer(&mut self.terminal).await
        };
        tokio::select! {
            outcome = cancelled => outcome,
            () = stop.next() => Ok(Outcome::Left),
        }
    }

    /// Says it in the session, and has an agent answer. Gives the id of the answer.
    async fn submit(&mut self, question: &str) -> Result<String, CliError> {
        let said = CreateMessageRequest {
            session_id: self.session_id.clone(),
            message_id: fresh_id(),
            role: Role::User.into(),
            blocks: vec![text_block(question)],
            complete: true,
            ..Default::default()
        };
        let call = || {
            let (mut client, said) = (self.messages.clone(), said.clone());
            async move { client.create_message(said).await }
        };
        self.retry.call(&mut self.terminal, call).await?;
        let asked = SubmitTaskRequest {
            session_id: self.session_id.clone(),
            task_description: question.to_owned(),
            workflow: self.workflow.into(),
            max_iterations: self.max_iterations,
            request_id: fresh_id(),
            ..Default::default()
        };
        let call = || {
            let (mut client, asked) = (self.tasks.clone(), asked.clone());
            async move { client.submit_task(asked).await }
        };
        let submitted = self.retry.call(&mut self.terminal, call).await?;
        Ok(submitted.task.unwrap_or_default().message_id)
    }

    async fn cancel(&mut self, message_id: &str) -> Result<(), CliError> {
        let request = RequestCancelRequest {
            message_id: message_id.to_owned(),
            request_id: fresh_id(),
            ..Default::default()
        };
        let call = || {
            let (mut client, request) = (self.messages.clone(), request.clone());
            async move { client.request_cancel(request).await }
        };
        self.retry.call(&mut self.terminal, call).await?;
        Ok(())
    }
}

/// An answer that is being watched.
struct Turn {
    follow: Follow<WatchedMessage>,
    reader: Reader,
    view: View,
    /// When to say that there seems to be no worker; none once that was said.
    hint_at: Option<Instant>,
}

impl Turn {
    fn new(message_id: &str, client: MessageServiceClient<Channel>, retry: Retry) -> Self {
        let watched = WatchedMessage {
            client: client.clone(),
            message_id: message_id.to_owned(),
            cursor: "0".to_owned(),
        };
        Self {
            follow: Follow::new(watched, retry.clone()),
            reader: Reader { client, retry },
            view: View::default(),
            hint_at: Some(Instant::now() + WORKER_PATIENCE),
        }
    }

    /// Shows what comes until the answer has ended. Dropped and called again, it goes
    /// on where it was.
    async fn answer(&mut self, terminal: &mut Terminal) -> Result<Outcome, CliError> {
        let message_id = self.follow.watched.message_id.clone();
        loop {
            let hint_at = self.hint_at.filter(|_| self.view.is_waiting());
            let frame = tokio::select! {
                frame = self.follow.next(terminal) => frame?.frame,
                () = sleep_until(hint_at.unwrap_or_else(Instant::now)), if hint_at.is_some() => {
                    self.hint_at = None;
                    terminal.note("no worker takes the task: is `throughline worker` running?")?;
                    continue;
                }
            };
            match &frame {
                Some(Frame::Event(event)) => self.view.event(event, terminal)?,
                Some(Frame::Snapshot(message)) => self.view.snapshot(message, terminal)?,
                Some(Frame::Gap(_) | Frame::CaughtUp(_) | Frame::Heartbeat(_) | Frame::End(_))
                | None => {}
            }
            self.reader
                .fill(&mut self.view, &message_id, terminal)
                .await?;
            if let Some(outcome) = frame.and_then(outcome) {
                self.view.finish(terminal)?;
                return Ok(outcome);
            }
        }
    }
}

/// How the answer ended, where this is its end.
fn outcome(frame: Frame) -> Option<Outcome> {
    let Frame::End(end) = frame else { return None };
    match end.reason() {
        WatchEndReason::MessageEnded => Some(Outcome::Ended(end.state())),
        WatchEndReason::Deleted | WatchEndReason::Expired => Some(Outcome::Gone),
        WatchEndReason::ServerDraining | WatchEndReason::Unspecified => None,
    }
}

/// Reads texts that are not sent along.
pub(super) struct Reader {
    pub(super) client: MessageServiceClient<Channel>,
    pub(super) retry: Retry,
}

impl Reader {
    /// Shows what a view lacks.
    pub(super) async fn fill(
        &mut self,
        view: &mut View,
        message_id: &str,
        terminal: &mut Terminal,
    ) -> Result<(), CliError> {
        for block_id in view.missing() {
            let call = || read_text(self.client.clone(), message_id, &block_id);
            let text = self.retry.call(terminal, call).await?;
            view.fill(&block_id, &text, terminal)?;
        }
        Ok(())
    }
}

fn text_block(text: &str) -> ContentBlock {
    let source = text_content::Source::Text(text.to_owned());
    ContentBlock {
        content: Some(Content::Text(TextContent {
            source: Some(source),
        })),
        ..Default::default()
    }
}
