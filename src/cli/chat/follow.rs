//! Everything that happens in a session, over broken connections and stopped
//! servers.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Status, Streaming, transport::Channel};

use super::{
    super::{CliError, tail::is_passing},
    screen::Screen,
};
use crate::proto::{
    WatchEndReason, WatchSessionRequest, WatchSessionResponse,
    session_service_client::SessionServiceClient, watch_frame::Frame,
};

const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// A watch of a session that resumes where it was.
pub(super) struct Follow {
    sessions: SessionServiceClient<Channel>,
    session: String,
    /// Of the last frame seen; empty before the first.
    resume_token: String,
    frames: Option<Streaming<WatchSessionResponse>>,
}

impl Follow {
    pub(super) fn new(channel: Channel, session: String) -> Self {
        Self {
            sessions: SessionServiceClient::new(channel),
            session,
            resume_token: String::new(),
            frames: None,
        }
    }

    /// Shows what had happened when the watch began.
    pub(super) async fn catch_up(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        while let Some(frame) = self.next().await? {
            if is_caught_up(&frame) {
                break;
            }
            screen.show(frame)?;
        }
        Ok(())
    }

    /// The next frame; none where the session is over. Can be dropped without loss.
    pub(super) async fn next(&mut self) -> Result<Option<WatchSessionResponse>, CliError> {
        loop {
            let frame = match &mut self.frames {
                Some(frames) => frames.message().await,
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(status) => Err(status),
                },
            };
            match frame {
                Ok(Some(frame)) => {
                    self.resume_token.clone_from(&frame.resume_token);
                    match end_of_watch(&frame) {
                        None => return Ok(Some(frame)),
                        Some(WatchEndReason::ServerDraining) => self.pause().await,
                        Some(_) => return Ok(None),
                    }
                }
                Ok(None) => self.pause().await,
                Err(status) if self.has_begun() && is_passing(&status) => self.pause().await,
                Err(status) => return Err(status.into()),
            }
        }
    }

    async fn open(&mut self) -> Result<(), Status> {
        let request = WatchSessionRequest {
            session_id: self.session.clone(),
            resume_token: self.resume_token.clone(),
        };
        let answer = self.sessions.watch_session(request).await?;
        self.frames = Some(answer.into_inner());
        Ok(())
    }

    fn has_begun(&self) -> bool {
        !self.resume_token.is_empty()
    }

    /// Gives up the watch, and waits before the next.
    async fn pause(&mut self) {
        self.frames = None;
        sleep(RECONNECT_DELAY).await;
    }
}

fn is_caught_up(frame: &WatchSessionResponse) -> bool {
    let kind = frame.frame.as_ref().and_then(|frame| frame.frame.as_ref());
    frame.message_id.is_empty() && matches!(kind, Some(Frame::CaughtUp(_)))
}

/// Why the watch is over, if it is. An end with a message is that of the message.
fn end_of_watch(frame: &WatchSessionResponse) -> Option<WatchEndReason> {
    match frame.frame.as_ref()?.frame.as_ref()? {
        Frame::End(end) if frame.message_id.is_empty() => Some(end.reason()),
        _ => None,
    }
}
