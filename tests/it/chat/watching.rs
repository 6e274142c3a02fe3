//! Somebody follows a session from elsewhere.

use throughline::proto::{self as v1, Role};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{agent::Agent, chat, chat_at, relay::Relay};
use crate::support::{Pty, World, signal, soon};

#[tokio::test]
async fn both_sides_are_seen_from_elsewhere() {
    let world = World::start().await;
    world.a().session("s").await;
    world.a().say("s", Role::User, "Before?").await;
    let watching = Pty::run(chat(&world, &["--session", "s", "--watch"]));
    watching.shows("> Before?\r\n").await;

    let mut asking = chat(&world, &["--session", "s"]).spawn().unwrap();
    let mut stdin = asking.stdin.take().unwrap();
    stdin.write_all(b"Why?").await.unwrap();
    drop(stdin);
    let agent = Agent::takes(&world, "simple").await;
    watching.shows("> Why?\r\n").await;
    agent.thinks("draft 1", "Hm").await;
    watching.shows("  draft 1: Hm\r\n").await;
    agent.says("Because ").await;
    watching.shows("Because ").await;
    agent.says("of it.").await;
    watching.shows("Because of it.").await;
    agent.is_done().await;
    watching.shows("Because of it.\r\n").await;
    assert!(soon("the answer", asking.wait()).await.unwrap().success());
    assert_eq!(watching.screen().matches("Before?").count(), 1);
}

#[tokio::test]
async fn who_begins_to_watch_in_the_middle_sees_the_whole_answer() {
    let world = World::start().await;
    world.a().session("s").await;
    let mut person = Pty::run(chat(&world, &["--session", "s"]));
    person.shows("> ").await;
    person.types("Why?\n");
    let agent = Agent::takes(&world, "simple").await;
    agent.says("One, ").await;
    let watching = Pty::run(chat(&world, &["--session", "s", "--watch"]));
    watching.shows("> Why?\r\n").await;
    watching.shows("One, ").await;
    agent.says("two.").await;
    watching.shows("One, two.").await;
    assert!(signal(person.child.id().unwrap(), libc::SIGTERM));
    soon("the end", person.child.wait()).await.unwrap();
    agent.is_done().await;
    watching.shows("One, two.\r\n").await;
}

#[tokio::test]
async fn a_watch_goes_on_where_the_connection_was_cut() {
    let world = World::start().await;
    world.a().session("s").await;
    let relay = Relay::to(world.services[0].address).await;
    let watching = Pty::run(chat_at(&relay.url, &["--session", "s", "--watch"]));
    let questions = ["One?", "Two?", "Three?"];
    for question in questions {
        world.a().say("s", Role::User, question).await;
        watching.shows(&format!("> {question}\r\n")).await;
        relay.cut();
    }
    watching.shows(", will resume\r\n").await;
    for question in questions {
        assert_eq!(watching.screen().matches(question).count(), 1);
    }
}

#[tokio::test]
async fn a_file_gets_whole_messages_until_the_session_is_gone() {
    let world = World::start().await;
    world.a().session("s").await;
    world.a().say("s", Role::User, "Why?").await;
    world.a().say("s", Role::Assistant, "Because.").await;
    let mut watching = chat(&world, &["--session", "s", "--watch"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for expected in ["> Why?", "Because."] {
        let line = soon("what was said", lines.next_line()).await.unwrap();
        assert_eq!(line.as_deref(), Some(expected));
    }
    world.a().message("m").await;
    for piece in ["It is ", "so."] {
        world.a().append("m", piece).await.unwrap();
    }
    world.a().complete("m").await;
    let line = soon("what is said", lines.next_line()).await.unwrap();
    assert_eq!(line.as_deref(), Some("It is so."));
    let request = v1::DeleteSessionRequest {
        session_id: "s".into(),
    };
    let mut sessions = world.a().sessions.clone();
    sessions.delete_session(request).await.unwrap();
    assert!(soon("the end", watching.wait()).await.unwrap().success());
}
