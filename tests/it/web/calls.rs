//! RPCs by Connect and gRPC-Web, in JSON and in protobuf.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use serde_json::{Value, json};
use throughline::proto as v1;
use tonic_types::pb::ErrorInfo;

use super::http::{Answer, send};
use crate::support::World;

const GET: &str = "POST /throughline.v1.MessageService/GetMessage";
const WATCH: &str = "POST /throughline.v1.MessageService/WatchMessage";

async fn call(world: &World, line: &str, kind: &str, body: &[u8]) -> Answer {
    send(&world.services[1], line, &[("content-type", kind)], body).await
}

fn envelope(message: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len().try_into().unwrap());
    bytes.put_slice(message);
    bytes.into()
}

/// Flags and messages of a body.
fn envelopes(body: Vec<u8>) -> Vec<(u8, Bytes)> {
    let mut bytes = Bytes::from(body);
    let mut envelopes = Vec::new();
    while !bytes.is_empty() {
        let flags = bytes.get_u8();
        let length = bytes.get_u32() as usize;
        envelopes.push((flags, bytes.split_to(length)));
    }
    envelopes
}

fn as_json(message: &Bytes) -> Value {
    serde_json::from_slice(message).unwrap()
}

async fn ended_message() -> World {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().append("m", "Zürich 🌍").await.unwrap();
    world.a().complete("m").await;
    world
}

#[tokio::test]
async fn a_call_in_json_answers_in_json() {
    let world = ended_message().await;
    for body in [r#"{"messageId": "m"}"#, r#"{"message_id": "m"}"#] {
        let answer = call(
            &world,
            GET,
            "application/json; charset=utf-8",
            body.as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["message"]["text"], "Zürich 🌍");
    }
}

#[tokio::test]
async fn a_call_in_protobuf_answers_in_protobuf() {
    let world = ended_message().await;
    let request = v1::GetMessageRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    let answer = call(&world, GET, "application/proto", &request.encode_to_vec()).await;
    let message = v1::GetMessageResponse::decode(&answer.body[..]).unwrap();
    assert_eq!(message.message.unwrap(), world.a().get("m").await.unwrap());
}

#[tokio::test]
async fn a_refused_call_carries_the_details_of_grpc() {
    let world = ended_message().await;
    let answer = call(&world, GET, "application/json", br#"{"messageId": "x"}"#).await;
    assert_eq!(answer.status, 404);
    let error = answer.json();
    assert_eq!(error["code"], "not_found");
    let detail = &error["details"][0];
    assert_eq!(detail["type"], "google.rpc.ErrorInfo");
    let value = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap());
    let info = ErrorInfo::decode(&value.unwrap()[..]).unwrap();
    assert_eq!(info.reason, "MESSAGE_NOT_FOUND");
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let world = ended_message().await;
    world.a().create("open", v1::Role::Assistant).await.unwrap();
    let headers = [
        ("content-type", "application/connect+json"),
        ("connect-timeout-ms", "100"),
    ];
    let body = envelope(br#"{"messageId": "open"}"#);
    let answer = send(&world.services[0], WATCH, &headers, &body).await;
    let (flags, end) = envelopes(answer.body).pop().unwrap();
    assert_eq!(flags, 2);
    assert_eq!(as_json(&end)["error"]["code"], "deadline_exceeded");
}

#[tokio::test]
async fn a_stream_answers_in_envelopes_and_says_how_it_ended() {
    let world = ended_message().await;
    let body = envelope(br#"{"messageId": "m", "cursor": "0"}"#);
    let answer = call(&world, WATCH, "application/connect+json", &body).await;
    let mut frames = envelopes(answer.body);
    let (flags, end) = frames.pop().unwrap();
    assert_eq!((flags, as_json(&end)), (2, json!({})));
    let sequences: Vec<_> = frames
        .iter()
        .filter_map(|(_, frame)| {
            as_json(frame)["event"]["sequence"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(sequences, ["1", "2", "3", "4"]);

    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        cursor: "0".into(),
        ..Default::default()
    };
    let body = envelope(&request.encode_to_vec());
    let answer = call(&world, WATCH, "application/connect+proto", &body).await;
    let binary = envelopes(answer.body);
    assert_eq!(binary.len(), frames.len() + 1);
    let first = v1::WatchMessageResponse::decode(binary[0].1.clone()).unwrap();
    assert_eq!(json!(first.cursor), as_json(&frames[0].1)["cursor"]);
}

#[tokio::test]
async fn a_refused_stream_says_so_in_its_only_envelope() {
    let world = World::start().await;
    let body = envelope(br#"{"messageId": "x"}"#);
    let answer = call(&world, WATCH, "application/connect+json", &body).await;
    assert_eq!(answer.status, 200);
    let frames = envelopes(answer.body);
    assert_eq!(frames.len(), 1);
    assert_eq!(as_json(&frames[0].1)["error"]["code"], "not_found");
}

#[tokio::test]
async fn grpc_web_carries_the_status_after_the_frames() {
    let world = ended_message().await;
    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        cursor: "0".into(),
        ..Default::default()
    };
    let body = envelope(&request.encode_to_vec());
    let answer = call(&world, WATCH, "application/grpc-web+proto", &body).await;
    assert_eq!(answer.status, 200);
    let mut frames = envelopes(answer.body);
    let (flags, trailers) = frames.pop().unwrap();
    assert_eq!(flags, 0x80);
    assert!(trailers.starts_with(b"grpc-status:0"), "{trailers:?}");
    let first = v1::WatchMessageResponse::decode(frames[0].1.clone()).unwrap();
    assert!(first.cursor.starts_with("1-"));

    let request = v1::GetMessageRequest {
        message_id: "x".into(),
        ..Default::default()
    };
    let body = envelope(&request.encode_to_vec());
    let answer = call(&world, GET, "application/grpc-web+proto", &body).await;
    assert_eq!(answer.headers["grpc-status"], "5");
}

#[tokio::test]
async fn grpc_web_carries_a_long_answer_whole_and_the_status_after_it() {
    let world = World::start().await;
    world.a().message("long").await;
    world.a().append("long", &"ü".repeat(50_000)).await.unwrap();
    let request = v1::GetMessageRequest {
        message_id: "long".into(),
        ..Default::default()
    };
    let body = envelope(&request.encode_to_vec());
    let binary = call(&world, GET, "application/grpc-web+proto", &body).await;
    let text = "application/grpc-web-text+proto";
    let headers = [("content-type", text), ("accept", text)];
    let body = STANDARD.encode(&body);
    let text = send(&world.services[1], GET, &headers, body.as_bytes()).await;
    for body in [binary.body, from_base64(&text.body)] {
        let frames = envelopes(body);
        let [(0, message), (0x80, trailers)] = frames.as_slice() else {
            panic!("{} frames", frames.len());
        };
        let answer = v1::GetMessageResponse::decode(message.clone()).unwrap();
        assert_eq!(answer.message.unwrap().text.len(), 100_000);
        assert!(trailers.starts_with(b"grpc-status:0"), "{trailers:?}");
    }
}

/// Decodes pieces behind one another, of which each may be padded.
fn from_base64(text: &[u8]) -> Vec<u8> {
    let quads = text.chunks(4);
    quads
        .flat_map(|quad| STANDARD.decode(quad).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_no_form_of_a_call_is_refused() {
    let world = ended_message().await;
    for (line, kind, status) in [
        (GET, "text/plain", 415),
        (GET, "application/connect+json", 415),
        (WATCH, "application/json", 415),
        (
            "GET /throughline.v1.MessageService/GetMessage",
            "application/json",
            405,
        ),
        (
            "POST /throughline.v1.MessageService/Nothing",
            "application/json",
            404,
        ),
    ] {
        let answer = call(&world, line, kind, b"{}").await;
        assert_eq!(answer.status, status, "{line} {kind}");
    }
}
