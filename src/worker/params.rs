//! What a task says of how it wants to be carried out. It may lower the worker's limits,
//! and never raises them.

use serde::Deserialize;
use serde_json::Value;

use super::{
    budget::Limits, config::WorkerOptions, failure::Failure, llm::request::Tuning,
    values::from_struct,
};
use crate::proto as v1;

/// The params of a task that a worker knows; any other are somebody else's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    pub(super) task_description: String,
    pub(super) system_prompt: Option<String>,
    model: Option<String>,
    max_tool_rounds: Option<u32>,
    max_calls: Option<u32>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
}

impl Params {
    /// Fails where the task says what can't be, or nothing at all.
    pub(super) fn of(task: &v1::Task, options: &WorkerOptions) -> Result<Self, Failure> {
        let value = task.params.as_ref().map_or(Value::Null, from_struct);
        let params = Option::<Self>::deserialize(value);
        let params = params.map_err(|error| Failure::Invalid(format!("params: {error}")))?;
        let params = params.unwrap_or_default();
        if params.task_description.trim().is_empty() {
            return Err(Failure::Invalid(
                "params: there is no `task_description`".to_owned(),
            ));
        }
        match &params.model {
            Some(model) if !options.allowed_models.contains(model) => Err(Failure::Invalid(
                format!("params: the model `{model}` is not among those allowed"),
            )),
            _ => Ok(params),
        }
    }

    pub(super) fn limits(&self, limits: &Limits) -> Limits {
        let lower = |wanted: Option<u32>, limit: u32| wanted.unwrap_or(limit).min(limit);
        Limits {
            tool_rounds: lower(self.max_tool_rounds, limits.tool_rounds),
            calls: lower(self.max_calls, limits.calls),
            tokens: self.max_tokens.unwrap_or(limits.tokens).min(limits.tokens),
            ..limits.clone()
        }
    }

    pub(super) fn tuning(&self) -> Tuning {
        Tuning {
            model: self.model.clone(),
            temperature: self.temperature,
        }
    }
}
