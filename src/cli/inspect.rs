//! `throughline inspect`: one message on one page.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;

use super::{
    CliError, ServerArgs,
    terminal::{Look, Terminal, printable},
    words,
};
use crate::proto::{
    InspectMessageRequest, InspectMessageResponse, LogBounds, Message, RedisKey, Task,
    admin_service_client::AdminServiceClient,
};

/// Settings of `throughline inspect`.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Which message to show.
    message_id: String,

    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: InspectArgs) -> Result<(), CliError> {
    let mut client = AdminServiceClient::new(args.server.connect()?);
    let request = InspectMessageRequest {
        message_id: args.message_id,
    };
    let answer = client
        .inspect_message(request)
        .await
        .map_err(|status| args.server.blame(status.into()))?;
    Page(Terminal::new(false, "  ")).show(answer.get_ref())?;
    Ok(())
}

struct Page(Terminal);

impl Page {
    fn show(&mut self, answer: &InspectMessageResponse) -> io::Result<()> {
        if let Some(message) = &answer.message {
            self.show_message(message, answer.complete)?;
            self.show_text(message)?;
            self.show_blocks(message)?;
        }
        self.show_tasks("pending tasks", answer.pending_tasks.iter())?;
        let tasks = answer.message.iter().flat_map(|message| &message.tasks);
        self.show_tasks("ended tasks", tasks.filter(|task| task.end_time.is_some()))?;
        if let Some(log) = &answer.log {
            self.show_log(log)?;
        }
        self.show_keys(&answer.keys)
    }

    fn show_message(&mut self, message: &Message, complete: bool) -> io::Result<()> {
        self.field("message", &message.message_id)?;
        self.field("session", &message.session_id)?;
        self.field("role", &words::role(message.role()))?;
        let state = words::message_state(message.state());
        let reason = match complete {
            true => format!("({})", words::end_reason(message.end_reason())),
            false => String::new(),
        };
        let error = printable(&message.error);
        self.field("state", &words::joined(&[&state, &reason, &error]))?;
        self.field("complete", if complete { "yes" } else { "no" })?;
        self.field("cursor", &message.cursor)?;
        for (name, time) in [
            ("created", &message.create_time),
            ("updated", &message.update_time),
            ("ended", &message.end_time),
        ] {
            if let Some(time) = time {
                self.field(name, &words::time(time))?;
            }
        }
        Ok(())
    }

    fn show_text(&mut self, message: &Message) -> io::Result<()> {
        let length = match message.text_truncated {
            true => format!("the first {} bytes", message.text.len()),
            false => format!("{} bytes", message.text.len()),
        };
        self.heading("text", &length)?;
        self.0.text(&message.text)?;
        self.0.end_text()
    }

    fn show_blocks(&mut self, message: &Message) -> io::Result<()> {
        self.heading("blocks", &message.blocks.len().to_string())?;
        for block in &message.blocks {
            let about = printable(&words::block(block));
            self.entry(&block.block_id, &about)?;
        }
        Ok(())
    }

    fn show_tasks<'a>(
        &mut self,
        name: &str,
        tasks: impl Iterator<Item = &'a Task> + Clone,
    ) -> io::Result<()> {
        self.heading(name, &tasks.clone().count().to_string())?;
        for task in tasks {
            self.entry(&task.task_id, &printable(&words::task(task)))?;
        }
        Ok(())
    }

    fn show_log(&mut self, log: &LogBounds) -> io::Result<()> {
        let entries = format!("{} entries", log.entries);
        self.heading("log", &entries)?;
        self.entry("first", &log.first_cursor)?;
        self.entry("last", &log.last_cursor)
    }

    fn show_keys(&mut self, keys: &[RedisKey]) -> io::Result<()> {
        self.heading("keys", &keys.len().to_string())?;
        for key in keys {
            let life = match &key.ttl {
                Some(ttl) => {
                    let left = Duration::from_secs(ttl.seconds.try_into().unwrap_or(0));
                    format!("{} left", humantime::format_duration(left))
                }
                None => "does not expire".to_owned(),
            };
            self.0.line(format!("  {}", key.key))?;
            let life = self.0.paint(Look::Dim, life);
            self.0.line(format!("    {life}"))?;
        }
        io::stdout().flush()
    }

    fn field(&mut self, name: &str, value: &str) -> io::Result<()> {
        let name = self.0.paint(Look::Dim, format!("{name:<10}"));
        self.0.line(format!("{name}{value}"))
    }

    fn heading(&mut self, name: &str, about: &str) -> io::Result<()> {
        let name = self.0.paint(Look::Bold, name);
        let about = self.0.paint(Look::Dim, about);
        self.0.line(format!("\n{name}  {about}"))
    }

    fn entry(&mut self, id: &str, about: &str) -> io::Result<()> {
        let id = self.0.paint(Look::Dim, format!("{id:<38}"));
        self.0.line(format!("  {id} {about}"))
    }
}
