//! Blocks that belong to a checkpoint: they stay when an attempt is lost.

use throughline::{
    proto::{self as v1, content_block::Content},
    wire::content::block_from_v1,
};

use super::leases::{add, block_of};
use crate::support::{
    Clients, World, failure_of, fold, image_block, inline_text, named, object, open, reference,
    renewal_of, result_of, start_of, text_block, text_of, update_of,
};

use v1::TaskStatus::Pending;

fn thought(id: &str, text: &str) -> v1::ContentBlock {
    let source = v1::thinking_content::Source::Text(text.into());
    let content = v1::ThinkingContent {
        source: Some(source),
    };
    v1::ContentBlock {
        content: Some(Content::Thinking(content)),
        ..named(id, text_block(""))
    }
}

/// A checkpoint that these blocks belong to.
fn checkpoint(task: &v1::Task, kept: &[&str]) -> v1::TaskRenewal {
    v1::TaskRenewal {
        checkpoint: Some(object(serde_json::json!({ "finished": kept }))),
        kept_block_ids: kept.iter().map(|id| (*id).to_owned()).collect(),
        ..renewal_of(task)
    }
}

async fn leave(clients: &Clients, renewal: v1::TaskRenewal) {
    let renewed = clients.renew(vec![renewal]).await.unwrap();
    assert_eq!(renewed[0].status(), v1::RenewalStatus::Ok);
}

/// Has the attempt fail, and somebody else claim the task.
async fn next(world: &World, task: &v1::Task) -> v1::Task {
    let failed = failure_of(task, "no luck");
    world.a().update_task(failed).await.unwrap();
    world.b().claim(&task.task_type).await
}

/// The blocks of message `m` that hold something.
async fn filled(clients: &Clients) -> Vec<String> {
    let blocks = clients.get("m").await.unwrap().blocks.into_iter();
    let filled = blocks.filter(|block| block.content.is_some());
    filled.map(|block| block.block_id).collect()
}

#[tokio::test]
async fn what_belongs_to_the_checkpoint_stays_when_the_lease_is_lost_and_the_rest_is_emptied() {
    let world = World::start().await;
    let clients = world.a();
    let task = clients.started("t", "planner").await;
    let first = clients.claim("planner").await;
    for block in [
        thought("step-1", "found it"),
        named("picture", image_block(vec![7; 20_000])),
        thought("aside", "or so"),
    ] {
        add(&clients, block_of(&first, block)).await.unwrap();
    }
    clients.append_with(text_of(&first, "A cat")).await.unwrap();
    leave(&world.b(), checkpoint(&first, &["step-1", "picture"])).await;
    let before = clients.get("m").await.unwrap();

    world.b().task_becomes(&first, Pending).await;
    let second = world.b().claim("planner").await;
    assert_eq!(second.attempt, 2);
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.blocks[1..3], before.blocks[1..3]);
    assert_eq!(message.blocks[0].block_id, task.block_id);
    for emptied in [&message.blocks[0], &message.blocks[3]] {
        assert_eq!(emptied.content, None, "{emptied:?}");
    }
    assert_eq!(message.blocks[3].error, "attempt 1 was lost");
    let read = v1::ReadContentRequest {
        message_id: "m".into(),
        block_id: "picture".into(),
        ..Default::default()
    };
    assert!(reference(&message.blocks[2]).is_some());
    let chunks = clients.messages.clone().read_content(read).await.unwrap();
    let chunk = chunks.into_inner().message().await.unwrap().unwrap();
    assert_eq!(chunk.data.len(), 20_000);

    world
        .b()
        .update_task(result_of(&second, "A dog"))
        .await
        .unwrap();
    let message = clients.get("m").await.unwrap();
    assert_eq!(inline_text(&message.blocks[0]), "A dog");
    let blocks = message.blocks.into_iter();
    let blocks: Vec<_> = blocks.map(|block| block_from_v1(block).unwrap()).collect();
    assert_eq!(fold(&clients.events("m").await).blocks, blocks);
}

#[tokio::test]
async fn each_checkpoint_names_anew_what_belongs_to_it() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "planner").await;
    let first = clients.claim("planner").await;
    for id in ["one", "two"] {
        add(&clients, block_of(&first, thought(id, id)))
            .await
            .unwrap();
    }
    leave(&clients, checkpoint(&first, &["one", "two"])).await;

    let second = next(&world, &first).await;
    assert_eq!(filled(&clients).await, ["one", "two"]);
    let more = block_of(&second, thought("three", "three"));
    add(&clients, more).await.unwrap();
    leave(&clients, checkpoint(&second, &["three", "one"])).await;
    // News without a checkpoint leave it as it is.
    let news = v1::TaskRenewal {
        progress: Some(0.5),
        ..renewal_of(&second)
    };
    leave(&clients, news).await;

    let third = next(&world, &second).await;
    assert_eq!(third.attempt, 3);
    assert_eq!(filled(&clients).await, ["one", "three"]);
    leave(&clients, checkpoint(&third, &["one", "two", "three"])).await;
    let fourth = next(&world, &third).await;
    assert_eq!(filled(&clients).await, ["one", "three"], "two was emptied");
    leave(&clients, checkpoint(&fourth, &[])).await;
    next(&world, &fourth).await;
    assert!(filled(&clients).await.is_empty());
}

#[tokio::test]
async fn what_is_open_or_not_of_the_task_is_not_kept_by_it() {
    let world = World::start().await;
    let clients = world.a();
    let start = v1::StartTaskRequest {
        placeholder: Some(named("result", v1::ContentBlock::default())),
        ..start_of("m", "t", "planner")
    };
    clients.message("m").await;
    clients.start(start).await.unwrap();
    clients.start(start_of("m", "u", "other")).await.unwrap();
    let task = clients.claim("planner").await;
    let other = clients.claim("other").await;
    let foreign = block_of(&other, thought("foreign", "of another task"));
    add(&clients, foreign).await.unwrap();
    let preview = v1::UpdateTaskRequest {
        content: Some(text_block("half of it")),
        ..update_of(&task, v1::TaskStatus::Processing)
    };
    clients.update_task(preview).await.unwrap();
    for block in [
        open(thought("open", "not yet")),
        open(thought("sealed-later", "almost")),
    ] {
        add(&clients, block_of(&task, block)).await.unwrap();
    }
    let named_all = ["open", "sealed-later", "foreign", "result", "unknown"];
    leave(&clients, checkpoint(&task, &named_all)).await;
    // Too late to belong to the checkpoint.
    let unknown = block_of(&task, thought("unknown", "by then"));
    add(&clients, unknown).await.unwrap();
    let seal = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(named("sealed-later", v1::ContentBlock::default())),
        lease: crate::support::lease_of(&task),
        ..Default::default()
    };
    clients.messages.clone().update_content(seal).await.unwrap();

    next(&world, &task).await;
    assert_eq!(filled(&clients).await, ["foreign", "sealed-later"]);
    // Nor does it keep what the other task loses.
    next(&world, &other).await;
    assert_eq!(filled(&clients).await, ["sealed-later"]);
}

#[tokio::test]
async fn what_was_kept_for_the_next_attempt_is_forgotten_when_there_is_none() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "planner").await;
    let task = clients.claim("planner").await;
    let step = block_of(&task, thought("step", "found it"));
    add(&clients, step).await.unwrap();
    let kept = async || -> [String; 2] {
        let fields = ["HMGET", "message:m", "checkpoint:0000", "kept:0000"];
        world.redis.run(&fields).await
    };
    let renewal = checkpoint(&task, &["step", "step", "unknown"]);
    leave(&clients, renewal).await;
    let [data, ids] = kept().await;
    assert_eq!(
        (&*data, &*ids),
        (r#"{"finished":["step","step","unknown"]}"#, "step")
    );
    clients.update_task(result_of(&task, "done")).await.unwrap();
    assert_eq!(kept().await, ["", ""]);
    assert_eq!(filled(&clients).await.len(), 2, "the step stays");
}
