//! Text as it is streamed into a block: the first piece at once, the rest in portions.

use std::time::Duration;

use tokio::time::Instant;

use super::{client::CallError, output::Output};

/// So long a portion may gather.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// So many bytes a portion may gather.
const GATHER_BYTES: usize = 512;
/// What one append takes.
const DELTA_BYTES_MAX: usize = 262_144;

/// Where text goes to.
#[derive(Clone, Debug)]
enum Target {
    /// The task's own block.
    Answer,
    /// A THINKING block that is added with its first text, and its stage.
    Thinking { stage: String, id: Option<String> },
}

/// Writes one text. It is written within 20 ms as long as somebody calls
/// [`flush`](Self::flush) when it is [`due`](Self::due). A write holds its caller up, so
/// that no more is taken from a model than the service takes.
pub(super) struct TextWriter {
    output: Output,
    target: Target,
    waiting: String,
    /// When the last portion was written; none before the first.
    written: Option<Instant>,
}

impl TextWriter {
    /// Writes the answer.
    pub(super) fn answer(output: &Output) -> Self {
        Self::to(output, Target::Answer)
    }

    /// Writes a THINKING block, should there be something to write. What it is tells
    /// `stage`, in the block's metadata.
    pub(super) fn thinking(output: &Output, stage: &str) -> Self {
        let stage = stage.to_owned();
        Self::to(output, Target::Thinking { stage, id: None })
    }

    fn to(output: &Output, target: Target) -> Self {
        Self {
            output: output.clone(),
            target,
            waiting: String::new(),
            written: None,
        }
    }

    /// Takes in more text, and writes it unless it can wait.
    pub(super) async fn push(&mut self, text: &str) -> Result<(), CallError> {
        self.waiting += text;
        let is_due = self.due().is_some_and(|due| due <= Instant::now());
        match is_due || self.waiting.len() >= GATHER_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// When what waits is to be written; none where nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.written.map(|written| written + GATHER_FOR);
        (!self.waiting.is_empty()).then(|| since.unwrap_or_else(Instant::now))
    }

    /// Writes what waits.
    pub(super) async fn flush(&mut self) -> Result<(), CallError> {
        while !self.waiting.is_empty() {
            let end = self.waiting.floor_char_boundary(DELTA_BYTES_MAX);
            let rest = self.waiting.split_off(end);
            let portion = std::mem::replace(&mut self.waiting, rest);
            self.write(portion).await?;
        }
        Ok(())
    }

    async fn write(&mut self, portion: String) -> Result<(), CallError> {
        match &mut self.target {
            Target::Answer => self.output.append_answer(portion).await?,
            Target::Thinking { id: Some(id), .. } => self.output.append(id, portion).await?,
            Target::Thinking { stage, id } => {
                *id = Some(self.output.open_thinking(stage, portion).await?);
            }
        }
        self.written = Some(Instant::now());
        Ok(())
    }

    /// Writes what waits, and lets the block be as it is. Gives its id, where it is a
    /// THINKING block with something in it.
    pub(super) async fn seal(&mut self) -> Result<Option<String>, CallError> {
        self.flush().await?;
        match &mut self.target {
            Target::Answer => Ok(None),
            Target::Thinking { id, .. } => {
                let id = id.take();
                if let Some(id) = &id {
                    self.output.seal(id).await?;
                }
                Ok(id)
            }
        }
    }
}
