//! WriteMessage: writes in a stream, one answer each, in order.

use std::collections::{HashMap, VecDeque};

use throughline::proto::{
    self as v1, write_ack::Outcome, write_message_request::Write, write_message_response::Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::support::{Clients, World, fold, reason, soon, text_block};

/// Writes that may be under way at once.
const WINDOW: usize = 1_000;

pub(crate) struct WriteStream {
    writes: mpsc::Sender<v1::WriteMessageRequest>,
    pub(crate) acks: Streaming<v1::WriteMessageResponse>,
}

impl WriteStream {
    pub(crate) async fn open(clients: &Clients) -> Self {
        let (writes, receiver) = mpsc::channel(WINDOW);
        let requests = ReceiverStream::new(receiver);
        let response = clients.messages.clone().write_message(requests).await;
        Self {
            writes,
            acks: response.unwrap().into_inner(),
        }
    }

    pub(crate) async fn send(&self, write: Write) {
        let request = v1::WriteMessageRequest { write: Some(write) };
        self.writes.send(request).await.unwrap();
    }

    pub(crate) async fn ack(&mut self) -> v1::WriteAck {
        let response = soon("an answer", self.acks.message()).await.unwrap();
        match response.expect("the stream goes on").response {
            Some(Response::Ack(ack)) => ack,
            other => panic!("an answer was expected, not {other:?}"),
        }
    }

    /// The answers to `count` writes: their sequences.
    pub(crate) async fn sequences(&mut self, count: usize) -> Vec<u64> {
        let mut sequences = Vec::new();
        for _ in 0..count {
            sequences.push(result(self.ack().await).sequence);
        }
        sequences
    }
}

fn result(ack: v1::WriteAck) -> v1::WriteResult {
    match ack.outcome {
        Some(Outcome::Result(result)) => result,
        other => panic!("a result was expected, not {other:?}"),
    }
}

pub(crate) fn append(message: &str, delta: &str) -> v1::AppendTextRequest {
    v1::AppendTextRequest {
        message_id: message.into(),
        delta: delta.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_whole_conversation_can_be_written_in_one_stream() {
    let world = World::start().await;
    world.a().session("s").await;
    let mut stream = WriteStream::open(&world.a()).await;
    stream
        .send(Write::CreateMessage(v1::CreateMessageRequest {
            session_id: "s".into(),
            message_id: "m".into(),
            role: v1::Role::Assistant.into(),
            ..Default::default()
        }))
        .await;
    for delta in ["a", "b", "c"] {
        stream.send(Write::AppendText(append("m", delta))).await;
    }
    stream
        .send(Write::AddContent(Box::new(v1::AddContentRequest {
            message_id: "m".into(),
            block: Some(text_block("d")),
            ..Default::default()
        })))
        .await;
    stream
        .send(Write::EndMessage(v1::EndMessageRequest {
            message_id: "m".into(),
            ..Default::default()
        }))
        .await;
    assert_eq!(stream.sequences(6).await, [1, 3, 4, 5, 6, 7]);
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.text, "abcd");
    assert_eq!(message.state(), v1::MessageState::Completed);
}

#[tokio::test]
async fn deltas_that_are_gathered_are_events_of_their_own() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut watch = world.b().watch("m", "0").await;
    let mut stream = WriteStream::open(&world.a()).await;
    let deltas: Vec<String> = (0..500).map(|number| format!("{number} ")).collect();
    for delta in &deltas {
        stream.send(Write::AppendText(append("m", delta))).await;
    }
    let mut offset = 0;
    for (number, delta) in deltas.iter().enumerate() {
        let ack = stream.ack().await;
        assert_eq!((ack.index, ack.offset), (number as u64, offset));
        assert_eq!(result(ack).sequence, number as u64 + 3);
        offset += delta.len() as u64;
    }
    assert_eq!(world.b().get("m").await.unwrap().text, deltas.concat());
    let watched = watch.events_until(|event| event.sequence == 502).await;
    assert_eq!(watched, world.a().events("m").await);
    assert_eq!(fold(&watched).head.sequence, 502);
}

#[tokio::test]
async fn one_stream_writes_many_messages_each_in_its_order() {
    const MESSAGES: usize = 12;
    const WRITES: usize = 900;
    let world = World::start().await;
    let name = |number: usize| match number % 50 {
        49 => "nobody".to_owned(),
        _ => format!("m{}", (number * 7) % MESSAGES),
    };
    for number in 0..MESSAGES {
        world.a().message(&format!("m{number}")).await;
    }
    let mut stream = WriteStream::open(&world.a()).await;
    for number in 0..WRITES {
        let delta = format!("{number} ");
        let append = append(&name(number), &delta);
        stream.send(Write::AppendText(append)).await;
    }
    let mut texts = HashMap::<String, String>::new();
    for number in 0..WRITES {
        let ack = stream.ack().await;
        assert_eq!(ack.index, number as u64);
        let name = name(number);
        match ack.outcome {
            Some(Outcome::Error(error)) => {
                assert_eq!(
                    (name.as_str(), error.code),
                    ("nobody", Code::NotFound.into())
                );
            }
            _ => {
                let text = texts.entry(name).or_default();
                assert_eq!(ack.offset, text.len() as u64);
                text.push_str(&format!("{number} "));
            }
        }
    }
    assert_eq!(texts.len(), MESSAGES);
    for (message, text) in texts {
        assert_eq!(world.b().get(&message).await.unwrap().text, text);
    }
}

#[tokio::test]
async fn what_is_refused_of_one_message_does_not_stop_another() {
    let world = World::start().await;
    for message in ["m", "n"] {
        world.a().message(message).await;
    }
    let expecting = |message: &str, delta: &str, offset: u64| {
        Write::AppendText(v1::AppendTextRequest {
            expected_offset: Some(offset),
            ..append(message, delta)
        })
    };
    let mut stream = WriteStream::open(&world.a()).await;
    for (message, delta, offset) in [
        ("m", "ab", 0),
        ("n", "xy", 0),
        ("m", "wrong", 7),
        ("n", "z", 2),
        ("m", "c", 2),
        ("n", "z", 2),
        ("m", "wrong", u64::MAX),
    ] {
        stream.send(expecting(message, delta, offset)).await;
    }
    let mut outcomes = Vec::new();
    for _ in 0..7 {
        outcomes.push(match stream.ack().await.outcome {
            Some(Outcome::Result(result)) => (result.sequence, result.deduplicated),
            Some(Outcome::Error(error)) if error.reason == "OFFSET_MISMATCH" => (0, false),
            other => panic!("{other:?}"),
        });
    }
    let made = |sequence| (sequence, false);
    let expected = [
        made(3),
        made(3),
        made(0),
        made(4),
        made(4),
        (4, true),
        made(0),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(world.b().get("m").await.unwrap().text, "abc");
    assert_eq!(world.b().get("n").await.unwrap().text, "xyz");
}

#[tokio::test]
async fn a_refused_write_does_not_end_the_stream() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut stream = WriteStream::open(&world.a()).await;
    stream.send(Write::AppendText(append("m", "a"))).await;
    stream.send(Write::AppendText(append("m", ""))).await;
    stream.send(Write::AppendText(append("nobody", "x"))).await;
    stream.send(Write::AppendText(append("m", "b"))).await;
    assert_eq!(stream.sequences(1).await, [3]);
    let mut refusals = Vec::new();
    for _ in 0..2 {
        match stream.ack().await.outcome {
            Some(Outcome::Error(error)) => refusals.push((Code::from(error.code), error.reason)),
            other => panic!("a refusal was expected, not {other:?}"),
        }
    }
    let expected = [
        (Code::InvalidArgument, "INVALID_FIELD".to_owned()),
        (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned()),
    ];
    assert_eq!(refusals, expected);
    assert_eq!(stream.sequences(1).await, [4]);
}

#[tokio::test]
async fn a_request_id_that_is_sent_twice_in_a_row_is_carried_out_once() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut stream = WriteStream::open(&world.a()).await;
    for request_id in ["r1", "r2", "r2", "r1", "r3"] {
        let append = v1::AppendTextRequest {
            request_id: request_id.into(),
            ..append("m", "x")
        };
        stream.send(Write::AppendText(append)).await;
    }
    assert_eq!(stream.sequences(5).await, [3, 4, 4, 3, 5]);
    assert_eq!(world.b().get("m").await.unwrap().text, "xxx");
}

#[tokio::test]
async fn a_request_id_is_remembered_of_a_delta_that_is_gathered_with_others_that_have_none() {
    const DELTAS: usize = 60;
    let world = World::start().await;
    world.a().message("m").await;
    world.a().append("m", "begin ").await.unwrap();
    let mut first = WriteStream::open(&world.a()).await;
    let request = |number: usize| v1::AppendTextRequest {
        // Every other delta has one.
        request_id: match number % 2 {
            0 => format!("r{number}"),
            _ => String::new(),
        },
        ..append("m", "x")
    };
    for number in 0..DELTAS {
        first.send(Write::AppendText(request(number))).await;
    }
    let sequences = first.sequences(DELTAS).await;

    let mut again = WriteStream::open(&world.a()).await;
    for number in (0..DELTAS).step_by(2) {
        again.send(Write::AppendText(request(number))).await;
        let repeated = result(again.ack().await);
        assert!(repeated.deduplicated, "r{number}");
        assert_eq!(repeated.sequence, sequences[number]);
    }
    let text = world.b().get("m").await.unwrap().text;
    assert_eq!(text, format!("begin {}", "x".repeat(DELTAS)));
}

#[tokio::test]
async fn a_producer_that_is_cut_a_hundred_times_writes_every_byte_once() {
    const CUTS: usize = 100;
    const DELTAS: usize = 6_000;
    let world = World::with(throughline::store::StoreOptions {
        retained_entries: 20_000,
        ..Default::default()
    })
    .await;
    world.a().message("m").await;
    let deltas: Vec<String> = (0..DELTAS).map(|number| format!("<{number}>")).collect();
    let offsets: Vec<u64> = deltas
        .iter()
        .scan(0, |end, delta| {
            let offset = *end;
            *end += delta.len() as u64;
            Some(offset)
        })
        .collect();

    let (mut acked, mut cuts) = (0, 0);
    while acked < DELTAS {
        let mut stream = WriteStream::open(&world.either(cuts)).await;
        let mut under_way = VecDeque::new();
        let mut next = acked;
        // A window full, of which some are answered before the cut.
        while next < DELTAS && under_way.len() < WINDOW {
            let append = v1::AppendTextRequest {
                expected_offset: Some(offsets[next]),
                ..append("m", &deltas[next])
            };
            stream.send(Write::AppendText(append)).await;
            under_way.push_back(next);
            next += 1;
        }
        let answered = match cuts < CUTS {
            true => 1 + (cuts * 37) % (DELTAS / CUTS),
            false => under_way.len(),
        };
        for number in under_way.into_iter().take(answered) {
            result(stream.ack().await);
            acked = number + 1;
        }
        cuts += 1;
    }
    assert!(cuts >= CUTS, "{cuts} cuts");
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.text, deltas.concat());
    assert_eq!(
        fold(&world.b().events("m").await).head.sequence,
        message.sequence
    );
}

#[tokio::test]
async fn a_stream_of_writes_ends_when_its_instance_drains() {
    let mut world = World::start().await;
    world.a().message("m").await;
    let mut stream = WriteStream::open(&world.b()).await;
    stream.send(Write::AppendText(append("m", "a"))).await;
    assert_eq!(stream.sequences(1).await, [3]);
    world.services.remove(1).stop().await;
    let status = soon("the end", stream.acks.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "DRAINING")
    );
    assert_eq!(world.a().get("m").await.unwrap().text, "a");
}

#[tokio::test]
async fn a_stream_of_writes_that_never_pauses_is_told_as_well() {
    let mut world = World::start().await;
    world.a().message("m").await;
    let request = v1::WriteMessageRequest {
        write: Some(Write::AppendText(append("m", "a"))),
    };
    let requests = tokio_stream::iter(std::iter::repeat(request));
    let mut messages = world.b().messages;
    let mut acks = messages.write_message(requests).await.unwrap().into_inner();
    let mut acked = 0;
    while acked < WINDOW {
        acks.message().await.unwrap().unwrap();
        acked += 1;
    }
    let end = async {
        loop {
            match acks.message().await {
                Ok(ack) => acked += usize::from(ack.is_some()),
                Err(status) => break status,
            }
        }
    };
    let (status, ()) = tokio::join!(soon("the end", end), world.services.remove(1).stop());
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "DRAINING")
    );
    let written = world.a().get("m").await.unwrap().text.len();
    assert_eq!(written, acked);
}

#[tokio::test]
async fn appends_to_many_messages_share_calls_and_each_fails_alone() {
    const MESSAGES: usize = 40;
    let world = World::start().await;
    let mut stream = WriteStream::open(&world.a()).await;
    let messages: Vec<String> = (0..MESSAGES).map(|number| format!("m{number}")).collect();
    for message in &messages {
        world.a().message(message).await;
        // From now on the instance knows it.
        world.a().append(message, "before ").await.unwrap();
    }
    world.b().complete("m3").await;
    let log = |message: &str| format!("stream:session:s:message:{message}");
    for message in ["m7", "m11"] {
        let _: i64 = world.redis.run(&["DEL", &log(message)]).await;
    }
    let _: i64 = world.redis.run(&["RPUSH", &log("m7"), "no log"]).await;

    let calls = world.redis.calls("fcall").await;
    // Meanwhile they gather.
    world.redis.freeze();
    for message in &messages {
        stream
            .send(Write::AppendText(append(message, "after")))
            .await;
    }
    world.redis.thaw();
    for message in &messages {
        let expected = match message.as_str() {
            "m3" => Err("MESSAGE_TERMINAL"),
            "m7" => Err("STORE_REFUSED"),
            "m11" => Err("STORED_DATA_DAMAGED"),
            _ => Ok(4),
        };
        let answer = match stream.ack().await.outcome.unwrap() {
            Outcome::Result(result) => Ok(result.sequence),
            Outcome::Error(error) => Err(error.reason),
        };
        assert_eq!(answer, expected.map_err(str::to_owned), "{message}");
        if expected.is_ok() {
            let text = world.b().get(message).await.unwrap().text;
            assert_eq!(text, "before after");
        }
    }
    let calls = world.redis.calls("fcall").await - calls;
    assert!(calls < MESSAGES / 2, "{calls} calls");
}

#[tokio::test]
async fn a_producer_that_is_far_ahead_is_held_back_and_not_cut_off() {
    const WRITES: usize = 10_000;
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let request = v1::WriteMessageRequest {
        write: Some(Write::AppendText(v1::AppendTextRequest {
            message_id: "m".into(),
            delta: "x".into(),
            ..Default::default()
        })),
    };
    // A frame of HTTP/2 each: what is ready at once would share one.
    let requests = async_stream::stream! {
        for _ in 0..WRITES {
            yield request.clone();
            tokio::task::yield_now().await;
        }
    };
    let mut messages = clients.messages.clone();
    let writing = messages.write_message(requests);
    let mut acks = soon("the stream", writing).await.unwrap().into_inner();
    for number in 0..WRITES {
        let ack = soon("an answer", acks.message()).await.unwrap();
        assert!(ack.is_some(), "the stream ended after {number}");
    }
    assert_eq!(clients.get("m").await.unwrap().text.len(), WRITES);
}
