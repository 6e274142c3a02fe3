//! Long answers that are given again: that they are, and that each is true.

use std::time::Duration;

use throughline::proto as v1;
use tonic::Code;

use crate::support::{Clients, Rpc, World, named, open, text_block};

/// Longer than what is always read anew.
const LONG_BYTES: usize = 100_000;

/// Message `m` with a long text.
async fn long_message(clients: &Clients, letter: &str) {
    clients.message("m").await;
    let text = letter.repeat(LONG_BYTES);
    clients.append("m", &text).await.unwrap();
}

/// The message as an instance gives it that has given it before, and as the session's
/// list has it, which is always read anew.
async fn given_and_listed(clients: &Clients) -> [v1::Message; 2] {
    let request = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let listed = clients.messages.clone().list_messages(request).await;
    let listed = listed.unwrap().into_inner();
    [clients.get("m").await.unwrap(), listed.messages[0].clone()]
}

#[tokio::test]
async fn a_long_text_is_read_once_as_long_as_nothing_happens() {
    let world = World::start().await;
    let clients = world.a();
    long_message(&clients, "x").await;
    let first = clients.get("m").await.unwrap();
    assert_eq!(first.text.len(), LONG_BYTES);
    let reads = world.redis.calls("get").await;
    for _ in 0..10 {
        assert_eq!(clients.get("m").await.unwrap(), first);
    }
    assert_eq!(world.redis.calls("get").await, reads);

    clients.append("m", "y").await.unwrap();
    let changed = clients.get("m").await.unwrap();
    assert_eq!(changed.text.len(), LONG_BYTES + 1);
    assert_eq!(world.redis.calls("get").await, reads + 1);
}

#[tokio::test]
async fn a_dozen_of_the_longest_answers_are_kept_and_no_more_than_have_room() {
    let world = World::start().await;
    let clients = world.a();
    let piece = "x".repeat(250_000);
    let text = piece.repeat(4);
    let ids: Vec<String> = (0..30).map(|number| format!("m{number}")).collect();
    for id in &ids {
        clients.message(id).await;
        for _ in 0..4 {
            clients.append(id, &piece).await.unwrap();
        }
    }
    let reads = async |ids: &[String]| {
        let before = world.redis.calls("get").await;
        for id in ids {
            assert_eq!(clients.get(id).await.unwrap().text, text);
        }
        world.redis.calls("get").await - before
    };
    assert_eq!(reads(&ids[..12]).await, 12);
    assert_eq!(reads(&ids[..12]).await, 0);
    reads(&ids).await;
    assert!(reads(&ids).await >= 30 - 16);
}

#[tokio::test]
async fn whatever_happens_at_another_instance_is_in_the_next_answer() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    long_message(&b, "x").await;
    let mut known = a.get("m").await.unwrap();
    let mut assert_new = async |what: &str| {
        let [given, listed] = given_and_listed(&a).await;
        assert_eq!(given, listed, "{what}");
        assert_ne!(given, known, "{what}");
        known = given;
    };
    b.append("m", "y").await.unwrap();
    assert_new("text").await;
    b.add("m", named("b", open(text_block("z")))).await.unwrap();
    assert_new("a block").await;
    let update = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(named("b", text_block("other"))),
        ..Default::default()
    };
    update.send(&b).await.unwrap();
    assert_new("an update").await;
    b.start_task("m", "t").await.unwrap();
    assert_new("a task").await;
    b.publish("m", "custom").await.unwrap();
    assert_new("an event that changes nothing else").await;
    b.cancel("m", Duration::from_secs(60)).await.unwrap();
    assert_new("a request to cancel").await;
    b.complete("m").await;
    assert_new("the end").await;
}

#[tokio::test]
async fn another_life_of_an_id_is_another_message() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    long_message(&b, "x").await;
    let before = a.get("m").await.unwrap();
    b.delete("m").await.unwrap();
    let gone = a.get("m").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    long_message(&b, "x").await;
    a.get("m").await.unwrap();
    b.delete("m").await.unwrap();
    long_message(&b, "y").await;
    let [given, listed] = given_and_listed(&a).await;
    assert_eq!(given.sequence, before.sequence);
    assert_eq!(given.text, "y".repeat(LONG_BYTES));
    assert_eq!(given, listed);
}

/// As after a failover to a replica that had not got the last write.
#[tokio::test]
async fn where_a_write_was_lost_the_answer_is_what_took_its_place() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    long_message(&b, "x").await;
    let keys = world.redis.keys().await;
    let copy = async |from: String, to: String| {
        let call = ["COPY", from.as_str(), to.as_str(), "REPLACE"];
        world.redis.run::<()>(&call).await;
    };
    for key in &keys {
        copy(key.clone(), format!("replica:{key}")).await;
    }
    b.append("m", "lost").await.unwrap();
    let lost = a.get("m").await.unwrap();
    assert!(lost.text.ends_with("lost"));

    for key in &keys {
        copy(format!("replica:{key}"), key.clone()).await;
    }
    b.append("m", "kept").await.unwrap();
    let [given, listed] = given_and_listed(&a).await;
    assert_eq!(given.sequence, lost.sequence);
    assert!(given.text.ends_with("xkept"));
    assert_eq!(given, listed);
}
