//! One redis-server process, from its start to its end.

#![allow(
    unsafe_code,
    reason = "signals and prctl are to be had from the C library only"
)]

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{EmbeddedError, home::Home};

const PING_INTERVAL: Duration = Duration::from_millis(20);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// After SIGTERM Redis writes what it has not written yet. Killed in the middle
/// of it, it loses what the system has not been given, and no more.
const TERMINATE_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a Redis that was left behind may take to write its data.
const EVICT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Process {
    child: Child,
    /// Copies its output to the log and ends, with the last line, when it does.
    output: JoinHandle<String>,
}

impl Process {
    /// Starts Redis in its home, and waits until it answers. Dropped before, it
    /// leaves no process.
    pub(super) async fn launch(home: &Home) -> Result<Self, EmbeddedError> {
        evict(home).await?;
        let mut process = spawn(&home.directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => EmbeddedError::Missing,
            _ => EmbeddedError::Run(error),
        })?;
        tokio::select! {
            _ = process.child.wait() => {
                let last_words = process.output.await.unwrap_or_default();
                Err(EmbeddedError::Died(last_words))
            }
            () = answers(&home.socket) => Ok(process),
        }
    }

    /// Waits for an end that nobody asked for, and says how it was.
    pub(super) async fn wait(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => ExitStatus::to_string(&status),
            Err(error) => error.to_string(),
        }
    }

    /// Asks Redis to end, and makes it.
    pub(super) async fn terminate(mut self) {
        if let Some(id) = self.child.id() {
            // SAFETY: touches no memory. The process is ours and has not been
            // waited for, so that the id is still its own.
            unsafe { libc::kill(id.cast_signed(), libc::SIGTERM) };
        }
        if timeout(TERMINATE_TIMEOUT, self.child.wait()).await.is_err() {
            warn!("redis-server did not stop in time, killing it");
            if let Err(error) = self.child.kill().await {
                warn!(%error, "killing redis-server failed");
            }
        }
    }
}

fn spawn(directory: &Path) -> io::Result<Process> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new("redis-server");
    command
        .current_dir(directory)
        // The name is relative: Redis could not bind the path of a deep directory.
        .args(["--port", "0"])
        .args(["--unixsocket", super::home::SOCKET])
        .args(["--unixsocketperm", "700"])
        .args(["--dir", "."])
        // See durability.rs for what brings the file to disk.
        .args(["--appendonly", "yes", "--appendfsync", "no"])
        .args(["--save", ""])
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .kill_on_drop(true)
        // Ctrl-C in a terminal goes to the whole group, and must not take
        // Redis from under the calls that are still open.
        .process_group(0);
    end_with_this_thread(&mut command);
    let child = command.spawn()?;
    // The command holds its own end of the pipe, which would keep it open.
    drop(command);

    let output = pipe::Receiver::from_owned_fd(output.into())?;
    Ok(Process {
        child,
        output: tokio::spawn(copy_to_log(output)),
    })
}

/// Has Linux end the child when the thread that starts it ends, so that not
/// even a killed service leaves a Redis behind.
#[cfg(target_os = "linux")]
fn end_with_this_thread(command: &mut Command) {
    let on_parents_death = || {
        // SAFETY: takes and returns plain numbers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may
    // be called. prctl is one system call, and reading errno is safe.
    unsafe { command.pre_exec(on_parents_death) };
}

/// Other systems have nothing like it: there a Redis that was left behind is
/// found by the next start.
#[cfg(not(target_os = "linux"))]
fn end_with_this_thread(_: &mut Command) {}

/// Ends a Redis that an earlier process left behind, or that is still on its
/// way out: two on one append-only file would spoil it. Ours is the lock, so
/// nobody needs it.
async fn evict(home: &Home) -> Result<(), EmbeddedError> {
    let left_behind = |source| EmbeddedError::LeftBehind {
        path: home.directory.clone(),
        source,
    };
    let settings = ask(&home.socket, "CONFIG GET dir port\r\nQUIT\r\n");
    let Some(settings) = settings.await.map_err(left_behind)? else {
        return Ok(());
    };
    if !is_of(&settings, &home.directory) {
        return Err(EmbeddedError::Foreign(home.directory.clone()));
    }
    warn!("ending a redis-server that was left behind");
    // The connection ends with the process.
    let end = ask(&home.socket, "SHUTDOWN\r\n").await;
    end.map(drop).map_err(left_behind)
}

/// What a Redis says until it closes the connection. None where there is none, or
/// none any more.
async fn ask(socket: &Path, commands: &str) -> io::Result<Option<String>> {
    let Ok(mut stream) = UnixStream::connect(socket).await else {
        return Ok(None);
    };
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(commands.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    // One that ends cuts who speaks to it.
    let is_cut = !matches!(timeout(EVICT_TIMEOUT, talk).await?, Ok(1..));
    Ok((!is_cut).then(|| String::from_utf8_lossy(&answer).into_owned()))
}

/// Whether these are the settings of a Redis that was started here for a directory: it
/// keeps its data there, and listens on no port.
fn is_of(settings: &str, directory: &Path) -> bool {
    let is_length = |line: &&str| line.starts_with(['*', '$']);
    let values: Vec<&str> = settings.lines().filter(|line| !is_length(line)).collect();
    let says = |pair: [&str; 2]| values.windows(2).any(|found| found == pair);
    says(["dir", &directory.to_string_lossy()]) && says(["port", "0"])
}

/// Returns once Redis answers, however long it takes to load its data.
async fn answers(socket: &Path) {
    while !matches!(timeout(PING_TIMEOUT, ping(socket)).await, Ok(Ok(true))) {
        sleep(PING_INTERVAL).await;
    }
}

async fn ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}

async fn copy_to_log(output: pipe::Receiver) -> String {
    let mut lines = BufReader::new(output).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.is_empty() {
            continue;
        }
        debug!(target: "redis", "{line}");
        last = line;
    }
    last
}
