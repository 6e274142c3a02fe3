//! `response_format`, and what OpenAI's strict mode asks of a JSON schema.

use serde_json::Value;

use super::{
    checks::{Invalid, string},
    messages, tools,
};

pub(super) fn check_format(body: &Value) -> Result<(), Invalid> {
    let format = &body["response_format"];
    if format.is_null() {
        return Ok(());
    }
    match string(&format["type"], "response_format.type")? {
        "text" => Ok(()),
        "json_object" => check_mention(&body["messages"]),
        "json_schema" => check_schema(&format["json_schema"]),
        _ => {
            let supported = "'text', 'json_object', and 'json_schema'";
            Err(Invalid::value(
                "response_format.type",
                &format["type"],
                supported,
            ))
        }
    }
}

/// A model that is not told of JSON may write spaces for ever.
fn check_mention(messages: &Value) -> Result<(), Invalid> {
    let mut messages = messages.as_array().into_iter().flatten();
    if messages.any(|message| messages::text(message).to_lowercase().contains("json")) {
        return Ok(());
    }
    let message = "'messages' must contain the word 'json' in some form, to use 'response_format' \
                   of type 'json_object'.";
    Err(Invalid::new("messages", message))
}

fn check_schema(named: &Value) -> Result<(), Invalid> {
    const PARAM: &str = "response_format.json_schema";
    if !named.is_object() {
        return Err(Invalid::missing(PARAM));
    }
    tools::check_name(&named["name"], &format!("{PARAM}.name"))?;
    let param = format!("{PARAM}.schema");
    match &named["schema"] {
        Value::Null => Err(Invalid::missing(&param)),
        schema if named["strict"] == true && schema["type"] != "object" => Err(Invalid::new(
            &param,
            "Invalid schema: it must be of 'type: \"object\"'.",
        )),
        schema if named["strict"] == true => check_strict(schema, &param),
        _ => Ok(()),
    }
}

/// Every object names all of its properties as required, and has no others.
pub(super) fn check_strict(schema: &Value, param: &str) -> Result<(), Invalid> {
    let invalid = |message: &str| Err(Invalid::new(param, format!("Invalid schema: {message}")));
    if schema["type"] == "object" {
        if schema["additionalProperties"] != false {
            let rule = "'additionalProperties' is required to be supplied and to be false.";
            return invalid(rule);
        }
        let required: Vec<&Value> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let mut properties = schema["properties"].as_object().into_iter().flatten();
        if let Some((name, _)) =
            properties.find(|(name, _)| !required.contains(&&Value::from(name.as_str())))
        {
            return invalid(&format!(
                "'required' must have every property. Missing '{name}'."
            ));
        }
    }
    parts(schema).try_for_each(|(part, name)| check_strict(part, &format!("{param}.{name}")))
}

/// The schemas within a schema, with what they are called there.
fn parts(schema: &Value) -> impl Iterator<Item = (&Value, String)> {
    let named = ["properties", "$defs"].into_iter().flat_map(|key| {
        let parts = schema[key].as_object().into_iter().flatten();
        parts.map(|(name, part)| (part, name.clone()))
    });
    let listed = schema["anyOf"].as_array().into_iter().flatten();
    let listed = listed.map(|part| (part, "anyOf".to_owned()));
    let items = schema.get("items").map(|part| (part, "items".to_owned()));
    named.chain(listed).chain(items)
}
