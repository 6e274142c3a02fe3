//! The demo's watcher: shows what arrives, and remembers it for the check.

use std::{io, time::Duration};

use tokio::time::timeout;
use tonic::Streaming;

use super::instance::Instance;
use crate::{
    cli::{
        CliError,
        terminal::{Look, Terminal},
        words,
    },
    proto::{
        Event, WatchMessageRequest, WatchMessageResponse, event::Payload,
        watch_message_response::Frame,
    },
};

/// Stands before what the watcher sees.
pub(super) const INDENT: &str = "   │ ";

/// On loopback an event arrives within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    pub(super) terminal: Terminal,
    /// Of the last frame seen: all that a watcher has to keep.
    pub(super) cursor: String,
    /// Of every event, as it came.
    pub(super) sequences: Vec<u64>,
    /// All deltas, joined.
    pub(super) text: String,
    message_id: String,
    frames: Option<Streaming<WatchMessageResponse>>,
}

impl Watcher {
    /// Watches nothing yet, but will begin at the first event.
    pub(super) fn new(message_id: &str, terminal: Terminal) -> Self {
        Self {
            terminal,
            cursor: "0".to_owned(),
            sequences: Vec::new(),
            text: String::new(),
            message_id: message_id.to_owned(),
            frames: None,
        }
    }

    /// Begins or resumes, on whichever instance.
    pub(super) async fn watch(&mut self, instance: &Instance) -> Result<(), CliError> {
        let request = WatchMessageRequest {
            message_id: self.message_id.clone(),
            cursor: self.cursor.clone(),
            ..Default::default()
        };
        let answer = instance.messages.clone().watch_message(request).await?;
        self.frames = Some(answer.into_inner());
        Ok(())
    }

    /// Loses the watch.
    pub(super) fn cut(&mut self) {
        self.frames = None;
    }

    /// Shows what comes until the event with this sequence has.
    pub(super) async fn read_to(&mut self, sequence: u64) -> Result<(), CliError> {
        while self.sequences.last().is_none_or(|&last| last < sequence) {
            let Some(frame) = self.next().await? else {
                return Err(CliError::Demo("the watch ended too early".to_owned()));
            };
            self.take(frame)?;
        }
        Ok(())
    }

    /// Shows what comes until the server ends the watch; true where it said so.
    pub(super) async fn read_to_end(&mut self) -> Result<bool, CliError> {
        let mut said_so = false;
        while let Some(frame) = self.next().await? {
            said_so = matches!(frame.frame, Some(Frame::End(_)));
            self.take(frame)?;
        }
        Ok(said_so)
    }

    async fn next(&mut self) -> Result<Option<WatchMessageResponse>, CliError> {
        let Some(frames) = &mut self.frames else {
            return Ok(None);
        };
        let late = |_| CliError::Demo("the watcher waits for an event in vain".to_owned());
        Ok(timeout(PATIENCE, frames.message()).await.map_err(late)??)
    }

    fn take(&mut self, frame: WatchMessageResponse) -> Result<(), CliError> {
        self.cursor = frame.cursor;
        match frame.frame {
            Some(Frame::Event(event)) => {
                self.sequences.push(event.sequence);
                self.show(&event)?;
            }
            Some(Frame::Gap(_) | Frame::Snapshot(_)) => {
                let why = "the watcher was given a gap, though the log is complete";
                return Err(CliError::Demo(why.to_owned()));
            }
            Some(Frame::CaughtUp(_) | Frame::Heartbeat(_) | Frame::End(_)) | None => {}
        }
        Ok(())
    }

    fn show(&mut self, event: &Event) -> io::Result<()> {
        if let Some(Payload::TextDelta(delta)) = &event.payload {
            self.text += &delta.delta;
            return self.terminal.text(&delta.delta);
        }
        let cursor = self
            .terminal
            .paint(Look::Dim, format!("{:<20}", event.cursor));
        let name = words::event_name(event);
        let detail = words::event_detail(event);
        self.terminal
            .line(format!("{}{cursor}  {name:<15}  {detail}", INDENT))
    }
}
