//! What is asked of a model.

use serde::Serialize;
use serde_json::{Value, json};

/// One turn of the conversation that a model is to go on with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::worker) struct Turn {
    pub role: &'static str,
    pub content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_functions")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Turn {
    fn new(role: &'static str, content: Option<String>) -> Self {
        Self {
            role,
            content,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    pub(in crate::worker) fn system(text: impl Into<String>) -> Self {
        Self::new("system", Some(text.into()))
    }

    pub(in crate::worker) fn user(text: impl Into<String>) -> Self {
        Self::new("user", Some(text.into()))
    }

    pub(in crate::worker) fn assistant(text: impl Into<String>) -> Self {
        Self::new("assistant", Some(text.into()))
    }

    /// What a model said before it called tools, and these calls.
    pub(in crate::worker) fn calls(text: &str, tool_calls: Vec<ToolCall>) -> Self {
        let content = (!text.is_empty()).then(|| text.to_owned());
        Self {
            tool_calls,
            ..Self::new("assistant", content)
        }
    }

    /// What a tool answered.
    pub(in crate::worker) fn tool(call_id: &str, text: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(call_id.to_owned()),
            ..Self::new("tool", Some(text.into()))
        }
    }
}

/// A model's wish to call a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::worker) struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
}

fn as_functions<S: serde::Serializer>(
    calls: &[ToolCall],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(calls.iter().map(|call| {
        json!({
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        })
    }))
}

/// A tool as a model is told of it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::worker) struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// The shape that an answer is to have.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Shape {
    pub name: &'static str,
    /// Its JSON schema.
    pub schema: fn() -> Value,
}

/// One call of a model.
#[derive(Clone, Debug, Default)]
pub(in crate::worker) struct Prompt {
    pub turns: Vec<Turn>,
    pub tools: Vec<ToolSpec>,
    /// The tools are named, since the turns speak of them, and none may be called.
    pub is_past_tools: bool,
    pub shape: Option<Shape>,
}

/// What a task may say of how a model is to be called.
#[derive(Clone, Debug, Default)]
pub(in crate::worker) struct Tuning {
    /// Another model than the worker's.
    pub model: Option<String>,
    pub temperature: Option<f64>,
}

/// The request's body.
pub(super) fn body(model: &str, prompt: &Prompt, tuning: &Tuning) -> Value {
    let mut body = json!({
        "model": tuning.model.as_deref().unwrap_or(model),
        "messages": prompt.turns,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if let Some(temperature) = tuning.temperature {
        body["temperature"] = json!(temperature);
    }
    if !prompt.tools.is_empty() {
        body["tools"] = prompt.tools.iter().map(function).collect();
    }
    if !prompt.tools.is_empty() && prompt.is_past_tools {
        body["tool_choice"] = json!("none");
    }
    if let Some(shape) = prompt.shape {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": shape.name, "strict": true, "schema": (shape.schema)()},
        });
    }
    body
}

fn function(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    })
}
