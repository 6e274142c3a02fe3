//! The design's data flow, as it stands in the log and in Redis.

use std::fmt::Write as _;

use throughline::proto::{self as v1, event::Payload};

use crate::support::{Clients, World, image_block};

/// Create, append, start a task; another instance loads, reports progress,
/// completes; the message completes.
async fn play(a: &Clients, b: &Clients) {
    a.session("session_001").await;
    let request = v1::CreateMessageRequest {
        session_id: "session_001".into(),
        message_id: "msg_001".into(),
        role: v1::Role::Assistant.into(),
        ..Default::default()
    };
    a.messages.clone().create_message(request).await.unwrap();
    let append = |delta: &str, request_id: &str| v1::AppendTextRequest {
        message_id: "msg_001".into(),
        delta: delta.into(),
        request_id: request_id.into(),
        ..Default::default()
    };
    let add = v1::AddContentRequest {
        message_id: "msg_001".into(),
        block: Some(v1::ContentBlock {
            block_id: "answer".into(),
            state: v1::BlockState::Open.into(),
            ..crate::support::text_block("Here ")
        }),
        ..Default::default()
    };
    a.messages.clone().add_content(add).await.unwrap();
    a.append_with(append("is your ", "")).await.unwrap();
    a.append_with(append("image.", "req_1")).await.unwrap();
    let start = v1::StartTaskRequest {
        message_id: "msg_001".into(),
        task_id: "task_001".into(),
        task_type: "image_generation".into(),
        placeholder: Some(v1::ContentBlock {
            block_id: "image".into(),
            content_type: v1::ContentType::Image.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    a.tasks.clone().start_task(start).await.unwrap();

    let loaded = b.get("msg_001").await.unwrap();
    let update = v1::UpdateTaskRequest {
        message_id: loaded.message_id,
        task_id: loaded.tasks[0].task_id.clone(),
        status: v1::TaskStatus::Processing.into(),
        progress: Some(0.5),
        ..Default::default()
    };
    b.update_task(update.clone()).await.unwrap();
    let complete = v1::UpdateTaskRequest {
        status: v1::TaskStatus::Completed.into(),
        content: Some(image_block(vec![7; 20_000])),
        ..update
    };
    b.update_task(complete).await.unwrap();
    a.complete("msg_001").await;
}

#[tokio::test]
async fn the_data_flow_of_the_design_leaves_this_log() {
    let world = World::start().await;
    play(&world.a(), &world.b()).await;
    let mut log = String::new();
    for event in world.b().events("msg_001").await {
        let kind = event.event_type().as_str_name().to_owned();
        let payload = event.payload.as_ref().map(describe).unwrap_or_default();
        writeln!(log, "{:>2} {kind:<27} {payload}", event.sequence).unwrap();
    }
    insta::assert_snapshot!(log);
}

fn describe(payload: &Payload) -> String {
    let block = |block: &Option<v1::ContentBlock>| {
        let block = block.as_ref().unwrap();
        let (state, kind) = (block.state(), block.content_type());
        let task = &block.task_id;
        format!("{} {kind:?} {state:?} task={task:?}", block.block_id)
    };
    let task = |task: &Option<v1::Task>| {
        let task = task.as_ref().unwrap();
        format!("{} {:?} {}", task.task_id, task.status(), task.progress)
    };
    match payload {
        Payload::MessageStart(start) => format!("{:?}", start.role()),
        Payload::MessageEnd(end) => format!("{:?} {:?}", end.state(), end.end_reason()),
        Payload::TextDelta(delta) => {
            format!("{} @{} {:?}", delta.block_id, delta.offset, delta.delta)
        }
        Payload::ContentAdded(added) => block(&added.block),
        Payload::ContentUpdated(updated) => block(&updated.block),
        Payload::TaskStarted(started) => task(&started.task),
        Payload::TaskProgress(progress) => task(&progress.task),
        Payload::TaskCompleted(completed) => task(&completed.task),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn the_data_flow_of_the_design_leaves_these_keys() {
    let world = World::start().await;
    play(&world.a(), &world.b()).await;
    let mut dump = String::new();
    for key in world.redis.keys().await {
        let kind: String = world.redis.run(&["TYPE", &key]).await;
        let ttl: i64 = world.redis.run(&["TTL", &key]).await;
        // To the hour, since the test takes a moment.
        let hours = (ttl as f64 / 3_600.0).round();
        writeln!(dump, "{} ({kind}, {hours} h)", readable(&key)).unwrap();
        for line in lines(&world, &key, &kind).await {
            writeln!(dump, "    {line}").unwrap();
        }
    }
    insta::assert_snapshot!(dump);
}

/// What a person sees of a key, without what differs from run to run.
async fn lines(world: &World, key: &str, kind: &str) -> Vec<String> {
    match kind {
        "hash" => {
            let fields: Vec<(String, Vec<u8>)> = world.redis.run(&["HGETALL", key]).await;
            let mut fields: Vec<String> = fields
                .into_iter()
                .map(|(name, value)| format!("{name} = {}", field(&name, &value)))
                .collect();
            fields.sort();
            fields
        }
        "zset" => world.redis.run(&["ZRANGE", key, "0", "-1"]).await,
        "stream" => {
            let entries: Vec<(String, Vec<Vec<u8>>)> =
                world.redis.run(&["XRANGE", key, "-", "+"]).await;
            entries.into_iter().map(|(id, _)| id).collect()
        }
        other => panic!("{key} is a {other}"),
    }
}

fn field(name: &str, value: &[u8]) -> String {
    let is_protobuf = name.starts_with("block:") || name.starts_with("task:");
    if is_protobuf || name == "data" {
        return format!("<bytes of {name}>");
    }
    readable(std::str::from_utf8(value).unwrap())
}

/// Times and drawn ids differ from run to run.
fn readable(text: &str) -> String {
    let is_drawn =
        |word: &str| word.len() == 36 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let mut readable = String::new();
    for word in text.split_inclusive([':', ' ', '|', '\n']) {
        let (word, end) = match word.char_indices().last() {
            Some((at, last)) if ": |\n".contains(last) => word.split_at(at),
            _ => (word, ""),
        };
        let (sequence, time) = word.split_once('-').unwrap_or(("", word));
        if is_drawn(word) {
            readable.push_str("<id>");
        } else if time.len() == 16 && time.bytes().all(|b| b.is_ascii_digit()) {
            let dash = if sequence.is_empty() { "" } else { "-" };
            write!(readable, "{sequence}{dash}<time>").unwrap();
        } else {
            readable.push_str(word);
        }
        readable.push_str(end);
    }
    readable
}
