//! The workflow critic: how often it asks, and which draft is the answer.

use serde_json::json;
use throughline::proto::{
    self as v1, ContentType, StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::Critic,
};

use super::{
    endpoint::{Act, Asked, say, say_json},
    stage::{Stage, judgement, limit, request},
};

/// Drafts are numbered, and rated one after the other.
fn rated(ratings: &'static [&'static str]) -> impl Fn(&Asked, usize) -> Act + Send + Sync {
    move |asked, number| match asked.shape() {
        Some("judgement") => say_json(&judgement(ratings[number / 2])),
        _ => say(format!("draft {}", number / 2)),
    }
}

fn of_iterations(max_iterations: u32) -> v1::SubmitTaskRequest {
    v1::SubmitTaskRequest {
        max_iterations,
        ..request(Critic, "Write.")
    }
}

#[tokio::test]
async fn every_draft_is_judged_and_the_best_is_the_answer() {
    for (ratings, iterations, calls, reason, best) in [
        (&["GOOD"][..], 3, 2, StopReason::Done, "draft 0"),
        (&["POOR", "EXCELLENT"], 3, 4, StopReason::Done, "draft 1"),
        (
            &["FAIR", "POOR", "FAIR"],
            2,
            6,
            StopReason::MaxIterations,
            "draft 2",
        ),
        (
            &["FAIR", "POOR", "POOR", "POOR"],
            0,
            8,
            StopReason::MaxIterations,
            "draft 0",
        ),
    ] {
        let stage = Stage::set(rated(ratings)).await;
        let task = stage.submit_with(of_iterations(iterations)).await;
        let ended = stage.ended(&task).await;
        assert_eq!(ended.result(), (Completed, reason, best));
        let asked = stage.model.asked();
        let judged = asked.iter().filter(|asked| asked.shape().is_some()).count();
        assert_eq!((asked.len(), judged), (calls, calls / 2));
        let drafts = ended.kinds();
        let of = |kind| drafts.iter().filter(|other| **other == kind).count();
        assert_eq!(of(ContentType::Thinking), calls / 2);
        assert_eq!(of(ContentType::Json), calls / 2);
    }
}

#[tokio::test]
async fn a_judge_who_is_not_understood_is_asked_once_more() {
    let fenced = |asked: &Asked, number| match (asked.shape(), number) {
        (None, _) => say("draft"),
        (_, 1) => say("I like it."),
        _ => say(format!("```json\n{}\n```", judgement("good"))),
    };
    let stage = Stage::set(fenced).await;
    let ended = stage.done(Critic, "Write.").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "draft"));
    let asked = stage.model.asked();
    assert_eq!(asked.len(), 3);
    assert!(
        asked[2].last().contains("no JSON object"),
        "{}",
        asked[2].last()
    );

    let stubborn = |_: &Asked, _| say("I like it.");
    let stage = Stage::set(stubborn).await;
    let ended = stage.done(Critic, "Write.").await;
    assert_eq!(ended.task.status(), Failed);
    assert!(
        ended.task.error.contains("BAD_JSON"),
        "{}",
        ended.task.error
    );
    assert_eq!(stage.model.asked().len(), 3);
}

#[tokio::test]
async fn a_server_that_knows_no_shapes_is_told_in_words() {
    let plain = |asked: &Asked, _| match asked.shape() {
        Some(_) => Act::Status(400, ""),
        None if asked.last().contains("JSON schema") => say_json(&judgement("GOOD")),
        None => say("draft"),
    };
    let stage = Stage::set(plain).await;
    for calls in [3, 5] {
        let ended = stage.done(Critic, "Write.").await;
        assert_eq!(ended.result(), (Completed, StopReason::Done, "draft"));
        // It is asked in vain only once.
        assert_eq!(stage.model.asked().len(), calls);
        assert_eq!(ended.usage().model_calls, 2);
    }
}

#[tokio::test]
async fn a_budget_that_is_used_up_leaves_the_best_draft() {
    let stage = Stage::set(rated(&["POOR", "FAIR", "POOR"])).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_calls", 4),
        ..of_iterations(3)
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(ended.result(), (Completed, StopReason::Budget, "draft 1"));
    assert_eq!(stage.model.asked().len(), 4);
}

#[tokio::test]
async fn new_attempts_do_not_write_again_what_was_judged() {
    let breaks_twice = |asked: &Asked, number| match (asked.shape(), number) {
        (_, 2 | 3) => Act::Events(vec![json!({"choices": [{"delta": {"content": "dra"}}]})]),
        (Some(_), 1) => say_json(&judgement("POOR")),
        (Some(_), _) => say_json(&judgement("GOOD")),
        (None, _) => say(format!("draft {number}")),
    };
    let stage = Stage::set(breaks_twice).await;
    let task = v1::SubmitTaskRequest {
        max_attempts: 3,
        ..of_iterations(3)
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "draft 4"));
    assert_eq!(ended.task.attempt, 3);
    // Of all attempts: draft, judge, the two that broke off, draft, judge.
    assert_eq!(ended.usage().model_calls, 6);
    let asked = stage.model.asked();
    assert_eq!(asked.len(), 6);
    for again in [3, 4] {
        assert!(
            asked[again].last().contains("POOR"),
            "{}",
            asked[again].last()
        );
    }
}
