//! What the demo plays, step by step, and the check at its end.

use std::{io, time::Duration};

use prost_types::{Struct, Value, value::Kind};
use tokio::time::sleep;

use super::{instance::Instance, watcher::Watcher};
use crate::{
    cli::{
        CliError,
        terminal::{Look, Terminal},
    },
    proto::{
        AppendTextRequest, ContentBlock, ContentType, CreateMessageRequest, CreateSessionRequest,
        EndMessageRequest, GetMessageRequest, ImageContent, ListEventsRequest, Role,
        StartTaskRequest, TaskStatus, UpdateTaskRequest, WriteResult, content_block::Content,
        image_content,
    },
};

/// What the model says before the watcher is cut, while it is away, and after.
const BEFORE: &str = "Three keepers climb the stairs at dusk.\nThe first one lights the ";
const MEANWHILE: &str = "lamp, the second turns the lens,\nand the third writes ";
const AFTER: &str = "down every flash:\nwhoever was away reads on from the last one seen.\n";

pub(super) struct Script<'a> {
    a: &'a Instance,
    b: &'a Instance,
    watcher: Watcher,
    message_id: String,
    /// Between tokens.
    delay: Duration,
}

impl<'a> Script<'a> {
    #[allow(clippy::disallowed_methods, reason = "a client, which chooses its ids")]
    pub(super) fn new(
        a: &'a Instance,
        b: &'a Instance,
        terminal: Terminal,
        delay: Duration,
    ) -> Self {
        let message_id = uuid::Uuid::now_v7().to_string();
        Self {
            a,
            b,
            watcher: Watcher::new(&message_id, terminal),
            message_id,
            delay,
        }
    }

    pub(super) async fn play(mut self) -> Result<(), CliError> {
        self.introduce()?;
        self.create().await?;
        self.stream_and_cut().await?;
        self.resume().await?;
        let task_id = self.start_task().await?;
        self.work(&task_id).await?;
        self.complete().await?;
        self.check().await
    }

    fn introduce(&mut self) -> io::Result<()> {
        let (a, b) = (self.a, self.b);
        self.say("", "Two instances of the service on one Redis:")?;
        for instance in [a, b] {
            let address = instance.service.address;
            self.say("", &format!("   {} on {address}", instance.name))?;
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<(), CliError> {
        self.step("On A: a session, and in it a message for the assistant to write")?;
        let session = CreateSessionRequest {
            user_id: "demo".to_owned(),
            ..Default::default()
        };
        let session = self.a.sessions.clone().create_session(session).await?;
        let session = session.into_inner().session.unwrap_or_default();

        let message = CreateMessageRequest {
            session_id: session.session_id,
            message_id: self.message_id.clone(),
            role: Role::Assistant.into(),
            ..Default::default()
        };
        let message = self.a.messages.clone().create_message(message).await?;
        self.watcher.watch(self.a).await?;
        self.see(message.into_inner().result).await
    }

    async fn stream_and_cut(&mut self) -> Result<(), CliError> {
        self.step("On A: the model's tokens, appended one by one; a watcher on A sees")?;
        for token in BEFORE.split_inclusive(' ') {
            let result = self.append(token).await?;
            self.see(result).await?;
        }
        self.watcher.cut();
        let cursor = self.watcher.cursor.clone();
        self.remark(
            Look::Bad,
            &format!("cut at {cursor}, while the model goes on"),
        )?;
        for token in MEANWHILE.split_inclusive(' ') {
            self.append(token).await?;
        }
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), CliError> {
        let cursor = self.watcher.cursor.clone();
        self.remark(Look::Good, &format!("resumed on B after {cursor}"))?;
        self.watcher.watch(self.b).await?;
        for token in AFTER.split_inclusive(' ') {
            let result = self.append(token).await?;
            self.see(result).await?;
        }
        Ok(())
    }

    async fn start_task(&mut self) -> Result<String, CliError> {
        self.step("On A: a task; a placeholder keeps the place of its result")?;
        let task = StartTaskRequest {
            message_id: self.message_id.clone(),
            task_type: "image_generation".to_owned(),
            params: Some(params("prompt", "a lighthouse at dusk")),
            placeholder: Some(ContentBlock {
                content_type: ContentType::Image.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let started = self.a.tasks.clone().start_task(task).await?.into_inner();
        self.see(started.result).await?;
        Ok(started.task.unwrap_or_default().task_id)
    }

    async fn work(&mut self, task_id: &str) -> Result<(), CliError> {
        self.step("On B: a worker loads the message by its id, and does the task")?;
        let update = |status: TaskStatus| UpdateTaskRequest {
            message_id: self.message_id.clone(),
            task_id: task_id.to_owned(),
            status: status.into(),
            ..Default::default()
        };
        let halfway = UpdateTaskRequest {
            progress: Some(0.5),
            status_text: Some("painting".to_owned()),
            ..update(TaskStatus::Processing)
        };
        let done = UpdateTaskRequest {
            progress: Some(1.0),
            content: Some(lighthouse()),
            ..update(TaskStatus::Completed)
        };
        let message = GetMessageRequest {
            message_id: self.message_id.clone(),
            ..Default::default()
        };
        self.b.messages.clone().get_message(message).await?;
        for update in [halfway, done] {
            sleep(self.delay * 10).await;
            let updated = self.b.tasks.clone().update_task(update).await?;
            self.see(updated.into_inner().result).await?;
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), CliError> {
        self.step("On B: the message is complete, and the watch ends with it")?;
        let end = EndMessageRequest {
            message_id: self.message_id.clone(),
            ..Default::default()
        };
        self.b.messages.clone().end_message(end).await?;
        match self.watcher.read_to_end().await? {
            true => Ok(()),
            false => Err(CliError::Demo(
                "the watch ended without saying so".to_owned(),
            )),
        }
    }

    /// Compares what the watcher saw with what the log and the message hold.
    async fn check(mut self) -> Result<(), CliError> {
        let message_id = self.message_id.clone();
        let list = ListEventsRequest {
            message_id: message_id.clone(),
            page_size: 1000,
            ..Default::default()
        };
        let events = self
            .a
            .messages
            .clone()
            .list_events(list)
            .await?
            .into_inner()
            .events;
        let logged: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        let message = GetMessageRequest {
            message_id,
            ..Default::default()
        };
        let message = self
            .a
            .messages
            .clone()
            .get_message(message)
            .await?
            .into_inner();
        let text = message.message.unwrap_or_default().text;

        if !logged.iter().copied().eq(1..=logged.len() as u64) {
            return Err(CliError::Demo(
                "the log is not numbered 1, 2, 3, ...".to_owned(),
            ));
        }
        if self.watcher.sequences != logged {
            let why = "the watcher did not see every event once and in order";
            return Err(CliError::Demo(why.to_owned()));
        }
        if self.watcher.text != text {
            let why = "the deltas do not add up to the message's text";
            return Err(CliError::Demo(why.to_owned()));
        }
        self.conclude(logged.len(), text.len())?;
        Ok(())
    }

    fn conclude(&mut self, events: usize, bytes: usize) -> io::Result<()> {
        let terminal = &mut self.watcher.terminal;
        let verdict = terminal.paint(
            Look::Good,
            format!("✓ the watcher saw all {events} events, each once and in order"),
        );
        terminal.line(format!("\n{verdict}"))?;
        terminal.line(format!(
            "  although it was cut, and its {bytes} bytes of text are those of the message."
        ))?;
        terminal.line("  Next: `throughline serve`, and a client in your language.")
    }

    async fn append(&self, token: &str) -> Result<Option<WriteResult>, CliError> {
        sleep(self.delay).await;
        let append = AppendTextRequest {
            message_id: self.message_id.clone(),
            delta: token.to_owned(),
            ..Default::default()
        };
        let appended = self.a.messages.clone().append_text(append).await?;
        Ok(appended.into_inner().result)
    }

    /// Waits until the watcher has seen a write.
    async fn see(&mut self, result: Option<WriteResult>) -> Result<(), CliError> {
        self.watcher
            .read_to(result.unwrap_or_default().sequence)
            .await
    }

    fn step(&mut self, what: &str) -> io::Result<()> {
        self.say("\n", what)
    }

    fn say(&mut self, before: &str, what: &str) -> io::Result<()> {
        let terminal = &mut self.watcher.terminal;
        let what = terminal.paint(Look::Bold, what);
        terminal.line(format!("{before}{what}"))
    }

    fn remark(&mut self, look: Look, what: &str) -> io::Result<()> {
        let terminal = &mut self.watcher.terminal;
        let what = terminal.paint(look, what);
        terminal.line(format!("   ╪ {what}"))
    }
}

fn params(name: &str, text: &str) -> Struct {
    let value = Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    Struct {
        fields: [(name.to_owned(), value)].into(),
    }
}

fn lighthouse() -> ContentBlock {
    let url = "https://example.com/lighthouse.png".to_owned();
    ContentBlock {
        content: Some(Content::Image(ImageContent {
            source: Some(image_content::Source::Url(url)),
            media_type: "image/png".to_owned(),
            width: 1024,
            height: 768,
            ..Default::default()
        })),
        ..Default::default()
    }
}
