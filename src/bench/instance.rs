//! A service as a process of its own.

use std::{env, ffi::OsStr, io, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{BenchError, process::Process};

/// What a service writes before its address.
pub(super) const ANNOUNCEMENT: &str = "throughline: serving gRPC on ";

/// This program, as a server. Dropping it kills it.
pub(super) struct Instance {
    address: String,
    pub(super) process: Process,
    _child: Child,
    // Closed, it would be in the way of what the service still writes.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Instance {
    /// Runs this program with other arguments, and waits until it listens.
    pub(super) async fn start(arguments: &[&OsStr]) -> Result<Self, BenchError> {
        let mut child = spawn(arguments).map_err(BenchError::Start)?;
        let unknown = || BenchError::Start(io::ErrorKind::UnexpectedEof.into());
        let process = Process(child.id().ok_or_else(unknown)?);
        let mut output = BufReader::new(child.stdout.take().ok_or_else(unknown)?).lines();
        let line = output.next_line().await?.ok_or_else(unknown)?;
        let address = line.strip_prefix(ANNOUNCEMENT).ok_or_else(unknown)?;
        Ok(Self {
            address: format!("http://{address}"),
            process,
            _child: child,
            _output: output,
        })
    }

    /// Where it listens, with the scheme.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

fn spawn(arguments: &[&OsStr]) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // Figures are of the defaults, whatever the environment sets.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("THROUGHLINE_") {
            command.env_remove(name);
        }
    }
    command.spawn()
}
