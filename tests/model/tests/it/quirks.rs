//! What compatible servers do otherwise than OpenAI.

use serde_json::{Value, json};
use throughline_model::{Model, Quirk, Reply, Script, When};

use crate::client::{Heard, ask, ask_streamed, post, with_tool};

async fn streamed(reply: Reply) -> Heard {
    let model = Model::start(Script::new().rule(When::any(), reply)).await;
    post(&model, &with_tool(ask_streamed("x"))).await
}

/// A text and a call with this quirk.
async fn odd(quirk: Quirk) -> Heard {
    let reply = Reply::text("Hi there").and_tool_call("look", json!({"key": "a longer one"}));
    streamed(reply.quirk(quirk)).await
}

fn calls(heard: &Heard) -> Vec<Value> {
    let deltas = heard.deltas().into_iter();
    let calls = deltas.filter_map(|delta| delta["tool_calls"].get(0).cloned());
    calls.collect()
}

#[tokio::test]
async fn chunks_may_lack_what_names_them() {
    let chunks = odd(Quirk::NoId).await.chunks();
    let is_named = |chunk: &Value| chunk.get("id").or(chunk.get("created")).is_some();
    assert!(!chunks.iter().any(is_named));
}

#[tokio::test]
async fn finish_reasons_may_be_of_their_own() {
    let heard = streamed(Reply::text("Hi").finish_reason("eos")).await;
    assert_eq!(heard.finish_reasons(), ["eos"]);
}

#[tokio::test]
async fn tool_calls_may_lack_an_index_or_come_whole() {
    let heard = odd(Quirk::NoToolIndex).await;
    assert!(calls(&heard).iter().all(|call| call.get("index").is_none()));
    let heard = odd(Quirk::WholeToolCalls).await;
    let calls = calls(&heard);
    assert_eq!(calls.len(), 1);
    let arguments = &calls[0]["function"]["arguments"];
    assert_eq!(arguments, r#"{"key":"a longer one"}"#);
}

#[tokio::test]
async fn content_may_be_null() {
    let heard = odd(Quirk::NullContent).await;
    let deltas = heard.deltas();
    let null = json!({"role": "assistant", "content": null});
    assert_eq!(deltas[0], null);
    assert!(deltas[3].get("content").is_some_and(Value::is_null));
    assert_eq!(heard.said(), "Hi there");
    let reply = Reply::default().quirk(Quirk::NullContent);
    let model = Model::start(Script::new().rule(When::any(), reply)).await;
    let answer = post(&model, &ask("x")).await.json();
    assert!(answer["choices"][0]["message"]["content"].is_null());
}

#[tokio::test]
async fn usage_and_the_end_mark_may_be_missing() {
    let heard = odd(Quirk::NoUsage).await;
    assert!(
        heard
            .chunks()
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    assert!(heard.text().contains("[DONE]"));
    let heard = odd(Quirk::NoDone).await;
    assert!(!heard.text().contains("[DONE]"));
    assert!(heard.is_whole && !heard.finish_reasons().is_empty());
}

#[tokio::test]
async fn lines_may_be_written_otherwise() {
    let comments = odd(Quirk::Comments).await;
    assert!(comments.text().starts_with(": processing\n\ndata: {"));
    let crlf = odd(Quirk::Crlf).await;
    assert_eq!(crlf.text().replace("\r\n", "").find('\n'), None);
    let no_space = odd(Quirk::NoSpace).await;
    assert!(no_space.text().starts_with("data:{"));
    for heard in [comments, crlf, no_space] {
        assert_eq!(heard.said(), "Hi there");
    }
}
