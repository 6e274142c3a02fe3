//! The built program, as an operator runs it.

use std::process::{ExitStatus, Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{Clients, Redis, signal, soon};

/// A process that serves. Killed where the test leaves it behind.
pub struct Program {
    /// Where it listens.
    pub address: String,
    child: Child,
    /// Held open, or the program could not print any more.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it on any free port, and waits until it serves.
    pub async fn serve(arguments: &[&str]) -> Self {
        let mut child = serve_command(arguments)
            .args(["--log-level", "error"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the program's first line", output.next_line()).await;
        let line = line.unwrap().expect("the program starts");
        let address = line.strip_prefix("throughline: serving gRPC on ");
        Self {
            address: address.unwrap_or_else(|| panic!("{line}")).to_owned(),
            child,
            _output: output,
        }
    }

    /// Starts a worker of a service, with a model, and waits until it claims tasks.
    pub async fn work(server: &str, model_url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .args(["worker", "--server", server, "--lease", "5s"])
            .args([
                "--llm-url",
                model_url,
                "--llm-model",
                "m",
                "--log-level",
                "error",
            ])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the worker's first line", output.next_line()).await;
        line.unwrap().expect("the worker starts");
        Self {
            address: server.to_owned(),
            child,
            _output: output,
        }
    }

    /// Starts it on a Redis.
    pub async fn serve_on(redis: &Redis, arguments: &[&str]) -> Self {
        let url = redis.url();
        Self::serve(&[&["--redis", url.as_str()], arguments].concat()).await
    }

    pub async fn connect(&self) -> Clients {
        Clients::connect(&format!("http://{}", self.address)).await
    }

    /// The most memory that it has had in use.
    pub fn peak_kib(&self) -> usize {
        let id = self.child.id().expect("the program has not ended");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let resident = resident.and_then(|value| value.split_whitespace().next());
        resident.unwrap().parse().unwrap()
    }

    /// Asks it to stop, as a supervisor would.
    pub fn terminate(&self) {
        let id = self.child.id().expect("the program has not ended");
        assert!(signal(id, libc::SIGTERM));
    }

    /// Kills it as a crash would.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        soon("the program's end", self.child.wait()).await.unwrap()
    }
}

/// The command that serves on any free port.
pub fn serve_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments);
    command
}
