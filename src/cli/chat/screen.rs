//! What a conversation looks like in a terminal: who speaks, answers as they are
//! written, and a dim line for each step of an agent.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use crate::{
    cli::{
        terminal::{Look, Terminal},
        words,
    },
    proto::{
        BlockState, ContentBlock, Event, Message, MessageState, Role, Task, WatchSessionResponse,
        content_block::Content, event::Payload, json_content, text_content, tool_call_content,
        tool_result_content, watch_frame::Frame,
    },
};

/// What of a tool's arguments or answer is shown.
const EXCERPT_CHARS: usize = 100;

/// Stdout, and what is known of the messages that are being written.
pub(super) struct Screen {
    terminal: Terminal,
    messages: HashMap<String, Progress>,
    /// Messages that are not shown.
    passed_over: HashSet<String>,
    /// Whose words stand last on the screen.
    speaker: String,
}

/// How far a message has been shown.
#[derive(Default)]
struct Progress {
    role: Role,
    /// The blocks that an agent's answers go to.
    answers: HashSet<String>,
    /// Blocks whose text is on the screen.
    shown: HashSet<String>,
    /// What was last said of a task.
    status: String,
}

/// A message that has ended, and how.
pub(super) struct Ended {
    pub(super) message: String,
    pub(super) state: MessageState,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            terminal: Terminal::new(false, ""),
            messages: HashMap::new(),
            passed_over: HashSet::new(),
            speaker: String::new(),
        }
    }

    /// Does not show this message: the person has just typed it.
    pub(super) fn pass_over(&mut self, message: String) {
        self.passed_over.insert(message);
    }

    /// Ends the last line.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.terminal.end_text()
    }

    /// Says something about the chat itself.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.dim(text)
    }

    /// Shows a frame of the session. Says if it is the end of a message.
    pub(super) fn show(&mut self, frame: WatchSessionResponse) -> io::Result<Option<Ended>> {
        let id = frame.message_id;
        match frame.frame.and_then(|frame| frame.frame) {
            Some(Frame::Event(event)) => self.show_event(&id, &event),
            Some(Frame::Snapshot(message)) => self.show_snapshot(&id, &message).map(|()| None),
            _ => Ok(None),
        }
    }

    fn show_snapshot(&mut self, id: &str, message: &Message) -> io::Result<()> {
        let progress = self.messages.entry(id.to_owned()).or_default();
        let is_new = progress.shown.is_empty();
        progress.role = message.role();
        let answers = message.tasks.iter().map(|task| task.block_id.clone());
        progress.answers = answers.collect();
        let blocks = message.blocks.iter().map(|block| block.block_id.clone());
        progress.shown.extend(blocks);
        if !is_new {
            self.dim("something was missed here; the text so far:")?;
        }
        self.say(id, &message.text)
    }

    fn show_event(&mut self, id: &str, event: &Event) -> io::Result<Option<Ended>> {
        let Some(payload) = &event.payload else {
            return Ok(None);
        };
        match payload {
            Payload::MessageStart(start) => {
                let progress = self.messages.entry(id.to_owned()).or_default();
                progress.role = start.role();
            }
            Payload::TextDelta(delta) if self.is_answer(id, &delta.block_id) => {
                self.progress(id).shown.insert(delta.block_id.clone());
                self.say(id, &delta.delta)?;
            }
            Payload::ContentAdded(added) => {
                if let Some(block) = &added.block {
                    self.show_added(id, block)?;
                }
            }
            Payload::ContentUpdated(updated) => {
                if let Some(block) = &updated.block {
                    self.show_updated(id, block)?;
                }
            }
            Payload::TaskStarted(started) => {
                let block = started.task.as_ref().map(|task| task.block_id.clone());
                self.progress(id).answers.extend(block);
            }
            Payload::TaskProgress(progress) => {
                if let Some(task) = &progress.task {
                    self.show_progress(id, task)?;
                }
            }
            Payload::TaskCompleted(ended) => self.show_outcome(ended.task.as_ref())?,
            Payload::TaskFailed(ended) => self.show_outcome(ended.task.as_ref())?,
            Payload::TaskCancelled(ended) => self.show_outcome(ended.task.as_ref())?,
            Payload::MessageEnd(end) => {
                self.terminal.end_text()?;
                self.messages.remove(id);
                self.passed_over.remove(id);
                return Ok(Some(Ended {
                    message: id.to_owned(),
                    state: end.state(),
                }));
            }
            Payload::TextDelta(_)
            | Payload::CancelRequested(_)
            | Payload::Error(_)
            | Payload::Custom(_) => {}
        }
        Ok(None)
    }

    fn progress(&mut self, id: &str) -> &mut Progress {
        self.messages.entry(id.to_owned()).or_default()
    }

    /// Whether the text of a block is what the message says, and no step on the way.
    fn is_answer(&self, id: &str, block: &str) -> bool {
        let Some(progress) = self.messages.get(id) else {
            return true;
        };
        progress.answers.is_empty() || progress.answers.contains(block)
    }

    fn show_added(&mut self, id: &str, block: &ContentBlock) -> io::Result<()> {
        if block.state() == BlockState::Placeholder {
            return Ok(());
        }
        match text_of(block) {
            Some(text) if self.is_answer(id, &block.block_id) => self.say(id, text),
            Some(_) => Ok(()),
            None => self.step(id, block),
        }
    }

    /// A result that was not streamed is shown when it comes; one that was is
    /// there, unless it was taken back.
    fn show_updated(&mut self, id: &str, block: &ContentBlock) -> io::Result<()> {
        if !self.is_answer(id, &block.block_id) {
            return Ok(());
        }
        let is_taken_back = block.state() != BlockState::Sealed;
        let shown = &mut self.progress(id).shown;
        match (shown.contains(&block.block_id), is_taken_back) {
            (true, true) => {
                shown.remove(&block.block_id);
                self.dim("that was not the answer yet")
            }
            (true, false) | (false, true) => Ok(()),
            (false, false) => match text_of(block) {
                Some(text) => self.say(id, text),
                // What the answer was to be will not come.
                None if block.content.is_none() => Ok(()),
                None => self.dim(&words::block(block)),
            },
        }
    }

    /// One thing that an agent does on its way, in one line.
    fn step(&mut self, id: &str, block: &ContentBlock) -> io::Result<()> {
        if self.passed_over.contains(id) {
            return Ok(());
        }
        match &block.content {
            // Said by the progress of the task.
            Some(Content::Thinking(_)) | None => Ok(()),
            Some(Content::ToolCall(call)) => {
                let arguments = match &call.source {
                    Some(tool_call_content::Source::Text(text)) => excerpt(text),
                    _ => String::new(),
                };
                self.dim(&format!("{} {arguments}", call.name))
            }
            Some(Content::ToolResult(result)) => {
                let answer = match &result.source {
                    Some(tool_result_content::Source::Text(text)) => excerpt(text),
                    _ => "a long answer".to_owned(),
                };
                let failed = if result.is_error { "failed: " } else { "" };
                self.dim(&format!("  {failed}{answer}"))
            }
            Some(Content::Json(json)) => {
                let text = match &json.source {
                    Some(json_content::Source::Text(text)) => excerpt(text),
                    _ => String::new(),
                };
                self.dim(&text)
            }
            Some(_) => self.dim(&words::block(block)),
        }
    }

    fn show_progress(&mut self, id: &str, task: &Task) -> io::Result<()> {
        let status = match task.error.is_empty() {
            true => task.status_text.clone(),
            false => format!("{}, will try again", task.error),
        };
        let progress = self.progress(id);
        if status.is_empty() || progress.status == status {
            return Ok(());
        }
        progress.status.clone_from(&status);
        self.dim(&status)
    }

    /// How an agent's work ended, where there is more to say than that it is done.
    fn show_outcome(&mut self, task: Option<&Task>) -> io::Result<()> {
        let Some(task) = task else {
            return Ok(());
        };
        let outcome = task.outcome.as_ref().map(words::outcome);
        match task.error.as_str() {
            "" => match outcome.unwrap_or_default().as_str() {
                "" => Ok(()),
                outcome => self.dim(outcome),
            },
            _ => {
                let line = self.terminal.paint(Look::Bad, words::task(task));
                self.terminal.line(line)
            }
        }
    }

    /// Shows words of a message, and before them whose they are if others spoke last.
    fn say(&mut self, id: &str, text: &str) -> io::Result<()> {
        if text.is_empty() || self.passed_over.contains(id) {
            return Ok(());
        }
        if self.speaker != id {
            id.clone_into(&mut self.speaker);
            let role = self.progress(id).role;
            if role == Role::User {
                let who = self.terminal.paint(Look::Bold, words::role(role));
                self.terminal.line(format!("{who}:"))?;
            }
        }
        self.terminal.text(text)
    }

    fn dim(&mut self, words: &str) -> io::Result<()> {
        let line = self.terminal.paint(Look::Dim, format!("· {words}"));
        self.terminal.line(line)
    }
}

/// The text of a TEXT block, where it is inline.
fn text_of(block: &ContentBlock) -> Option<&str> {
    match &block.content {
        Some(Content::Text(text)) => match &text.source {
            Some(text_content::Source::Text(text)) => Some(text),
            Some(text_content::Source::ContentRef(_)) | None => None,
        },
        _ => None,
    }
}

/// The beginning of a text, in one line.
fn excerpt(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
