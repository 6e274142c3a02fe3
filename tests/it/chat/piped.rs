//! Another program asks.

use std::process::Output;

use throughline::proto::{self as v1, MessageState, Workflow};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use super::{agent::Agent, chat};
use crate::support::{Clients, World, eventually, signal, soon};

/// Starts the command with this on stdin.
async fn ask(mut command: Command, question: &str) -> Child {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(question.as_bytes()).await.unwrap();
    child
}

/// What the command has written when it has ended.
async fn said(child: Child) -> Output {
    soon("the end of the chat", child.wait_with_output())
        .await
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

async fn messages(clients: &Clients, session: &str) -> Vec<v1::Message> {
    let request = v1::ListMessagesRequest {
        session_id: session.into(),
        ..Default::default()
    };
    let listed = clients.messages.clone().list_messages(request).await;
    listed.unwrap().into_inner().messages
}

#[tokio::test]
async fn a_question_that_is_piped_in_is_answered() {
    let world = World::start().await;
    let flags = ["--workflow", "critic", "--max-iterations", "2"];
    let child = ask(chat(&world, &flags), "Why is the sea\nsalt?\n").await;
    let agent = Agent::takes(&world, "critic").await;
    assert_eq!(agent.task.workflow(), Workflow::Critic);
    assert_eq!(agent.task.max_iterations, 2);
    agent.thinks("draft 1", "Because\nof the rivers.").await;
    agent.calls("look", r#"{"key": "sea"}"#, "35 g").await;
    agent.says("Because of ").await;
    agent.says("the rivers.").await;
    agent.is_done().await;

    let output = said(child).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "Because of the rivers.\n");
    let asides = "  draft 1: Because of the rivers.\n  tool look {\"key\": \"sea\"}\n  → 35 g\n";
    assert_eq!(stderr(&output), asides);
    let messages = messages(&world.a(), &agent.task.session_id).await;
    let said: Vec<_> = messages
        .iter()
        .map(|message| (message.role(), message.state(), message.text.as_str()))
        .collect();
    let asked = "Why is the sea\nsalt?";
    assert_eq!(
        said,
        [
            (v1::Role::User, MessageState::Completed, asked),
            (
                v1::Role::Assistant,
                MessageState::Completed,
                "Because of the rivers."
            )
        ]
    );
    let params = agent.task.params.unwrap().fields;
    let description = &params["task_description"].kind;
    let text = prost_types::value::Kind::StringValue(asked.to_owned());
    assert_eq!(description.as_ref(), Some(&text));
}

#[tokio::test]
async fn a_chat_fails_where_its_task_does() {
    let world = World::start().await;
    let child = ask(chat(&world, &[]), "Why?").await;
    let agent = Agent::takes(&world, "simple").await;
    agent.fails("out of ideas").await;
    let output = said(child).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let told = "  failed: out of ideas\nthroughline: there is no answer: failed\n";
    assert_eq!(stderr(&output), told);
}

#[tokio::test]
async fn what_a_lost_attempt_said_is_not_part_of_the_answer() {
    let world = World::start().await;
    let child = ask(chat(&world, &[]), "Why?").await;
    let first = Agent::takes(&world, "simple").await;
    first.says("Becau").await;
    first.fails_for_now("lost the thread").await;
    let second = Agent::takes(&world, "simple").await;
    second.says("Since it is.").await;
    second.is_done().await;
    let output = said(child).await;
    assert_eq!(stdout(&output), "Since it is.\n");
    assert_eq!(stderr(&output), "  attempt 1 failed: lost the thread\n");
    assert!(output.status.success());
}

#[tokio::test]
async fn an_answer_that_comes_at_once_may_be_long() {
    let world = World::start().await;
    let child = ask(chat(&world, &[]), "Why?").await;
    let agent = Agent::takes(&world, "simple").await;
    let long = "véry ".repeat(10_000);
    agent.is_done_with(&long).await;
    let output = said(child).await;
    assert_eq!(stdout(&output), format!("{long}\n"));
}

#[tokio::test]
async fn a_session_goes_on_with_its_id() {
    let world = World::start().await;
    world.a().session("s").await;
    for question in ["One?", "Two?"] {
        let child = ask(chat(&world, &["--session", "s"]), question).await;
        let agent = Agent::takes(&world, "simple").await;
        agent.is_done_with("Yes.").await;
        assert_eq!(stdout(&said(child).await), "Yes.\n");
    }
    let texts: Vec<_> = messages(&world.a(), "s").await;
    let texts: Vec<_> = texts.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["One?", "Yes.", "Two?", "Yes."]);

    let output = said(ask(chat(&world, &["--session", "other"]), "One?").await).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("NotFound"), "{}", stderr(&output));
}

#[tokio::test]
async fn an_interrupt_cancels_the_answer_and_another_does_not_wait_for_it() {
    let world = World::start().await;
    for is_heard in [true, false] {
        let child = ask(chat(&world, &[]), "Why?").await;
        let agent = Agent::takes(&world, "simple").await;
        agent.says("Well, ").await;
        assert!(signal(child.id().unwrap(), libc::SIGINT));
        let (a, id) = (world.a(), agent.task.message_id.clone());
        eventually("the cancel", || async {
            a.get(&id).await.unwrap().cancel_requested
        })
        .await;
        match is_heard {
            true => agent.is_cancelled().await,
            false => assert!(signal(child.id().unwrap(), libc::SIGINT)),
        }
        let output = said(child).await;
        assert_eq!(output.status.code(), Some(1));
        let why = match is_heard {
            true => "there is no answer: cancelled",
            false => "there is no answer: it was not waited for",
        };
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        let state = a.get(&id).await.unwrap().state();
        assert_eq!(state == MessageState::Streaming, !is_heard);
    }
}

#[tokio::test]
async fn where_no_server_answers_that_is_said() {
    let command = super::chat_at("http://127.0.0.1:1", &[]);
    let output = said(ask(command, "Why?").await).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no server answers at http://127.0.0.1:1"));
}

#[tokio::test]
async fn without_a_question_there_is_no_session_and_no_success() {
    let world = World::start().await;
    for nothing in ["", " \n"] {
        let output = said(ask(chat(&world, &["--user", "u"]), nothing).await).await;
        assert_eq!(output.status.code(), Some(1));
        let why = stderr(&output);
        assert!(why.contains("there was no question"), "{why}");
    }
    let request = v1::ListSessionsRequest {
        user_id: "u".into(),
        ..Default::default()
    };
    let listed = world.a().sessions.clone().list_sessions(request).await;
    assert!(listed.unwrap().into_inner().sessions.is_empty());
}
