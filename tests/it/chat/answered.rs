//! A person asks, a worker answers, with a model that is as strict as OpenAI with what
//! it is sent.

use std::time::Duration;

use serde_json::json;
use throughline_model::{Model, Reply, Script, When};
use tokio::io::AsyncWriteExt;

use super::chat;
use crate::support::{Program, Pty, World, signal, soon};

/// A worker at the second instance.
async fn worker(world: &World, model: &Model) -> Program {
    let server = format!("http://{}", world.services[1].address);
    Program::work(&server, &model.base_url()).await
}

fn script() -> Script {
    let step = json!({"description": "find out", "subtasks": [
        {"description": "the rivers"}, {"description": "the rain"},
    ]});
    let plan = json!({"steps": [step], "is_complete": false});
    let done = json!({"steps": [], "is_complete": true});
    let verdict = json!({"rating": "GOOD", "feedback": "", "focus_areas": []});
    Script::new()
        .models(&["m"])
        .rule_times(1, When::schema("plan"), Reply::json(plan))
        .rule(When::schema("plan"), Reply::json(done))
        .rule(When::schema("judgement"), Reply::json(verdict))
        .rule(When::any(), Reply::text("Because of the rivers."))
}

#[tokio::test]
async fn each_workflow_answers_and_asks_the_model_what_openai_accepts() {
    let world = World::start().await;
    let model = Model::start(script()).await;
    let _worker = worker(&world, &model).await;
    // Of the model: one; a draft and its judgement; two plans, two subtasks, the answer.
    for (workflow, calls) in [("simple", 1), ("critic", 2), ("planner", 5)] {
        let before = model.record().len();
        let mut asking = chat(&world, &["--workflow", workflow]).spawn().unwrap();
        let mut stdin = asking.stdin.take().unwrap();
        stdin.write_all(b"Why is the sea salt?").await.unwrap();
        drop(stdin);
        let output = soon("the answer", asking.wait_with_output()).await.unwrap();
        let asides = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"Because of the rivers.\n", "{asides}");
        let usage = format!("(done, {calls} model calls, ");
        assert!(asides.contains(&usage), "{asides}");
        let record = model.record().split_off(before);
        assert_eq!(record.len(), calls, "{workflow}");
        for exchange in record {
            assert_eq!(exchange.status, Some(200), "{}", exchange.body);
        }
    }
}

#[tokio::test]
async fn ctrl_c_reaches_the_model_within_a_second() {
    let world = World::start().await;
    let slow = Reply::words(1_000).token_delay(Duration::from_millis(20));
    let model = Model::start(Script::new().rule(When::any(), slow)).await;
    let _worker = worker(&world, &model).await;
    let mut person = Pty::run(chat(&world, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    person.shows("word3 word4 ").await;
    let before = throughline_model::now_us();
    assert!(signal(person.child.id().unwrap(), libc::SIGINT));
    let exchange = soon("the worker leaves the model", model.left(1)).await;
    let within = exchange.gone_us.unwrap().saturating_sub(before);
    assert!(within < 1_000_000, "it took {within} us");
    person.shows("  (cancelled, 1 model calls)\r\n> ").await;
}
