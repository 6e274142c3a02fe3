//! What is left as the answer where something is used up.

use std::iter;

use serde_json::json;
use throughline::proto::{
    self as v1, ContentType, StopReason, TaskStatus::Completed, Workflow::Critic, Workflow::Simple,
};

use super::{
    endpoint::{Act, Asked, delta, finish, say},
    stage::{Stage, limit, request},
};
use crate::support::{object, start_of, text_block};

/// Says something, and calls a tool that there is not.
fn says_and_calls(text: &str) -> Act {
    let call = json!({"id": "x", "function": {"name": "no__tool", "arguments": "{}"}});
    Act::Events(vec![
        delta(text),
        json!({"choices": [{"delta": {"tool_calls": [call]}}]}),
        finish("tool_calls"),
    ])
}

#[tokio::test]
async fn a_draft_that_nobody_could_judge_is_better_than_nothing() {
    let stage = Stage::set(|_, _| say("The draft.")).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_calls", 1),
        ..request(Critic, "Write.")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Budget, "The draft.")
    );
}

#[tokio::test]
async fn what_attempts_before_have_said_is_not_forgotten() {
    let script = |_: &Asked, number| match number {
        0 => says_and_calls("So far: 4. "),
        1 => Act::Call(vec![("no__tool", "{}")]),
        _ => Act::Events(vec![delta("Half an ans")]),
    };
    let stage = Stage::set(script).await;
    let task = v1::SubmitTaskRequest {
        max_attempts: 3,
        params: limit("max_calls", 3),
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Budget, "So far: 4.")
    );
    assert_eq!(ended.task.attempt, 2);
}

#[tokio::test]
async fn a_message_that_takes_no_more_blocks_leaves_the_best_there_is() {
    let mut stage = Stage::without_worker(|_, _| says_and_calls("So far: 4. ")).await;
    let clients = stage.clients();
    let message = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::Assistant.into(),
        blocks: vec![text_block("x"); 999],
        ..Default::default()
    };
    clients
        .messages
        .clone()
        .create_message(message)
        .await
        .unwrap();
    let task = v1::StartTaskRequest {
        params: Some(object(json!({"task_description": "Hi"}))),
        ..start_of("m", "t", "simple")
    };
    let task = clients.start(task).await.unwrap();
    stage.hire(&[]);
    let ended = stage.ended(&task).await;
    assert_eq!(ended.task.status(), Completed, "{}", ended.task.error);
    assert_eq!(ended.reason(), StopReason::Budget);
    assert!(ended.message.text.contains("So far: 4."));
}

#[tokio::test]
async fn what_is_more_than_sixteen_calls_of_a_round_is_not_even_written() {
    let many = || iter::repeat_n(("no__tool", "{}"), 500).collect();
    let stage = Stage::set(move |_, number| match number {
        0 => Act::Call(many()),
        _ => say("Enough."),
    })
    .await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "Enough."));
    let of = |kind| ended.kinds().iter().filter(|other| **other == kind).count();
    assert_eq!(of(ContentType::ToolCall), 16);
    assert_eq!(of(ContentType::ToolResult), 16);
    assert_eq!(ended.usage().tool_calls, 16);
    let asked = stage.model.asked().remove(1);
    assert!(asked.last().contains("484 more calls"), "{}", asked.last());
}
