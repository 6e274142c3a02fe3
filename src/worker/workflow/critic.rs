//! critic: a draft, a judge, and better drafts until one is good.

use serde::{Deserialize, Serialize};

use super::{
    Answer, Work,
    judgement::{Judgement, Rating},
    structured,
};
use crate::{
    proto::StopReason,
    worker::{
        checkpoint::Kept,
        client::CallError,
        failure::Failure,
        llm::request::{Prompt, Turn},
        progress::share,
        prompts,
    },
};

/// What a checkpoint says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct State {
    drafts: Vec<SavedDraft>,
}

/// The blocks of a draft and of its judgement.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct SavedDraft {
    draft: String,
    judgement: String,
    is_cut: bool,
}

impl State {
    fn blocks(&self) -> Vec<String> {
        let of_draft = |draft: &SavedDraft| [draft.draft.clone(), draft.judgement.clone()];
        self.drafts.iter().flat_map(of_draft).collect()
    }
}

/// A draft that was judged.
#[derive(Clone)]
struct Judged {
    text: String,
    judgement: Judgement,
    /// It reached its greatest length.
    is_cut: bool,
}

pub(super) async fn run(work: &Work) -> Result<Answer, Failure> {
    let (mut state, mut judged) = resume(work).await?;
    let drafts_max = work.iterations().saturating_add(1) as usize;
    loop {
        let is_good = judged
            .last()
            .is_some_and(|last| last.judgement.rating >= Rating::Good);
        if is_good || judged.len() >= drafts_max {
            let reason = match is_good {
                true => StopReason::Done,
                false => StopReason::MaxIterations,
            };
            return Ok(answer(&judged, reason));
        }
        let stage = Stage {
            number: judged.len() + 1,
            drafts_max,
        };
        let mut drafted = None;
        let next = draft_and_judge(work, judged.last(), stage, &mut drafted).await;
        let (saved, next) = match next {
            Ok(next) => next,
            // A refinement that says nothing is no reason to lose what there is.
            Err(Failure::Empty(_)) if !judged.is_empty() => {
                return Ok(answer(&judged, StopReason::Error));
            }
            Err(failure) => {
                // A draft that nobody has judged is better than none.
                let best = best(&judged).map(|best| best.text.clone());
                return work.salvage(failure, best.or(drafted));
            }
        };
        state.drafts.push(saved);
        judged.push(next);
        work.checkpoints
            .save(&state, state.blocks(), &work.meter)
            .await?;
    }
}

/// Which draft it is, of how many.
#[derive(Clone, Copy)]
struct Stage {
    number: usize,
    drafts_max: usize,
}

impl Stage {
    /// How much of the whole that many calls are.
    fn share(self, calls: usize) -> f64 {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        share(count(calls), count(self.drafts_max * 2))
    }
}

/// The next draft and its judgement. The draft is known as soon as it is finished.
async fn draft_and_judge(
    work: &Work,
    last: Option<&Judged>,
    stage: Stage,
    drafted: &mut Option<String>,
) -> Result<(SavedDraft, Judged), Failure> {
    let number = stage.number;
    let name = format!("draft {number}");
    work.progress.at(&name, stage.share(number * 2 - 2)).await?;
    let prompt = Prompt {
        turns: turns(work, last),
        ..Prompt::default()
    };
    let mut ear = work.thinking_ear(&name);
    let reply = work.ask(&prompt, &mut ear).await?;
    let draft = ear.answer.seal().await?;
    let (Some(draft), false) = (draft, reply.text.trim().is_empty()) else {
        return Err(Failure::Empty(reply.reason()));
    };
    *drafted = Some(reply.text.clone());

    let name = format!("judge {number}");
    work.progress.at(&name, stage.share(number * 2 - 1)).await?;
    let judgement = judge(work, &reply.text).await?;
    let value = serde_json::to_value(&judgement).unwrap_or_default();
    let saved = SavedDraft {
        draft,
        judgement: work.output.add_json(&name, &value).await?,
        is_cut: reply.reason() == StopReason::Length,
    };
    let judged = Judged {
        is_cut: saved.is_cut,
        text: reply.text,
        judgement,
    };
    Ok((saved, judged))
}

/// What the writer is told: the conversation, and what the judge said last.
fn turns(work: &Work, last: Option<&Judged>) -> Vec<Turn> {
    let mut turns = work.opening(prompts::DRAFT);
    if let Some(last) = last {
        let judgement = &last.judgement;
        let areas = judgement.focus_areas.iter().map(|area| format!("- {area}"));
        let areas = areas.collect::<Vec<_>>().join("\n");
        let values = [
            ("rating", judgement.rating.name()),
            ("feedback", &judgement.feedback),
            ("focus_areas", &areas),
        ];
        turns.push(Turn::assistant(&last.text));
        turns.push(Turn::user(work.prompts.fill(prompts::REFINE, &values)));
    }
    turns
}

async fn judge(work: &Work, draft: &str) -> Result<Judgement, Failure> {
    let values = [("task", work.request.as_str()), ("draft", draft)];
    let turns = vec![Turn::user(work.prompts.fill(prompts::JUDGE, &values))];
    structured::ask(work, turns, Judgement::SHAPE, |_| Ok(())).await
}

/// The best by rating; of several the latest.
fn best(judged: &[Judged]) -> Option<&Judged> {
    judged.iter().max_by_key(|judged| judged.judgement.rating)
}

/// The best draft. There is one.
fn answer(judged: &[Judged], reason: StopReason) -> Answer {
    let best = best(judged);
    let reason = match best.is_some_and(|best| best.is_cut) {
        true => StopReason::Length,
        false => reason,
    };
    Answer::of(best.map_or("", |best| &best.text), reason)
}

/// Takes in what the attempts before have done. What can't be read begins anew.
async fn resume(work: &Work) -> Result<(State, Vec<Judged>), Failure> {
    let Some(state) = work.left.state::<State>() else {
        return Ok(Default::default());
    };
    let kept = work.checkpoints.kept().await?;
    let mut judged = Vec::new();
    for saved in &state.drafts {
        judged.extend(read(&kept, saved).await?);
    }
    let is_whole = judged.len() == state.drafts.len();
    let (state, judged) = match is_whole {
        true => (state, judged),
        false => Default::default(),
    };
    work.checkpoints.adopt(&state, state.blocks());
    Ok((state, judged))
}

/// A draft that was judged; none where a block of it is gone.
async fn read(kept: &Kept, saved: &SavedDraft) -> Result<Option<Judged>, CallError> {
    let text = kept.text(&saved.draft).await?;
    let judgement = kept.text(&saved.judgement).await?;
    let judgement = judgement.and_then(|text| serde_json::from_str(&text).ok());
    Ok(text.zip(judgement).map(|(text, judgement)| Judged {
        text,
        judgement,
        is_cut: saved.is_cut,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, rating: Rating) -> Judged {
        Judged {
            text: text.to_owned(),
            judgement: Judgement {
                rating,
                feedback: String::new(),
                focus_areas: Vec::new(),
            },
            is_cut: false,
        }
    }

    #[test]
    fn the_best_draft_is_the_answer_and_of_several_the_latest() {
        let drafts = [
            judged("a", Rating::Fair),
            judged("b", Rating::Fair),
            judged("c", Rating::Poor),
        ];
        let answer = answer(&drafts, StopReason::MaxIterations);
        assert_eq!(answer, Answer::of("b", StopReason::MaxIterations));
    }
}
