//! `throughline chat`, as a person or another program runs it. The agent is the test.

mod agent;
mod answered;
mod piped;
mod relay;
mod terminal;
mod watching;

use std::process::Stdio;

use tokio::process::Command;

use crate::support::World;

/// The command, for the first instance.
fn chat(world: &World, arguments: &[&str]) -> Command {
    chat_at(&format!("http://{}", world.services[0].address), arguments)
}

/// The command, for the service at this address.
fn chat_at(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
    command
        .args(["chat", "--server", server])
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
