//! The tools that a request offers.

use serde_json::Value;

use super::{
    checks::{Invalid, array, string},
    schemas,
};

pub(super) fn check(body: &Value) -> Result<(), Invalid> {
    if body["tools"].is_null() {
        for name in ["tool_choice", "parallel_tool_calls"] {
            if !body[name].is_null() {
                let message = format!("'{name}' is only allowed when 'tools' are specified.");
                return Err(Invalid::new(name, message));
            }
        }
        return Ok(());
    }
    let tools = array(&body["tools"], "tools")?;
    for (at, tool) in tools.iter().enumerate() {
        check_tool(tool, &format!("tools[{at}]"))?;
    }
    check_choice(&body["tool_choice"], tools)
}

fn check_tool(tool: &Value, param: &str) -> Result<(), Invalid> {
    if tool["type"] != "function" {
        return Err(Invalid::value(
            &format!("{param}.type"),
            &tool["type"],
            "'function'",
        ));
    }
    let function = &tool["function"];
    check_name(&function["name"], &format!("{param}.function.name"))?;
    match &function["parameters"] {
        Value::Null => Ok(()),
        parameters if parameters["type"] == "object" => match function["strict"] == true {
            true => schemas::check_strict(parameters, &format!("{param}.function.parameters")),
            false => Ok(()),
        },
        parameters => {
            let message = format!(
                "Invalid schema for function {}: schema must be a JSON Schema of 'type: \
                 \"object\"', got 'type: {}'.",
                function["name"], parameters["type"]
            );
            Err(Invalid::new(
                &format!("{param}.function.parameters"),
                message,
            ))
        }
    }
}

/// The name of a function or of a schema.
pub(super) fn check_name(name: &Value, param: &str) -> Result<(), Invalid> {
    let text = string(name, param)?;
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_right) {
        let message = format!("Invalid '{param}': expected the pattern '^[a-zA-Z0-9_-]{{1,64}}$'.");
        return Err(Invalid::new(param, message));
    }
    Ok(())
}

fn check_choice(choice: &Value, tools: &[Value]) -> Result<(), Invalid> {
    match choice {
        Value::Null => Ok(()),
        Value::String(text) if matches!(text.as_str(), "none" | "auto" | "required") => Ok(()),
        Value::Object(choice) if choice.get("type").is_some_and(|kind| kind == "function") => {
            let name = &choice.get("function").unwrap_or(&Value::Null)["name"];
            match tools.iter().any(|tool| tool["function"]["name"] == *name) {
                true => Ok(()),
                false => {
                    let message = format!("Tool choice {name} not found in 'tools' parameter.");
                    Err(Invalid::new("tool_choice", message))
                }
            }
        }
        choice => {
            let supported = "'none', 'auto', 'required', and a function";
            Err(Invalid::value("tool_choice", choice, supported))
        }
    }
}
