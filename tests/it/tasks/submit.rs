//! Tasks that are submitted with the message that they answer in.

use throughline::proto as v1;
use tonic::Code;

use crate::support::{
    World, claim_of, failure_of, fold, look_for, object, refusal, result_of, text_of, update_of,
};

use v1::{EventType, MessageState, TaskStatus};

fn submit() -> v1::SubmitTaskRequest {
    v1::SubmitTaskRequest {
        session_id: "s".into(),
        task_description: "Compare the two plans.".into(),
        workflow: v1::Workflow::Planner.into(),
        max_iterations: 3,
        ..Default::default()
    }
}

async fn world() -> World {
    let world = World::start().await;
    world.a().session("s").await;
    world
}

#[tokio::test]
async fn a_submitted_task_comes_with_its_message_in_one_commit() {
    let world = world().await;
    let answer = world.a().submit(submit()).await.unwrap();
    let task = answer.task.unwrap();
    assert_eq!(
        (task.task_type.as_str(), task.queue.as_str()),
        ("planner", "planner")
    );
    assert_eq!(
        (task.workflow(), task.max_iterations),
        (v1::Workflow::Planner, 3)
    );
    let params = object(serde_json::json!({ "task_description": "Compare the two plans." }));
    assert_eq!(task.params, Some(params));
    let message = world.b().get(&task.message_id).await.unwrap();
    assert_eq!(message.session_id, "s");
    assert_eq!(message.role(), v1::Role::Assistant);
    assert_eq!(message.state(), MessageState::Streaming);
    assert_eq!(message.tasks, std::slice::from_ref(&task));
    assert_eq!(message.blocks[0].content_type(), v1::ContentType::Text);
    let events = world.b().events(&task.message_id).await;
    let types: Vec<_> = events.iter().map(v1::Event::event_type).collect();
    use EventType::{ContentAdded, MessageStart, TaskStarted};
    assert_eq!(types, [MessageStart, ContentAdded, TaskStarted]);
    assert!(events.iter().all(|event| event.time == events[0].time));
    assert_eq!(answer.result.unwrap().cursor, message.cursor);
    assert_eq!(world.b().claim("planner").await.task_id, task.task_id);
}

#[tokio::test]
async fn the_answer_streams_in_the_place_of_the_placeholder_and_ends_the_message() {
    let world = world().await;
    let submitted = world.a().submit(submit()).await.unwrap().task.unwrap();
    let task = world.b().claim("planner").await;
    for delta in ["Plan A", " is better", "."] {
        world.b().append_with(text_of(&task, delta)).await.unwrap();
    }
    let done = update_of(&task, TaskStatus::Completed);
    world.b().update_task(done.clone()).await.unwrap();
    let message = world.a().get(&task.message_id).await.unwrap();
    assert_eq!(message.text, "Plan A is better.");
    assert_eq!(message.blocks.len(), 1);
    assert_eq!(message.blocks[0].block_id, submitted.block_id);
    assert_eq!(message.blocks[0].state(), v1::BlockState::Sealed);
    assert_eq!(message.state(), MessageState::Completed);
    assert_eq!(message.end_reason(), v1::EndReason::TaskEnded);
    let events = world.a().events(&task.message_id).await;
    let types: Vec<_> = events.iter().map(v1::Event::event_type).collect();
    use EventType::{ContentUpdated, MessageEnd, TaskCompleted};
    assert_eq!(
        types[types.len() - 3..],
        [ContentUpdated, TaskCompleted, MessageEnd]
    );
    let again = world.a().update_task(done).await.unwrap();
    assert!(again.result.unwrap().deduplicated);
}

#[tokio::test]
async fn the_message_ends_as_the_task_does() {
    let world = world().await;
    let submit = || v1::SubmitTaskRequest {
        max_attempts: 1,
        ..submit()
    };
    let clients = world.a();
    clients.submit(submit()).await.unwrap();
    let task = clients.claim("planner").await;
    clients
        .update_task(failure_of(&task, "no model"))
        .await
        .unwrap();
    let failed = clients.get(&task.message_id).await.unwrap();
    assert_eq!(failed.state(), MessageState::Failed);
    assert_eq!(failed.error, "ATTEMPTS_EXHAUSTED: no model");

    let task = clients.submit(submit()).await.unwrap().task.unwrap();
    let cancel = v1::CancelTaskRequest {
        message_id: task.message_id.clone(),
        task_id: task.task_id.clone(),
        ..Default::default()
    };
    clients.clone().tasks.cancel_task(cancel).await.unwrap();
    let cancelled = clients.get(&task.message_id).await.unwrap();
    assert_eq!(cancelled.state(), MessageState::Cancelled);
    assert_eq!(cancelled.tasks[0].status(), TaskStatus::Cancelled);

    let task = clients.submit(submit()).await.unwrap().task.unwrap();
    clients.complete(&task.message_id).await;
    let ended = clients.get(&task.message_id).await.unwrap();
    assert_eq!(ended.end_reason(), v1::EndReason::Client);
    assert_eq!(ended.tasks[0].status(), TaskStatus::Cancelled);
    assert!(clients.finds_nothing("planner").await);
}

#[tokio::test]
async fn a_repeat_submits_nothing_new() {
    let world = world().await;
    for message_id in ["", "chosen"] {
        let request = v1::SubmitTaskRequest {
            request_id: format!("r{message_id}"),
            message_id: message_id.into(),
            ..submit()
        };
        let first = world.a().submit(request.clone()).await.unwrap();
        let again = world.b().submit(request.clone()).await.unwrap();
        assert_eq!(again.task, first.task);
        let (first, again) = (first.result.unwrap(), again.result.unwrap());
        assert_eq!(again.cursor, first.cursor);
        assert!(again.deduplicated && !first.deduplicated);
        let other = v1::SubmitTaskRequest {
            max_iterations: 4,
            ..request
        };
        let reused = (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned());
        // Without a message the other one is a request for the same message.
        assert_eq!(refusal(world.b().submit(other).await), reused);
    }
    assert_eq!(
        world
            .a()
            .try_claim(look_for("planner"))
            .await
            .unwrap()
            .task
            .unwrap()
            .attempt,
        1
    );
    assert_eq!(
        world
            .a()
            .try_claim(look_for("planner"))
            .await
            .unwrap()
            .task
            .unwrap()
            .attempt,
        1
    );
    assert!(world.a().finds_nothing("planner").await);
}

#[tokio::test]
async fn a_task_may_be_submitted_to_a_message_that_there_is() {
    let world = world().await;
    world.a().create("m", v1::Role::Assistant).await.unwrap();
    let request = v1::SubmitTaskRequest {
        message_id: "m".into(),
        ..submit()
    };
    world.a().submit(request.clone()).await.unwrap();
    let task = world.b().claim("planner").await;
    world
        .b()
        .update_task(result_of(&task, "done"))
        .await
        .unwrap();
    let message = world.a().get("m").await.unwrap();
    assert_eq!(
        message.state(),
        MessageState::Streaming,
        "it is not the task's"
    );
    assert_eq!(message.text, "done");
    world.a().complete("m").await;
    let terminal = (Code::FailedPrecondition, "MESSAGE_TERMINAL".to_owned());
    assert_eq!(refusal(world.a().submit(request.clone()).await), terminal);
    world.a().session("another").await;
    let elsewhere = v1::SubmitTaskRequest {
        session_id: "another".into(),
        ..request
    };
    let unknown = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
    assert_eq!(refusal(world.a().submit(elsewhere).await), unknown);
}

#[tokio::test]
async fn a_task_is_submitted_to_an_open_session_only() {
    let world = world().await;
    let unknown = v1::SubmitTaskRequest {
        session_id: "unknown".into(),
        ..submit()
    };
    let not_found = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    assert_eq!(refusal(world.a().submit(unknown).await), not_found);
    let close = v1::CloseSessionRequest {
        session_id: "s".into(),
    };
    world
        .a()
        .sessions
        .clone()
        .close_session(close)
        .await
        .unwrap();
    let closed = (Code::FailedPrecondition, "SESSION_CLOSED".to_owned());
    assert_eq!(refusal(world.a().submit(submit()).await), closed);
}

#[tokio::test]
async fn a_repeated_attempt_leaves_nothing_of_the_one_before_in_the_answer() {
    let world = world().await;
    world.a().submit(submit()).await.unwrap();
    let first = world.a().claim("planner").await;
    world
        .a()
        .append_with(text_of(&first, "A draft"))
        .await
        .unwrap();
    world
        .a()
        .update_task(failure_of(&first, "no luck"))
        .await
        .unwrap();
    let kept = world.b().get(&first.message_id).await.unwrap();
    assert_eq!(
        kept.text, "A draft",
        "until there is somebody to write another"
    );
    let second = world.b().try_claim(claim_of("planner")).await.unwrap();
    let second = second.task.unwrap();
    assert_eq!(world.b().get(&first.message_id).await.unwrap().text, "");
    world
        .b()
        .append_with(text_of(&second, "The answer"))
        .await
        .unwrap();
    let done = update_of(&second, TaskStatus::Completed);
    world.b().update_task(done).await.unwrap();
    let message = world.a().get(&first.message_id).await.unwrap();
    assert_eq!(message.text, "The answer");
    let folded = fold(&world.a().events(&first.message_id).await);
    assert_eq!(folded.blocks.len(), 1);
}
