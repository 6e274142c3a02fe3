//! A language model for tests: an OpenAI-compatible server that says what a
//! script tells it, word by word, and remembers what it was asked.
//!
//! It is as strict as OpenAI's own with what it is sent, and where the script
//! wants it as broken as other servers are with what it sends.
//!
//! ```no_run
//! # async fn example() {
//! use throughline_model::{Model, Reply, Script, When};
//!
//! let script = Script::new()
//!     .rule_times(1, When::any(), Reply::status(500))
//!     .rule(When::user("weather").tools(true), Reply::tool_call("look", "{}"))
//!     .rule(When::any(), Reply::text("It rains."));
//! let model = Model::start(script).await;
//! // ... a client calls model.base_url() ...
//! let second = model.request(2).await;
//! assert_eq!(second.body["stream"], true);
//! # }
//! ```

mod chunks;
mod desk;
mod plan;
mod record;
mod refusal;
mod reply;
mod request;
mod script;
mod server;
mod stream;
mod whole;

pub use self::{
    record::{Exchange, now_us},
    reply::{Fault, Quirk, Reply, Say, ToolCall, Usage, Within},
    script::{Rule, Script, When},
    server::Model,
};
