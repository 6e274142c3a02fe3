//! Which rule answers, and what is remembered.

use serde_json::{Value, json};
use throughline_model::{Model, Reply, Script, When};

use crate::client::{ask, get, post, send, soon, with, with_tool};

/// What the model answers, or the code of its error.
async fn said(model: &Model, body: &Value) -> String {
    let answer = post(model, body).await.json();
    let text = answer["choices"][0]["message"]["content"].as_str();
    let code = answer["error"]["code"].as_str();
    text.or(code).unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn the_first_rule_that_fits_answers_until_it_is_used_up() {
    let script = Script::new()
        .rule_times(1, When::any(), Reply::text("first"))
        .rule_times(1, When::user("weather"), Reply::text("rain"))
        .rule(When::any(), Reply::text("then"));
    let model = Model::start(script).await;
    let mut answers = Vec::new();
    for user in ["a", "b", "the weather?", "the weather?"] {
        answers.push(said(&model, &ask(user)).await);
    }
    assert_eq!(answers, ["first", "then", "rain", "then"]);
    let rules: Vec<_> = model
        .record()
        .iter()
        .map(|exchange| exchange.rule)
        .collect();
    assert_eq!(rules, [Some(0), Some(2), Some(1), Some(2)]);
}

#[tokio::test]
async fn a_rule_looks_at_whatever_it_names() {
    let json_schema = json!({"name": "plan", "schema": {"type": "object"}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": json_schema}});
    let system = json!({"role": "system", "content": "You are terse."});
    let user = json!({"role": "user", "content": [{"type": "text", "text": "Hi there"}]});
    let rules: [(When, Value); 8] = [
        (When::schema("plan"), with(ask("x"), format.clone())),
        (When::any().response_format(true), with(ask("x"), format)),
        (When::any().tools(true), with_tool(ask("x"))),
        (
            When::any().model("big"),
            with(ask("x"), json!({"model": "big"})),
        ),
        (
            When::system("terse"),
            with(ask("x"), json!({"messages": [system, user]})),
        ),
        (
            When::anywhere("terse"),
            with(ask("x"), json!({"messages": [system, user]})),
        ),
        (
            When::user("there"),
            with(ask("x"), json!({"messages": [system, user]})),
        ),
        (
            When::any().last_role("system"),
            with(ask("x"), json!({"messages": [user, system]})),
        ),
    ];
    for (at, (when, fitting)) in rules.into_iter().enumerate() {
        let script = Script::new().rule(when, Reply::text("yes"));
        let model = Model::start(script).await;
        assert_eq!(said(&model, &fitting).await, "yes", "rule {at}");
        assert_eq!(said(&model, &ask("x")).await, "no_rule", "rule {at}");
    }
    let model = Model::start(Script::new().rule(When::call(2), Reply::text("yes"))).await;
    for expected in ["no_rule", "yes", "no_rule"] {
        assert_eq!(said(&model, &ask("x")).await, expected);
    }
}

#[tokio::test]
async fn a_model_that_always_calls_tools_answers_where_it_has_none() {
    let script = Script::new()
        .rule(When::any(), Reply::tool_call("look", json!({})))
        .rule(When::any(), Reply::text("Enough."));
    let model = Model::start(script).await;
    for _ in 0..3 {
        let answer = post(&model, &with_tool(ask("x"))).await.json();
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    }
    let no_choice = with(with_tool(ask("x")), json!({"tool_choice": "none"}));
    assert_eq!(said(&model, &no_choice).await, "Enough.");
    assert_eq!(said(&model, &ask("x")).await, "Enough.");
}

#[tokio::test]
async fn a_script_reads_the_same_from_json() {
    let script: Script = serde_json::from_value(json!({
        "api_key": "k",
        "models": ["m"],
        "rules": [
            {"when": {"call": 1}, "reply": {"fault": {"status": {"code": 429, "retry_after": "2"}}}},
            {"when": {"tools": true}, "times": 1,
             "reply": {"tool_calls": [{"name": "look", "arguments": {"key": "k"}}]}},
            {"reply": {"say": {"fenced_json": {"a": 1}}, "quirks": ["crlf", "no_id"],
                       "first_token_delay_ms": 1, "token_delay_ms": 1}},
            {"reply": {"say": "echo", "fault": {"cut": {"after_tokens": 1, "within": "character"}}}},
        ],
    }))
    .unwrap();
    let again: Script = serde_json::from_str(&serde_json::to_string(&script).unwrap()).unwrap();
    assert_eq!(format!("{script:?}"), format!("{again:?}"));
    let unknown = json!({"rules": [{"repply": {}}]});
    assert!(serde_json::from_value::<Script>(unknown).is_err());
}

#[tokio::test]
async fn who_has_not_the_key_is_refused() {
    let model = Model::start(Script::new().api_key("secret")).await;
    let path = "/v1/chat/completions";
    let body = ask("x").to_string();
    for key in [None, Some("other")] {
        let heard = send(&model, "POST", path, key, body.clone()).await;
        assert_eq!(heard.status, 401);
        assert_eq!(heard.json()["error"]["code"], "invalid_api_key");
        assert_eq!(
            send(&model, "GET", "/v1/models", key, String::new())
                .await
                .status,
            401
        );
    }
    let heard = send(&model, "POST", path, Some("secret"), body).await;
    assert_eq!(heard.status, 200);
}

#[tokio::test]
async fn models_are_listed_and_others_are_unknown() {
    let model = Model::start(Script::new().models(&["small", "big"])).await;
    let list = get(&model, "/v1/models").await.json();
    assert_eq!(list["data"][1]["id"], "big");
    assert_eq!(said(&model, &ask("x")).await, "model_not_found");
    let known = with(ask("x"), json!({"model": "small"}));
    assert_eq!(said(&model, &known).await, "x");
    assert_eq!(get(&model, "/v1/other").await.status, 404);
}

#[tokio::test]
async fn what_was_asked_is_recorded_in_order() {
    let model = Model::start(Script::new()).await;
    let (first, _) = tokio::join!(soon(model.answered(2)), async {
        post(&model, &ask("one two")).await;
        post(&model, &json!({"model": "m"})).await;
    });
    assert_eq!((first.number, first.status), (2, Some(400)));
    let record = get(&model, "/record").await.json();
    let exchanges = record["exchanges"].as_array().unwrap();
    assert_eq!(exchanges.len(), 2);
    assert_eq!(exchanges[0]["body"], ask("one two"));
    assert_eq!(exchanges[0]["tokens"], 2);
    assert_eq!(exchanges[0]["status"], 200);
    assert!(exchanges[0]["gone_us"].is_null());
    let time = |name: &str| exchanges[0][name].as_u64().unwrap();
    assert!(time("arrived_us") <= time("first_token_us"));
    assert!(time("first_token_us") <= time("ended_us"));
}
