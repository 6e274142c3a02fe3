//! Requests that OpenAI refuses.

use serde_json::{Value, json};
use throughline_model::{Model, Script};

use crate::client::{ask, post, send, with, with_tool};

/// Why a request is refused: which argument, and in what words.
async fn refusal(body: &Value) -> (Value, String) {
    let model = Model::start(Script::new()).await;
    let heard = post(&model, body).await;
    let error = &heard.json()["error"];
    assert_eq!(heard.status, 400, "{body}");
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().unwrap().to_owned();
    (error["param"].clone(), message)
}

fn messages(messages: Value) -> Value {
    json!({"model": "m", "messages": messages})
}

fn call(id: &str) -> Value {
    let function = json!({"name": "look", "arguments": "{}"});
    let call = json!({"id": id, "type": "function", "function": function});
    json!({"role": "assistant", "content": null, "tool_calls": [call]})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "found"})
}

fn strict(schema: Value) -> Value {
    let json_schema = json!({"name": "plan", "strict": true, "schema": schema});
    let format = json!({"type": "json_schema", "json_schema": json_schema});
    with(ask("x"), json!({"response_format": format}))
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let model = Model::start(Script::new()).await;
    let path = "/v1/chat/completions";
    for body in ["", "{", "[]", "{\"model\": "] {
        let heard = send(&model, "POST", path, None, body.to_owned()).await;
        assert_eq!(heard.status, 400, "{body}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    for (more, param) in [
        (json!({"messages": null}), json!("messages")),
        (json!({"messages": []}), json!("messages")),
        (json!({"messages": "Hi"}), json!("messages")),
        (json!({"model": ""}), Value::Null),
        (json!({"modle": "m"}), Value::Null),
        (json!({"stream": "yes"}), json!("stream")),
        (json!({"stream_options": {}}), json!("stream_options")),
        (json!({"temperature": 3}), json!("temperature")),
        (json!({"max_tokens": 0}), json!("max_tokens")),
        (json!({"n": 2}), json!("n")),
        (json!({"tools": []}), json!("tools")),
        (json!({"tool_choice": "auto"}), json!("tool_choice")),
        (
            json!({"response_format": {"type": "xml"}}),
            json!("response_format.type"),
        ),
        (
            json!({"response_format": {"type": "json_object"}}),
            json!("messages"),
        ),
    ] {
        assert_eq!(
            refusal(&with(ask("x"), more.clone())).await.0,
            param,
            "{more}"
        );
    }
}

#[tokio::test]
async fn wrong_messages_are_named() {
    for (wrong, param) in [
        (json!([{"content": "Hi"}]), "messages[0].role"),
        (
            json!([{"role": "robot", "content": "Hi"}]),
            "messages[0].role",
        ),
        (
            json!([{"role": "user", "content": null}]),
            "messages[0].content",
        ),
        (json!([{"role": "assistant"}]), "messages[0].content"),
        (
            json!([{"role": "user", "content": [{"type": "sound"}]}]),
            "messages[0].content[0].type",
        ),
        (
            json!([{"role": "tool", "content": "x"}]),
            "messages[0].tool_call_id",
        ),
    ] {
        assert_eq!(refusal(&messages(wrong)).await.0, param);
    }
}

#[tokio::test]
async fn each_tool_call_is_answered_before_anything_else() {
    let user = json!({"role": "user", "content": "Hi"});
    let model = Model::start(Script::new()).await;
    let right = messages(json!([user, call("a"), result("a"), user]));
    assert_eq!(post(&model, &right).await.status, 200);
    for wrong in [
        json!([user, call("a")]),
        json!([user, call("a"), user]),
        json!([user, call("a"), result("b")]),
        json!([user, result("a")]),
        json!([user, call("a"), result("a"), result("a")]),
    ] {
        let (_, message) = refusal(&messages(wrong)).await;
        assert!(message.contains("'tool_calls'"), "{message}");
    }
}

#[tokio::test]
async fn tools_are_functions_with_a_name_and_an_object() {
    let tool = |function: Value| {
        let tools = json!([{"type": "function", "function": function}]);
        with(ask("x"), json!({"tools": tools}))
    };
    for (wrong, param) in [
        (json!({}), "tools[0].function.name"),
        (json!({"name": "a b"}), "tools[0].function.name"),
        (
            json!({"name": "a", "parameters": {"type": "array"}}),
            "tools[0].function.parameters",
        ),
    ] {
        assert_eq!(refusal(&tool(wrong)).await.0, param);
    }
    let chosen = json!({"tool_choice": {"type": "function", "function": {"name": "other"}}});
    let (param, _) = refusal(&with(with_tool(ask("x")), chosen)).await;
    assert_eq!(param, "tool_choice");
}

#[tokio::test]
async fn strict_schemas_leave_nothing_open() {
    let step = json!({"type": "object", "properties": {"task": {"type": "string"}},
                      "required": ["task"], "additionalProperties": false});
    let plan = |step: &Value| {
        json!({"type": "object", "properties": {"steps": {"type": "array", "items": step}},
               "required": ["steps"], "additionalProperties": false})
    };
    let model = Model::start(Script::new()).await;
    assert_eq!(post(&model, &strict(plan(&step))).await.status, 200);
    for (open, named) in [
        (
            with(step.clone(), json!({"additionalProperties": true})),
            "additionalProperties",
        ),
        (
            with(step.clone(), json!({"required": []})),
            "Missing 'task'",
        ),
    ] {
        let (param, message) = refusal(&strict(plan(&open))).await;
        assert!(message.contains(named), "{message}");
        assert_eq!(param, "response_format.json_schema.schema.steps.items");
    }
    assert_eq!(
        post(&model, &strict(json!({"type": "array"}))).await.status,
        400
    );
}
