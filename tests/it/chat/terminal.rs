//! A person asks, in a terminal.

use throughline::proto::Role;

use super::{agent::Agent, chat, chat_at, relay::Relay};
use crate::support::{Pty, World, signal, soon};

#[tokio::test]
async fn an_answer_is_shown_while_it_is_written() {
    let world = World::start().await;
    let mut person = Pty::run(chat(&world, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    person.shows("waiting for a worker").await;
    let agent = Agent::takes(&world, "simple").await;
    agent.is_at("step 1/2", 0.25).await;
    person.shows("step 1/2 25 %").await;
    agent.thinks("draft 1", "Hm").await;
    person.shows("  draft 1: Hm\r\n").await;
    agent.says("Because ").await;
    person.shows("Because ").await;
    agent.says("of it.").await;
    person.shows("Because of it.").await;
    agent.is_done().await;
    person.shows("Because of it.\r\n> ").await;

    person.types("And?\n");
    let next = Agent::takes(&world, "simple").await;
    assert_eq!(next.task.session_id, agent.task.session_id);
    next.is_done_with("That is all.").await;
    person.shows("That is all.\r\n> ").await;
    person.types("\x04");
    assert!(
        soon("the end", person.child.wait())
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn where_nobody_answers_it_is_said_what_may_be_missing() {
    let world = World::start().await;
    let mut person = Pty::run(chat(&world, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    let hint = "no worker takes the task: is `throughline worker` running?\r\n";
    person.shows(hint).await;
    Agent::takes(&world, "simple")
        .await
        .is_done_with("So.")
        .await;
    person.shows("So.\r\n> ").await;
}

#[tokio::test]
async fn what_was_moved_out_of_the_answer_is_not_shown_twice() {
    let world = World::start().await;
    let mut person = Pty::run(chat(&world, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    let agent = Agent::takes(&world, "simple").await;
    agent.says("Let me look.").await;
    person.shows("Let me look.").await;
    agent.thinks("thinking", "Let me look.").await;
    agent.takes_back().await;
    person.shows("  (taken back)\r\n").await;
    agent.says("It is so.").await;
    agent.is_done().await;
    person.shows("It is so.\r\n> ").await;
    assert_eq!(person.screen().matches("Let me look.").count(), 1);
}

#[tokio::test]
async fn ctrl_c_cancels_the_answer_and_the_chat_goes_on() {
    let world = World::start().await;
    let mut person = Pty::run(chat(&world, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    let agent = Agent::takes(&world, "simple").await;
    agent.says("Well, ").await;
    person.shows("Well, ").await;
    assert!(signal(person.child.id().unwrap(), libc::SIGINT));
    person.shows("  cancelling\r\n").await;
    agent.is_cancelled().await;
    person.shows("  (cancelled)\r\n> ").await;

    person.types("Why not?\n");
    let agent = Agent::takes(&world, "simple").await;
    agent.fails("out of ideas").await;
    person.shows("  failed: out of ideas\r\n> ").await;
    assert!(signal(person.child.id().unwrap(), libc::SIGINT));
    assert!(
        soon("the end", person.child.wait())
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn an_answer_goes_on_where_the_connection_was_cut() {
    let world = World::start().await;
    let relay = Relay::to(world.services[0].address).await;
    let mut person = Pty::run(chat_at(&relay.url, &[]));
    person.shows("> ").await;
    person.types("Why?\n");
    let agent = Agent::takes(&world, "simple").await;
    for piece in ["One, ", "two, ", "three."] {
        agent.says(piece).await;
        person.shows(piece).await;
        relay.cut();
    }
    agent.is_done().await;
    person.shows("\r\n> ").await;
    let screen = person.screen();
    for piece in ["One, ", "two, ", "three."] {
        assert_eq!(screen.matches(piece).count(), 1, "{screen}");
    }
    assert!(screen.contains(", will resume\r\n"));
}

#[tokio::test]
async fn who_joins_sees_what_was_said() {
    let world = World::start().await;
    world.a().session("s").await;
    world.a().say("s", Role::User, "Why?").await;
    world.a().say("s", Role::Assistant, "Because.").await;
    let mut person = Pty::run(chat(&world, &["--session", "s"]));
    person.shows("> Why?\r\nBecause.\r\n").await;
    let hint = format!(
        "`throughline chat --session s --watch --server http://{}`",
        world.services[0].address
    );
    person.shows(&hint).await;
    person.types("\x04");
    assert!(
        soon("the end", person.child.wait())
            .await
            .unwrap()
            .success()
    );
}
