//! A request for an answer, once it has passed the checks of OpenAI.

mod checks;
mod messages;
mod schemas;
mod tools;

use serde_json::Value;

pub(crate) use self::checks::Invalid;

/// What the script looks at, and how the answer is wanted.
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    /// The answer is wanted as a stream.
    pub(crate) stream: bool,
    /// Its last chunk is to say what it took.
    pub(crate) wants_usage: bool,
    /// There are tools that may be called.
    pub(crate) offers_tools: bool,
    /// `json_object` or `json_schema` was asked for.
    pub(crate) wants_json: bool,
    /// The name of the schema; empty without.
    pub(crate) schema: String,
    /// Roles with texts.
    messages: Vec<(String, String)>,
}

impl ChatRequest {
    /// Checks the body and reads it.
    ///
    /// # Errors
    /// What OpenAI would answer with 400.
    pub(crate) fn parse(body: &Value) -> Result<Self, Invalid> {
        checks::check(body)?;
        let format = &body["response_format"];
        let messages = body["messages"].as_array().into_iter().flatten();
        Ok(Self {
            model: text_of(&body["model"]),
            stream: body["stream"] == true,
            wants_usage: body["stream_options"]["include_usage"] == true,
            offers_tools: body["tools"].is_array() && body["tool_choice"] != "none",
            wants_json: matches!(format["type"].as_str(), Some("json_object" | "json_schema")),
            schema: text_of(&format["json_schema"]["name"]),
            messages: messages
                .map(|message| (text_of(&message["role"]), messages::text(message)))
                .collect(),
        })
    }

    /// The text of the last message with one of these roles.
    pub(crate) fn last_text(&self, roles: &[&str]) -> &str {
        let mut messages = self.messages.iter().rev();
        let last = messages.find(|(role, _)| roles.contains(&role.as_str()));
        last.map_or("", |(_, text)| text)
    }

    pub(crate) fn last_role(&self) -> &str {
        self.messages.last().map_or("", |(role, _)| role)
    }

    pub(crate) fn has_text(&self, wanted: &str) -> bool {
        self.messages.iter().any(|(_, text)| text.contains(wanted))
    }

    /// How many words its messages have.
    pub(crate) fn words(&self) -> u64 {
        let words = |(_, text): &(String, String)| text.split_whitespace().count() as u64;
        self.messages.iter().map(words).sum()
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
