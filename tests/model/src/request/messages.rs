//! The messages of a request: their form, and that tools are answered.

use serde_json::Value;

use super::checks::{Invalid, array, string};

const ROLES: &str = "'system', 'developer', 'user', 'assistant', and 'tool'";

/// All that a message says, its parts joined.
pub(super) fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

pub(super) fn check(messages: &Value) -> Result<(), Invalid> {
    // Calls that must be answered before anything else is said.
    let mut open: Vec<&str> = Vec::new();
    let mut caller = 0;
    for (at, message) in array(messages, "messages")?.iter().enumerate() {
        let param = format!("messages[{at}]");
        let role = string(&message["role"], &format!("{param}.role"))?;
        if role == "tool" {
            close(&mut open, message, &param)?;
        } else {
            check_answered(&open, caller)?;
        }
        check_content(message, role, &param)?;
        if role == "assistant" && !message["tool_calls"].is_null() {
            open = calls(&message["tool_calls"], &format!("{param}.tool_calls"))?;
            caller = at;
        }
    }
    check_answered(&open, caller)
}

fn close(open: &mut Vec<&str>, message: &Value, param: &str) -> Result<(), Invalid> {
    let id = string(&message["tool_call_id"], &format!("{param}.tool_call_id"))?;
    let Some(at) = open.iter().position(|call| *call == id) else {
        let message = "Invalid parameter: messages with role 'tool' must be a response to a \
                       preceeding message with 'tool_calls'.";
        return Err(Invalid::new(&format!("{param}.role"), message));
    };
    open.remove(at);
    Ok(())
}

fn check_answered(open: &[&str], caller: usize) -> Result<(), Invalid> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(Invalid::new(&format!("messages[{caller}].role"), message))
}

fn check_content(message: &Value, role: &str, param: &str) -> Result<(), Invalid> {
    let is_known = matches!(role, "system" | "developer" | "user" | "assistant" | "tool");
    if !is_known {
        return Err(Invalid::value(
            &format!("{param}.role"),
            &message["role"],
            ROLES,
        ));
    }
    let content_param = format!("{param}.content");
    match &message["content"] {
        Value::String(_) => Ok(()),
        Value::Null if role == "assistant" && message["tool_calls"].is_array() => Ok(()),
        Value::Array(parts) => parts
            .iter()
            .enumerate()
            .try_for_each(|(at, part)| check_part(part, role, &format!("{content_param}[{at}]"))),
        _ => Err(Invalid::type_of(
            &content_param,
            "a string or an array of parts",
        )),
    }
}

fn check_part(part: &Value, role: &str, param: &str) -> Result<(), Invalid> {
    match string(&part["type"], &format!("{param}.type"))? {
        "text" => string(&part["text"], &format!("{param}.text")).map(|_| ()),
        "image_url" if role == "user" => {
            string(&part["image_url"]["url"], &format!("{param}.image_url.url")).map(|_| ())
        }
        _ => {
            let supported = match role {
                "user" => "'text' and 'image_url'",
                _ => "'text'",
            };
            Err(Invalid::value(
                &format!("{param}.type"),
                &part["type"],
                supported,
            ))
        }
    }
}

/// The ids of these calls.
fn calls<'a>(calls: &'a Value, param: &str) -> Result<Vec<&'a str>, Invalid> {
    let calls = array(calls, param)?.iter().enumerate();
    calls
        .map(|(at, call)| {
            let param = format!("{param}[{at}]");
            if call["type"] != "function" {
                let param = format!("{param}.type");
                return Err(Invalid::value(&param, &call["type"], "'function'"));
            }
            string(&call["function"]["name"], &format!("{param}.function.name"))?;
            string(
                &call["function"]["arguments"],
                &format!("{param}.function.arguments"),
            )?;
            string(&call["id"], &format!("{param}.id"))
        })
        .collect()
}
