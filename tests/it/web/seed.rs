//! The API of the first design, played line by line with curl and redis-cli.

use serde_json::Value;
use tokio::process::Command;

use crate::support::World;

/// Runs a line as a shell would, with `$API` in it, and returns what it writes.
async fn shell(world: &World, line: &str) -> String {
    let api = format!("http://{}/api/v1", world.services[0].address);
    let output = Command::new("sh")
        .args(["-euc", line])
        .env("API", api)
        .env("PORT", world.redis.port.to_string())
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {error}");
    // What redis-cli shows is protobuf in part.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn curl(world: &World, arguments: &str) -> Value {
    let json = "-H 'content-type: application/json'";
    let text = shell(
        world,
        &format!("curl -sS --fail-with-body {json} {arguments}"),
    )
    .await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn curl_alone_plays_the_api_of_the_seed() {
    let world = World::start().await;
    let created = curl(
        &world,
        r#"$API/sessions -d '{"user_id": "user_123", "metadata": {}}'"#,
    )
    .await;
    let session = created["session"]["sessionId"].as_str().unwrap();
    let found = curl(&world, &format!("$API/sessions/{session}")).await;
    assert_eq!(found["session"]["userId"], "user_123");

    let sent = curl(
        &world,
        &format!(
            r#"$API/sessions/{session}/messages -d '{{"content": "What is a lighthouse?", "type": "text", "metadata": {{}}}}'"#
        ),
    )
    .await;
    assert_eq!(sent["message"]["role"], "ROLE_USER");
    assert_eq!(sent["message"]["state"], "MESSAGE_STATE_COMPLETED");
    let message = sent["message"]["messageId"].as_str().unwrap();

    let line = format!("\"$API/sessions/{session}/messages?limit=50&offset=0\"");
    let page = curl(&world, &line);
    let page = page.await;
    assert_eq!(page["messages"][0]["text"], "What is a lighthouse?");
    let line = format!("\"$API/sessions/{session}/messages?limit=50&offset=1\"");
    let page = curl(&world, &line);
    assert_eq!(page.await["messages"], Value::Null);

    let read = curl(&world, &format!("$API/messages/{message}")).await;
    assert_eq!(read["message"]["text"], "What is a lighthouse?");

    let stream =
        format!("curl -sSN \"$API/sessions/{session}/messages/{message}/stream?last_id=0\"");
    let events = shell(&world, &stream).await;
    let names: Vec<_> = events
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(
        names,
        [
            "message_start",
            "content_added",
            "message_end",
            "caught_up",
            "end"
        ]
    );

    the_debugging_lines(&world, session, message).await;

    let closed = curl(&world, &format!("-X DELETE $API/sessions/{session}")).await;
    assert_eq!(closed["session"]["state"], "SESSION_STATE_CLOSED");
}

/// The seed's redis-cli lines show what was kept.
async fn the_debugging_lines(world: &World, session: &str, message: &str) {
    let cli =
        |line: String| async move { shell(world, &format!("redis-cli -p $PORT {line}")).await };
    let fields = cli(format!("HGETALL message:{message}")).await;
    assert!(fields.contains("What is a lighthouse?"), "{fields}");
    let log = cli(format!(
        "XRANGE stream:session:{session}:message:{message} - +"
    ))
    .await;
    assert!(log.contains("What is a lighthouse?"), "{log}");
    let index = cli(format!("ZRANGE session:{session}:messages 0 -1 WITHSCORES")).await;
    assert!(index.starts_with(message), "{index}");
}

#[tokio::test]
async fn curl_reads_the_fields_that_it_names() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().append("m", "once").await.unwrap();
    let read = curl(&world, "\"$API/messages/m?read_mask=blocks,updateTime\"").await;
    let message = read["message"].as_object().unwrap();
    let names: Vec<_> = message.keys().collect();
    assert_eq!(names, ["blocks", "updateTime"]);
    assert_eq!(message["blocks"][0]["text"]["text"], "once");
}

#[tokio::test]
async fn curl_writes_a_message_and_runs_a_task_in_it() {
    let world = World::start().await;
    world.a().session("s").await;
    let turn = r#"$API/sessions/s/messages -d '{"message_id": "m", "role": "assistant"}'"#;
    curl(&world, turn).await;
    curl(
        &world,
        r#"$API/messages/m/append -d '{"delta": "Here it is: "}'"#,
    )
    .await;
    let task = r#"$API/messages/m/tasks -d '{"task_id": "t", "task_type": "image_generation", "params": {"prompt": "a lighthouse"}, "placeholder": {"content_type": "image", "block_id": "picture"}}'"#;
    assert_eq!(
        curl(&world, task).await["task"]["status"],
        "TASK_STATUS_PENDING"
    );
    let half = r#"-X PATCH $API/messages/m/tasks/t -d '{"status": "processing", "progress": 0.5}'"#;
    assert_eq!(curl(&world, half).await["task"]["progress"], 0.5);
    let done = r#"-X PATCH $API/messages/m/tasks/t -d '{"status": "completed", "content": {"image": {"data": "iVBORw0KGgo=", "media_type": "image/png"}}}'"#;
    curl(&world, done).await;
    let task = curl(&world, "$API/messages/m/tasks/t").await;
    assert_eq!(task["task"]["status"], "TASK_STATUS_COMPLETED");
    let picture = shell(
        &world,
        "curl -sS $API/messages/m/content/picture | od -An -tx1",
    )
    .await;
    assert_eq!(picture.trim(), "89 50 4e 47 0d 0a 1a 0a");
    curl(&world, "-X POST $API/messages/m/complete").await;
    let message = curl(&world, "$API/messages/m").await;
    assert_eq!(message["message"]["state"], "MESSAGE_STATE_COMPLETED");
    assert_eq!(message["message"]["text"], "Here it is: ");
}
