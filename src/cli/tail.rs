//! `throughline tail`: follows a message, over broken connections and stopped
//! servers, until it ends.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use tokio::time::sleep;
use tonic::{Code, Status, transport::Channel};

use super::{
    CliError, DEFAULT_SERVER,
    terminal::{Look, Terminal},
    words,
};
use crate::{
    proto::{
        End, Event, Message, WatchEndReason, WatchMessageRequest, WatchMessageResponse,
        event::Payload, message_service_client::MessageServiceClient,
        watch_message_response::Frame,
    },
    runtime::drain::StopSignals,
};

const RECONNECT_DELAY: Duration = Duration::from_millis(100);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);

/// Settings of `throughline tail`.
#[derive(Args, Debug)]
pub(super) struct TailArgs {
    /// Which message to follow.
    message_id: String,

    /// Show what comes after this.
    ///
    /// A cursor as shown before an event, "0" for the first retained event, or
    /// "$" for only what happens from now on. Without it the message so far is
    /// shown first.
    #[arg(
        long,
        value_name = "CURSOR",
        default_value = "",
        hide_default_value = true
    )]
    from: String,

    /// Any instance of the service.
    #[arg(long, value_name = "URL", env = "THROUGHLINE_SERVER", default_value = DEFAULT_SERVER)]
    server: String,

    /// Print every frame as it came, one a line.
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(args: TailArgs) -> Result<(), CliError> {
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    let mut tail = Tail {
        client: MessageServiceClient::new(super::connect(&args.server)?),
        terminal: Terminal::new(false, ""),
        cursor: args.from.clone(),
        delay: RECONNECT_DELAY,
        has_connected: false,
        args,
    };
    let outcome = tokio::select! {
        outcome = tail.follow() => outcome,
        () = stop.next() => Ok(tail.say_how_to_resume()?),
    };
    tail.terminal.end_text()?;
    outcome.map_err(|error| error.at(&tail.args.server))
}

struct Tail {
    args: TailArgs,
    client: MessageServiceClient<Channel>,
    terminal: Terminal,
    /// Of the last frame seen: where to resume.
    cursor: String,
    /// How long to wait before the next attempt.
    delay: Duration,
    has_connected: bool,
}

impl Tail {
    /// Watches again and again until the message ends.
    async fn follow(&mut self) -> Result<(), CliError> {
        loop {
            let why = match self.watch().await {
                Ok(Some(end)) if end.reason() != WatchEndReason::ServerDraining => {
                    return Ok(self.show_end(&end)?);
                }
                Ok(Some(_)) => "the server is stopping".to_owned(),
                Ok(None) => "the connection was lost".to_owned(),
                Err(CliError::Call(status)) if self.has_connected && is_passing(&status) => {
                    status.message().to_owned()
                }
                Err(error) => return Err(error),
            };
            self.note(&format!("{why}, will resume"))?;
            sleep(self.delay).await;
            self.delay = (self.delay * 2).min(RECONNECT_DELAY_MAX);
        }
    }

    /// Watches until the watch ends; says how, where the server did.
    async fn watch(&mut self) -> Result<Option<End>, CliError> {
        let request = WatchMessageRequest {
            message_id: self.args.message_id.clone(),
            cursor: self.cursor.clone(),
            ..Default::default()
        };
        let mut frames = self.client.watch_message(request).await?.into_inner();
        while let Some(frame) = frames.message().await? {
            self.has_connected = true;
            self.delay = RECONNECT_DELAY;
            self.cursor.clone_from(&frame.cursor);
            if let Some(end) = self.show(frame)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Shows a frame, and returns it where it is the last one.
    fn show(&mut self, frame: WatchMessageResponse) -> io::Result<Option<End>> {
        if self.args.raw {
            self.terminal.line(format!("{frame:?}"))?;
        }
        match frame.frame {
            Some(Frame::End(end)) => return Ok(Some(end)),
            _ if self.args.raw => {}
            Some(Frame::Event(event)) => self.show_event(&event)?,
            Some(Frame::Snapshot(message)) => self.show_snapshot(&message)?,
            Some(Frame::Gap(gap)) => {
                let why = format!("events are missing here ({})", gap.reason().as_str_name());
                self.note(&why)?;
            }
            Some(Frame::CaughtUp(_) | Frame::Heartbeat(_)) | None => {}
        }
        Ok(None)
    }

    fn show_event(&mut self, event: &Event) -> io::Result<()> {
        if let Some(Payload::TextDelta(delta)) = &event.payload {
            return self.terminal.text(&delta.delta);
        }
        let name = words::event_name(event);
        let line = format!("{}  {name}  {}", event.cursor, words::event_detail(event));
        self.dim(line.trim_end())
    }

    fn show_snapshot(&mut self, message: &Message) -> io::Result<()> {
        let state = words::message_state(message.state());
        let role = words::role(message.role());
        self.dim(&format!(
            "{}  {role} message, {state}, so far:",
            message.cursor
        ))?;
        self.terminal.text(&message.text)
    }

    fn show_end(&mut self, end: &End) -> io::Result<()> {
        if self.args.raw {
            return Ok(());
        }
        let how = match end.reason() {
            WatchEndReason::MessageEnded => words::message_state(end.state()),
            WatchEndReason::Deleted => "deleted".to_owned(),
            WatchEndReason::Expired => "expired".to_owned(),
            WatchEndReason::ServerDraining | WatchEndReason::Unspecified => "over".to_owned(),
        };
        self.dim(&format!("the message is {how}"))
    }

    fn dim(&mut self, line: &str) -> io::Result<()> {
        let line = self.terminal.paint(Look::Dim, line);
        self.terminal.line(line)
    }

    /// Says something about the tail itself, where it does not get in the way
    /// of the output.
    fn note(&mut self, text: &str) -> io::Result<()> {
        self.terminal.end_text()?;
        writeln!(io::stderr(), "throughline: {text}")
    }

    fn say_how_to_resume(&mut self) -> io::Result<()> {
        let TailArgs {
            message_id,
            server,
            raw,
            ..
        } = &self.args;
        let mut command = format!("throughline tail {message_id}");
        if !self.cursor.is_empty() {
            command += &format!(" --from '{}'", self.cursor);
        }
        if server != DEFAULT_SERVER {
            command += &format!(" --server {server}");
        }
        if *raw {
            command += " --raw";
        }
        self.note(&format!("resume with `{command}`"))
    }
}

/// Whether watching again, here or on another instance, can help.
pub(super) fn is_passing(status: &Status) -> bool {
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
