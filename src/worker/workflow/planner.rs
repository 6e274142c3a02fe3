//! planner: a plan, its steps carried out in order and the subtasks of a step at the same
//! time, the next plan from what came of it, and at the end an answer from all results.

use futures_util::{StreamExt, stream};

use super::{
    Answer, Work,
    plan::Plan,
    results::{Outcome, Results, Run, State},
    structured,
    talk::{Round, Said, Talk},
};
use crate::{
    proto::StopReason,
    worker::{
        failure::Failure,
        llm::request::{Prompt, Turn},
        progress::share,
        prompts,
        tools::Tools,
    },
};

/// How often a subtask is tried.
const TRIES: u32 = 2;
/// The share of the progress that is the synthesis.
const SYNTHESIS_SHARE: f64 = 0.1;

pub(super) async fn run(work: &Work) -> Result<Answer, Failure> {
    let tools = work.tools().await;
    let mut results = resume(work).await?;
    let reason = match carry_out(work, &tools, &mut results).await {
        Ok(reason) => reason,
        Err(failure) => return work.salvage(failure, results.salvage()),
    };
    match synthesise(work, &results, reason).await {
        Ok(answer) => Ok(answer),
        Err(failure) => work.salvage(failure, results.salvage()),
    }
}

/// Plans, and carries plans out, until the planner says that it is enough or has planned
/// as often as it may.
async fn carry_out(
    work: &Work,
    tools: &Tools,
    results: &mut Results,
) -> Result<StopReason, Failure> {
    let plans_max = work.iterations();
    loop {
        let done = u32::try_from(results.0.len()).unwrap_or(u32::MAX);
        let next = results.0.last().and_then(Run::next_step);
        if let Some(step) = next {
            carry_out_step(work, tools, results, step).await?;
            let (state, kept) = results.saved();
            work.checkpoints.save(&state, kept, &work.meter).await?;
        } else if results.0.last().is_some_and(|run| run.plan.is_complete) {
            return Ok(StopReason::Done);
        } else if done >= plans_max {
            return Ok(StopReason::MaxIterations);
        } else {
            let plan = make_plan(work, results, done, plans_max).await?;
            let is_enough = plan.is_complete && !results.0.is_empty();
            let value = serde_json::to_value(&plan).unwrap_or_default();
            let block_id = work
                .output
                .add_json(&format!("plan {}", done + 1), &value)
                .await?;
            if is_enough || plan.steps.is_empty() {
                return Ok(StopReason::Done);
            }
            results.0.push(Run {
                plan,
                block_id,
                steps: Vec::new(),
            });
        }
    }
}

async fn make_plan(
    work: &Work,
    results: &Results,
    done: u32,
    plans_max: u32,
) -> Result<Plan, Failure> {
    let at = share(done, plans_max) * (1.0 - SYNTHESIS_SHARE);
    work.progress.at("plan", at).await?;
    let mut turns = vec![Turn::system(work.prompts.fill(prompts::PLAN, &[]))];
    turns.extend_from_slice(&work.conversation);
    let so_far = results.in_words();
    let values = [("results", so_far.as_str())];
    turns.push(Turn::user(work.prompts.fill(prompts::PLAN_STATE, &values)));
    let plan = structured::ask(work, turns, Plan::SHAPE, Plan::check).await?;
    Ok(plan.made_feasible())
}

/// Carries out all subtasks of a step. Where a limit is reached, those that are finished
/// stay in the results.
async fn carry_out_step(
    work: &Work,
    tools: &Tools,
    results: &mut Results,
    step: usize,
) -> Result<(), Failure> {
    let before = results.in_words();
    let plans_done = u32::try_from(results.0.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let Some(run) = results.0.last_mut() else {
        return Ok(());
    };
    let (number, steps) = (step + 1, run.plan.steps.len());
    let stage = format!("step {number}/{steps}");
    let of_plan = f64::from(u32::try_from(step).unwrap_or(u32::MAX)) / steps as f64;
    let at = (f64::from(plans_done) + of_plan) / f64::from(work.iterations());
    work.progress
        .at(&stage, at * (1.0 - SYNTHESIS_SHARE))
        .await?;

    let planned = run.plan.steps[step].clone();
    let subtasks = planned.subtasks.iter().enumerate().map(|(at, subtask)| {
        let values = [
            ("task", work.request.as_str()),
            ("results", before.as_str()),
            ("step", planned.description.as_str()),
            ("subtask", subtask.description.as_str()),
        ];
        let prompt = work.prompts.fill(prompts::SUBTASK, &values);
        let label = format!("{stage}, subtask {}", at + 1);
        carry_out_subtask(work, tools, prompt, label)
    });
    // In order, so that those before one that is missing are known.
    let mut outcomes =
        stream::iter(subtasks.collect::<Vec<_>>()).buffered(work.limits.parallel_subtasks);
    run.steps.push(Vec::new());
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome?;
        run.steps[step].push(outcome);
    }
    Ok(())
}

/// One that fails is tried once more. What is wrong with the service, or a limit that was
/// reached, concerns the whole task.
async fn carry_out_subtask(
    work: &Work,
    tools: &Tools,
    prompt: String,
    label: String,
) -> Result<Outcome, Failure> {
    let mut failed = String::new();
    for _ in 0..TRIES {
        let turns = vec![Turn::user(prompt.clone())];
        let talk = Talk::new(work, tools.clone(), turns);
        match talk_to_end(work, talk, &label).await {
            Ok(done) => return Ok(done),
            Err(failure @ (Failure::Limit(_) | Failure::Call(_))) => return Err(failure),
            Err(failure) => failed = failure.to_string(),
        }
    }
    Ok(Outcome::Failed(failed))
}

async fn talk_to_end(work: &Work, mut talk: Talk<'_>, label: &str) -> Result<Outcome, Failure> {
    loop {
        let mut ear = work.thinking_ear(label);
        let mut reply = talk.ask(&mut ear).await;
        let mut block_id = ear.answer.seal().await?;
        if reply.as_ref().is_ok_and(|reply| talk.is_deaf(reply)) {
            let mut ear = work.thinking_ear(label);
            reply = talk.ask_without_tools(&mut ear).await;
            block_id = ear.answer.seal().await?;
        }
        match talk.go_on(reply?, &format!("{label}: ")).await? {
            Round::Called(_) => {}
            Round::Said(Said { text, .. }) => {
                let block_id = block_id.unwrap_or_default();
                return Ok(Outcome::Done { text, block_id });
            }
        }
    }
}

async fn synthesise(work: &Work, results: &Results, reason: StopReason) -> Result<Answer, Failure> {
    work.progress.at("synthesis", 1.0 - SYNTHESIS_SHARE).await?;
    let mut turns = Vec::new();
    turns.extend(work.system.as_ref().map(Turn::system));
    turns.extend_from_slice(&work.conversation);
    let so_far = results.in_words();
    let values = [("results", so_far.as_str())];
    turns.push(Turn::user(work.prompts.fill(prompts::SYNTHESIS, &values)));
    let prompt = Prompt {
        turns,
        ..Prompt::default()
    };
    let mut ear = work.answer_ear();
    let reply = work.ask(&prompt, &mut ear).await?;
    match (reply.text.trim().is_empty(), reply.reason()) {
        (true, why) => Err(Failure::Empty(why)),
        (false, StopReason::Done) => Ok(Answer::streamed(reason)),
        (false, why) => Ok(Answer::streamed(why)),
    }
}

/// Takes in what the attempts before have done. What can't be read begins anew.
async fn resume(work: &Work) -> Result<Results, Failure> {
    let Some(state) = work.left.state::<State>() else {
        return Ok(Results::default());
    };
    let kept = work.checkpoints.kept().await?;
    let results = Results::read(&state, &kept).await?.unwrap_or_default();
    let (state, kept) = results.saved();
    work.checkpoints.adopt(&state, kept);
    Ok(results)
}
