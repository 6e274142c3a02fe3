//! What a planner wants to have done.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::worker::llm::request::Shape;

/// Steps of a plan.
const STEPS_MAX: usize = 16;
/// Subtasks of a step.
const SUBTASKS_MAX: usize = 16;

/// What is to be done next.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What has been done is enough.
    #[serde(default)]
    pub(super) is_complete: bool,
    /// What watchers should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// What runs at the same time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) subtasks: Vec<Subtask>,
}

/// One piece of work.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Subtask {
    pub(super) description: String,
}

impl Plan {
    pub(super) const SHAPE: Shape = Shape {
        name: "plan",
        schema,
    };

    /// Why the plan is too large, if it is.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_wide = |step: &Step| step.subtasks.len() > SUBTASKS_MAX;
        match self.steps.len() > STEPS_MAX || self.steps.iter().any(is_wide) {
            true => Err(format!(
                "the plan is too large: at most {STEPS_MAX} steps of {SUBTASKS_MAX} subtasks"
            )),
            false => Ok(()),
        }
    }

    /// The same plan as it can be carried out: what is too much cut off, and a step
    /// without subtasks its own only one.
    pub(super) fn made_feasible(mut self) -> Self {
        if let Err(error) = self.check() {
            self.steps.truncate(STEPS_MAX);
            self.note = Some(format!("{error}; the rest was cut off"));
        }
        for step in &mut self.steps {
            step.subtasks.truncate(SUBTASKS_MAX);
            if step.subtasks.is_empty() {
                step.subtasks.push(Subtask {
                    description: step.description.clone(),
                });
            }
        }
        self
    }
}

fn schema() -> Value {
    let described = |mut properties: Value, required: Value| {
        properties["description"] = json!({"type": "string"});
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let subtask = described(json!({}), json!(["description"]));
    let subtasks = json!({"subtasks": {"type": "array", "items": subtask}});
    let step = described(subtasks, json!(["description", "subtasks"]));
    json!({
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": step},
            "is_complete": {"type": "boolean"},
        },
        "required": ["steps", "is_complete"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: usize, subtasks: usize) -> Plan {
        let subtask = Subtask {
            description: "do".to_owned(),
        };
        let step = Step {
            description: "step".to_owned(),
            subtasks: vec![subtask; subtasks],
        };
        Plan {
            steps: vec![step; steps],
            ..Plan::default()
        }
    }

    #[test]
    fn a_plan_that_is_too_large_is_cut_and_says_so() {
        assert_eq!(plan(16, 16).check(), Ok(()));
        for large in [plan(17, 1), plan(1, 17)] {
            assert!(large.check().is_err());
            let cut = large.made_feasible();
            assert_eq!(cut.check(), Ok(()));
            assert!(cut.note.unwrap().contains("cut off"));
        }
    }

    #[test]
    fn a_step_without_subtasks_is_one_itself() {
        let plan = plan(1, 0).made_feasible();
        assert_eq!(plan.steps[0].subtasks[0].description, "step");
        assert_eq!(plan.note, None);
    }
}
