//! What answers look like, streamed and whole.

use std::time::Duration;

use serde_json::json;
use throughline_model::{Model, Reply, Say, Script, When};

use crate::client::{ask, ask_streamed, post, with, with_tool};

async fn model(reply: Reply) -> Model {
    Model::start(Script::new().rule(When::any(), reply)).await
}

#[tokio::test]
async fn without_a_script_it_echoes() {
    let model = Model::start(Script::new()).await;
    let heard = post(&model, &ask("Hello, big world")).await;
    let answer = heard.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["id"], "chatcmpl-1");
    assert_eq!(answer["model"], "m");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "Hello, big world");
    assert_eq!(choice["finish_reason"], "stop");
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6});
    assert_eq!(answer["usage"], usage);
}

#[tokio::test]
async fn a_stream_says_the_same_word_by_word() {
    let model = Model::start(Script::new()).await;
    let heard = post(&model, &ask_streamed("Hello, big world")).await;
    assert_eq!(heard.headers["content-type"], "text/event-stream");
    assert!(heard.text().ends_with("\n\ndata: [DONE]\n\n"));
    let role = json!({"role": "assistant", "content": ""});
    let words = ["Hello,", " big", " world"].map(|word| json!({"content": word}));
    let expected = [&[role], words.as_slice(), &[json!({})]].concat();
    assert_eq!(heard.deltas(), expected);
    assert_eq!(heard.finish_reasons(), ["stop"]);
    let chunks = heard.chunks();
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    for chunk in others {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert!(chunk["usage"].is_null() && chunk.get("usage").is_some());
    }
}

#[tokio::test]
async fn usage_comes_only_to_those_who_ask() {
    let model = Model::start(Script::new()).await;
    let heard = post(&model, &with(ask("Hi"), json!({"stream": true}))).await;
    assert!(
        heard
            .chunks()
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
}

#[tokio::test]
async fn a_reply_may_say_how_it_ends_and_what_it_took() {
    let model = model(Reply::text("Hi").finish_reason("length").usage(7, 9)).await;
    let heard = post(&model, &ask_streamed("x")).await;
    assert_eq!(heard.finish_reasons(), ["length"]);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16});
    assert_eq!(heard.chunks().last().unwrap()["usage"], usage);
}

#[tokio::test]
async fn tool_calls_come_in_pieces() {
    let reply = Reply::text("Looking.")
        .and_tool_call("look", json!({"key": "a longer one"}))
        .and_tool_call("look", "not JSON");
    let model = model(reply).await;
    let heard = post(&model, &with_tool(ask_streamed("x"))).await;
    assert_eq!(heard.said(), "Looking.");
    assert_eq!(heard.finish_reasons(), ["tool_calls"]);
    let deltas = heard.deltas();
    let calls: Vec<_> = deltas
        .iter()
        .filter_map(|delta| delta["tool_calls"].get(0))
        .collect();
    let first = json!({
        "index": 0, "id": "call_1_0", "type": "function",
        "function": {"name": "look", "arguments": ""},
    });
    assert_eq!(calls[0], &first);
    let arguments = |index: usize| -> String {
        let own = calls.iter().filter(|call| call["index"] == index);
        let pieces = own.map(|call| call["function"]["arguments"].as_str().unwrap());
        pieces.collect()
    };
    assert_eq!(arguments(0), r#"{"key":"a longer one"}"#);
    assert_eq!(arguments(1), "not JSON");
    let ids: Vec<_> = calls.iter().filter(|call| call["id"].is_string()).collect();
    assert_eq!(ids.len(), 2, "only the first piece of a call has its id");
}

#[tokio::test]
async fn tool_calls_may_come_whole() {
    let model = model(Reply::tool_call("look", json!({"key": "k"}))).await;
    let answer = post(&model, &with_tool(ask("x"))).await.json();
    let message = &answer["choices"][0]["message"];
    assert!(message["content"].is_null());
    let function = json!({"name": "look", "arguments": r#"{"key":"k"}"#});
    let call = json!({"id": "call_1_0", "type": "function", "function": function});
    assert_eq!(message["tool_calls"], json!([call]));
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn json_comes_plain_or_fenced_or_broken() {
    let value = json!({"rating": "GOOD"});
    for (say, expected) in [
        (Say::Json(value.clone()), r#"{"rating":"GOOD"}"#),
        (
            Say::FencedJson(value.clone()),
            "```json\n{\"rating\":\"GOOD\"}\n```",
        ),
        (Say::BadJson(value), r#"{"rating":"GOOD""#),
    ] {
        let model = model(Reply::say(say)).await;
        let heard = post(&model, &ask_streamed("x")).await;
        assert_eq!(heard.said(), expected);
    }
}

#[tokio::test]
async fn reasoning_comes_before_the_text() {
    let model = model(Reply::text("42").reasoning("Let me think")).await;
    let heard = post(&model, &ask_streamed("x")).await;
    let deltas = heard.deltas();
    assert_eq!(deltas[1], json!({"reasoning_content": "Let"}));
    assert_eq!(deltas[4], json!({"content": "42"}));
    let answer = post(&model, &ask("x")).await.json();
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Let me think");
    assert_eq!(message["content"], "42");
}

#[tokio::test]
async fn a_slow_model_takes_its_time() {
    let reply = Reply::words(3)
        .first_token_delay(Duration::from_millis(50))
        .token_delay(Duration::from_millis(20));
    let model = model(reply).await;
    for body in [ask_streamed("x"), ask("x")] {
        post(&model, &body).await;
    }
    let record = model.record();
    let streamed = &record[0];
    let first = streamed.first_token_us.unwrap();
    assert!(first - streamed.arrived_us >= 50_000);
    assert!(streamed.ended_us.unwrap() - first >= 40_000);
    let whole = &record[1];
    assert!(whole.ended_us.unwrap() - whole.arrived_us >= 90_000);
}
