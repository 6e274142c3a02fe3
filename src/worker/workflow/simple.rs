//! simple: the prompt, the session's history and tools, until there is an answer.

use serde::{Deserialize, Serialize};

use super::{
    Answer, Work,
    talk::{Round, Talk},
};
use crate::{
    proto::content_block::Content,
    worker::{
        checkpoint::Kept, client::CallError, failure::Failure, llm::request::ToolCall,
        progress::share, prompts,
    },
};

/// What a checkpoint says: the rounds that have called tools.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct State {
    rounds: Vec<SavedRound>,
}

/// The blocks of a round.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct SavedRound {
    /// What the model said beside.
    text: Option<String>,
    calls: Vec<String>,
    results: Vec<Vec<String>>,
}

impl State {
    fn blocks(&self) -> Vec<String> {
        let of_round = |round: &SavedRound| {
            let results = round.results.iter().flatten();
            let blocks = round.text.iter().chain(&round.calls).chain(results);
            blocks.cloned().collect::<Vec<_>>()
        };
        self.rounds.iter().flat_map(of_round).collect()
    }
}

pub(super) async fn run(work: &Work) -> Result<Answer, Failure> {
    let tools = work.tools().await;
    let mut talk = Talk::new(work, tools, work.opening(prompts::SIMPLE));
    let (mut state, mut best) = resume(work, &mut talk).await?;
    match carry_out(work, &mut talk, &mut state, &mut best).await {
        Ok(answer) => Ok(answer),
        Err(failure) => work.salvage(failure, best),
    }
}

/// Round after round, until there is an answer. The text of the last one that said
/// something is the best there is until then.
async fn carry_out(
    work: &Work,
    talk: &mut Talk<'_>,
    state: &mut State,
    best: &mut Option<String>,
) -> Result<Answer, Failure> {
    loop {
        let called = match one_round(work, talk, best).await? {
            Round::Said(said) => return Ok(Answer::streamed(said.reason)),
            Round::Called(called) => called,
        };
        let moved = move_text(work, &called.text, talk.rounds).await?;
        note_best(best, called.text);
        state.rounds.push(SavedRound {
            text: moved,
            calls: called.calls,
            results: called.results,
        });
        work.checkpoints
            .save(state, state.blocks(), &work.meter)
            .await?;
    }
}

fn note_best(best: &mut Option<String>, text: String) {
    if !text.trim().is_empty() {
        *best = Some(text);
    }
}

async fn one_round(
    work: &Work,
    talk: &mut Talk<'_>,
    best: &mut Option<String>,
) -> Result<Round, Failure> {
    let done = share(talk.rounds, work.limits.tool_rounds + 1);
    work.progress.at("thinking", done).await?;
    let mut reply = talk.ask(&mut work.answer_ear()).await?;
    if talk.is_deaf(&reply) {
        move_text(work, &reply.text, talk.rounds + 1).await?;
        note_best(best, reply.text);
        reply = talk.ask_without_tools(&mut work.answer_ear()).await?;
    }
    talk.go_on(reply, "").await
}

/// What was said before a tool was called was not the answer.
async fn move_text(work: &Work, text: &str, round: u32) -> Result<Option<String>, CallError> {
    work.output
        .withdraw_answer(text, &format!("round {round}"))
        .await
}

/// Takes in what the attempts before have done, and gives the best that they have said.
/// What can't be read begins anew.
async fn resume(work: &Work, talk: &mut Talk<'_>) -> Result<(State, Option<String>), Failure> {
    let Some(state) = work.left.state::<State>() else {
        return Ok(Default::default());
    };
    let kept = work.checkpoints.kept().await?;
    let mut rounds = Vec::new();
    for round in &state.rounds {
        rounds.extend(read(&kept, round).await?);
    }
    let is_whole = rounds.len() == state.rounds.len();
    let (state, rounds) = match is_whole {
        true => (state, rounds),
        false => Default::default(),
    };
    let mut best = None;
    for (text, calls, results) in rounds {
        talk.recall(&text, calls, &results);
        note_best(&mut best, text);
    }
    work.checkpoints.adopt(&state, state.blocks());
    Ok((state, best))
}

/// What a round said, called and heard; none where a block of it is gone.
async fn read(
    kept: &Kept,
    round: &SavedRound,
) -> Result<Option<(String, Vec<ToolCall>, Vec<String>)>, CallError> {
    let text = match &round.text {
        Some(id) => kept.text(id).await?.unwrap_or_default(),
        None => String::new(),
    };
    let mut calls = Vec::new();
    let mut results = Vec::new();
    for (call, result) in round.calls.iter().zip(&round.results) {
        let block = kept.block(call).and_then(|block| block.content.as_ref());
        let Some(Content::ToolCall(named)) = block else {
            return Ok(None);
        };
        let arguments = kept.text(call).await?;
        let first = result.first().map_or("", String::as_str);
        let (Some(arguments), Some(result)) = (arguments, kept.text(first).await?) else {
            return Ok(None);
        };
        calls.push(ToolCall {
            id: named.call_id.clone(),
            name: named.name.clone(),
            arguments,
        });
        results.push(result);
    }
    Ok(Some((text, calls, results)))
}
