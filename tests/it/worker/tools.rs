//! Tools of MCP servers: what a model gets to see of them, and what becomes of its calls.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tempfile::TempDir;
use throughline::proto::{
    self as v1, ContentType, StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::{Planner, Simple},
};
use tokio::{net::TcpListener, process::Command};

use super::{
    endpoint::{Act, Asked, delta, finish, say},
    stage::{Ended, Stage, limit, request},
};
use crate::support::{inline_text, soon};

/// The file of `--tools`, with one server.
pub fn tools_file(server: &Value) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tools.json");
    let text = json!({"mcpServers": {"desk": server}}).to_string();
    fs::write(&file, text).unwrap();
    (directory, file)
}

pub fn stdio_server() -> Value {
    json!({
        "command": "sh",
        "args": [concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/worker/mcp.sh")],
        "allow": ["add", "fail", "die", "picture", "slow"],
        "timeout": "500ms",
    })
}

async fn stage(script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> (Stage, TempDir) {
    let (directory, file) = tools_file(&stdio_server());
    let stage = Stage::with(&["--tools", file.to_str().unwrap()], script).await;
    (stage, directory)
}

/// Each call's result, and whether it is an error.
fn results(ended: &Ended) -> Vec<(&str, bool)> {
    use throughline::proto::content_block::Content::ToolResult;
    let blocks = ended.message.blocks.iter();
    let results = blocks.filter_map(|block| match block.content.as_ref()? {
        ToolResult(result) => Some((inline_text(block), result.is_error)),
        _ => None,
    });
    results.collect()
}

#[tokio::test]
async fn a_model_is_told_of_the_tools_that_are_allowed_and_uses_them() {
    let (stage, _file) = stage(|_, number| match number {
        0 => Act::Call(vec![("desk__add", r#"{"a": 1, "b": 2}"#)]),
        _ => say("It is 3."),
    })
    .await;
    let ended = stage.done(Simple, "1 + 2?").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "It is 3."));
    assert_eq!(results(&ended), [("the sum is 3", false)]);
    let asked = stage.model.asked();
    let tools = asked[0].body["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    let allowed = [
        "desk__add",
        "desk__fail",
        "desk__die",
        "desk__picture",
        "desk__slow",
    ];
    assert_eq!(names, allowed);
    assert_eq!(asked[1].last(), "the sum is 3");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_call_is_told_to_the_model() {
    let (stage, _file) = stage(|_, number| match number {
        0 => Act::Call(vec![
            ("desk__fail", "{}"),
            ("desk__secret", "{}"),
            ("desk__add", "[1"),
            ("desk__slow", "{}"),
        ]),
        _ => say("None of them works."),
    })
    .await;
    let ended = stage.done(Simple, "Try.").await;
    assert_eq!(ended.task.status(), Completed);
    let results = results(&ended);
    assert!(results.iter().all(|(_, is_error)| *is_error), "{results:?}");
    let says = |what: &str| results.iter().any(|(text, _)| text.contains(what));
    for what in [
        "out of paper",
        "no tool `desk__secret`",
        "no JSON object",
        "longer than",
    ] {
        assert!(says(what), "{what}: {results:?}");
    }
    assert_eq!(ended.usage().tool_calls, 4);
}

#[tokio::test]
async fn a_server_that_dies_is_an_answer_and_is_started_again() {
    let (stage, _file) = stage(|_, number| match number {
        0 => Act::Call(vec![("desk__die", "{}")]),
        1 => Act::Call(vec![("desk__add", "{}")]),
        _ => say("It is back."),
    })
    .await;
    let ended = stage.done(Simple, "Try.").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "It is back."));
    let results = results(&ended);
    assert!(
        results[0].1 && results[0].0.contains("server failed"),
        "{results:?}"
    );
    assert_eq!(results[1], ("the sum is 3", false));
}

#[tokio::test]
async fn a_picture_is_a_block_of_its_own() {
    let (stage, _file) = stage(|_, number| match number {
        0 => Act::Call(vec![("desk__picture", "{}")]),
        _ => say("There you are."),
    })
    .await;
    let ended = stage.done(Simple, "Draw.").await;
    let kinds = [
        ContentType::Text,
        ContentType::ToolCall,
        ContentType::ToolResult,
        ContentType::Image,
    ];
    assert_eq!(ended.kinds(), kinds);
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_the_model_without_its_tools() {
    let (_directory, file) = tools_file(&json!({"url": "http://127.0.0.1:9/mcp"}));
    let flags = ["--tools", file.to_str().unwrap()];
    let stage = Stage::with(&flags, |_, _| say("I have no tools.")).await;
    let ended = stage.done(Simple, "Try.").await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "I have no tools.")
    );
    assert!(stage.model.asked()[0].body.get("tools").is_none());
}

/// The address of a server that takes connections and never answers, and how many it
/// has taken.
async fn silent_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            open.push(stream);
        }
    });
    (url, taken)
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_by_each_task() {
    let (url, taken) = silent_server().await;
    let (_directory, file) = tools_file(&json!({"url": url, "timeout": "300ms"}));
    let flags = ["--tools", file.to_str().unwrap()];
    let stage = Stage::with(&flags, |_, _| say("I have no tools.")).await;
    stage.done(Simple, "Try.").await;
    let connections = taken.load(Ordering::Relaxed);
    assert!(connections > 0);
    for _ in 0..3 {
        let ended = stage.done(Simple, "Try.").await;
        assert_eq!(ended.task.status(), Completed);
    }
    assert_eq!(taken.load(Ordering::Relaxed), connections);
}

#[tokio::test]
async fn a_server_that_does_not_answer_takes_no_more_time_than_the_task_has() {
    let (url, _) = silent_server().await;
    let (_directory, file) = tools_file(&json!({"url": url}));
    let flags = ["--tools", file.to_str().unwrap(), "--max-time", "300ms"];
    let stage = Stage::with(&flags, |_, _| say("Late.")).await;
    for workflow in [Simple, Planner] {
        let task = stage.submit(workflow, "Try.").await;
        let watched = soon("the end of the task", stage.ended(&task)).await;
        assert_eq!(watched.result(), (Failed, StopReason::Deadline, ""));
    }
}

/// What becomes of a question that may take so many rounds of tools, and how often a
/// model that goes by this script is asked.
async fn ask_with_tools(
    rounds: u32,
    script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static,
) -> (Ended, usize) {
    let (_directory, file) = tools_file(&stdio_server());
    let stage = Stage::with(&["--tools", file.to_str().unwrap()], script).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_tool_rounds", rounds),
        ..request(Simple, "1 + 2?")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    (ended, stage.model.asked().len())
}

#[tokio::test]
async fn the_last_round_is_told_of_the_tools_and_may_call_none() {
    // As LiteLLM does for Bedrock and Anthropic: who speaks of tools must name them.
    let strict = |asked: &Asked, _| match asked.body.get("tools") {
        None => Act::Status(400, ""),
        Some(_) if asked.body["tool_choice"] == "none" => say("It is 3."),
        Some(_) => Act::Call(vec![("desk__add", "{}")]),
    };
    let (ended, asked) = ask_with_tools(1, strict).await;
    let expected = (Completed, StopReason::MaxIterations, "It is 3.");
    assert_eq!(ended.result(), expected, "{}", ended.task.error);
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_model_that_calls_though_it_may_not_is_asked_without_tools() {
    // As Ollama does, which does not know `tool_choice`. What it says beside is no answer.
    for words in [None, Some("Let me see.")] {
        let deaf = move |asked: &Asked, _| match asked.body.get("tools") {
            None => say("It is 3."),
            Some(_) => {
                let call = json!({"index": 0, "id": "c", "function": {"name": "desk__add"}});
                let call = json!({"choices": [{"delta": {"tool_calls": [call]}}]});
                let events = words.map(delta).into_iter();
                Act::Events(events.chain([call, finish("tool_calls")]).collect())
            }
        };
        let (ended, asked) = ask_with_tools(1, deaf).await;
        let expected = (Completed, StopReason::MaxIterations, "It is 3.");
        assert_eq!(ended.result(), expected, "{}", ended.task.error);
        assert_eq!(asked, 3);
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_none_is_asked_without_tools() {
    for (rounds, expected) in [(1, 3), (0, 1)] {
        let strict = |asked: &Asked, _| match (asked.body.get("tools"), &asked.body["tool_choice"])
        {
            (None, _) => say("It is 3."),
            (Some(_), Value::Null) => Act::Call(vec![("desk__add", "{}")]),
            (Some(_), _) => Act::Status(400, ""),
        };
        let (ended, asked) = ask_with_tools(rounds, strict).await;
        assert_eq!(ended.task.status(), Completed, "{}", ended.task.error);
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn the_address_of_a_server_is_not_logged() {
    let (_directory, file) = tools_file(&json!({"url": "http://127.0.0.1:9/mcp?key=hidden"}));
    let stage = Stage::without_worker(|_, _| say("I have no tools.")).await;
    let server = format!("http://{}", stage.world.services[0].address);
    let mut worker = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(["worker", "--server", &server, "--lease", "5s"])
        .args(["--llm-url", &stage.model.url, "--llm-model", "m"])
        .args(["--tools", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    assert_eq!(stage.done(Simple, "Try.").await.task.status(), Completed);
    worker.start_kill().unwrap();
    let output = soon("the end of the worker", worker.wait_with_output()).await;
    let log = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(log.contains("an MCP server can't be used"), "{log}");
    assert!(!log.contains("hidden"), "{log}");
}
