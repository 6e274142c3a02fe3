//! `throughline chat --watch`: a session, both sides, live.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use super::{Chat, turn::Reader, view::View};
use crate::{
    cli::{
        CliError,
        follow::{Follow, WatchedSession},
        terminal::Terminal,
    },
    proto::{WatchEndReason, WatchSessionResponse, watch_frame::Frame},
    runtime::drain::StopSignals,
};

impl Chat {
    /// Shows what is said in the session, until it is gone or the person leaves.
    pub(super) async fn watch(&mut self, stop: &mut StopSignals) -> Result<(), CliError> {
        tokio::select! {
            outcome = self.watch_session() => outcome,
            () = stop.next() => Ok(()),
        }
    }

    async fn watch_session(&mut self) -> Result<(), CliError> {
        let session = self.find_session().await?;
        let watched = WatchedSession {
            client: self.sessions.clone(),
            session_id: self.session_id.clone(),
            resume_token: String::new(),
        };
        let mut follow = Follow::new(watched, self.retry.clone());
        // Watch before recalling: what is said in between comes twice instead of
        // never, and the room drops the second.
        let mut early = Vec::new();
        while !early.last().is_some_and(is_caught_up) {
            early.push(follow.next(&mut self.terminal).await?);
        }
        let mut room = Room {
            views: HashMap::new(),
            shown: self.recall(&session).await?.into_iter().collect(),
            speaker: String::new(),
            reader: Reader {
                client: self.messages.clone(),
                retry: self.retry.clone(),
            },
        };
        let mut early = early.into_iter();
        loop {
            let frame = match early.next() {
                Some(frame) => frame,
                None => follow.next(&mut self.terminal).await?,
            };
            if room.take(frame, &mut self.terminal).await? {
                return Ok(self.terminal.note("the session is gone")?);
            }
        }
    }
}

fn is_caught_up(response: &WatchSessionResponse) -> bool {
    let frame = response.frame.as_ref();
    matches!(
        frame.and_then(|frame| frame.frame.as_ref()),
        Some(Frame::CaughtUp(_) | Frame::End(_))
    ) && response.message_id.is_empty()
}

/// Who is speaking in a session.
struct Room {
    /// Messages that are being written.
    views: HashMap<String, View>,
    /// Messages that were shown when this began.
    shown: HashSet<String>,
    /// The message that was written to last.
    speaker: String,
    reader: Reader,
}

impl Room {
    /// Shows a frame. True where the session is gone.
    async fn take(
        &mut self,
        response: WatchSessionResponse,
        terminal: &mut Terminal,
    ) -> Result<bool, CliError> {
        let message_id = response.message_id;
        let Some(frame) = response.frame.and_then(|frame| frame.frame) else {
            return Ok(false);
        };
        if message_id.is_empty() {
            return Ok(is_gone(&frame));
        }
        if self.shown.contains(&message_id) {
            return Ok(false);
        }
        self.turn_to(&message_id, terminal)?;
        let view = self.views.entry(message_id.clone()).or_default();
        match &frame {
            Frame::Event(event) => view.event(event, terminal)?,
            Frame::Snapshot(message) => view.snapshot(message, terminal)?,
            Frame::Gap(_) | Frame::CaughtUp(_) | Frame::Heartbeat(_) | Frame::End(_) => {}
        }
        self.reader.fill(view, &message_id, terminal).await?;
        if let Frame::End(_) = frame {
            view.finish(terminal)?;
            self.views.remove(&message_id);
        }
        Ok(false)
    }

    /// What one message says does not go into the line of another.
    fn turn_to(&mut self, message_id: &str, terminal: &mut Terminal) -> io::Result<()> {
        if self.speaker != message_id {
            message_id.clone_into(&mut self.speaker);
            terminal.end_text()?;
        }
        Ok(())
    }
}

fn is_gone(frame: &Frame) -> bool {
    match frame {
        Frame::End(end) => end.reason() != WatchEndReason::ServerDraining,
        _ => false,
    }
}
