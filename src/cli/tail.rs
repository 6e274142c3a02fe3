//! `throughline tail`: follows a message, over broken connections and stopped
//! servers, until it ends.

use std::io;

use clap::Args;

use super::{
    CliError, ServerArgs,
    content::read_text,
    follow::{Follow, Retry, WatchedMessage},
    terminal::{Look, Terminal},
    words,
};
use crate::{
    proto::{
        ContentBlock, End, Event, Message, WatchEndReason, WatchMessageResponse,
        content_block::Content, event::Payload, message_service_client::MessageServiceClient,
        text_content::Source, watch_message_response::Frame,
    },
    runtime::drain::StopSignals,
};

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

    #[command(flatten)]
    server: ServerArgs,

    /// Print every frame as it came, one a line.
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(args: TailArgs) -> Result<(), CliError> {
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    let watched = WatchedMessage {
        client: MessageServiceClient::new(args.server.connect()?),
        message_id: args.message_id.clone(),
        cursor: args.from.clone(),
    };
    let mut tail = Tail {
        follow: Follow::new(watched, Retry::new()),
        terminal: Terminal::new(false, ""),
        args,
    };
    let outcome = tokio::select! {
        outcome = tail.follow() => outcome,
        () = stop.next() => Ok(tail.say_how_to_resume()?),
    };
    tail.terminal.end_text()?;
    outcome.map_err(|error| tail.args.server.blame(error))
}

struct Tail {
    args: TailArgs,
    follow: Follow<WatchedMessage>,
    terminal: Terminal,
}

impl Tail {
    /// Shows what comes until the message ends.
    async fn follow(&mut self) -> Result<(), CliError> {
        loop {
            let frame = self.follow.next(&mut self.terminal).await?;
            match self.show(frame).await? {
                Some(end) if end.reason() != WatchEndReason::ServerDraining => {
                    return Ok(self.show_end(&end)?);
                }
                Some(_) | None => {}
            }
        }
    }

    /// Shows a frame, and returns it where it is the last one.
    async fn show(&mut self, frame: WatchMessageResponse) -> Result<Option<End>, CliError> {
        if self.args.raw {
            self.terminal.line(format!("{frame:?}"))?;
        }
        match frame.frame {
            Some(Frame::End(end)) => return Ok(Some(end)),
            _ if self.args.raw => {}
            Some(Frame::Event(event)) => self.show_event(&event)?,
            Some(Frame::Snapshot(message)) => self.show_snapshot(&message).await?,
            Some(Frame::Gap(gap)) => {
                let why = format!("events are missing here ({})", gap.reason().as_str_name());
                self.terminal.note(&why)?;
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

    async fn show_snapshot(&mut self, message: &Message) -> Result<(), CliError> {
        let state = words::message_state(message.state());
        let role = words::role(message.role());
        self.dim(&format!(
            "{}  {role} message, {state}, so far:",
            message.cursor
        ))?;
        if !message.text_truncated {
            return Ok(self.terminal.text(&message.text)?);
        }
        for block in &message.blocks {
            let text = self.text(message, block).await?;
            self.terminal.text(&text)?;
        }
        Ok(())
    }

    /// What a block adds to the message's text, also where it is not sent along.
    async fn text(&mut self, message: &Message, block: &ContentBlock) -> Result<String, CliError> {
        let Some(Content::Text(content)) = &block.content else {
            return Ok(String::new());
        };
        let reference = match &content.source {
            Some(Source::ContentRef(reference)) => reference,
            Some(Source::Text(text)) => return Ok(text.clone()),
            None => return Ok(String::new()),
        };
        let client = self.follow.watched.client.clone();
        let call = || read_text(client.clone(), &message.message_id, &block.block_id);
        let mut text = self.follow.call(&mut self.terminal, call).await?;
        // What was written since comes as events.
        let size = usize::try_from(reference.size).unwrap_or(usize::MAX);
        text.truncate(text.floor_char_boundary(size));
        Ok(text)
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

    fn say_how_to_resume(&mut self) -> io::Result<()> {
        let TailArgs {
            message_id,
            server,
            raw,
            ..
        } = &self.args;
        let mut command = format!("throughline tail {message_id}");
        let cursor = &self.follow.watched.cursor;
        if !cursor.is_empty() {
            command += &format!(" --from '{cursor}'");
        }
        command += &server.flag();
        if *raw {
            command += " --raw";
        }
        self.terminal.note(&format!("resume with `{command}`"))
    }
}
