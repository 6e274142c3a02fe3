//! Between the domain and `throughline.v1`, both ways, in one place.
//!
//! Functions named after what they make: [`content::block_to_v1`] tells
//! clients, [`content::block_from_v1`] reads what was stored or sent.

pub mod ack;
pub mod content;
pub mod event;
pub mod frame;
pub mod message;
pub mod session;
pub mod task;
pub mod values;

/// A v1 message that says nothing the domain could mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Malformed {
    /// Path of the field within the v1 message.
    pub field: String,
    /// What is wrong with it, to be read after the field's name.
    pub problem: String,
}

impl Malformed {
    /// What is wrong with `field`.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }

    /// The same, seen from the message that has the field in `parent`.
    pub fn within(self, parent: &str) -> Self {
        Self {
            field: format!("{parent}.{}", self.field),
            ..self
        }
    }
}
