//! Every error of REST has the reason that gRPC gives for the same call.

use serde_json::json;
use throughline::proto as v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::http::{call, get};
use crate::support::{Rpc, World};

/// A call by REST, and the same by gRPC. Both are refused.
macro_rules! refusals {
    ($world:ident: $($status:literal $reason:literal $method:literal $path:literal $body:tt = $request:expr;)*) => {$({
        let path = concat!("/api/v1/", $path);
        let answer = call(&$world, $method, path, json!($body)).await;
        let status = $request.send(&$world.b()).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        let context = concat!($method, " ", $path, " ", $reason);
        assert_eq!(answer.reason(), $reason, "{context}");
        assert_eq!(info.reason, $reason, "{context}");
        assert_eq!(answer.status, $status, "{context}");
        let problem = answer.json();
        assert_eq!(problem["detail"], status.message(), "{context}");
        assert_eq!(problem["status"], $status, "{context}");
        let metadata = problem.get("metadata").cloned().unwrap_or(json!({}));
        assert_eq!(metadata, json!(info.metadata), "{context}");
        let fields = status.get_details_bad_request().map_or(json!(null), |request| {
            let fields = request.field_violations.iter();
            fields.map(|field| json!({"field": field.field, "description": field.description})).collect()
        });
        assert_eq!(problem["fields"], fields, "{context}");
    })*};
}

fn update(status: v1::TaskStatus) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "done".into(),
        status: status.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn each_error_has_the_reason_of_grpc() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.append("m", "Hello").await.unwrap();
    a.start_task("m", "done").await.unwrap();
    a.update_task(update(v1::TaskStatus::Failed)).await.unwrap();
    a.create("over", v1::Role::Assistant).await.unwrap();
    a.complete("over").await;
    a.session("closed").await;
    call(&world, "DELETE", "/api/v1/sessions/closed", json!({})).await;

    refusals! { world:
        404 "SESSION_NOT_FOUND" "GET" "sessions/x" {} = v1::GetSessionRequest { session_id: "x".into() };
        404 "MESSAGE_NOT_FOUND" "GET" "messages/x" {} = v1::GetMessageRequest { message_id: "x".into(), ..Default::default() };
        404 "TASK_NOT_FOUND" "GET" "messages/m/tasks/x" {} = v1::GetTaskRequest { message_id: "m".into(), task_id: "x".into() };
        404 "BLOCK_NOT_FOUND" "GET" "messages/m/content/x" {} = v1::ReadContentRequest { message_id: "m".into(), block_id: "x".into(), ..Default::default() };
        404 "CONTENT_NOT_FOUND" "GET" "content/x" {} = v1::ReadContentRequest { content_id: "x".into(), ..Default::default() };
        400 "INVALID_FIELD" "GET" "sessions?page_size=-1&user_id=u" {} = v1::ListSessionsRequest { user_id: "u".into(), page_size: -1, ..Default::default() };
        400 "INVALID_FIELD" "GET" "messages/a%20b" {} = v1::GetMessageRequest { message_id: "a b".into(), ..Default::default() };
        400 "INVALID_FIELD" "POST" "messages/m/append" {"delta": ""} = v1::AppendTextRequest { message_id: "m".into(), ..Default::default() };
        409 "SESSION_EXISTS" "POST" "sessions" {"session_id": "s", "user_id": "other"} = v1::CreateSessionRequest { session_id: "s".into(), user_id: "other".into(), ..Default::default() };
        409 "SESSION_CLOSED" "POST" "sessions/closed/messages" {"role": "user"} = v1::CreateMessageRequest { session_id: "closed".into(), role: v1::Role::User.into(), ..Default::default() };
        409 "MESSAGE_EXISTS" "POST" "sessions/s/messages" {"message_id": "m", "role": "user"} = v1::CreateMessageRequest { session_id: "s".into(), message_id: "m".into(), role: v1::Role::User.into(), ..Default::default() };
        409 "MESSAGE_TERMINAL" "POST" "messages/over/append" {"delta": "x"} = v1::AppendTextRequest { message_id: "over".into(), delta: "x".into(), ..Default::default() };
        409 "OFFSET_MISMATCH" "POST" "messages/m/append" {"delta": "x", "expectedOffset": 3} = v1::AppendTextRequest { message_id: "m".into(), delta: "x".into(), expected_offset: Some(3), ..Default::default() };
        409 "TASK_TERMINAL" "PATCH" "messages/m/tasks/done" {"status": "completed"} = update(v1::TaskStatus::Completed);
        416 "CURSOR_OUT_OF_RANGE" "GET" "messages/m/events?cursor=99-1" {} = v1::ListEventsRequest { message_id: "m".into(), cursor: "99-1".into(), ..Default::default() };
        416 "CURSOR_OUT_OF_RANGE" "GET" "sessions/s/messages/m/stream?last_id=99-1&fail_on_gap=true" {} = v1::WatchMessageRequest { message_id: "m".into(), cursor: "99-1".into(), fail_on_gap: true, ..Default::default() };
        400 "INVALID_FIELD" "GET" "sessions/s/messages/m/stream?last_id=nonsense" {} = v1::WatchMessageRequest { message_id: "m".into(), cursor: "nonsense".into(), ..Default::default() };
    }
}

#[tokio::test]
async fn an_unreachable_redis_is_unavailable_and_says_when_to_come_back() {
    let mut world = World::start().await;
    world.a().session("s").await;
    world.redis.kill();
    let request = v1::GetSessionRequest {
        session_id: "s".into(),
    };
    let status = request.send(&world.a()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let answer = get(&world, "/api/v1/sessions/s").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.reason(), "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn what_is_not_there_or_not_clear_says_so() {
    let world = World::start().await;
    let nothing = get(&world, "/api/v1/nothing").await;
    assert_eq!(
        (nothing.status, nothing.reason().as_str()),
        (404, "ROUTE_NOT_FOUND")
    );
    let method = call(&world, "PUT", "/api/v1/sessions", json!({})).await;
    assert_eq!(
        (method.status, method.reason().as_str()),
        (405, "METHOD_NOT_ALLOWED")
    );
    assert_eq!(method.headers["allow"], "POST, GET, HEAD");
    let parameter = get(&world, "/api/v1/sessions?user_id=u&limt=3").await;
    assert_eq!(parameter.status, 400);
    assert_eq!(parameter.json()["fields"][0]["field"], "limt");
    let twice = get(&world, "/api/v1/sessions?user_id=u&userId=v").await;
    assert_eq!(twice.status, 400);
    assert_eq!(twice.json()["fields"][0]["field"], "userId");
    let both = json!({"content": "Hi", "blocks": [{"text": {"text": "Ho"}}]});
    let both = call(&world, "POST", "/api/v1/sessions/s/messages", both).await;
    assert_eq!(both.status, 400);
    assert_eq!(both.json()["fields"][0]["field"], "content");
}
