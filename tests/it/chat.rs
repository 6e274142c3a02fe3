//! `throughline chat`, with a worker that the test plays.

use std::process::{ExitStatus, Stdio};

use throughline::proto::{self as v1, TaskStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::support::{Clients, World, eventually, signal, soon, text_of, update_of};

/// The program, with a session of its own.
struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// All that it has written.
    said: String,
}

impl Chat {
    fn start(world: &World, session: &str, arguments: &[&str]) -> Self {
        let server = format!("http://{}", world.services[0].address);
        let mut child = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .args(["chat", "--session", session, "--server", &server])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: child.stdout.take().unwrap(),
            child,
            said: String::new(),
        }
    }

    async fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is not closed");
        input.write_all(line.as_bytes()).await.unwrap();
        input.write_all(b"\n").await.unwrap();
    }

    /// Reads until it has written this.
    async fn says(&mut self, words: &str) {
        let mut bytes = [0; 1_024];
        while !self.said.contains(words) {
            let read = soon(&format!("'{words}'"), self.output.read(&mut bytes)).await;
            let count = read.unwrap();
            assert!(count > 0, "it ended with: {}", self.said);
            self.said += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    fn interrupt(&self) {
        let id = self.child.id().expect("it has not ended");
        assert!(signal(id, libc::SIGINT));
    }

    /// Types nothing more, and waits for its end.
    async fn leave(&mut self) -> ExitStatus {
        drop(self.input.take());
        soon("the end of the chat", self.child.wait())
            .await
            .unwrap()
    }
}

/// What a worker does that answers with these words, without its end.
async fn begin_answer(clients: &Clients, words: &str) -> v1::Task {
    let task = clients.claim("simple").await;
    for word in words.split_inclusive(' ') {
        clients.append_with(text_of(&task, word)).await.unwrap();
    }
    task
}

async fn end(clients: &Clients, task: &v1::Task, status: TaskStatus, error: &str) {
    let update = v1::UpdateTaskRequest {
        error: error.into(),
        ..update_of(task, status)
    };
    clients.update_task(update).await.unwrap();
}

#[tokio::test]
async fn an_answer_appears_while_it_is_written_and_the_next_question_follows() {
    let world = World::start().await;
    let mut chat = Chat::start(&world, "talk", &[]);
    let worker = world.b();
    for (question, answer) in [("Why?", "Because it "), ("And then?", "Then it ")] {
        chat.type_line(question).await;
        let task = begin_answer(&worker, answer).await;
        // It is not over yet.
        chat.says(answer).await;
        worker.append_with(text_of(&task, "is so.")).await.unwrap();
        end(&worker, &task, TaskStatus::Completed, "").await;
        chat.says("is so.").await;
    }
    assert!(chat.leave().await.success());
    let request = v1::ListMessagesRequest {
        session_id: "talk".into(),
        ..Default::default()
    };
    let listed = worker.messages.clone().list_messages(request).await;
    let session = listed.unwrap().into_inner().messages;
    let texts: Vec<&str> = session.iter().map(|message| &*message.text).collect();
    let expected = ["Why?", "Because it is so.", "And then?", "Then it is so."];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_question_from_a_pipe_that_is_not_answered_is_a_failure() {
    let world = World::start().await;
    let mut chat = Chat::start(&world, "talk", &[]);
    chat.type_line("Why?").await;
    let task = begin_answer(&world.b(), "Well ").await;
    end(&world.b(), &task, TaskStatus::Failed, "the model is away").await;
    chat.says("the model is away").await;
    assert!(!chat.leave().await.success());
}

#[tokio::test]
async fn an_interrupt_cancels_the_answer_and_the_chat_goes_on() {
    let world = World::start().await;
    let mut chat = Chat::start(&world, "talk", &[]);
    let worker = world.b();
    chat.type_line("Tell me everything.").await;
    let task = begin_answer(&worker, "In the beginning ").await;
    chat.says("In the beginning").await;
    chat.interrupt();
    chat.says("stopping").await;
    eventually("the cancel is requested", async || {
        let answered = worker.append_with(text_of(&task, "there ")).await;
        answered.unwrap().result.unwrap().cancel_requested
    })
    .await;
    end(&worker, &task, TaskStatus::Cancelled, "cancelled").await;

    chat.type_line("Something shorter.").await;
    let task = begin_answer(&worker, "Hello.").await;
    end(&worker, &task, TaskStatus::Completed, "").await;
    chat.says("Hello.").await;
    assert!(chat.leave().await.success());
}

#[tokio::test]
async fn a_second_terminal_sees_both_sides_and_what_the_agent_does() {
    let world = World::start().await;
    let worker = world.b();
    worker.session("talk").await;
    let mut watch = Chat::start(&world, "talk", &["--watch"]);
    watch.says("looking on").await;
    let mut chat = Chat::start(&world, "talk", &[]);
    chat.type_line("Which is larger?").await;
    let task = begin_answer(&worker, "The second.").await;
    watch.says("user:\nWhich is larger?\n").await;
    watch.says("The second.").await;
    let thinking = v1::UpdateTaskRequest {
        status_text: Some("weighing".into()),
        ..update_of(&task, TaskStatus::Processing)
    };
    worker.update_task(thinking).await.unwrap();
    watch.says("weighing").await;
    end(&worker, &task, TaskStatus::Completed, "").await;
    assert!(chat.leave().await.success());
    watch.interrupt();
    assert!(watch.leave().await.success());
}
