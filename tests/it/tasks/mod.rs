//! Tasks: placeholders, progress and results.

mod ends;
mod faults;
mod kept;
mod leased_text;
mod leases;
mod outcomes;
mod queue;
mod retries;
mod submit;
mod workers;

use throughline::proto::{self as v1, content_block::Content, event::Payload};
use tonic::{Code, Status};

use crate::support::{
    Clients, World, fold, image_block, named, object, reference, refusal, text_block,
};

use v1::TaskStatus::{Completed, Failed, Pending, Processing};

fn update(status: v1::TaskStatus) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        status: status.into(),
        ..Default::default()
    }
}

fn completed(content: v1::ContentBlock) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        content: Some(content),
        ..update(Completed)
    }
}

async fn cancel(clients: &Clients, reason: &str) -> Result<v1::CancelTaskResponse, Status> {
    let request = v1::CancelTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        reason: reason.into(),
        ..Default::default()
    };
    let answer = clients.clone().tasks.cancel_task(request).await?;
    Ok(answer.into_inner())
}

async fn task(clients: &Clients) -> v1::Task {
    let request = v1::GetTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
    };
    let answer = clients.clone().tasks.get_task(request).await.unwrap();
    answer.into_inner().task.unwrap()
}

/// A message with a task.
async fn started(world: &World) -> v1::Task {
    world.a().message("m").await;
    let answer = world.a().start_task("m", "t").await.unwrap();
    answer.task.unwrap()
}

async fn types(clients: &Clients) -> Vec<v1::EventType> {
    let events = clients.events("m").await;
    events.iter().map(v1::Event::event_type).collect()
}

fn terminal() -> (Code, String) {
    (Code::FailedPrecondition, "TASK_TERMINAL".to_owned())
}

#[tokio::test]
async fn a_task_starts_with_its_placeholder_in_one_commit() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let request = v1::StartTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        task_type: "image_generation".into(),
        params: Some(object(serde_json::json!({ "prompt": "a cat" }))),
        placeholder: Some(v1::ContentBlock {
            block_id: "b".into(),
            content_type: v1::ContentType::Image.into(),
            metadata: Some(object(serde_json::json!({ "width": 640 }))),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = clients.clone().tasks.start_task(request.clone()).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.result.unwrap().sequence, 3);

    let message = world.b().get("m").await.unwrap();
    let task = task(&world.b()).await;
    assert_eq!(answer.task.as_ref(), Some(&task));
    assert_eq!(message.tasks, std::slice::from_ref(&task));
    assert_eq!(task.status(), Pending);
    assert_eq!(
        (task.progress, task.attempt, task.max_attempts),
        (0.0, 0, 5)
    );
    assert_eq!(task.params, request.params);
    assert_eq!((task.message_id, task.session_id), ("m".into(), "s".into()));
    let block = &message.blocks[0];
    assert_eq!(block.state(), v1::BlockState::Placeholder);
    assert_eq!(block.content_type(), v1::ContentType::Image);
    assert_eq!((&*block.block_id, &*block.task_id), ("b", "t"));
    assert_eq!(block.metadata, request.placeholder.unwrap().metadata);
    assert_eq!(block.content, None);

    use v1::EventType::{ContentAdded, MessageStart, TaskStarted};
    let events = clients.events("m").await;
    assert_eq!(
        types(&clients).await,
        [MessageStart, ContentAdded, TaskStarted]
    );
    assert_eq!(events[1].time, events[2].time, "one commit has one time");
}

#[tokio::test]
async fn the_result_takes_the_placeholders_place_in_the_commit_that_completes_the_task() {
    let world = World::start().await;
    let placeholder = started(&world).await.block_id;
    world.a().append("m", "See: ").await.unwrap();
    let answer = world
        .b()
        .update_task(completed(image_block(vec![7; 20_000])))
        .await
        .unwrap();
    let task = answer.task.unwrap();
    assert_eq!((task.status(), task.progress), (Completed, 1.0));
    assert!(task.end_time.is_some());

    let message = world.a().get("m").await.unwrap();
    let block = &message.blocks[0];
    assert_eq!(block.block_id, placeholder, "in the same place");
    assert_eq!(block.state(), v1::BlockState::Sealed);
    assert_eq!(block.task_id, "t");
    assert_eq!(reference(block).unwrap().size, 20_000);

    let events = world.a().events("m").await;
    let [.., updated, ended] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(updated.event_type(), v1::EventType::ContentUpdated);
    assert_eq!(ended.event_type(), v1::EventType::TaskCompleted);
    assert_eq!(ended.sequence, updated.sequence + 1);
    assert_eq!(ended.time, updated.time);
    assert_eq!(answer.result.unwrap().cursor, ended.cursor);
    let Some(Payload::ContentUpdated(updated)) = &updated.payload else {
        panic!("{updated:?}")
    };
    assert_eq!(updated.block.as_ref(), Some(block));
}

#[tokio::test]
async fn no_reader_sees_a_task_without_its_block_or_the_other_way_round() {
    let world = World::start().await;
    started(&world).await;
    let reader = {
        let clients = world.b();
        tokio::spawn(async move {
            loop {
                let message = clients.get("m").await.unwrap();
                let is_complete = message.tasks[0].status() == Completed;
                let is_sealed = message.blocks[0].state() == v1::BlockState::Sealed;
                assert_eq!(is_complete, is_sealed);
                if is_complete {
                    return;
                }
            }
        })
    };
    for step in 0..50 {
        let request = v1::UpdateTaskRequest {
            progress: Some(f64::from(step) / 50.0),
            ..update(Processing)
        };
        world.a().update_task(request).await.unwrap();
    }
    let done = completed(image_block(vec![7; 20_000]));
    world.a().update_task(done).await.unwrap();
    reader.await.unwrap();
}

#[tokio::test]
async fn progress_never_goes_backwards() {
    let world = World::start().await;
    started(&world).await;
    let clients = world.a();
    for (progress, expected) in [
        (Some(0.5), 0.5),
        (Some(0.2), 0.5),
        (None, 0.5),
        (Some(0.0), 0.5),
        (Some(0.75), 0.75),
        (Some(1.0), 1.0),
    ] {
        let request = v1::UpdateTaskRequest {
            progress,
            ..update(Processing)
        };
        let answer = clients.update_task(request).await.unwrap();
        assert_eq!(answer.task.unwrap().progress, expected);
        assert_eq!(task(&world.b()).await.progress, expected);
    }
    let events = clients.events("m").await;
    assert_eq!(fold(&events).tasks[0].progress, 1.0);
}

#[tokio::test]
async fn an_update_leaves_alone_what_it_does_not_name() {
    let world = World::start().await;
    started(&world).await;
    let clients = world.a();
    let said = v1::UpdateTaskRequest {
        status_text: Some("drawing".into()),
        ..update(Processing)
    };
    clients.update_task(said).await.unwrap();
    let silent = v1::UpdateTaskRequest {
        progress: Some(0.5),
        ..update(v1::TaskStatus::Unspecified)
    };
    clients.update_task(silent).await.unwrap();
    let task = task(&clients).await;
    assert_eq!(task.status(), Processing);
    assert_eq!((task.status_text.as_str(), task.progress), ("drawing", 0.5));
    let cleared = v1::UpdateTaskRequest {
        status_text: Some(String::new()),
        ..update(v1::TaskStatus::Unspecified)
    };
    let answer = clients.update_task(cleared).await.unwrap();
    assert_eq!(answer.task.unwrap().status_text, "");
    let backwards = clients.update_task(update(Pending)).await;
    let processing = (Code::FailedPrecondition, "TASK_PROCESSING".to_owned());
    assert_eq!(refusal(backwards), processing);
}

#[tokio::test]
async fn a_preview_stands_in_the_placeholder_until_the_result_comes() {
    let world = World::start().await;
    started(&world).await;
    let clients = world.a();
    for size in [100, 20_000, 300] {
        let preview = v1::UpdateTaskRequest {
            content: Some(image_block(vec![1; size])),
            ..update(Processing)
        };
        clients.update_task(preview).await.unwrap();
        let block = clients.get("m").await.unwrap().blocks.remove(0);
        assert_eq!(block.state(), v1::BlockState::Placeholder);
        let Some(Content::Image(image)) = block.content else {
            panic!("{block:?}")
        };
        assert_eq!(image.size, size as i64);
    }
    // A task may end with its last preview.
    clients.update_task(update(Completed)).await.unwrap();
    let again = world.b().update_task(update(Completed)).await.unwrap();
    assert!(again.result.unwrap().deduplicated);
    let block = clients.get("m").await.unwrap().blocks.remove(0);
    assert_eq!(block.state(), v1::BlockState::Sealed);
    let Some(Content::Image(image)) = block.content else {
        panic!("{block:?}")
    };
    assert_eq!(image.size, 300);
}

#[tokio::test]
async fn a_result_may_be_of_another_kind_than_announced() {
    let world = World::start().await;
    started(&world).await;
    let result = text_block("I cannot draw that.");
    world.a().update_task(completed(result)).await.unwrap();
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.blocks[0].content_type(), v1::ContentType::Text);
    assert_eq!(message.text, "I cannot draw that.");
}

#[tokio::test]
async fn a_task_id_is_taken_once_and_belongs_to_its_message() {
    let world = World::start().await;
    started(&world).await;
    let clients = world.a();
    let again = clients.start_task("m", "t").await;
    let exists = (Code::AlreadyExists, "TASK_EXISTS".to_owned());
    assert_eq!(refusal(again), exists);
    clients.create("n", v1::Role::Assistant).await.unwrap();
    clients.start_task("n", "t").await.unwrap();
    let fresh = clients.start_task("m", "").await.unwrap().task.unwrap();
    let id = uuid::Uuid::parse_str(&fresh.task_id).unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test]
async fn an_unknown_task_is_not_found() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let unknown = (Code::NotFound, "TASK_NOT_FOUND".to_owned());
    assert_eq!(
        refusal(clients.update_task(update(Processing)).await),
        unknown
    );
    assert_eq!(refusal(cancel(&clients, "").await), unknown);
    let request = v1::GetTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
    };
    let answer = clients.clone().tasks.get_task(request).await;
    assert_eq!(refusal(answer), unknown);
}

#[tokio::test]
async fn tasks_are_listed_in_the_order_of_their_start_by_page_and_status() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for index in 0..7 {
        clients.start_task("m", &format!("t{index}")).await.unwrap();
    }
    for index in [1, 4, 6] {
        let done = v1::UpdateTaskRequest {
            task_id: format!("t{index}"),
            ..update(Completed)
        };
        clients.update_task(done).await.unwrap();
    }
    let list = |statuses: &[v1::TaskStatus], page_size| {
        let clients = clients.clone();
        let statuses: Vec<_> = statuses.iter().map(|status| *status as i32).collect();
        async move {
            let mut pages = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = v1::ListTasksRequest {
                    message_id: "m".into(),
                    statuses: statuses.clone(),
                    page_size,
                    page_token,
                };
                let page = clients.clone().tasks.list_tasks(request).await;
                let page = page.unwrap().into_inner();
                let ids = page.tasks.into_iter().map(|task| task.task_id);
                pages.push(ids.collect::<Vec<_>>().join(" "));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return pages;
                }
            }
        }
    };
    assert_eq!(list(&[], 0).await, ["t0 t1 t2 t3 t4 t5 t6"]);
    assert_eq!(list(&[], 3).await, ["t0 t1 t2", "t3 t4 t5", "t6"]);
    assert_eq!(list(&[], 7).await, ["t0 t1 t2 t3 t4 t5 t6"]);
    assert_eq!(list(&[Pending], 2).await, ["t0 t2", "t3 t5"]);
    assert_eq!(list(&[Completed], 1).await, ["t1", "t4", "t6"]);
    assert_eq!(
        list(&[Completed, Pending], 4).await,
        ["t0 t1 t2 t3", "t4 t5 t6"]
    );
    assert_eq!(list(&[Failed], 0).await, [""]);
}

#[tokio::test]
async fn a_result_keeps_the_id_of_its_placeholder() {
    let world = World::start().await;
    let placeholder = started(&world).await.block_id;
    let result = named("another", image_block(vec![1]));
    world.a().update_task(completed(result)).await.unwrap();
    let blocks = world.b().get("m").await.unwrap().blocks;
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].block_id, placeholder, "the place keeps its id");
}
