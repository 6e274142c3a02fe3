//! The workflow simple, and the models that make it hard.

use std::time::Duration;

use serde_json::json;
use throughline::proto::{
    self as v1, ContentType, StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::Simple,
};

use super::{
    endpoint::{Act, delta, finish, say},
    stage::{Ended, Stage, limit, request},
};

#[tokio::test]
async fn an_answer_streams_into_the_tasks_own_block_with_what_it_took() {
    let stage = Stage::set(|_, _| say("Hello there, you.")).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "Hello there, you.")
    );
    assert_eq!(ended.message.blocks[0].block_id, ended.task.block_id);
    assert_eq!(ended.kinds(), [ContentType::Text]);
    let usage = ended.usage();
    let counted = (usage.model_calls, usage.input_tokens, usage.output_tokens);
    assert_eq!(counted, (1, 7, 5));
    assert_eq!(stage.model.asked().len(), 1);
}

#[tokio::test]
async fn the_session_so_far_is_told_and_the_request_comes_last_and_once() {
    let stage = Stage::set(|_, _| say("Fine.")).await;
    let clients = stage.clients();
    clients.say("s", v1::Role::User, "My name is Ann.").await;
    clients.say("s", v1::Role::Assistant, "Hello Ann.").await;
    clients.say("s", v1::Role::User, "Who am I?").await;
    stage.done(Simple, "Who am I?").await;
    let asked = stage.model.asked().remove(0);
    let turns = asked.body["messages"].as_array().unwrap()[1..].to_vec();
    let expected = [
        json!({"role": "user", "content": "My name is Ann."}),
        json!({"role": "assistant", "content": "Hello Ann."}),
        json!({"role": "user", "content": "Who am I?"}),
    ];
    assert_eq!(turns, expected);
}

#[tokio::test]
async fn a_round_calls_tools_and_what_it_said_before_is_not_the_answer() {
    let stage = Stage::set(|_, number| match number {
        0 => Act::Events(vec![
            delta("Let me look. "),
            json!({"choices": [{"delta": {"tool_calls": [
                {"id": "x", "function": {"name": "no__tool", "arguments": "{}"}}]}}]}),
            finish("stop"),
        ]),
        _ => say("There is no such tool."),
    })
    .await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "There is no such tool.")
    );
    let kinds = [
        ContentType::Text,
        ContentType::ToolCall,
        ContentType::ToolResult,
        ContentType::Thinking,
    ];
    assert_eq!(ended.kinds(), kinds);
    let second = stage.model.asked().remove(1);
    assert_eq!(second.body["messages"][3]["tool_call_id"], "x");
    assert!(second.last().contains("no__tool"), "{}", second.last());
    assert_eq!(ended.usage().tool_calls, 1);
}

#[tokio::test]
async fn a_new_attempt_knows_what_the_tools_have_said() {
    let stage = Stage::set(|_, number| match number {
        0 => Act::Call(vec![("no__tool", "{}")]),
        1 | 2 => Act::Events(vec![delta("Half an ans")]),
        _ => say("The whole answer."),
    })
    .await;
    let task = v1::SubmitTaskRequest {
        max_attempts: 3,
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "The whole answer.")
    );
    let usage = ended.usage();
    assert_eq!((usage.model_calls, usage.tool_calls), (4, 1));
    for again in [2, 3] {
        let asked = stage.model.asked().remove(again);
        assert!(asked.last().contains("no__tool"), "{}", asked.last());
    }
}

#[tokio::test]
async fn endless_tools_end_with_one_call_more_than_there_are_rounds() {
    let endless = |_: &_, _| Act::Call(vec![("no__tool", "{}"), ("bad__json", "{")]);
    let stage = Stage::set(endless).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_tool_rounds", 2),
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(stage.model.asked().len(), 3);
    assert_eq!(ended.task.status(), Failed);
    assert!(
        ended.task.error.starts_with("EMPTY_OUTPUT: "),
        "{}",
        ended.task.error
    );
}

#[tokio::test]
async fn limits_that_are_reached_give_the_best_there_is() {
    let script = |_: &_, _| {
        Act::Events(vec![
            delta("So far: 4. "),
            json!({"choices": [{"delta": {"tool_calls": [
                {"id": "x", "function": {"name": "no__tool", "arguments": "{}"}}]}}]}),
            finish("tool_calls"),
        ])
    };
    let stage = Stage::set(script).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_calls", 2),
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Budget, "So far: 4.")
    );
    assert_eq!(stage.model.asked().len(), 2);

    let slow = |_: &_, _| Act::Hang("Half an ans");
    let stage = Stage::with(&["--max-time", "500ms"], slow).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Deadline, "Half an ans")
    );
    // So does the task's own time, before the service would fail it.
    let stage = Stage::set(slow).await;
    let task = v1::SubmitTaskRequest {
        timeout: prost_types::Duration::try_from(Duration::from_secs(2)).ok(),
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Deadline, "Half an ans")
    );
    let nothing = |_: &_, _| Act::Hang("");
    let stage = Stage::with(&["--max-time", "500ms"], nothing).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(ended.result(), (Failed, StopReason::Deadline, ""));
}

/// What becomes of a task of one attempt with a model that does this on each call.
async fn with(script: impl Fn(usize) -> Act + Send + Sync + 'static) -> (Ended, usize) {
    let flags = [
        "--llm-first-token-timeout",
        "300ms",
        "--llm-token-timeout",
        "300ms",
    ];
    let stage = Stage::with(&flags, move |_, number| script(number)).await;
    let ended = stage.done(Simple, "Hi").await;
    assert!(!ended.is_empty_success(), "{ended:?}");
    (ended, stage.model.asked().len())
}

#[tokio::test]
async fn what_fails_before_the_first_token_is_asked_for_again() {
    for status in [500, 429, 503] {
        let (ended, calls) = with(move |number| match number {
            0 | 1 => Act::Status(status, "retry-after: 0\r\n"),
            _ => say("At last."),
        })
        .await;
        assert_eq!(ended.result(), (Completed, StopReason::Done, "At last."));
        assert_eq!(calls, 3);
        assert_eq!(ended.usage().model_calls, 1);

        let (ended, calls) = with(move |_| Act::Status(status, "")).await;
        assert_eq!((ended.task.status(), calls), (Failed, 4));
        assert!(ended.task.error.starts_with("ATTEMPTS_EXHAUSTED: "));
    }
}

#[tokio::test]
async fn what_is_refused_is_not_asked_for_again() {
    for status in [400, 401, 404] {
        let (ended, calls) = with(move |_| Act::Status(status, "")).await;
        assert_eq!((ended.task.status(), calls), (Failed, 1));
        // For good: not for want of attempts.
        assert!(ended.task.error.contains(&status.to_string()));
        assert!(!ended.task.error.starts_with("ATTEMPTS_EXHAUSTED"));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_fails_the_attempt_and_keeps_the_text() {
    let error = json!({"error": {"message": "overloaded"}});
    for script in [
        Act::Events(vec![delta("Half an ans")]),
        Act::Events(vec![delta("Half an ans"), error]),
        Act::Hang("Half an ans"),
    ] {
        let (ended, calls) = with(move |_| script.clone()).await;
        assert_eq!(ended.result(), (Failed, StopReason::Error, "Half an ans"));
        assert_eq!(calls, 1);
        assert!(
            ended
                .task
                .error
                .starts_with("ATTEMPTS_EXHAUSTED: the model failed: ")
        );
    }
}

#[tokio::test]
async fn silence_and_empty_answers_are_failures() {
    let (ended, _) = with(|_| Act::Hang("")).await;
    assert_eq!(ended.task.status(), Failed);
    for reason in ["stop", "length", "content_filter"] {
        let (ended, _) = with(move |_| Act::Events(vec![delta(" \n"), finish(reason)])).await;
        assert!(ended.task.error.starts_with("EMPTY_OUTPUT: "), "{reason}");
    }
}

#[tokio::test]
async fn odd_servers_are_understood() {
    let done = |reason: &'static str| move |_| Act::Events(vec![delta("Yes."), finish(reason)]);
    let (ended, _) = with(done("eos")).await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "Yes."));
    let (ended, _) = with(done("length")).await;
    assert_eq!(ended.result(), (Completed, StopReason::Length, "Yes."));
    let (ended, _) = with(done("content_filter")).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::ContentFilter, "Yes.")
    );
    let thought = json!({"choices": [{"delta": {"content": null, "reasoning_content": "Hm"}}]});
    let (ended, _) =
        with(move |_| Act::Events(vec![thought.clone(), delta("Yes."), finish("stop")])).await;
    assert_eq!(ended.message.text, "Yes.");
    assert_eq!(ended.kinds(), [ContentType::Text, ContentType::Thinking]);
}

#[tokio::test]
async fn a_task_may_not_ask_for_what_the_worker_does_not_allow() {
    let stage = Stage::set(|_, _| say("Yes.")).await;
    let model = prost_types::value::Kind::StringValue("dear".into());
    let task = v1::SubmitTaskRequest {
        params: Some(prost_types::Struct {
            fields: [("model".to_owned(), prost_types::Value { kind: Some(model) })].into(),
        }),
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert!(
        ended.task.error.starts_with("INVALID_TASK: "),
        "{}",
        ended.task.error
    );
    assert!(stage.model.asked().is_empty());
}
