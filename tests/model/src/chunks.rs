//! The chunks of a streamed answer, as OpenAI writes them or as other servers do.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    plan::{Call, Plan, Token},
    record::now_us,
    reply::{Quirk, Reply, Within},
};

/// Writes the chunks of one answer.
pub(crate) struct Chunks {
    pub(crate) reply: Reply,
    pub(crate) plan: Plan,
    /// `stream_options.include_usage` of the request.
    pub(crate) wants_usage: bool,
}

impl Chunks {
    /// The first chunk, which says who speaks.
    pub(crate) fn role(&self) -> Bytes {
        let content = match self.reply.has(Quirk::NullContent) {
            true => Value::Null,
            false => json!(""),
        };
        self.delta(json!({"role": "assistant", "content": content}))
    }

    pub(crate) fn token(&self, token: &Token) -> Bytes {
        let mut delta = match token {
            Token::Reasoning(text) => json!({"reasoning_content": text}),
            Token::Text(text) => json!({"content": text}),
            Token::CallBegins { call, arguments } => {
                let Call { id, name, .. } = &self.plan.calls[*call];
                let function = json!({"name": name, "arguments": arguments});
                self.call(
                    *call,
                    json!({"id": id, "type": "function", "function": function}),
                )
            }
            Token::Arguments { call, piece } => {
                self.call(*call, json!({"function": {"arguments": piece}}))
            }
        };
        if self.reply.has(Quirk::NullContent) && delta.get("content").is_none() {
            delta["content"] = Value::Null;
        }
        self.delta(delta)
    }

    /// The finish_reason, the usage where it was asked for, and `[DONE]`.
    pub(crate) fn finish(&self) -> Bytes {
        let reason = json!(self.plan.finish_reason);
        let choice = json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason});
        let mut finish = Vec::from(self.chunk(json!([choice]), Value::Null));
        if self.reports_usage() {
            finish.extend(self.chunk(json!([]), self.plan.usage_json()));
        }
        if !self.reply.has(Quirk::NoDone) {
            finish.extend(self.event("[DONE]"));
        }
        finish.into()
    }

    /// An error in place of a chunk.
    pub(crate) fn error(&self, message: &str) -> Bytes {
        self.event(&error_of(message).to_string())
    }

    /// The beginning of a chunk.
    pub(crate) fn torn(&self, within: Within) -> Bytes {
        let chunk = self.delta(json!({"content": "é"}));
        let mark = "é".as_bytes();
        let at = chunk.windows(mark.len()).position(|bytes| bytes == mark);
        let length = match (within, at) {
            (Within::Character, Some(at)) => at + 1,
            (Within::Json, _) | (_, None) => chunk.len() / 2,
        };
        chunk.slice(..length)
    }

    fn delta(&self, delta: Value) -> Bytes {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
        self.chunk(json!([choice]), Value::Null)
    }

    fn call(&self, index: usize, mut call: Value) -> Value {
        if !self.reply.has(Quirk::NoToolIndex) {
            call["index"] = json!(index);
        }
        json!({"tool_calls": [call]})
    }

    fn chunk(&self, choices: Value, usage: Value) -> Bytes {
        let mut chunk = self.plan.head("chat.completion.chunk", &self.reply);
        chunk.insert("choices".to_owned(), choices);
        if self.reports_usage() {
            chunk.insert("usage".to_owned(), usage);
        }
        self.event(&Value::Object(chunk).to_string())
    }

    fn reports_usage(&self) -> bool {
        self.wants_usage && !self.reply.has(Quirk::NoUsage)
    }

    fn event(&self, data: &str) -> Bytes {
        let end = match self.reply.has(Quirk::Crlf) {
            true => "\r\n",
            false => "\n",
        };
        let comment = match self.reply.has(Quirk::Comments) {
            true => format!(": processing{end}{end}"),
            false => String::new(),
        };
        let space = match self.reply.has(Quirk::NoSpace) {
            true => "",
            false => " ",
        };
        format!("{comment}data:{space}{data}{end}{end}").into()
    }
}

impl Plan {
    /// What an answer and each chunk of it begin with.
    pub(crate) fn head(&self, object: &str, reply: &Reply) -> Map<String, Value> {
        let mut head = Map::new();
        if !reply.has(Quirk::NoId) {
            head.insert("id".to_owned(), json!(self.id));
            head.insert("created".to_owned(), json!(now_us() / 1_000_000));
        }
        head.insert("object".to_owned(), json!(object));
        head.insert("model".to_owned(), json!(self.model));
        head
    }

    pub(crate) fn usage_json(&self) -> Value {
        let usage = self.usage;
        json!({
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        })
    }
}

/// An error that comes where an answer was expected.
pub(crate) fn error_of(message: &str) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}})
}
