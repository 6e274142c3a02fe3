//! What a conversation is and which changes it allows.
//!
//! Pure: nothing here waits, reads a clock, draws an id or logs. Time and fresh
//! ids arrive as arguments.

pub mod claim;
pub mod command;
pub mod content;
pub mod cursor;
pub mod decide;
mod due;
pub mod event;
pub mod ids;
pub mod lease;
pub mod limits;
pub mod message;
pub mod offload;
pub mod principal;
pub mod refusal;
pub mod session;
mod state;
pub mod task;
#[cfg(test)]
mod testing;
mod work;

/// A point in time, in UTC, exact to the microsecond.
pub type Time = chrono::DateTime<chrono::Utc>;

/// What a product keeps with a session, message, block or task: a JSON object.
pub type Metadata = serde_json::Map<String, serde_json::Value>;
