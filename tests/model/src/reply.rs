//! What a rule answers: what the model says, how fast, and what goes wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer of the model.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// The answer.
    pub say: Say,
    /// What it thinks before that, as `reasoning_content`.
    pub reasoning: String,
    /// Tools it calls after that.
    pub tool_calls: Vec<ToolCall>,
    /// Absent: `tool_calls` where it calls some, or else `stop`.
    pub finish_reason: Option<String>,
    /// Absent: words of the request, and tokens of the answer.
    pub usage: Option<Usage>,
    /// How long it is silent first.
    pub first_token_delay_ms: u64,
    /// How long it takes for each token after the first.
    pub token_delay_ms: u64,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// What it does otherwise than OpenAI.
    pub quirks: Vec<Quirk>,
}

/// What an answer consists of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    /// The last user message.
    Echo,
    /// This text, a word a token.
    Text(String),
    /// These tokens.
    Tokens(Vec<String>),
    /// So many tokens: `word1 word2 ...`.
    Words(u32),
    /// This, as JSON.
    Json(Value),
    /// The same between ```` ```json ```` and ```` ``` ````.
    FencedJson(Value),
    /// The same without its last character.
    BadJson(Value),
}

impl Default for Say {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// A call of a tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Of the tool, whether there is one or not.
    pub name: String,
    /// What it is called with. A string is sent as it is, so that it need not be
    /// JSON.
    #[serde(default)]
    pub arguments: Value,
}

/// What a reply is said to have taken.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

/// What goes wrong with an answer.
///
/// A token here is any piece of an answer: of its text, its reasoning, or a tool
/// call (its name, then pieces of its arguments). Where the answer has no more
/// than `after_tokens` of them, it goes wrong before its finish_reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error in place of an answer.
    Status {
        /// Of HTTP.
        code: u16,
        /// What the header `Retry-After` says, as `2`. Absent: there is none.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Nothing at all: no headers either.
    Silence,
    /// So many tokens, and then nothing, over an open connection. An answer that
    /// is not streamed never comes.
    Hang {
        /// How many.
        after_tokens: usize,
    },
    /// The connection is closed after so many tokens, without finish_reason and
    /// `[DONE]`; of an answer that is not streamed half is sent.
    Cut {
        /// How many.
        after_tokens: usize,
        /// Absent: between two chunks.
        #[serde(default)]
        within: Option<Within>,
    },
    /// `{"error": ...}` after so many tokens, and nothing after that.
    Error {
        /// How many.
        after_tokens: usize,
        /// What it says.
        message: String,
    },
}

/// Where in a chunk of its stream a connection is cut.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// In its JSON.
    Json,
    /// Between the two bytes of an `é`.
    Character,
}

/// What a compatible server does otherwise than OpenAI.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// Neither `id` nor `created`.
    NoId,
    /// Tool calls in a stream have no `index`.
    NoToolIndex,
    /// A tool call comes in one piece.
    WholeToolCalls,
    /// `"content": null` where a delta has no text.
    NullContent,
    /// No usage, whether asked for or not.
    NoUsage,
    /// No `[DONE]` after the last chunk.
    NoDone,
    /// A comment before each chunk.
    Comments,
    /// Lines end with CR LF.
    Crlf,
    /// No space after `data:`.
    NoSpace,
}

impl Reply {
    /// Repeats the last user message.
    pub fn echo() -> Self {
        Self::say(Say::Echo)
    }

    /// Says this, a word a token.
    pub fn text(text: &str) -> Self {
        Self::say(Say::Text(text.to_owned()))
    }

    /// Says so many words.
    pub fn words(count: u32) -> Self {
        Self::say(Say::Words(count))
    }

    /// Says this as JSON.
    pub fn json(value: Value) -> Self {
        Self::say(Say::Json(value))
    }

    /// Calls a tool. Arguments that are a string are sent as they are.
    pub fn tool_call(name: &str, arguments: impl Into<Value>) -> Self {
        Self::default().and_tool_call(name, arguments)
    }

    /// An error in place of an answer.
    pub fn status(code: u16) -> Self {
        Self::default().fault(Fault::Status {
            code,
            retry_after: None,
        })
    }

    /// 429, with this in the header `Retry-After`.
    pub fn too_many_requests(retry_after: &str) -> Self {
        Self::default().fault(Fault::Status {
            code: 429,
            retry_after: Some(retry_after.to_owned()),
        })
    }

    /// Says that.
    pub fn say(say: Say) -> Self {
        Self {
            say,
            ..Self::default()
        }
    }

    /// And calls a tool.
    pub fn and_tool_call(mut self, name: &str, arguments: impl Into<Value>) -> Self {
        self.tool_calls.push(ToolCall {
            name: name.to_owned(),
            arguments: arguments.into(),
        });
        self
    }

    /// After having thought that.
    pub fn reasoning(mut self, text: &str) -> Self {
        self.reasoning = text.to_owned();
        self
    }

    /// Ends for this reason.
    pub fn finish_reason(mut self, reason: &str) -> Self {
        self.finish_reason = Some(reason.to_owned());
        self
    }

    /// Says that it took so much.
    pub fn usage(mut self, prompt_tokens: u64, completion_tokens: u64) -> Self {
        self.usage = Some(Usage {
            prompt_tokens,
            completion_tokens,
        });
        self
    }

    /// Is silent for so long first.
    pub fn first_token_delay(mut self, delay: Duration) -> Self {
        self.first_token_delay_ms = milliseconds(delay);
        self
    }

    /// Takes so long for each token after the first.
    pub fn token_delay(mut self, delay: Duration) -> Self {
        self.token_delay_ms = milliseconds(delay);
        self
    }

    /// Goes wrong.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Does this otherwise than OpenAI.
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

impl Fault {
    /// How many tokens come before it.
    pub(crate) fn after_tokens(&self) -> usize {
        match self {
            Self::Status { .. } | Self::Silence => 0,
            Self::Hang { after_tokens }
            | Self::Cut { after_tokens, .. }
            | Self::Error { after_tokens, .. } => *after_tokens,
        }
    }
}

fn milliseconds(delay: Duration) -> u64 {
    delay.as_millis().try_into().unwrap_or(u64::MAX)
}
