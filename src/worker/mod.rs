//! The worker: carries out what SubmitTask asks of an agent, with a model behind any
//! OpenAI-compatible endpoint and the tools of MCP servers.
//!
//! It knows the service by its public gRPC API alone, whether it is a process of its own
//! or runs beside the service in one.

mod attempt;
mod budget;
mod cancel;
mod checkpoint;
mod client;
mod clock;
pub mod config;
mod conversation;
mod failure;
mod leases;
pub mod llm;
mod output;
mod params;
mod progress;
pub mod prompts;
mod run;
pub mod secret;
mod spread;
mod stop;
mod text;
pub mod tools;
mod values;
mod workflow;

pub use budget::Limits;
pub use run::Worker;
