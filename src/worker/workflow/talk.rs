//! A model that talks and calls tools, round after round, until it has said what it has
//! to say.

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout_at;

use super::Work;
use crate::{
    proto::StopReason,
    worker::{
        failure::Failure,
        llm::{
            Ear, Reply,
            request::{Prompt, ToolCall, Turn},
        },
        tools::{ToolAnswer, Tools},
    },
};

/// What a round may call; more than that is left out, and the model told so.
const CALLS_MAX: usize = 16;

/// A talk as far as it has come.
pub(super) struct Talk<'a> {
    work: &'a Work,
    tools: Tools,
    turns: Vec<Turn>,
    /// Rounds that called tools.
    pub(super) rounds: u32,
}

/// What one round came to.
pub(super) enum Round {
    /// The model called tools, and knows what came of it.
    Called(Called),
    /// It has said all.
    Said(Said),
}

/// A round that called tools.
pub(super) struct Called {
    /// What it said beside.
    pub(super) text: String,
    /// The block of each call.
    pub(super) calls: Vec<String>,
    /// The blocks of each call's result: its text first.
    pub(super) results: Vec<Vec<String>>,
}

/// The last round.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) reason: StopReason,
}

impl<'a> Talk<'a> {
    pub(super) fn new(work: &'a Work, tools: Tools, turns: Vec<Turn>) -> Self {
        Self {
            work,
            tools,
            turns,
            rounds: 0,
        }
    }

    /// Takes in a round of an attempt before.
    pub(super) fn recall(&mut self, text: &str, calls: Vec<ToolCall>, results: &[String]) {
        self.turns.push(Turn::calls(text, calls.clone()));
        let results = calls.iter().zip(results);
        let answers = results.map(|(call, text)| Turn::tool(&call.id, text));
        self.turns.extend(answers);
        self.rounds += 1;
    }

    /// One call of the model, heard by `ear`. It may call tools as long as there are
    /// rounds left, and knows of them after that: some servers refuse turns with calls
    /// of tools that are not named.
    pub(super) async fn ask(&self, ear: &mut Ear) -> Result<Reply, Failure> {
        // Where there was never a round, no turn has calls.
        let tools = match self.is_last() && self.rounds == 0 {
            true => Vec::new(),
            false => self.tools.specs(),
        };
        let prompt = Prompt {
            turns: self.turns.clone(),
            tools,
            is_past_tools: self.is_last(),
            shape: None,
        };
        match self.work.ask(&prompt, ear).await {
            // Other servers refuse that tools are named which may not be called.
            Err(Failure::Model(error)) if self.names_idle_tools() && error.is_of_request() => {
                self.ask_without_tools(ear).await
            }
            reply => reply,
        }
    }

    /// Whether a model calls tools that it was told not to call: what it says beside is
    /// no answer.
    pub(super) fn is_deaf(&self, reply: &Reply) -> bool {
        self.names_idle_tools() && !reply.tool_calls.is_empty()
    }

    /// The last call of the model, that is told of no tools.
    pub(super) async fn ask_without_tools(&self, ear: &mut Ear) -> Result<Reply, Failure> {
        let prompt = Prompt {
            turns: self.turns.clone(),
            tools: Vec::new(),
            is_past_tools: true,
            shape: None,
        };
        self.work.ask(&prompt, ear).await
    }

    /// Carries out the calls of a reply, if it has some and may. A call is known by
    /// being there, whatever the model says it stopped for.
    pub(super) async fn go_on(&mut self, mut reply: Reply, label: &str) -> Result<Round, Failure> {
        if reply.tool_calls.is_empty() || self.is_last() {
            return self.said(reply).map(Round::Said);
        }
        let left_out = reply.tool_calls.len().saturating_sub(CALLS_MAX);
        reply.tool_calls.truncate(CALLS_MAX);
        let calls = with_ids(reply.tool_calls, self.rounds);
        let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
        let stage = format!("{label}tool {}", names.join(", "));
        let called = self.carry_out(&calls, &stage).await?;
        self.turns.push(Turn::calls(&reply.text, calls.clone()));
        let mut ids = (Vec::new(), Vec::new());
        for (call, (call_id, answer, result_ids)) in calls.iter().zip(called) {
            self.turns.push(Turn::tool(&call.id, answer.text));
            ids.0.push(call_id);
            ids.1.push(result_ids);
        }
        self.note_left_out(left_out);
        self.rounds += 1;
        Ok(Round::Called(Called {
            text: reply.text,
            calls: ids.0,
            results: ids.1,
        }))
    }

    /// Tells the model that it called too much, with the last result: it hears of calls
    /// by their results alone.
    fn note_left_out(&mut self, count: usize) {
        let last = self.turns.last_mut().and_then(|turn| turn.content.as_mut());
        if let (Some(text), true) = (last, count > 0) {
            *text += &format!("\n[{count} more calls were left out: at most {CALLS_MAX} at once]");
        }
    }

    fn said(&self, reply: Reply) -> Result<Said, Failure> {
        let reason = match reply.reason() {
            StopReason::Done if self.is_past_tools() => StopReason::MaxIterations,
            reason => reason,
        };
        match reply.text.trim().is_empty() {
            true => Err(Failure::Empty(reply.reason())),
            false => Ok(Said {
                text: reply.text,
                reason,
            }),
        }
    }

    /// Whether the next call names tools that may not be called.
    fn names_idle_tools(&self) -> bool {
        self.is_past_tools() && !self.tools.is_empty()
    }

    fn is_past_tools(&self) -> bool {
        self.is_last() && self.rounds > 0
    }

    fn is_last(&self) -> bool {
        self.rounds >= self.work.limits.tool_rounds
    }

    /// Runs the calls, some at a time. Gives for each the block of the call, the answer
    /// and the blocks of the answer.
    async fn carry_out(
        &self,
        calls: &[ToolCall],
        stage: &str,
    ) -> Result<Vec<(String, ToolAnswer, Vec<String>)>, Failure> {
        let work = self.work;
        // Nothing is known of how far this is, and less than before counts as before.
        work.progress.at(stage, 0.0).await?;
        let mut ids = Vec::new();
        for call in calls {
            ids.push(work.output.add_call(call).await?);
        }
        let called = calls.iter().zip(ids).map(|(call, id)| async move {
            let answer = self.call(call).await;
            let blocks = work.output.add_result(call, &answer).await?;
            Ok((id, answer, blocks))
        });
        let called = stream::iter(called.collect::<Vec<_>>())
            .buffered(work.limits.parallel_tools)
            .try_collect();
        let called = timeout_at(work.meter.end, called).await;
        called.unwrap_or(Err(Failure::Limit(StopReason::Deadline)))
    }

    async fn call(&self, call: &ToolCall) -> ToolAnswer {
        self.work.meter.add_tool_call();
        self.tools.call(call).await
    }
}

/// Calls that can be answered: some servers give them no id.
fn with_ids(mut calls: Vec<ToolCall>, round: u32) -> Vec<ToolCall> {
    for (at, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || call.id.len() > 128 {
            call.id = format!("call_{round}_{at}");
        }
    }
    calls
}
