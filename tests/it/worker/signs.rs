//! How the end of an answer is known, and what is told of one that fails.

use std::{fs, time::Duration};

use serde_json::json;
use throughline::proto::{
    StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::Simple,
};

use super::{
    endpoint::{Act, delta, finish},
    stage::Stage,
};

#[tokio::test]
async fn an_answer_that_has_its_end_stands_whatever_becomes_of_the_connection() {
    let whole = || vec![delta("Yes."), finish("stop")];
    let error = json!({"error": {"message": "overloaded"}});
    for script in [
        Act::Break(whole()),
        Act::Stall(whole()),
        Act::Events([whole(), vec![error]].concat()),
    ] {
        let flags = ["--llm-token-timeout", "300ms"];
        let said = script.clone();
        let stage = Stage::with(&flags, move |_, _| said.clone()).await;
        let ended = stage.done(Simple, "Hi").await;
        let expected = (Completed, StopReason::Done, "Yes.");
        assert_eq!(ended.result(), expected, "{script:?}");
        assert_eq!(stage.model.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_piece_that_says_it_is_the_last_may_not_be() {
    // As Gemini's, behind some proxies.
    let piece =
        |text: &str| json!({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]});
    let pieces: Vec<_> = ["One, ", "two, ", "three."].map(piece).into();
    let slow = Duration::from_millis(1_200);
    let stage = Stage::set(move |_, _| Act::Slowly(pieces.clone(), slow)).await;
    let ended = stage.done(Simple, "Count.").await;
    let expected = (Completed, StopReason::Done, "One, two, three.");
    assert_eq!(ended.result(), expected);
}

#[tokio::test]
async fn events_that_say_nothing_and_lines_that_nobody_knows_end_nothing() {
    let odd = concat!(
        "nonsense\nother: x\nretry: soon\n\ndata:\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Yes.\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n",
    );
    let stage = Stage::set(move |_, _| Act::Raw(odd)).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "Yes."));
}

#[tokio::test]
async fn a_model_that_is_asked_very_often_is_asked_no_less_often() {
    let flags = ["--llm-retries", "70"];
    let stage = Stage::with(&flags, |_, _| Act::Status(503, "")).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(ended.task.status(), Failed);
    assert_eq!(stage.model.asked().len(), 71);
}

#[tokio::test]
async fn an_error_within_an_answer_is_told_briefly_and_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, "sk-1234").unwrap();
    let flags = ["--llm-key-file", file.to_str().unwrap()];
    let text = format!("bad key sk-1234: {}", "x".repeat(2_000));
    let error = json!({"error": {"message": text}});
    let stage = Stage::with(&flags, move |_, _| Act::Events(vec![error.clone()])).await;
    let error = stage.done(Simple, "Hi").await.task.error;
    assert!(error.contains("bad key [redacted]"), "{error}");
    assert!(!error.contains("sk-1234") && error.len() < 700, "{error}");
}
