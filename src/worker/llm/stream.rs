//! What a model answers, piece by piece. Servers differ: whatever of a chunk is not
//! understood is passed over, as long as the answer comes to an end of its own.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{LlmError, request::ToolCall};
use crate::proto::StopReason;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chunk {
    #[serde(deserialize_with = "lenient")]
    choices: Vec<Choice>,
    #[serde(deserialize_with = "lenient")]
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    #[serde(deserialize_with = "lenient")]
    delta: Delta,
    #[serde(deserialize_with = "lenient")]
    message: Delta,
    #[serde(deserialize_with = "lenient")]
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta {
    #[serde(deserialize_with = "lenient")]
    content: Option<String>,
    #[serde(deserialize_with = "lenient")]
    reasoning_content: Option<String>,
    #[serde(deserialize_with = "lenient")]
    reasoning: Option<String>,
    #[serde(deserialize_with = "lenient")]
    tool_calls: Vec<CallDelta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallDelta {
    #[serde(deserialize_with = "lenient")]
    index: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    function: FunctionDelta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionDelta {
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    #[serde(deserialize_with = "lenient")]
    prompt_tokens: u64,
    #[serde(deserialize_with = "lenient")]
    completion_tokens: u64,
}

impl Delta {
    /// What the model thinks. Servers have two names for it, and some say it by both.
    fn thought(&self) -> &str {
        let said = [&self.reasoning_content, &self.reasoning];
        let mut said = said.into_iter().flatten();
        said.find(|text| !text.is_empty())
            .map_or("", String::as_str)
    }
}

/// A value of another kind, null above all, is as if it were not there.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + for<'a> Deserialize<'a>,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// News of an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    pub reasoning: String,
    /// There is something in it that a model said.
    pub is_token: bool,
}

/// An answer as far as it has come.
#[derive(Debug, Default, PartialEq)]
pub(in crate::worker) struct Reply {
    pub text: String,
    pub tool_calls: Vec<ToolCall>,
    /// As the endpoint counts; 0 where it does not.
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// What the server calls each of the calls.
    call_indices: Vec<Option<u64>>,
    finish_reason: Option<String>,
    is_done: bool,
}

impl Reply {
    /// Takes in the data of one server-sent event.
    pub(super) fn take(&mut self, data: &str) -> Result<Piece, LlmError> {
        if data.trim() == "[DONE]" {
            self.is_done = true;
            return Ok(Piece::default());
        }
        if data.trim().is_empty() {
            return Ok(Piece::default());
        }
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|error| LlmError::Malformed(error.to_string()))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(LlmError::Reported(error_text(&error)));
        }
        if let Some(usage) = chunk.usage {
            self.input_tokens = usage.prompt_tokens;
            self.output_tokens = usage.completion_tokens;
        }
        // Only one answer was asked for.
        let choice = chunk.choices.into_iter().next();
        Ok(choice
            .map(|choice| self.take_choice(choice))
            .unwrap_or_default())
    }

    fn take_choice(&mut self, choice: Choice) -> Piece {
        let mut piece = Piece::default();
        // Servers that do not stream answer with a message.
        for delta in [choice.delta, choice.message] {
            piece.text += delta.content.as_deref().unwrap_or_default();
            piece.reasoning += delta.thought();
            piece.is_token |= !delta.tool_calls.is_empty();
            for call in delta.tool_calls {
                self.take_call(call);
            }
        }
        piece.is_token |= !piece.text.is_empty() || !piece.reasoning.is_empty();
        self.text += &piece.text;
        // Some say at each piece that there is no reason yet.
        let is_none = |reason: &str| matches!(reason, "" | "null");
        let reason = choice.finish_reason.filter(|reason| !is_none(reason));
        self.finish_reason = reason.or(self.finish_reason.take());
        piece
    }

    fn take_call(&mut self, delta: CallDelta) {
        let known = self.known_call(&delta);
        let at = known.unwrap_or(self.tool_calls.len());
        if known.is_none() {
            self.tool_calls.push(ToolCall::default());
            self.call_indices.push(delta.index);
        }
        let call = &mut self.tool_calls[at];
        if call.id.is_empty() {
            call.id = delta.id.unwrap_or_default();
        }
        if call.name.is_empty() {
            call.name = delta.function.name.unwrap_or_default();
        }
        match delta.function.arguments {
            Some(Value::String(text)) => call.arguments += &text,
            Some(Value::Null) | None => {}
            Some(value) => call.arguments += &value.to_string(),
        }
    }

    /// Which call goes on, the newest first; none where this is a new one. An index is a
    /// name, not a place: some servers count from 1, and some call all of them 0. An id
    /// is another call's only where a name comes with it: some draw one for each piece.
    fn known_call(&self, delta: &CallDelta) -> Option<usize> {
        let id = delta.id.as_deref().unwrap_or_default();
        let has_id = |call: &ToolCall| !id.is_empty() && call.id == id;
        let Some(index) = delta.index else {
            // What has neither index, id nor name goes on with the last.
            let goes_on = id.is_empty() && delta.function.name.is_none();
            return match goes_on {
                true => self.tool_calls.len().checked_sub(1),
                false => self.tool_calls.iter().rposition(has_id),
            };
        };
        let name = delta.function.name.as_deref();
        let is_named = name.is_some_and(|name| !name.is_empty());
        let mut calls = self.tool_calls.iter().zip(&self.call_indices);
        calls.rposition(|(call, known)| {
            let may_be = id.is_empty() || call.id.is_empty() || has_id(call) || !is_named;
            *known == Some(index) && may_be
        })
    }

    /// Whether the answer came to an end of its own, and was not cut.
    pub(super) fn has_ended(&self) -> bool {
        self.is_done || self.finish_reason.is_some()
    }

    /// Whether nothing follows.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Why the model stopped: DONE, LENGTH or CONTENT_FILTER. Whatever else a
    /// server calls it is DONE.
    pub(in crate::worker) fn reason(&self) -> StopReason {
        match self.finish_reason.as_deref() {
            Some("length" | "max_tokens") => StopReason::Length,
            Some("content_filter") => StopReason::ContentFilter,
            _ => StopReason::Done,
        }
    }
}

/// What an error says, whatever its shape is.
pub(super) fn error_text(error: &Value) -> String {
    let message = error.get("message").unwrap_or(error);
    match message {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(chunks: &[&str]) -> Reply {
        let mut reply = Reply::default();
        for chunk in chunks {
            reply.take(chunk).unwrap();
        }
        reply
    }

    #[test]
    fn text_comes_in_pieces_and_ends_with_a_reason() {
        let reply = reply(&[
            r#"{"id":"1","choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"content":"He"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"llo"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"eos"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        ]);
        assert_eq!(reply.text, "Hello");
        assert!(reply.has_ended());
        assert_eq!(reply.reason(), StopReason::Done);
        assert_eq!((reply.input_tokens, reply.output_tokens), (3, 2));
    }

    #[test]
    fn an_answer_without_an_end_is_cut() {
        for reason in ["null", r#""""#, r#""null""#] {
            let piece = r#"{"choices":[{"delta":{"content":"He"},"finish_reason":R}]}"#;
            assert!(
                !reply(&[&piece.replace('R', reason)]).has_ended(),
                "{reason}"
            );
        }
        assert!(reply(&["[DONE]"]).has_ended());
    }

    #[test]
    fn calls_are_joined_with_and_without_an_index() {
        let with = reply(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"add","arguments":"{\"x\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"sub","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        ]);
        let without = reply(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"add","arguments":"{\"x\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"sub","arguments":{}}}]}}]}"#,
        ]);
        for reply in [with, without] {
            let calls: Vec<_> = reply
                .tool_calls
                .iter()
                .map(|call| {
                    (
                        call.id.as_str(),
                        call.name.as_str(),
                        call.arguments.as_str(),
                    )
                })
                .collect();
            assert_eq!(calls, [("a", "add", "{\"x\":1}"), ("b", "sub", "{}")]);
        }
    }

    #[test]
    fn reasoning_goes_by_either_name_and_by_both() {
        let both = r#"{"choices":[{"delta":{"content":"a","reasoning":R,"reasoning_content":C,
            "tool_calls":[{"index":0,"id":"a","function":{"name":"add"}}]}}]}"#;
        for (reasoning, content, expected) in [
            ("null", "null", ""),
            (r#""Hm""#, r#""Hm""#, "Hm"),
            (r#""Hm""#, r#""""#, "Hm"),
            (r#""""#, r#""Hm""#, "Hm"),
            ("null", r#""Hm""#, "Hm"),
        ] {
            let chunk = both.replace('R', reasoning).replace('C', content);
            let mut reply = Reply::default();
            let piece = reply.take(&chunk).unwrap();
            assert_eq!(
                (piece.text.as_str(), piece.reasoning.as_str()),
                ("a", expected)
            );
            assert_eq!(reply.tool_calls.len(), 1, "{chunk}");
        }
    }

    /// Name and arguments of each call that these pieces make.
    fn calls(pieces: &[&str]) -> Vec<(String, String)> {
        let mut reply = Reply::default();
        for piece in pieces {
            let chunk = format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{piece}]}}}}]}}"#);
            reply.take(&chunk).unwrap();
        }
        let calls = reply.tool_calls.into_iter();
        calls.map(|call| (call.name, call.arguments)).collect()
    }

    #[test]
    fn an_index_is_a_name_and_no_place() {
        let from_one = [
            r#"{"index":1,"id":"a","function":{"name":"add","arguments":"{\"x\""}}"#,
            r#"{"index":1,"function":{"arguments":":1}"}}"#,
            r#"{"index":2,"id":"b","function":{"name":"sub","arguments":""}}"#,
            r#"{"index":2,"function":{"arguments":"{}"}}"#,
        ];
        let always_zero = [
            r#"{"index":0,"id":"a","function":{"name":"add","arguments":"{\"x\""}}"#,
            r#"{"index":0,"id":"a","function":{"arguments":":1}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"sub","arguments":"{"}}"#,
            r#"{"index":0,"function":{"arguments":"}"}}"#,
        ];
        let expected = [("add", r#"{"x":1}"#), ("sub", "{}")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(calls(&from_one), expected);
        assert_eq!(calls(&always_zero), expected);
    }

    #[test]
    fn an_id_that_is_drawn_for_each_piece_makes_no_call() {
        let pieces = [
            r#"{"index":0,"id":"a","function":{"name":"add","arguments":""}}"#,
            r#"{"index":0,"id":"b","function":{"arguments":"{\"x\""}}"#,
            r#"{"index":0,"id":"c","function":{"arguments":":1}"}}"#,
        ];
        assert_eq!(
            calls(&pieces),
            [("add".to_owned(), r#"{"x":1}"#.to_owned())]
        );
    }

    #[test]
    fn an_event_without_data_says_nothing() {
        for nothing in ["", " "] {
            assert_eq!(Reply::default().take(nothing).unwrap(), Piece::default());
        }
    }

    #[test]
    fn an_error_amid_the_answer_is_one() {
        let mut reply = Reply::default();
        let error = reply.take(r#"{"error":{"message":"overloaded"}}"#);
        assert!(matches!(error, Err(LlmError::Reported(text)) if text == "overloaded"));
        assert!(matches!(reply.take("{\"choi"), Err(LlmError::Malformed(_))));
    }
}
