//! What came of the plans so far: for the planner, for the next attempt, and as the best
//! there is where a limit was reached.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::worker::{checkpoint::Kept, client::CallError, output::cut};

/// What of a failure's text is saved.
const FAILURE_BYTES_MAX: usize = 200;

/// What a checkpoint says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct State {
    plans: Vec<SavedPlan>,
}

/// A plan's block, and what came of each subtask of its finished steps.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct SavedPlan {
    plan: String,
    steps: Vec<Vec<SavedResult>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum SavedResult {
    /// The block that holds it.
    Done(String),
    /// Why there is none.
    Failed(String),
}

/// What came of a subtask.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Done { text: String, block_id: String },
    Failed(String),
}

/// A plan that is carried out.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) block_id: String,
    /// Of each finished step, by subtask. The last may be unfinished where a limit was
    /// reached.
    pub(super) steps: Vec<Vec<Outcome>>,
}

/// All plans of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Results(pub(super) Vec<Run>);

impl Results {
    /// Reads what the attempts before have left; none where something is gone.
    pub(super) async fn read(state: &State, kept: &Kept) -> Result<Option<Self>, CallError> {
        let mut runs = Vec::new();
        for saved in &state.plans {
            let plan = kept.text(&saved.plan).await?;
            let plan: Option<Plan> = plan.and_then(|text| serde_json::from_str(&text).ok());
            let Some(plan) = plan else { return Ok(None) };
            let mut steps = Vec::new();
            for step in &saved.steps {
                let mut outcomes = Vec::new();
                for saved in step {
                    outcomes.push(match saved {
                        SavedResult::Failed(why) => Outcome::Failed(why.clone()),
                        SavedResult::Done(id) => match kept.text(id).await? {
                            Some(text) => Outcome::Done {
                                text,
                                block_id: id.clone(),
                            },
                            None => return Ok(None),
                        },
                    });
                }
                steps.push(outcomes);
            }
            runs.push(Run {
                plan,
                block_id: saved.plan.clone(),
                steps,
            });
        }
        Ok(Some(Self(runs)))
    }

    /// What the next attempt needs, and the blocks that hold it.
    pub(super) fn saved(&self) -> (State, Vec<String>) {
        let mut kept = Vec::new();
        let mut plans = Vec::new();
        for run in &self.0 {
            kept.push(run.block_id.clone());
            let save = |outcome: &Outcome| match outcome {
                Outcome::Done { block_id, .. } => SavedResult::Done(block_id.clone()),
                Outcome::Failed(why) => SavedResult::Failed(cut(why, FAILURE_BYTES_MAX).to_owned()),
            };
            let steps = run.steps.iter();
            let steps = steps.map(|step| step.iter().map(save).collect());
            plans.push(SavedPlan {
                plan: run.block_id.clone(),
                steps: steps.collect(),
            });
            let outcomes = run.steps.iter().flatten();
            kept.extend(outcomes.filter_map(|outcome| match outcome {
                Outcome::Done { block_id, .. } => Some(block_id.clone()),
                Outcome::Failed(_) => None,
            }));
        }
        (State { plans }, kept)
    }

    /// All that was done and that failed, in words.
    pub(super) fn in_words(&self) -> String {
        let mut words = String::new();
        for (step, run, at) in self.steps() {
            let planned = &run.plan.steps[at];
            let _ = writeln!(words, "## {}\n", planned.description);
            for (subtask, outcome) in planned.subtasks.iter().zip(step) {
                let _ = writeln!(words, "### {}\n", subtask.description);
                let _ = match outcome {
                    Outcome::Done { text, .. } => writeln!(words, "{text}\n"),
                    Outcome::Failed(why) => writeln!(words, "FAILED: {why}\n"),
                };
            }
        }
        match words.is_empty() {
            true => "Nothing yet.".to_owned(),
            false => words.trim_end().to_owned(),
        }
    }

    /// The best there is without a synthesis; none where nothing was done.
    pub(super) fn salvage(&self) -> Option<String> {
        let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. });
        let has_some = self.steps().any(|(step, ..)| step.iter().any(is_done));
        has_some.then(|| self.in_words())
    }

    /// What came of each step, with its plan and its place there.
    fn steps(&self) -> impl Iterator<Item = (&Vec<Outcome>, &Run, usize)> {
        self.0.iter().flat_map(|run| {
            let planned = run.plan.steps.len();
            let steps = run.steps.iter().take(planned).enumerate();
            steps.map(move |(at, step)| (step, run, at))
        })
    }
}

impl Run {
    /// The next step to be carried out; none where all are done.
    pub(super) fn next_step(&self) -> Option<usize> {
        (self.steps.len() < self.plan.steps.len()).then_some(self.steps.len())
    }
}
