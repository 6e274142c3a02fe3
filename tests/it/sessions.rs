//! Sessions: made, listed, changed, closed and erased.

use prost_types::FieldMask;
use throughline::proto as v1;
use tonic::{Code, Status};

use crate::support::{Clients, World, image_block, object, open, refusal, text_block};

async fn create(
    clients: &Clients,
    session: &str,
    user: &str,
) -> Result<v1::CreateSessionResponse, Status> {
    let request = v1::CreateSessionRequest {
        session_id: session.into(),
        user_id: user.into(),
        ..Default::default()
    };
    let answer = clients.clone().sessions.create_session(request).await?;
    Ok(answer.into_inner())
}

async fn get(clients: &Clients, session: &str) -> Result<v1::Session, Status> {
    let request = v1::GetSessionRequest {
        session_id: session.into(),
    };
    let answer = clients.clone().sessions.get_session(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

async fn close(clients: &Clients, session: &str) -> Result<v1::Session, Status> {
    let request = v1::CloseSessionRequest {
        session_id: session.into(),
    };
    let answer = clients.clone().sessions.close_session(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

async fn delete(clients: &Clients, session: &str) -> Result<i64, Status> {
    let request = v1::DeleteSessionRequest {
        session_id: session.into(),
    };
    let answer = clients.clone().sessions.delete_session(request).await?;
    Ok(answer.into_inner().deleted_messages)
}

async fn update(
    clients: &Clients,
    session: &str,
    metadata: serde_json::Value,
) -> Result<v1::Session, Status> {
    let request = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: session.into(),
            user_id: "ignored".into(),
            metadata: Some(object(metadata)),
            ..Default::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["metadata".into()],
        }),
    };
    let answer = clients.clone().sessions.update_session(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

/// The ids of a user's sessions, page by page.
async fn list(clients: &Clients, user: &str, page_size: i32) -> Vec<String> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSessionsRequest {
            user_id: user.into(),
            page_size,
            page_token,
        };
        let page = clients.clone().sessions.list_sessions(request).await;
        let page = page.unwrap().into_inner();
        let ids = page.sessions.into_iter().map(|session| session.session_id);
        pages.push(ids.collect::<Vec<_>>().join(" "));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

fn unknown() -> (Code, String) {
    (Code::NotFound, "SESSION_NOT_FOUND".to_owned())
}

#[tokio::test]
async fn a_session_is_created_once_and_found_after_that() {
    let world = World::start().await;
    let first = create(&world.a(), "s", "user_1").await.unwrap();
    assert!(first.created);
    let session = first.session.unwrap();
    assert_eq!(session.state(), v1::SessionState::Active);
    assert_eq!(session.message_count, 0);
    assert_eq!(session.create_time, session.update_time);
    assert_eq!(session.close_time, None);

    let before = world.redis.contents().await;
    let request = v1::CreateSessionRequest {
        session_id: "s".into(),
        user_id: "user_1".into(),
        metadata: Some(object(serde_json::json!({ "other": true }))),
    };
    let again = world.b().sessions.create_session(request).await;
    let again = again.unwrap().into_inner();
    assert!(!again.created);
    assert_eq!(again.session, Some(session.clone()));
    assert_eq!(get(&world.b(), "s").await.unwrap(), session);
    assert_eq!(world.redis.contents().await, before, "nothing changes");

    let anothers = create(&world.b(), "s", "user_2").await;
    let exists = (Code::AlreadyExists, "SESSION_EXISTS".to_owned());
    assert_eq!(refusal(anothers), exists);
    assert_eq!(list(&world.a(), "user_2", 0).await, [""]);
    assert_eq!(world.redis.keys().await.len(), before.len());
}

#[tokio::test]
async fn a_session_without_an_id_gets_one() {
    let world = World::start().await;
    let created = create(&world.a(), "", "user_1").await.unwrap();
    let id = created.session.unwrap().session_id;
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    assert!(get(&world.b(), &id).await.is_ok());
}

#[tokio::test]
async fn sessions_are_listed_by_their_newest_activity() {
    let world = World::start().await;
    let clients = world.a();
    for session in ["a", "b", "c", "d"] {
        create(&clients, session, "user_1").await.unwrap();
    }
    create(&clients, "other", "user_2").await.unwrap();
    assert_eq!(list(&world.b(), "user_1", 0).await, ["d c b a"]);

    let request = v1::CreateMessageRequest {
        session_id: "b".into(),
        role: v1::Role::User.into(),
        ..Default::default()
    };
    clients
        .clone()
        .messages
        .create_message(request)
        .await
        .unwrap();
    assert_eq!(list(&world.b(), "user_1", 0).await, ["b d c a"]);
    update(&clients, "a", serde_json::json!({ "title": "A" }))
        .await
        .unwrap();
    assert_eq!(list(&world.b(), "user_1", 0).await, ["a b d c"]);
    close(&clients, "c").await.unwrap();
    assert_eq!(list(&world.b(), "user_1", 0).await, ["c a b d"]);

    assert_eq!(list(&world.b(), "user_1", 3).await, ["c a b", "d"]);
    assert_eq!(list(&world.b(), "user_1", 2).await, ["c a", "b d"]);
    assert_eq!(list(&world.b(), "user_1", 1).await, ["c", "a", "b", "d"]);
    assert_eq!(list(&world.b(), "user_2", 0).await, ["other"]);
    assert_eq!(list(&world.b(), "unknown", 0).await, [""]);
}

#[tokio::test]
async fn sessions_of_the_same_moment_are_each_listed_once() {
    let world = World::start().await;
    let clients = world.a();
    let ids: Vec<_> = (0..11).map(|index| format!("s{index:02}")).collect();
    for id in &ids {
        create(&clients, id, "user_1").await.unwrap();
        let _: i64 = world
            .redis
            .run(&["ZADD", "user:user_1:sessions", "1700000000000000", id])
            .await;
    }
    for page_size in [1, 2, 3, 5, 10, 11, 12] {
        let pages = list(&clients, "user_1", page_size).await;
        let mut listed: Vec<_> = pages.iter().flat_map(|page| page.split(' ')).collect();
        listed.sort_unstable();
        assert_eq!(listed, ids, "{page_size} a page");
        assert_eq!(pages.len(), 11usize.div_ceil(page_size as usize));
    }
}

#[tokio::test]
async fn sessions_that_expired_are_left_out() {
    let world = World::start().await;
    let clients = world.a();
    for session in ["a", "b", "c"] {
        create(&clients, session, "user_1").await.unwrap();
    }
    let _: i64 = world.redis.run(&["DEL", "session:b"]).await;
    assert_eq!(list(&world.b(), "user_1", 2).await, ["c a"]);
    assert_eq!(refusal(get(&clients, "b").await), unknown());
    let index: Vec<String> = world
        .redis
        .run(&["ZRANGE", "user:user_1:sessions", "0", "-1"])
        .await;
    assert_eq!(index, ["a", "c"], "the index forgets it");
}

#[tokio::test]
async fn an_update_replaces_the_metadata_and_nothing_else() {
    let world = World::start().await;
    let clients = world.a();
    create(&clients, "s", "user_1").await.unwrap();
    let before = update(&clients, "s", serde_json::json!({ "a": 1, "b": 2 })).await;
    let before = before.unwrap();
    let after = update(&world.b(), "s", serde_json::json!({ "c": 3 }))
        .await
        .unwrap();
    assert_eq!(after.metadata, Some(object(serde_json::json!({ "c": 3 }))));
    assert!(
        nanos(&after.update_time) > nanos(&before.update_time),
        "the change is activity"
    );
    let unchanged = v1::Session {
        metadata: before.metadata.clone(),
        update_time: before.update_time,
        ..after.clone()
    };
    assert_eq!(unchanged, before);
    assert_eq!(get(&clients, "s").await.unwrap(), after);
    let answer = update(&clients, "unknown", serde_json::json!({})).await;
    assert_eq!(refusal(answer), unknown());
}

fn nanos(time: &Option<prost_types::Timestamp>) -> i128 {
    let time = time.unwrap();
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

#[tokio::test]
async fn a_session_is_closed_once() {
    let world = World::start().await;
    create(&world.a(), "s", "user_1").await.unwrap();
    let first = close(&world.a(), "s").await.unwrap();
    assert_eq!(first.state(), v1::SessionState::Closed);
    assert!(first.close_time.is_some());
    let again = close(&world.b(), "s").await.unwrap();
    assert_eq!(again, first, "a repeat changes nothing");
    assert_eq!(get(&world.b(), "s").await.unwrap(), first);
    assert_eq!(refusal(close(&world.a(), "unknown").await), unknown());
}

#[tokio::test]
async fn a_deleted_session_leaves_nothing() {
    let world = World::start().await;
    let clients = world.a();
    create(&clients, "other", "user_2").await.unwrap();
    let before = world.redis.contents().await;
    for message in ["m", "n", "o"] {
        clients.message(message).await;
        clients.append(message, "hello").await.unwrap();
        clients
            .add(message, open(text_block("open")))
            .await
            .unwrap();
        clients
            .add(message, image_block(vec![1; 20_000]))
            .await
            .unwrap();
        clients.start_task(message, "t").await.unwrap();
    }
    clients.complete("n").await;
    let mut watches = [
        world.a().watch("m", "").await,
        world.b().watch("o", "").await,
    ];
    for watch in &mut watches {
        watch.snapshot().await;
    }

    assert_eq!(delete(&world.b(), "s").await.unwrap(), 3);
    for watch in &mut watches {
        assert_eq!(watch.end().await.reason(), v1::WatchEndReason::Deleted);
    }
    for message in ["m", "n", "o"] {
        assert_eq!(
            clients.get(message).await.unwrap_err().code(),
            Code::NotFound
        );
    }
    assert_eq!(refusal(get(&clients, "s").await), unknown());
    assert_eq!(refusal(delete(&clients, "s").await), unknown());
    assert_eq!(list(&clients, "user_1", 0).await, [""]);

    // What is left are marks for those who read the logs, for a minute.
    for (key, value) in world.redis.contents().await {
        if before.get(&key) == Some(&value) {
            continue;
        }
        assert!(key.starts_with("stream:"), "{key}");
        assert!(world.redis.ttl(&key).await.as_secs() <= 60);
        let entries: String = world
            .redis
            .run(&[
                "EVAL",
                "return cjson.encode(redis.call('XRANGE', KEYS[1], '-', '+'))",
                "1",
                &key,
            ])
            .await;
        assert!(
            !entries.contains("hello") && entries.contains("deleted"),
            "{entries}"
        );
    }
}

/// As left by an instance that died after it had entered a message into the
/// index of a session, and before it found the message to be another's.
#[tokio::test]
async fn a_message_that_stands_in_a_strange_index_is_not_erased_with_it() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    create(&clients, "strange", "user_2").await.unwrap();
    for _ in 0..2 {
        let _: i64 = world
            .redis
            .run(&["ZADD", "session:strange:messages", "1", "m"])
            .await;
        let cleanup = v1::CleanupMessagesRequest {
            older_than: Some(prost_types::Duration::default()),
            session_id: "strange".into(),
            validate_only: false,
        };
        let answer = clients.clone().messages.cleanup_messages(cleanup).await;
        assert_eq!(answer.unwrap().into_inner().count, 0);
    }
    let _: i64 = world
        .redis
        .run(&["ZADD", "session:strange:messages", "1", "m"])
        .await;
    assert_eq!(delete(&clients, "strange").await.unwrap(), 0);
    assert!(clients.get("m").await.is_ok());
    clients.append("m", "still here").await.unwrap();
}
