//! A reply, worked out for the request that it answers.

use serde_json::Value;

use crate::{
    reply::{Quirk, Reply, Say, ToolCall, Usage},
    request::ChatRequest,
};

/// What is sent, whether streamed or whole.
pub(crate) struct Plan {
    /// `chatcmpl-` and the number of the request.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish_reason: String,
    pub(crate) usage: Usage,
}

/// A piece of an answer, as a stream has it.
pub(crate) enum Token {
    Reasoning(String),
    Text(String),
    /// A call begins, with all of its arguments or none yet.
    CallBegins {
        call: usize,
        arguments: String,
    },
    Arguments {
        call: usize,
        piece: String,
    },
}

/// A call of a tool.
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Plan {
    pub(crate) fn new(reply: &Reply, request: &ChatRequest, number: usize) -> Self {
        let calls = calls(&reply.tool_calls, number);
        let reasoning = words(&reply.reasoning).into_iter().map(Token::Reasoning);
        let text = said(&reply.say, request).into_iter().map(Token::Text);
        let mut tokens: Vec<Token> = reasoning.chain(text).collect();
        for (at, call) in calls.iter().enumerate() {
            match reply.has(Quirk::WholeToolCalls) {
                true => tokens.push(call_begins(at, &call.arguments)),
                false => tokens.extend(streamed(at, call)),
            }
        }
        let reason = if calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        };
        let finish_reason = reply.finish_reason.clone();
        Self {
            id: format!("chatcmpl-{number}"),
            model: request.model.clone(),
            finish_reason: finish_reason.unwrap_or_else(|| reason.to_owned()),
            usage: reply.usage.unwrap_or(Usage {
                prompt_tokens: request.words(),
                completion_tokens: tokens.len() as u64,
            }),
            tokens,
            calls,
        }
    }

    /// All that was said.
    pub(crate) fn text(&self) -> String {
        let text = |token: &Token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.tokens.iter().filter_map(text).collect()
    }

    /// All that was thought.
    pub(crate) fn reasoning(&self) -> String {
        let text = |token: &Token| match token {
            Token::Reasoning(text) => Some(text.clone()),
            _ => None,
        };
        self.tokens.iter().filter_map(text).collect()
    }
}

fn said(say: &Say, request: &ChatRequest) -> Vec<String> {
    match say {
        Say::Echo => words(request.last_text(&["user"])),
        Say::Text(text) => words(text),
        Say::Tokens(tokens) => tokens.clone(),
        Say::Words(count) => (1..=*count).map(|n| format!("word{n} ")).collect(),
        Say::Json(value) => words(&value.to_string()),
        Say::FencedJson(value) => words(&format!("```json\n{value}\n```")),
        Say::BadJson(value) => {
            let mut text = value.to_string();
            text.pop();
            words(&text)
        }
    }
}

/// The text in pieces, each a word with the spaces before it.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut was_space = true;
    for character in text.chars() {
        let is_space = character.is_whitespace();
        match words.last_mut() {
            Some(word) if !is_space || was_space => word.push(character),
            _ => words.push(character.to_string()),
        }
        was_space = is_space;
    }
    words
}

fn calls(calls: &[ToolCall], number: usize) -> Vec<Call> {
    let call = |(at, call): (usize, &ToolCall)| Call {
        id: format!("call_{number}_{at}"),
        name: call.name.clone(),
        arguments: match &call.arguments {
            Value::String(text) => text.clone(),
            Value::Null => "{}".to_owned(),
            value => value.to_string(),
        },
    };
    calls.iter().enumerate().map(call).collect()
}

/// The call as OpenAI streams it: its name, then its arguments in pieces.
fn streamed(at: usize, call: &Call) -> Vec<Token> {
    let characters: Vec<char> = call.arguments.chars().collect();
    let pieces = characters.chunks(8).map(|piece| Token::Arguments {
        call: at,
        piece: piece.iter().collect(),
    });
    [call_begins(at, "")].into_iter().chain(pieces).collect()
}

fn call_begins(call: usize, arguments: &str) -> Token {
    Token::CallBegins {
        call,
        arguments: arguments.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_text_in_pieces() {
        for text in ["", "a", "Hello, big world\n", "  é  x", "a\n\nb c"] {
            assert_eq!(words(text).concat(), text);
        }
        assert_eq!(words("Hello, big world"), ["Hello,", " big", " world"]);
    }
}
