//! How tasks end, and what their ends allow.

use throughline::proto::{self as v1, content_block::Content};
use tonic::Code;

use super::{cancel, completed, started, terminal, types, update};
use crate::support::{World, image_block, object, refusal, text_block};

use v1::TaskStatus::{Cancelled, Completed, Failed, Pending, Processing};

#[tokio::test]
async fn a_task_that_fails_says_why_in_its_block() {
    let world = World::start().await;
    started(&world).await;
    let failed = v1::UpdateTaskRequest {
        error: "out of paint".into(),
        ..update(Failed)
    };
    let answer = world.a().update_task(failed.clone()).await.unwrap();
    let task = answer.task.unwrap();
    assert_eq!(
        (task.status(), task.error.as_str()),
        (Failed, "out of paint")
    );
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.blocks[0].error, "out of paint");
    assert_eq!(message.blocks[0].state(), v1::BlockState::Sealed);
    assert_eq!(message.blocks[0].content, None);
    assert_eq!(message.state(), v1::MessageState::Streaming, "it goes on");
    use v1::EventType::{ContentUpdated, TaskFailed};
    assert_eq!(types(&world.a()).await[3..], [ContentUpdated, TaskFailed]);

    let again = world.b().update_task(failed.clone()).await.unwrap();
    assert!(again.result.unwrap().deduplicated);
    let otherwise = v1::UpdateTaskRequest {
        error: "out of canvas".into(),
        ..failed
    };
    assert_eq!(refusal(world.b().update_task(otherwise).await), terminal());
}

#[tokio::test]
async fn a_terminal_update_repeated_identically_is_ok_and_any_other_is_refused() {
    for size in [100, 20_000] {
        let world = World::start().await;
        started(&world).await;
        let clients = world.a();
        let metadata = |n: u8| Some(object(serde_json::json!({ "n": n })));
        let done = v1::UpdateTaskRequest {
            status_text: Some("drawn".into()),
            ..completed(v1::ContentBlock {
                metadata: metadata(1),
                ..image_block(vec![7; size])
            })
        };
        let first = clients.update_task(done.clone()).await.unwrap();
        let again = world.b().update_task(done.clone()).await.unwrap();
        assert!(again.result.as_ref().unwrap().deduplicated);
        assert_eq!(again.task, first.task);
        assert_eq!(again.result.unwrap().cursor, first.result.unwrap().cursor);

        let other_bytes = completed(image_block(vec![8; size]));
        let other_length = completed(image_block(vec![7; size + 1]));
        let other_kind = completed(text_block("a cat"));
        let mut other_caption = done.clone();
        match &mut other_caption.content.as_mut().unwrap().content {
            Some(Content::Image(image)) => image.caption = "another".into(),
            other => panic!("{other:?}"),
        }
        let mut other_metadata = done.clone();
        other_metadata.content.as_mut().unwrap().metadata = metadata(2);
        let other_text = v1::UpdateTaskRequest {
            status_text: Some("painted".into()),
            ..done.clone()
        };
        let progress = v1::UpdateTaskRequest {
            progress: Some(0.5),
            ..update(v1::TaskStatus::Unspecified)
        };
        for other in [
            other_bytes,
            other_length,
            other_kind,
            other_caption,
            other_metadata,
            other_text,
            progress,
            update(Pending),
            update(Processing),
            update(Failed),
            update(Cancelled),
        ] {
            let answer = clients.update_task(other.clone()).await;
            assert_eq!(refusal(answer), terminal(), "{other:?}");
        }
        assert_eq!(refusal(cancel(&clients, "").await), terminal());

        // Also when the message has ended, where nothing else is accepted.
        clients.complete("m").await;
        let again = world.b().update_task(done).await.unwrap();
        assert!(again.result.unwrap().deduplicated);
        let block = clients.get("m").await.unwrap().blocks.remove(0);
        assert_eq!(block.metadata, metadata(1));
    }
}

#[tokio::test]
async fn a_cancelled_task_seals_its_placeholder_with_the_reason() {
    let world = World::start().await;
    started(&world).await;
    let answer = cancel(&world.a(), "no longer wanted").await.unwrap();
    let task = answer.task.unwrap();
    assert_eq!(task.status(), Cancelled);
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.blocks[0].error, "no longer wanted");
    assert_eq!(message.blocks[0].state(), v1::BlockState::Sealed);
    use v1::EventType::{ContentUpdated, TaskCancelled};
    assert_eq!(
        types(&world.a()).await[3..],
        [ContentUpdated, TaskCancelled]
    );

    let before = world.redis.contents().await;
    let again = cancel(&world.b(), "whatever else").await.unwrap();
    assert!(again.result.unwrap().deduplicated);
    assert_eq!(again.task, Some(task));
    let late = world.b().update_task(completed(image_block(vec![1]))).await;
    assert_eq!(refusal(late), terminal());
    assert_eq!(world.redis.contents().await, before);
}

#[tokio::test]
async fn an_end_cancels_the_tasks_that_are_open() {
    let world = World::start().await;
    started(&world).await;
    let clients = world.a();
    clients.start_task("m", "done").await.unwrap();
    let done = v1::UpdateTaskRequest {
        task_id: "done".into(),
        ..completed(image_block(vec![1]))
    };
    clients.update_task(done).await.unwrap();
    clients.start_task("m", "processing").await.unwrap();
    let processing = v1::UpdateTaskRequest {
        task_id: "processing".into(),
        ..update(Processing)
    };
    clients.update_task(processing).await.unwrap();
    let from = clients.events("m").await.len();
    let result = clients.complete("m").await;

    let message = world.b().get("m").await.unwrap();
    let statuses: Vec<_> = message.tasks.iter().map(v1::Task::status).collect();
    assert_eq!(statuses, [Cancelled, Completed, Cancelled]);
    for block in &message.blocks {
        assert_eq!(block.state(), v1::BlockState::Sealed);
    }
    use v1::EventType::{ContentUpdated, MessageEnd, TaskCancelled};
    assert_eq!(
        types(&clients).await[from..],
        [
            ContentUpdated,
            TaskCancelled,
            ContentUpdated,
            TaskCancelled,
            MessageEnd
        ]
    );
    let events = clients.events("m").await;
    assert!(events[from..].windows(2).all(|e| e[0].time == e[1].time));
    assert_eq!(result.sequence, events.len() as u64);
    // The cancel that comes late finds what it wanted.
    assert!(
        cancel(&clients, "")
            .await
            .unwrap()
            .result
            .unwrap()
            .deduplicated
    );
}

#[tokio::test]
async fn an_update_of_another_attempt_has_lost_the_lease() {
    let world = World::start().await;
    started(&world).await;
    let before = world.redis.contents().await;
    for status in [Processing, Completed] {
        let stale = v1::UpdateTaskRequest {
            attempt: 3,
            ..update(status)
        };
        let status = world.a().update_task(stale).await.unwrap_err();
        let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
        assert_eq!(info.metadata["attempt"], "0", "the current one is told");
        let lost = (Code::Aborted, "TASK_LEASE_LOST".to_owned());
        assert_eq!(refusal(Err::<(), _>(status)), lost);
    }
    assert_eq!(world.redis.contents().await, before);
}
