//! What an instance writes it tells those who follow at it, without reading it.

use throughline::proto as v1;

use crate::support::{Clients, World, are_dense, named, soon, text_block};

fn is_end(event: &v1::Event) -> bool {
    event.event_type() == v1::EventType::MessageEnd
}

/// Every way to add events to message `m`, up to its end.
async fn write_in_every_way(clients: &Clients) {
    for delta in ["one", "two"] {
        clients.append("m", delta).await.unwrap();
    }
    let repeatable = v1::AppendTextRequest {
        message_id: "m".into(),
        delta: "three".into(),
        request_id: "r".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        clients.append_with(repeatable.clone()).await.unwrap();
    }
    let block = named("b", text_block("sealed"));
    clients.add("m", block).await.unwrap();
    clients.append("m", "opens a block").await.unwrap();
    clients.publish("m", "noticed").await.unwrap();
    clients.start_task("m", "t").await.unwrap();
    clients.complete("m").await;
}

/// With `--tail push` Redis tells all of it by itself.
#[tokio::test]
async fn it_is_told_as_it_would_be_read_although_nothing_can_be_read() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.append("m", "zero").await.unwrap();
    let mut watch = clients.watch_live("m").await;
    let first = clients.get("m").await.unwrap().sequence + 1;
    let _: () = world
        .redis
        .run(&["ACL", "SETUSER", "default", "-xread"])
        .await;

    write_in_every_way(&clients).await;
    let told = soon("the end", watch.events_until(is_end)).await;
    let kept = clients.events("m").await;
    let kept: Vec<_> = kept.into_iter().filter(|e| e.sequence >= first).collect();
    assert_eq!(told, kept);
}

#[tokio::test]
async fn what_another_instance_writes_in_between_is_read_in_its_place() {
    const TURNS: usize = 200;
    let world = World::of(2).await;
    world.a().message("m").await;
    let mut watch = world.a().watch_live("m").await;
    for turn in 0..TURNS {
        let writer = world.either(turn / 3);
        writer.append("m", &format!("{turn} ")).await.unwrap();
    }
    world.b().complete("m").await;
    let events = soon("the end", watch.events_until(is_end)).await;
    assert!(are_dense(&events));
    let text: String = (0..TURNS).map(|turn| format!("{turn} ")).collect();
    let told: String = events.iter().filter_map(delta).collect();
    assert_eq!(told, text);
}

fn delta(event: &v1::Event) -> Option<&str> {
    match &event.payload {
        Some(v1::event::Payload::TextDelta(delta)) => Some(&delta.delta),
        _ => None,
    }
}
