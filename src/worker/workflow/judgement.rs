//! What a judge says of a draft.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::worker::llm::request::Shape;

/// How good a draft is, from the worst to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Rating {
    Poor,
    Fair,
    /// Good enough to stop.
    Good,
    Excellent,
}

impl Rating {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Poor => "POOR",
            Self::Fair => "FAIR",
            Self::Good => "GOOD",
            Self::Excellent => "EXCELLENT",
        }
    }
}

/// Models do not mind the case.
impl<'de> Deserialize<'de> for Rating {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let all = [Self::Poor, Self::Fair, Self::Good, Self::Excellent];
        let said = all
            .into_iter()
            .find(|rating| rating.name().eq_ignore_ascii_case(text.trim()));
        said.ok_or_else(|| {
            let what = format!("`{text}` is no rating: POOR, FAIR, GOOD or EXCELLENT");
            serde::de::Error::custom(what)
        })
    }
}

/// What a judge says of a draft.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Judgement {
    pub(super) rating: Rating,
    #[serde(default)]
    pub(super) feedback: String,
    #[serde(default)]
    pub(super) focus_areas: Vec<String>,
}

impl Judgement {
    pub(super) const SHAPE: Shape = Shape {
        name: "judgement",
        schema,
    };
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "rating": {"type": "string", "enum": ["POOR", "FAIR", "GOOD", "EXCELLENT"]},
            "feedback": {"type": "string"},
            "focus_areas": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["rating", "feedback", "focus_areas"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_needed_and_the_rest_may_be_missing() {
        let judgement: Judgement = serde_json::from_str(r#"{"rating": "good"}"#).unwrap();
        assert_eq!(judgement.rating, Rating::Good);
        assert!(Rating::Good > Rating::Fair);
        assert!(serde_json::from_str::<Judgement>(r#"{"feedback": "fine"}"#).is_err());
        assert!(serde_json::from_str::<Judgement>(r#"{"rating": "7/10"}"#).is_err());
    }
}
