//! What OpenAI refuses, in its words.

use serde_json::Value;

use super::{messages, schemas, tools};

/// All that a request may have.
const ARGUMENTS: [&str; 30] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// Why a request is refused with 400.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Invalid {
    pub(crate) message: String,
    /// The argument at fault, as `messages[0].role`.
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
}

impl Invalid {
    pub(crate) fn new(param: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: (!param.is_empty()).then(|| param.to_owned()),
            code: None,
        }
    }

    pub(super) fn missing(param: &str) -> Self {
        Self {
            code: Some("missing_required_parameter"),
            ..Self::new(param, format!("Missing required parameter: '{param}'."))
        }
    }

    pub(super) fn type_of(param: &str, expected: &str) -> Self {
        Self {
            code: Some("invalid_type"),
            ..Self::new(
                param,
                format!("Invalid type for '{param}': expected {expected}."),
            )
        }
    }

    pub(super) fn value(param: &str, value: &Value, supported: &str) -> Self {
        let message =
            format!("Invalid value: {value} for '{param}'. Supported values are: {supported}.");
        Self {
            code: Some("invalid_value"),
            ..Self::new(param, message)
        }
    }

    pub(super) fn empty(param: &str) -> Self {
        let message = format!("Invalid '{param}': empty array. Expected a longer one.");
        Self {
            code: Some("empty_array"),
            ..Self::new(param, message)
        }
    }
}

pub(super) fn check(body: &Value) -> Result<(), Invalid> {
    let Some(arguments) = body.as_object() else {
        let message = "We could not parse the JSON body of your request.";
        return Err(Invalid::new("", message));
    };
    if let Some(unknown) = arguments
        .keys()
        .find(|name| !ARGUMENTS.contains(&name.as_str()))
    {
        let message = format!("Unrecognized request argument supplied: {unknown}");
        return Err(Invalid::new("", message));
    }
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err(Invalid::new("", "you must provide a model parameter"));
    }
    messages::check(&body["messages"])?;
    tools::check(body)?;
    schemas::check_format(body)?;
    check_stream(body)?;
    check_numbers(body)
}

/// The array at this place.
pub(super) fn array<'a>(value: &'a Value, param: &str) -> Result<&'a Vec<Value>, Invalid> {
    match value {
        Value::Null => Err(Invalid::missing(param)),
        Value::Array(items) if items.is_empty() => Err(Invalid::empty(param)),
        Value::Array(items) => Ok(items),
        _ => Err(Invalid::type_of(param, "an array")),
    }
}

/// The string at this place.
pub(super) fn string<'a>(value: &'a Value, param: &str) -> Result<&'a str, Invalid> {
    match value {
        Value::Null => Err(Invalid::missing(param)),
        Value::String(text) => Ok(text),
        _ => Err(Invalid::type_of(param, "a string")),
    }
}

fn check_stream(body: &Value) -> Result<(), Invalid> {
    if !matches!(body["stream"], Value::Null | Value::Bool(_)) {
        return Err(Invalid::type_of("stream", "a boolean"));
    }
    if !body["stream_options"].is_null() && body["stream"] != true {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Invalid::new("stream_options", message));
    }
    Ok(())
}

fn check_numbers(body: &Value) -> Result<(), Invalid> {
    for (name, least, most) in [
        ("temperature", 0.0, 2.0),
        ("top_p", 0.0, 1.0),
        ("frequency_penalty", -2.0, 2.0),
        ("presence_penalty", -2.0, 2.0),
    ] {
        let is_right = |value: f64| (least..=most).contains(&value);
        if !body[name].is_null() && !body[name].as_f64().is_some_and(is_right) {
            let expected = format!("a number from {least} to {most}");
            return Err(Invalid::type_of(name, &expected));
        }
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        if !body[name].is_null() && body[name].as_u64().is_none_or(|count| count == 0) {
            return Err(Invalid::type_of(name, "an integer of 1 or more"));
        }
    }
    if !body["n"].is_null() && body["n"] != 1 {
        return Err(Invalid::value("n", &body["n"], "1 (of this server)"));
    }
    Ok(())
}
