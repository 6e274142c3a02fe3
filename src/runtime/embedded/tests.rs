use std::{
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use super::*;

/// Sends one inline command over a connection of its own. None where Redis
/// can't be reached.
fn ask(directory: &Path, command: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = UnixStream::connect(directory.join(home::SOCKET)).ok()?;
    stream.write_all(command.as_bytes()).ok()?;
    stream.write_all(b"\r\nQUIT\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(
        answer
            .trim_end()
            .trim_end_matches("+OK")
            .trim_end()
            .to_owned(),
    )
}

fn process_id(directory: &Path) -> i32 {
    let info = ask(directory, "INFO server").unwrap();
    let line = info.lines().find(|line| line.starts_with("process_id:"));
    line.unwrap()["process_id:".len()..].trim().parse().unwrap()
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "never happened");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn start(directory: &Path) -> EmbeddedRedis {
    EmbeddedRedis::start(directory.to_owned()).await.unwrap()
}

#[tokio::test]
async fn data_outlives_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let redis = start(directory.path()).await;
    assert_eq!(ask(directory.path(), "SET k kept").unwrap(), "+OK");
    redis.stop().await;
    assert!(ask(directory.path(), "PING").is_none());

    let _redis = start(directory.path()).await;
    assert_eq!(ask(directory.path(), "GET k").unwrap(), "$4\r\nkept");
}

#[tokio::test]
async fn a_second_instance_on_a_directory_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let _redis = start(directory.path()).await;
    let refused = EmbeddedRedis::start(directory.path().to_owned()).await;
    let text = refused.err().unwrap().to_string();
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    assert!(text.contains("in use by another throughline"), "{text}");
}

#[tokio::test]
#[allow(unsafe_code, reason = "signals are to be had from the C library only")]
async fn a_redis_that_was_killed_comes_back_with_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let _redis = start(directory.path()).await;
    assert_eq!(ask(directory.path(), "SET k kept").unwrap(), "+OK");
    let killed = process_id(directory.path());
    // SAFETY: touches no memory.
    unsafe { libc::kill(killed, libc::SIGKILL) };

    eventually(|| ask(directory.path(), "GET k").is_some_and(|answer| answer.contains("kept")))
        .await;
    assert_ne!(process_id(directory.path()), killed);
}

#[tokio::test]
async fn a_redis_that_was_left_behind_is_ended_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut left_behind = std::process::Command::new("redis-server")
        .current_dir(directory.path())
        .args(["--port", "0", "--unixsocket", home::SOCKET])
        .args(["--appendonly", "yes", "--save", ""])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| ask(directory.path(), "SET k kept").is_some_and(|answer| answer == "+OK")).await;

    let _redis = start(directory.path()).await;
    assert!(left_behind.wait().unwrap().success());
    assert_eq!(ask(directory.path(), "GET k").unwrap(), "$4\r\nkept");
}

#[tokio::test]
async fn a_redis_of_somebody_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |directory: &tempfile::TempDir| directory.path().to_str().unwrap().to_owned();
    let (here, there) = (path(&directory), path(&elsewhere));
    for settings in [["--dir", &there], ["--requirepass", "secret"]] {
        let socket = directory.path().join(home::SOCKET);
        let mut theirs = std::process::Command::new("redis-server")
            .current_dir(directory.path())
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .args(settings)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually(|| ask(directory.path(), "PING").is_some_and(|answer| !answer.is_empty())).await;

        let refused = EmbeddedRedis::start(directory.path().to_owned()).await;
        let text = refused.err().unwrap().to_string();
        assert!(
            text.contains("another Redis listens on redis.sock"),
            "{text}"
        );
        assert!(text.contains(&here), "{text}");
        assert!(theirs.try_wait().unwrap().is_none(), "it goes on");
        theirs.kill().unwrap();
        theirs.wait().unwrap();
        std::fs::remove_file(socket).unwrap();
    }
}

#[tokio::test]
async fn a_deep_directory_works() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/".repeat(40));
    let redis = start(&directory).await;
    let socket = redis.url.as_str().strip_prefix("redis+unix://").unwrap();
    assert!(UnixStream::connect(socket).is_ok());
}

#[tokio::test]
async fn a_start_that_fails_repeats_what_redis_said() {
    let directory = tempfile::tempdir().unwrap();
    // Where Redis wants a directory there is a file.
    std::fs::write(directory.path().join("appendonlydir"), "").unwrap();
    let failed = EmbeddedRedis::start(directory.path().to_owned()).await;
    let text = failed.err().unwrap().to_string();
    assert!(text.contains("appendonly"), "{text}");
}
