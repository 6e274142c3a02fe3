//! An answer in one piece.

use std::{future::pending, io};

use async_stream::stream;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::{
    chunks::error_of,
    plan::{Call, Plan},
    record::Visit,
    reply::{Fault, Quirk, Reply},
    stream::{Body, body, cut, pause},
};

/// Sends the answer after the time that its tokens take.
pub(crate) async fn whole(reply: &Reply, plan: &Plan, mut visit: Visit) -> Body {
    let tokens = plan.tokens.len();
    let later = u64::try_from(tokens.saturating_sub(1)).unwrap_or(u64::MAX);
    let delay = reply.token_delay_ms.saturating_mul(later);
    pause(reply.first_token_delay_ms.saturating_add(delay)).await;

    let mut answer = completion(reply, plan).to_string();
    let is_cut = matches!(reply.fault, Some(Fault::Cut { .. }));
    match &reply.fault {
        Some(Fault::Hang { .. }) => pending::<()>().await,
        Some(Fault::Error { message, .. }) => answer = error_of(message).to_string(),
        Some(Fault::Cut { .. }) => answer.truncate(answer.floor_char_boundary(answer.len() / 2)),
        None | Some(Fault::Status { .. } | Fault::Silence) => {}
    }
    visit.status(200);
    visit.tokens(tokens);
    visit.end();
    body(stream! {
        yield Ok(Bytes::from(answer));
        if is_cut {
            // What was sent so far goes out before the connection is closed.
            yield_now().await;
            yield io::Result::Err(cut());
        }
    })
}

fn completion(reply: &Reply, plan: &Plan) -> Value {
    let mut message = json!({
        "role": "assistant",
        "content": content(reply, plan),
        "refusal": null,
    });
    if !plan.reasoning().is_empty() {
        message["reasoning_content"] = json!(plan.reasoning());
    }
    if !plan.calls.is_empty() {
        message["tool_calls"] = plan.calls.iter().map(call).collect();
    }
    let mut completion = plan.head("chat.completion", reply);
    let choice = json!({
        "index": 0,
        "message": message,
        "logprobs": null,
        "finish_reason": plan.finish_reason,
    });
    completion.insert("choices".to_owned(), json!([choice]));
    if !reply.has(Quirk::NoUsage) {
        completion.insert("usage".to_owned(), plan.usage_json());
    }
    Value::Object(completion)
}

/// Null where the model only calls tools.
fn content(reply: &Reply, plan: &Plan) -> Value {
    let text = plan.text();
    let only_calls = text.is_empty() && !plan.calls.is_empty();
    match only_calls || (text.is_empty() && reply.has(Quirk::NullContent)) {
        true => Value::Null,
        false => json!(text),
    }
}

fn call(call: &Call) -> Value {
    let Call {
        id,
        name,
        arguments,
    } = call;
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}
