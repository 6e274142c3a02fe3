//! A session's messages: listed, cleaned up, deleted.

use prost_types::Duration;
use throughline::proto as v1;
use tonic::{Code, Status};

use crate::support::{Clients, World, image_block, refusal, text_block};

async fn page(
    clients: &Clients,
    request: v1::ListMessagesRequest,
) -> Result<v1::ListMessagesResponse, Status> {
    let answer = clients.clone().messages.list_messages(request).await?;
    Ok(answer.into_inner())
}

/// The ids of session `s`, page by page.
async fn list(clients: &Clients, page_size: i32, skip: i32) -> Vec<String> {
    let mut request = v1::ListMessagesRequest {
        session_id: "s".into(),
        page_size,
        skip,
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = page(clients, request.clone()).await.unwrap();
        pages.push(ids(&page.messages));
        request.page_token = page.next_page_token;
        request.skip = 0;
        if request.page_token.is_empty() {
            return pages;
        }
    }
}

fn ids(messages: &[v1::Message]) -> String {
    let ids = messages.iter().map(|message| message.message_id.as_str());
    ids.collect::<Vec<_>>().join(" ")
}

async fn message_count(clients: &Clients) -> i64 {
    let request = v1::GetSessionRequest {
        session_id: "s".into(),
    };
    let answer = clients.clone().sessions.get_session(request).await;
    answer.unwrap().into_inner().session.unwrap().message_count
}

async fn cleanup(
    clients: &Clients,
    older_than: Duration,
    session: &str,
    validate_only: bool,
) -> Result<i64, Status> {
    let request = v1::CleanupMessagesRequest {
        older_than: Some(older_than),
        session_id: session.into(),
        validate_only,
    };
    let answer = clients.clone().messages.cleanup_messages(request).await?;
    Ok(answer.into_inner().count)
}

fn hours(hours: i64) -> Duration {
    Duration {
        seconds: hours * 3_600,
        nanos: 0,
    }
}

async fn create(clients: &Clients, session: &str, message: &str) {
    let request = v1::CreateMessageRequest {
        session_id: session.into(),
        message_id: message.into(),
        role: v1::Role::User.into(),
        blocks: vec![text_block("hello"), image_block(vec![1; 20_000])],
        ..Default::default()
    };
    clients
        .clone()
        .messages
        .create_message(request)
        .await
        .unwrap();
}

/// Lets a message look so much older.
async fn age(world: &World, session: &str, message: &str, hours: i64) {
    let key = format!("session:{session}:messages");
    let by = (-hours * 3_600_000_000).to_string();
    let _: String = world.redis.run(&["ZINCRBY", &key, &by, message]).await;
}

#[tokio::test]
async fn messages_are_listed_in_the_order_of_their_creation() {
    let world = World::start().await;
    world.a().session("s").await;
    for (turn, message) in ["e", "d", "c", "b", "a"].into_iter().enumerate() {
        create(&world.either(turn), "s", message).await;
    }
    let clients = world.b();
    assert_eq!(list(&clients, 0, 0).await, ["e d c b a"]);
    assert_eq!(list(&clients, 2, 0).await, ["e d", "c b", "a"]);
    assert_eq!(list(&clients, 5, 0).await, ["e d c b a"]);
    assert_eq!(list(&clients, 1, 0).await, ["e", "d", "c", "b", "a"]);
    assert_eq!(message_count(&clients).await, 5);

    let listed = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    for message in page(&clients, listed).await.unwrap().messages {
        let got = clients.get(&message.message_id).await.unwrap();
        assert_eq!(message, got, "a listed message is the message");
    }
}

#[tokio::test]
async fn a_list_passes_over_as_many_messages_as_asked() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    for message in ["a", "b", "c", "d", "e"] {
        create(&clients, "s", message).await;
    }
    assert_eq!(list(&clients, 0, 2).await, ["c d e"]);
    assert_eq!(list(&clients, 2, 1).await, ["b c", "d e"]);
    assert_eq!(list(&clients, 2, 4).await, ["e"]);
    assert_eq!(list(&clients, 2, 5).await, [""]);
    assert_eq!(list(&clients, 2, i32::MAX).await, [""]);
    // The skip counts from the page token.
    let first = v1::ListMessagesRequest {
        session_id: "s".into(),
        page_size: 1,
        ..Default::default()
    };
    let token = page(&clients, first.clone()).await.unwrap().next_page_token;
    let second = v1::ListMessagesRequest {
        page_token: token,
        skip: 1,
        ..first
    };
    assert_eq!(ids(&page(&clients, second).await.unwrap().messages), "c");
}

#[tokio::test]
async fn a_page_reads_no_more_long_texts_than_it_has() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let messages: Vec<String> = (0..12).map(|number| format!("m{number:02}")).collect();
    for message in &messages {
        create(&clients, "s", message).await;
        for _ in 0..3 {
            clients.append(message, &"x".repeat(200_000)).await.unwrap();
        }
    }
    let mut listed = Vec::new();
    let mut request = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    loop {
        let before = world.redis.calls("get").await;
        let page = page(&clients, request.clone()).await.unwrap();
        let read = world.redis.calls("get").await - before;
        assert!(read <= page.messages.len() + 1, "{read} texts");
        listed.push(ids(&page.messages));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, messages);
}

#[tokio::test]
async fn messages_of_the_same_moment_are_each_listed_once() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let all: Vec<_> = (0..11).map(|index| format!("m{index:02}")).collect();
    for message in &all {
        clients.create(message, v1::Role::User).await.unwrap();
        let _: i64 = world
            .redis
            .run(&["ZADD", "session:s:messages", "1700000000000000", message])
            .await;
    }
    for page_size in [1, 2, 3, 5, 10, 11, 12] {
        let pages = list(&clients, page_size, 0).await;
        assert_eq!(pages.join(" "), all.join(" "), "{page_size} a page");
        assert_eq!(pages.len(), 11usize.div_ceil(page_size as usize));
    }
    assert_eq!(list(&clients, 4, 9).await, ["m09 m10"]);
}

#[tokio::test]
async fn messages_that_expired_are_left_out_and_forgotten() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    for message in ["a", "b", "c", "d", "e"] {
        create(&clients, "s", message).await;
    }
    for message in ["a", "c", "d"] {
        let key = format!("message:{message}");
        let _: i64 = world.redis.run(&["DEL", &key]).await;
        age(&world, "s", message, 1).await;
    }
    assert_eq!(message_count(&clients).await, 5, "nobody has noticed yet");
    assert_eq!(list(&clients, 2, 0).await, ["b e"], "a page is filled");
    assert_eq!(message_count(&clients).await, 2);
}

#[tokio::test]
async fn a_message_that_is_being_written_is_passed_over_and_stays() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    create(&clients, "s", "a").await;
    // It is entered before it is written, and far from being there.
    let score: String = world
        .redis
        .run(&["ZSCORE", "session:s:messages", "a"])
        .await;
    let add = ["ZADD", "session:s:messages", &score, "b"];
    let _: i64 = world.redis.run(&add).await;
    assert_eq!(list(&clients, 2, 0).await, ["a"]);
    assert_eq!(message_count(&clients).await, 2);
}

#[tokio::test]
async fn the_messages_of_an_unknown_session_are_not_found() {
    let world = World::start().await;
    let request = v1::ListMessagesRequest {
        session_id: "unknown".into(),
        ..Default::default()
    };
    let unknown = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    assert_eq!(refusal(page(&world.a(), request).await), unknown);
    world.a().session("s").await;
    assert_eq!(list(&world.a(), 0, 0).await, [""]);
}

#[tokio::test]
async fn a_deleted_message_leaves_nothing_and_can_be_made_anew() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    create(&clients, "s", "m").await;
    clients.append("m", "open").await.unwrap();
    clients.start_task("m", "t").await.unwrap();
    world.b().delete("m").await.unwrap();

    let unknown = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
    assert_eq!(refusal(clients.get("m").await), unknown);
    assert_eq!(refusal(clients.delete("m").await), unknown);
    assert_eq!(list(&clients, 0, 0).await, [""]);
    assert_eq!(message_count(&clients).await, 0);
    for key in world.redis.keys().await {
        let is_session = key == "user:user_1:sessions" || key.ends_with("session:s");
        let is_mark = key.starts_with("stream:") && world.redis.ttl(&key).await.as_secs() <= 60;
        assert!(is_session || is_mark, "{key}");
    }
    create(&clients, "s", "m").await;
    let message = clients.get("m").await.unwrap();
    assert_eq!((message.text.as_str(), message.sequence), ("hello", 3));
    let log = clients.events("m").await;
    assert_eq!(log.len(), 3, "the log begins anew");
    assert!(
        world
            .redis
            .ttl("stream:session:s:message:m")
            .await
            .as_secs()
            > 60
    );
}

#[tokio::test]
async fn messages_are_cleaned_up_by_age() {
    let world = World::start().await;
    let clients = world.a();
    for session in ["s", "other"] {
        clients.session(session).await;
    }
    for (message, hours) in [("a", 30), ("b", 20), ("c", 10), ("d", 0)] {
        create(&clients, "s", message).await;
        age(&world, "s", message, hours).await;
    }
    create(&clients, "other", "x").await;
    age(&world, "other", "x", 20).await;
    clients.complete("a").await;

    let before = world.redis.contents().await;
    assert_eq!(cleanup(&clients, hours(15), "s", true).await.unwrap(), 2);
    assert_eq!(cleanup(&clients, hours(15), "", true).await.unwrap(), 3);
    assert_eq!(cleanup(&clients, hours(40), "", true).await.unwrap(), 0);
    assert_eq!(world.redis.contents().await, before, "nothing is erased");

    assert_eq!(cleanup(&clients, hours(40), "", false).await.unwrap(), 0);
    assert_eq!(cleanup(&clients, hours(15), "s", false).await.unwrap(), 2);
    assert_eq!(list(&clients, 0, 0).await, ["c d"]);
    assert!(clients.get("x").await.is_ok());
    assert_eq!(cleanup(&clients, hours(15), "s", false).await.unwrap(), 0);
    assert_eq!(cleanup(&clients, hours(5), "", false).await.unwrap(), 2);
    assert_eq!(list(&clients, 0, 0).await, ["d"]);
    assert_eq!(clients.get("x").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(cleanup(&clients, hours(0), "", false).await.unwrap(), 1);

    let unknown = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    let answer = cleanup(&clients, hours(1), "unknown", false).await;
    assert_eq!(refusal(answer), unknown);
    let eons = Duration {
        seconds: 315_576_000_000,
        nanos: 0,
    };
    assert_eq!(cleanup(&clients, eons, "", false).await.unwrap(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_cleaned_up_like_all_else() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    for message in ["a", "b"] {
        create(&clients, "s", message).await;
        age(&world, "s", message, 2).await;
    }
    let damage = ["HSET", "message:a", "block:0000", "nonsense"];
    let _: i64 = world.redis.run(&damage).await;
    assert_eq!(cleanup(&clients, hours(1), "s", false).await.unwrap(), 2);
    assert_eq!(message_count(&clients).await, 0);
}

#[tokio::test]
async fn a_cleanup_of_everything_counts_each_message_once() {
    let world = World::start().await;
    let clients = world.a();
    for index in 0..200 {
        let session = format!("s{index}");
        clients.session(&session).await;
        let request = v1::CreateMessageRequest {
            session_id: session,
            role: v1::Role::User.into(),
            ..Default::default()
        };
        clients
            .clone()
            .messages
            .create_message(request)
            .await
            .unwrap();
    }
    assert_eq!(cleanup(&clients, hours(0), "", true).await.unwrap(), 200);
    assert_eq!(cleanup(&clients, hours(0), "", false).await.unwrap(), 200);
    let keys = world.redis.keys().await;
    assert!(!keys.iter().any(|key| key.starts_with("message:")));
}

#[tokio::test]
async fn a_session_that_is_made_anew_by_another_user_has_nothing_of_the_one_before() {
    let world = World::start().await;
    world.a().message("m").await;
    // The message outlives its session where it is written or watched.
    world.redis.run::<()>(&["DEL", "session:s"]).await;
    let anew = v1::CreateSessionRequest {
        session_id: "s".into(),
        user_id: "user_2".into(),
        ..Default::default()
    };
    let mut sessions = world.b().sessions;
    let made = sessions.create_session(anew).await.unwrap().into_inner();
    assert!(made.created);
    assert_eq!(list(&world.b(), 10, 0).await, [""]);
    for validate_only in [true, false] {
        let count = cleanup(&world.b(), hours(0), "s", validate_only).await;
        assert_eq!(count.unwrap(), 0);
    }
    let delete = v1::DeleteSessionRequest {
        session_id: "s".into(),
    };
    sessions.delete_session(delete).await.unwrap();
    assert_eq!(world.a().get("m").await.unwrap().session_id, "s");
}

#[tokio::test]
async fn an_id_that_another_session_has_does_not_stay_in_the_index() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().session("other").await;
    let strange = v1::CreateMessageRequest {
        session_id: "other".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        ..Default::default()
    };
    let refused = world.b().messages.create_message(strange).await;
    assert_eq!(refused.unwrap_err().code(), Code::AlreadyExists);
    let entered: Option<f64> = world
        .redis
        .run(&["ZSCORE", "session:other:messages", "m"])
        .await;
    assert_eq!(entered, None);
}

#[tokio::test]
async fn what_was_entered_anew_since_it_was_seen_stays_in_the_index() {
    let world = World::start().await;
    world.a().message("m").await;
    let index = "session:s:messages";
    let entered = async || -> Option<String> { world.redis.run(&["ZSCORE", index, "m"]).await };
    let forget = world.redis.function("forget").await;
    let forget = async |score: &str| {
        let call = ["FCALL", &forget, "1", index, score, "m"];
        world.redis.run::<()>(&call).await;
    };
    let seen = entered().await.unwrap();
    forget("1").await;
    assert_eq!(entered().await.as_ref(), Some(&seen));
    forget(&seen).await;
    assert_eq!(entered().await, None);
}
