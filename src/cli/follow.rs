//! Calls and watches that outlast broken connections and stopped servers.

use std::{future::Future, time::Duration};

use tokio::time::sleep;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{CliError, terminal::Terminal};
use crate::proto::{
    WatchEndReason, WatchMessageRequest, WatchMessageResponse, WatchSessionRequest,
    WatchSessionResponse, message_service_client::MessageServiceClient,
    session_service_client::SessionServiceClient, watch_frame, watch_message_response,
};

const DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Whether to try again, and when. A server that has never answered is not waited
/// for.
#[derive(Clone)]
pub(super) struct Retry {
    /// How long to wait before the next attempt.
    delay: Duration,
    has_connected: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self {
            delay: DELAY,
            has_connected: false,
        }
    }

    /// Calls until it is answered. The call must do no harm when it is repeated.
    pub(super) async fn call<T, F>(
        &mut self,
        terminal: &mut Terminal,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        loop {
            match call().await {
                Ok(answer) => {
                    self.worked();
                    return Ok(answer.into_inner());
                }
                Err(status) => {
                    let why = self.reason(status)?;
                    self.pause(terminal, &format!("{why}, will try again"))
                        .await?;
                }
            }
        }
    }

    fn worked(&mut self) {
        self.has_connected = true;
        self.delay = DELAY;
    }

    /// What to say before the next attempt.
    ///
    /// # Errors
    /// Where another attempt is of no use.
    fn reason(&self, status: Status) -> Result<String, CliError> {
        match self.has_connected && is_passing(&status) {
            true => Ok(status.message().to_owned()),
            false => Err(status.into()),
        }
    }

    async fn pause(&mut self, terminal: &mut Terminal, why: &str) -> Result<(), CliError> {
        terminal.note(why)?;
        sleep(self.delay).await;
        self.delay = (self.delay * 2).min(DELAY_MAX);
        Ok(())
    }
}

/// Whether trying again, here or on another instance, can help.
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}

/// What can be watched, and where the watch resumes.
pub(super) trait Watched {
    /// One item of the watch.
    type Frame;

    /// Watches what comes after the last frame seen.
    async fn watch(&mut self) -> Result<Streaming<Self::Frame>, Status>;

    /// Remembers a frame as seen.
    fn see(&mut self, frame: &Self::Frame);

    /// Whether the frame says that the instance stops.
    fn is_draining(frame: &Self::Frame) -> bool;
}

/// A watch that is resumed until nobody asks for its next frame.
pub(super) struct Follow<W: Watched> {
    pub(super) watched: W,
    frames: Option<Streaming<W::Frame>>,
    retry: Retry,
    /// Why the watch is to be resumed before the next frame.
    lost: Option<String>,
}

impl<W: Watched> Follow<W> {
    pub(super) fn new(watched: W, retry: Retry) -> Self {
        Self {
            watched,
            frames: None,
            retry,
            lost: None,
        }
    }

    /// Calls until it is answered, as patiently as it watches.
    pub(super) async fn call<T, F>(
        &mut self,
        terminal: &mut Terminal,
        call: impl FnMut() -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        self.retry.call(terminal, call).await
    }

    /// The next frame. Says on stderr when it resumes. Who drops this before it is
    /// done loses nothing.
    ///
    /// # Errors
    /// Where the watch can't be had.
    pub(super) async fn next(&mut self, terminal: &mut Terminal) -> Result<W::Frame, CliError> {
        loop {
            if let Some(why) = self.lost.take() {
                self.frames = None;
                self.retry
                    .pause(terminal, &format!("{why}, will resume"))
                    .await?;
            }
            match self.receive().await {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => self.lost = Some("the connection was lost".to_owned()),
                Err(status) => self.lost = Some(self.retry.reason(status)?),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<W::Frame>, Status> {
        if self.frames.is_none() {
            self.frames = Some(self.watched.watch().await?);
        }
        let Some(frames) = &mut self.frames else {
            return Ok(None);
        };
        let frame = frames.message().await?;
        if let Some(frame) = &frame {
            self.retry.worked();
            self.watched.see(frame);
            if W::is_draining(frame) {
                self.lost = Some("the server is stopping".to_owned());
            }
        }
        Ok(frame)
    }
}

/// A message, from a cursor on.
pub(super) struct WatchedMessage {
    pub(super) client: MessageServiceClient<Channel>,
    pub(super) message_id: String,
    /// Of the last frame seen.
    pub(super) cursor: String,
}

impl Watched for WatchedMessage {
    type Frame = WatchMessageResponse;

    async fn watch(&mut self) -> Result<Streaming<Self::Frame>, Status> {
        let request = WatchMessageRequest {
            message_id: self.message_id.clone(),
            cursor: self.cursor.clone(),
            ..Default::default()
        };
        Ok(self.client.watch_message(request).await?.into_inner())
    }

    fn see(&mut self, frame: &Self::Frame) {
        self.cursor.clone_from(&frame.cursor);
    }

    fn is_draining(frame: &Self::Frame) -> bool {
        match &frame.frame {
            Some(watch_message_response::Frame::End(end)) => {
                end.reason() == WatchEndReason::ServerDraining
            }
            _ => false,
        }
    }
}

/// All messages of a session, from now or from a token on.
pub(super) struct WatchedSession {
    pub(super) client: SessionServiceClient<Channel>,
    pub(super) session_id: String,
    /// Of the last frame seen; empty before the first.
    pub(super) resume_token: String,
}

impl Watched for WatchedSession {
    type Frame = WatchSessionResponse;

    async fn watch(&mut self) -> Result<Streaming<Self::Frame>, Status> {
        let request = WatchSessionRequest {
            session_id: self.session_id.clone(),
            resume_token: self.resume_token.clone(),
        };
        Ok(self.client.watch_session(request).await?.into_inner())
    }

    fn see(&mut self, frame: &Self::Frame) {
        self.resume_token.clone_from(&frame.resume_token);
    }

    fn is_draining(response: &Self::Frame) -> bool {
        let frame = response
            .frame
            .as_ref()
            .and_then(|frame| frame.frame.as_ref());
        match frame {
            Some(watch_frame::Frame::End(end)) => end.reason() == WatchEndReason::ServerDraining,
            _ => false,
        }
    }
}
