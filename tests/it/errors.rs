//! What an error tells its caller, and what it does not.

use throughline::proto as v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Rpc, World, image_block, named, reason, text_block};

/// One request of every RPC that asks Redis for something, all with message
/// `m`, session `s` and task `t`.
macro_rules! requests {
    ($use:ident) => {
        $use!(
            v1::CreateSessionRequest {
                user_id: "user_1".into(),
                ..Default::default()
            },
            v1::GetSessionRequest {
                session_id: "s".into(),
            },
            v1::ListSessionsRequest {
                user_id: "user_1".into(),
                ..Default::default()
            },
            v1::UpdateSessionRequest {
                session: Some(v1::Session {
                    session_id: "s".into(),
                    ..Default::default()
                }),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["metadata".into()],
                }),
            },
            v1::CloseSessionRequest {
                session_id: "s".into(),
            },
            v1::DeleteSessionRequest {
                session_id: "s".into(),
            },
            v1::CreateMessageRequest {
                session_id: "s".into(),
                role: v1::Role::User.into(),
                ..Default::default()
            },
            v1::GetMessageRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::ListMessagesRequest {
                session_id: "s".into(),
                ..Default::default()
            },
            v1::AppendTextRequest {
                message_id: "m".into(),
                delta: "x".into(),
                ..Default::default()
            },
            v1::AddContentRequest {
                message_id: "m".into(),
                block: Some(image_block(vec![1; 20_000])),
                ..Default::default()
            },
            v1::UpdateContentRequest {
                message_id: "m".into(),
                block: Some(named("b", text_block("x"))),
                ..Default::default()
            },
            v1::PublishEventRequest {
                message_id: "m".into(),
                name: "noticed".into(),
                ..Default::default()
            },
            v1::EndMessageRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::RequestCancelRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::AcquireWriterRequest {
                message_id: "m".into(),
                writer_id: "w".into(),
                ..Default::default()
            },
            v1::ListEventsRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::ReadContentRequest {
                message_id: "m".into(),
                block_id: "b".into(),
                ..Default::default()
            },
            v1::WatchMessageRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::DeleteMessageRequest {
                message_id: "m".into(),
            },
            v1::CleanupMessagesRequest {
                older_than: Some(prost_types::Duration::default()),
                ..Default::default()
            },
            v1::StartTaskRequest {
                message_id: "m".into(),
                task_type: "search".into(),
                ..Default::default()
            },
            v1::UpdateTaskRequest {
                message_id: "m".into(),
                task_id: "t".into(),
                ..Default::default()
            },
            v1::CancelTaskRequest {
                message_id: "m".into(),
                task_id: "t".into(),
                ..Default::default()
            },
            v1::GetTaskRequest {
                message_id: "m".into(),
                task_id: "t".into(),
            },
            v1::ListTasksRequest {
                message_id: "m".into(),
                ..Default::default()
            },
            v1::InspectMessageRequest {
                message_id: "m".into(),
            },
        )
    };
}

/// Whether an error says nothing of what is behind the service.
fn assert_discreet(world: &World, status: &Status) {
    let port = world.redis.url();
    let port = port.trim_end_matches('/').rsplit(':').next().unwrap();
    let details = String::from_utf8_lossy(status.details());
    let said = format!("{} {details} {:?}", status.message(), status.metadata()).to_lowercase();
    for secret in [
        port,
        "127.0.0.1",
        "redis",
        "fcall",
        "lua",
        "os error",
        "wrongtype",
    ] {
        assert!(!said.contains(secret), "{secret} is in: {said}");
    }
    for key in ["message:", "session:", "stream:", "content:", "user:"] {
        assert!(!said.contains(&format!("{key}m")), "{said}");
        assert!(!said.contains(&format!("{key}s")), "{said}");
    }
}

#[tokio::test]
async fn a_call_without_redis_is_unavailable_says_when_to_retry_and_no_more() {
    let mut world = World::start().await;
    world.a().message("m").await;
    world.redis.kill();
    let mut calls = tokio::task::JoinSet::new();
    macro_rules! call_all {
        ($($request:expr),* $(,)?) => {$({
            let clients = world.a();
            calls.spawn(async move {
                let request = $request;
                (format!("{request:?}"), request.send(&clients).await)
            });
        })*};
    }
    requests!(call_all);
    assert_eq!(calls.len(), 27);
    while let Some(call) = calls.join_next().await {
        let (request, answer) = call.unwrap();
        let status = answer.expect_err(&request);
        assert_eq!(status.code(), Code::Unavailable, "{request}: {status:?}");
        let known = ["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"];
        assert!(known.contains(&reason(&status).as_str()), "{request}");
        let retry = status.get_details_retry_info().expect(&request);
        assert!(retry.retry_delay.unwrap().as_millis() > 0);
        assert_discreet(&world, &status);
    }
}

#[tokio::test]
async fn what_is_damaged_in_redis_is_told_to_the_operator_only() {
    let world = World::start().await;
    world.a().message("n").await;
    let status = ["HSET", "message:n", "status", "nonsense"];
    let _: i64 = world.redis.run(&status).await;
    let status = world.a().get("n").await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(reason(&status), "STORED_DATA_DAMAGED");
    assert_discreet(&world, &status);

    for key in ["message:m", "session:s", "user:user_1:sessions"] {
        let _: i64 = world.redis.run(&["DEL", key]).await;
        let _: i64 = world.redis.run(&["RPUSH", key, "of another type"]).await;
    }
    macro_rules! call_all {
        ($($request:expr),* $(,)?) => {$({
            let request = $request;
            match request.clone().send(&world.a()).await {
                Ok(()) => {}
                Err(status) => {
                    reason(&status);
                    assert_discreet(&world, &status);
                }
            }
        })*};
    }
    requests!(call_all);
}

#[tokio::test]
async fn a_refusal_names_what_it_is_about_and_says_why() {
    let world = World::start().await;
    macro_rules! call_all {
        ($($request:expr),* $(,)?) => {$({
            let request = $request;
            if let Err(status) = request.clone().send(&world.a()).await {
                assert_eq!(status.code(), Code::NotFound, "{request:?}");
                let unknown = ["MESSAGE_NOT_FOUND", "SESSION_NOT_FOUND"];
                assert!(unknown.contains(&reason(&status).as_str()), "{request:?}");
                assert!(status.get_details_retry_info().is_none());
                assert!(!status.message().is_empty() && !status.message().ends_with('.'));
                assert_discreet(&world, &status);
            }
        })*};
    }
    requests!(call_all);
}

/// Errors travel in HTTP/2 headers, of which clients take 8 KiB.
#[tokio::test]
async fn an_error_is_short_however_long_what_it_is_about() {
    let world = World::start().await;
    let long = "x".repeat(1_000_000);
    let broken_json = v1::AddContentRequest {
        message_id: "m".into(),
        block: Some(crate::support::textual_blocks(&long)[3].clone()),
        ..Default::default()
    };
    let bad_cursor = v1::ListEventsRequest {
        message_id: "m".into(),
        cursor: long.clone(),
        ..Default::default()
    };
    let bad_mask = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: "s".into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec![long] }),
    };
    let clients = world.a();
    for answer in [
        broken_json.send(&clients).await,
        bad_cursor.send(&clients).await,
        bad_mask.send(&clients).await,
    ] {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().len() + status.details().len() < 1_000);
    }
}
