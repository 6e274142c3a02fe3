//! Writes that are made again: the same answer, and nothing twice.

use throughline::proto as v1;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    Clients, World, image_block, named, open, reason, refusal, text_block, textual_blocks,
};

/// What was answered, whichever write it was.
#[derive(Debug, PartialEq)]
struct Answer {
    result: v1::WriteResult,
    block: String,
    offset: u64,
    task: String,
}

impl Answer {
    fn of(result: Option<v1::WriteResult>) -> Self {
        Self {
            result: result.unwrap(),
            block: String::new(),
            offset: 0,
            task: String::new(),
        }
    }

    /// The same, made once more.
    fn repeated(&self) -> Self {
        Self {
            result: v1::WriteResult {
                deduplicated: true,
                ..self.result.clone()
            },
            block: self.block.clone(),
            offset: self.offset,
            task: self.task.clone(),
        }
    }
}

/// Every write RPC, each with a request id of its own, in an order in which all
/// are allowed. Ids of blocks and tasks are left to the service where it makes
/// them.
async fn write(clients: &Clients, index: usize) -> Answer {
    let Clients {
        mut messages,
        mut tasks,
        ..
    } = clients.clone();
    let message_id = "m".to_owned();
    let request_id = format!("request_{index}");
    match index {
        0 | 1 => {
            let request = v1::AppendTextRequest {
                message_id,
                request_id,
                delta: "hello".into(),
                ..Default::default()
            };
            let answer = messages.append_text(request).await.unwrap().into_inner();
            Answer {
                block: answer.block_id,
                offset: answer.offset,
                ..Answer::of(answer.result)
            }
        }
        2 => {
            let request = v1::AddContentRequest {
                message_id,
                request_id,
                block: Some(image_block(vec![7; 20_000])),
                ..Default::default()
            };
            let answer = messages.add_content(request).await.unwrap().into_inner();
            Answer {
                block: answer.block_id,
                ..Answer::of(answer.result)
            }
        }
        3 => {
            let request = v1::UpdateContentRequest {
                message_id,
                request_id,
                block: Some(named("b", text_block("sealed"))),
                ..Default::default()
            };
            Answer::of(
                messages
                    .update_content(request)
                    .await
                    .unwrap()
                    .into_inner()
                    .result,
            )
        }
        4 => {
            let request = v1::PublishEventRequest {
                message_id,
                request_id,
                name: "noticed".into(),
                ..Default::default()
            };
            Answer::of(
                messages
                    .publish_event(request)
                    .await
                    .unwrap()
                    .into_inner()
                    .result,
            )
        }
        5 => {
            let request = v1::StartTaskRequest {
                message_id,
                request_id,
                task_type: "search".into(),
                ..Default::default()
            };
            let answer = tasks.start_task(request).await.unwrap().into_inner();
            Answer {
                task: answer.task.unwrap().task_id,
                ..Answer::of(answer.result)
            }
        }
        6 => {
            let request = v1::UpdateTaskRequest {
                message_id,
                request_id,
                task_id: "t".into(),
                progress: Some(0.5),
                ..Default::default()
            };
            let answer = tasks.update_task(request).await.unwrap().into_inner();
            Answer {
                task: answer.task.unwrap().task_id,
                ..Answer::of(answer.result)
            }
        }
        7 => {
            let request = v1::CancelTaskRequest {
                message_id,
                request_id,
                task_id: "t".into(),
                ..Default::default()
            };
            let answer = tasks.cancel_task(request).await.unwrap().into_inner();
            Answer {
                task: answer.task.unwrap().task_id,
                ..Answer::of(answer.result)
            }
        }
        _ => {
            let request = v1::EndMessageRequest {
                message_id,
                request_id,
                ..Default::default()
            };
            Answer::of(
                messages
                    .end_message(request)
                    .await
                    .unwrap()
                    .into_inner()
                    .result,
            )
        }
    }
}

const WRITES: usize = 9;

#[tokio::test]
async fn a_write_repeated_under_its_request_id_gets_its_first_answer() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", named("b", open(text_block(""))))
        .await
        .unwrap();
    clients.start_task("m", "t").await.unwrap();

    let mut answers = Vec::new();
    for index in 0..WRITES {
        let first = write(&clients, index).await;
        assert!(!first.result.deduplicated, "write {index}");
        let before = world.redis.contents().await;
        let again = write(&world.b(), index).await;
        assert_eq!(again, first.repeated(), "write {index}");
        assert_eq!(world.redis.contents().await, before, "write {index}");
        answers.push(first);
    }

    // The message has ended, which refuses every other write.
    let before = world.redis.contents().await;
    for (index, first) in answers.iter().enumerate() {
        let again = write(&world.b(), index).await;
        assert_eq!(again, first.repeated(), "write {index} after the end");
    }
    assert_eq!(world.redis.contents().await, before);
}

#[tokio::test]
async fn a_request_id_with_another_payload_is_refused() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let request = v1::AppendTextRequest {
        message_id: "m".into(),
        request_id: "r".into(),
        delta: "hello".into(),
        ..Default::default()
    };
    clients.append_with(request.clone()).await.unwrap();
    let others = [
        v1::AppendTextRequest {
            delta: "hallo".into(),
            ..request.clone()
        },
        v1::AppendTextRequest {
            block_id: "b".into(),
            ..request.clone()
        },
        v1::AppendTextRequest {
            expected_offset: Some(0),
            ..request
        },
    ];
    for other in others {
        let status = clients.append_with(other).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
        let field = &status.get_details_bad_request().unwrap().field_violations[0].field;
        assert_eq!(field, "request_id");
    }
    assert_eq!(clients.get("m").await.unwrap().text, "hello");
}

/// AddContent and UpdateContent are the same bytes on the wire.
#[tokio::test]
async fn a_request_id_of_one_method_is_refused_by_another() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let block = Some(named("b", open(text_block("hello"))));
    let request = v1::AddContentRequest {
        message_id: "m".into(),
        request_id: "r".into(),
        block: block.clone(),
        ..Default::default()
    };
    clients.clone().messages.add_content(request).await.unwrap();
    let request = v1::UpdateContentRequest {
        message_id: "m".into(),
        request_id: "r".into(),
        block,
        ..Default::default()
    };
    let answer = clients.clone().messages.update_content(request).await;
    let reused = (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned());
    assert_eq!(refusal(answer), reused);
}

#[tokio::test]
async fn request_ids_belong_to_their_message() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.create("n", v1::Role::User).await.unwrap();
    for message in ["m", "n"] {
        let request = v1::AppendTextRequest {
            message_id: message.into(),
            request_id: "r".into(),
            delta: message.into(),
            ..Default::default()
        };
        let answer = clients.append_with(request).await.unwrap();
        assert!(!answer.result.unwrap().deduplicated);
    }
}

#[tokio::test]
async fn the_last_64_request_ids_are_remembered() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let append = |index: usize| {
        let request = v1::AppendTextRequest {
            message_id: "m".into(),
            request_id: format!("r{index}"),
            delta: "x".into(),
            ..Default::default()
        };
        let clients = clients.clone();
        async move {
            let answer = clients.append_with(request).await.unwrap();
            answer.result.unwrap().deduplicated
        }
    };
    for index in 0..65 {
        assert!(!append(index).await);
    }
    for index in 1..65 {
        assert!(append(index).await, "r{index} is remembered");
    }
    assert!(!append(0).await, "the 65th oldest is forgotten");
    assert!(!append(1).await, "which made r1 the 65th oldest");
    assert_eq!(clients.get("m").await.unwrap().text.len(), 67);
}

/// Both want to open the text block; one of them appends to the other's.
#[tokio::test]
async fn a_repeat_knows_where_an_append_went_that_lost_the_race_to_open_the_block() {
    let world = World::start().await;
    world.a().session("s").await;
    for round in 0..30 {
        let message = format!("m{round}");
        world
            .a()
            .create(&message, v1::Role::Assistant)
            .await
            .unwrap();
        let append = |writer: usize| {
            let request = v1::AppendTextRequest {
                message_id: message.clone(),
                request_id: format!("r{writer}"),
                delta: "hello".into(),
                ..Default::default()
            };
            let clients = world.either(writer);
            async move { clients.append_with(request).await.unwrap() }
        };
        let (a, b, c) = tokio::join!(append(0), append(1), append(2));
        for (writer, first) in [a, b, c].into_iter().enumerate() {
            let again = append(writer).await;
            assert_eq!(
                (again.block_id, again.offset),
                (first.block_id, first.offset),
                "round {round}"
            );
        }
        let blocks = world.b().get(&message).await.unwrap().blocks;
        assert_eq!(blocks.len(), 1);
    }
}

#[tokio::test]
async fn an_end_with_a_request_id_can_be_repeated_with_it_and_without() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for block in textual_blocks("text") {
        clients.add("m", open(block)).await.unwrap();
    }
    let request = v1::EndMessageRequest {
        message_id: "m".into(),
        request_id: "r".into(),
        ..Default::default()
    };
    let first = clients.clone().messages.end_message(request.clone()).await;
    let first = first.unwrap().into_inner().result.unwrap();
    let without = world.b().complete("m").await;
    let with = world.b().messages.end_message(request).await;
    let with = with.unwrap().into_inner().result.unwrap();
    for repeat in [with, without] {
        assert!(repeat.deduplicated);
        assert_eq!(repeat.cursor, first.cursor);
    }
}
