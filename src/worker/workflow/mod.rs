//! The three ways an agent carries a task out. docs/workflows.md says what each of them
//! does, and how many calls of a model it takes.

mod critic;
mod judgement;
mod plan;
mod planner;
mod results;
mod simple;
mod structured;
mod talk;

use tokio::time::timeout_at;

use super::{
    budget::{Limits, Meter},
    checkpoint::{Checkpoints, Left},
    failure::Failure,
    llm::{
        Ear, Model, Reply,
        request::{Prompt, Tuning, Turn},
    },
    output::Output,
    progress::Progress,
    prompts::Prompts,
    text::TextWriter,
    tools::{Toolbox, Tools},
};
use crate::proto::{StopReason, Workflow};

/// All that one attempt at a task works with.
pub(super) struct Work {
    pub(super) workflow: Workflow,
    /// The session's history, and the request after it.
    pub(super) conversation: Vec<Turn>,
    /// What is to be done.
    pub(super) request: String,
    /// Told instead of the workflow's own first words.
    pub(super) system: Option<String>,
    /// How often to refine or to plan; 0 for the workflow's default.
    pub(super) max_iterations: u32,
    pub(super) tuning: Tuning,
    pub(super) limits: Limits,
    pub(super) model: Model,
    pub(super) meter: Meter,
    pub(super) output: Output,
    pub(super) prompts: Prompts,
    pub(super) toolbox: Toolbox,
    pub(super) progress: Progress,
    pub(super) checkpoints: Checkpoints,
    /// What the attempts before have left.
    pub(super) left: Left,
}

/// What became of a task.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// The answer; none where it has been streamed into its block.
    pub(super) text: Option<String>,
    pub(super) reason: StopReason,
}

impl Answer {
    fn streamed(reason: StopReason) -> Self {
        Self { text: None, reason }
    }

    fn of(text: &str, reason: StopReason) -> Self {
        Self {
            text: Some(text.to_owned()),
            reason,
        }
    }
}

/// Refinements, or plans, where a task does not say how many.
const ITERATIONS: u32 = 3;

/// Carries the task out. An answer is never empty.
pub(super) async fn run(work: &Work) -> Result<Answer, Failure> {
    match work.workflow {
        Workflow::Critic => critic::run(work).await,
        Workflow::Planner => planner::run(work).await,
        Workflow::Simple | Workflow::Unspecified => simple::run(work).await,
    }
}

impl Work {
    fn iterations(&self) -> u32 {
        match self.max_iterations {
            0 => ITERATIONS,
            wanted => wanted,
        }
    }

    /// The tools that there are. None where they are not found before the time is over,
    /// which the next call of the model finds out as well.
    async fn tools(&self) -> Tools {
        let tools = timeout_at(self.meter.end, self.toolbox.tools()).await;
        tools.unwrap_or_default()
    }

    /// The conversation after a model's first words: the task's own, or `prompt`.
    fn opening(&self, prompt: &str) -> Vec<Turn> {
        let built_in = || self.prompts.fill(prompt, &[]);
        let system = self.system.clone().unwrap_or_else(built_in);
        let mut turns = vec![Turn::system(system)];
        turns.extend_from_slice(&self.conversation);
        turns
    }

    /// One call of the model, heard by `ear`.
    async fn ask(&self, prompt: &Prompt, ear: &mut Ear) -> Result<Reply, Failure> {
        let reply = self
            .model
            .call(prompt, &self.tuning, &self.meter, Some(ear))
            .await;
        ear.reasoning.seal().await?;
        reply
    }

    /// Hears what becomes the answer.
    fn answer_ear(&self) -> Ear {
        self.ear(TextWriter::answer(&self.output))
    }

    /// Hears what becomes a THINKING block.
    fn thinking_ear(&self, stage: &str) -> Ear {
        self.ear(TextWriter::thinking(&self.output, stage))
    }

    fn ear(&self, answer: TextWriter) -> Ear {
        Ear {
            answer,
            reasoning: TextWriter::thinking(&self.output, "reasoning"),
        }
    }

    /// The best there is where a limit was reached: what was streamed of the answer, or
    /// else `rest`. Without either the failure stands.
    fn salvage(&self, failure: Failure, rest: Option<String>) -> Result<Answer, Failure> {
        let reason = failure.reason();
        match rest {
            _ if !failure.is_limit() => Err(failure),
            _ if self.output.has_answer() => Ok(Answer::streamed(reason)),
            Some(text) if !text.trim().is_empty() => Ok(Answer::of(&text, reason)),
            _ => Err(failure),
        }
    }
}
