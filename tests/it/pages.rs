//! Pages: how long they are, and that every client can take them.

use prost::Message as _;
use throughline::proto::{self as v1, write_message_request::Write};
use tonic::Status;

use crate::{
    support::{Clients, Rpc, World, largest_object, text_block},
    write_stream::{WriteStream, append},
};

const DELTA_BYTES_MAX: usize = 256 * 1024;
const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

async fn page_of_messages(clients: &Clients, page_size: i32) -> (usize, bool) {
    let request = v1::ListMessagesRequest {
        session_id: "s".into(),
        page_size,
        ..Default::default()
    };
    let page = clients.clone().messages.list_messages(request).await;
    let page = page.unwrap().into_inner();
    (page.messages.len(), !page.next_page_token.is_empty())
}

async fn page_of_sessions(clients: &Clients, page_size: i32) -> (usize, bool) {
    let request = v1::ListSessionsRequest {
        user_id: "user_1".into(),
        page_size,
        ..Default::default()
    };
    let page = clients.clone().sessions.list_sessions(request).await;
    let page = page.unwrap().into_inner();
    (page.sessions.len(), !page.next_page_token.is_empty())
}

async fn page_of_events(clients: &Clients, page_size: i32) -> (usize, bool) {
    let request = v1::ListEventsRequest {
        message_id: "m".into(),
        page_size,
        ..Default::default()
    };
    let page = clients.clone().messages.list_events(request).await;
    let page = page.unwrap().into_inner();
    (page.events.len(), !page.next_page_token.is_empty())
}

#[tokio::test]
async fn a_page_has_50_items_unless_asked_otherwise_and_never_over_1_000() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let create = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        blocks: vec![text_block("x"); 1_000],
        complete: true,
        ..Default::default()
    };
    create.send(&clients).await.unwrap();
    for index in 0..1_010 {
        clients.session(&format!("s{index}")).await;
        clients.create("", v1::Role::User).await.unwrap();
    }
    for (asked, got) in [(0, 50), (1, 1), (999, 999), (1_000, 1_000)] {
        assert_eq!(page_of_messages(&clients, asked).await, (got, true));
        assert_eq!(page_of_sessions(&clients, asked).await, (got, true));
        assert_eq!(page_of_events(&clients, asked).await, (got, true));
    }
    for asked in [1_001, i32::MAX] {
        assert_eq!(page_of_messages(&clients, asked).await, (1_000, true));
        assert_eq!(page_of_sessions(&clients, asked).await, (1_000, true));
        assert_eq!(page_of_events(&clients, asked).await, (1_000, true));
    }
}

/// Reads page after page with a client that refuses answers over 4 MiB, as all
/// do unasked; says how many items there were.
async fn read_all<F: Future<Output = Result<(usize, usize, String), Status>>>(
    page: impl Fn(String) -> F,
) -> usize {
    let mut count = 0;
    let mut token = String::new();
    loop {
        let (items, size, next) = page(token).await.unwrap();
        assert!(items > 0, "a page has something");
        assert!(size <= FRAME_BYTES_MAX + 64 * 1024, "{size} bytes");
        count += items;
        token = next;
        if token.is_empty() {
            return count;
        }
    }
}

#[tokio::test]
async fn a_page_ends_early_rather_than_exceed_2_mib() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let text = "x".repeat(DELTA_BYTES_MAX);
    for index in 0..10 {
        let message = format!("m{index}");
        clients.create(&message, v1::Role::User).await.unwrap();
        for _ in 0..3 {
            clients.append(&message, &text).await.unwrap();
        }
    }
    let messages = read_all(async |page_token| {
        let request = v1::ListMessagesRequest {
            session_id: "s".into(),
            page_token,
            ..Default::default()
        };
        let page = clients.clone().messages.list_messages(request).await?;
        let page = page.into_inner();
        let size = page.encoded_len();
        Ok((page.messages.len(), size, page.next_page_token))
    });
    assert_eq!(messages.await, 10);

    for _ in 0..20 {
        clients.append("m0", &text).await.unwrap();
    }
    let events = read_all(async |page_token| {
        let request = v1::ListEventsRequest {
            message_id: "m0".into(),
            page_token,
            ..Default::default()
        };
        let page = clients.clone().messages.list_events(request).await?;
        let page = page.into_inner();
        let size = page.encoded_len();
        Ok((page.events.len(), size, page.next_page_token))
    });
    assert_eq!(events.await, 25);

    for index in 0..300 {
        let create = v1::CreateSessionRequest {
            session_id: format!("s{index}"),
            user_id: "user_2".into(),
            metadata: Some(largest_object()),
        };
        create.send(&clients).await.unwrap();
    }
    let sessions = read_all(async |page_token| {
        let request = v1::ListSessionsRequest {
            user_id: "user_2".into(),
            page_size: 1_000,
            page_token,
        };
        let page = clients.clone().sessions.list_sessions(request).await?;
        let page = page.into_inner();
        let size = page.encoded_len();
        Ok((page.sessions.len(), size, page.next_page_token))
    });
    assert_eq!(sessions.await, 300);
}

#[tokio::test]
async fn what_is_read_of_a_log_at_once_is_bounded_in_bytes_and_in_events() {
    const BYTES: usize = 64 * 1024;
    const EVENTS: usize = 512;
    let world = World::start().await;
    let clients = world.a();
    clients.message("long").await;
    for _ in 0..4 {
        clients.append("long", &"x".repeat(BYTES)).await.unwrap();
    }
    clients.message("short").await;
    let mut stream = WriteStream::open(&clients).await;
    for _ in 0..1_000 {
        stream.send(Write::AppendText(append("short", "x"))).await;
    }
    stream.sequences(1_000).await;
    let replay = world.redis.function("replay").await;
    for (message, sequence, bounds) in [("long", 2, 1..=1), ("short", 0, EVENTS / 64..=EVENTS)] {
        let key = format!("message:{message}");
        let sequence = sequence.to_string();
        let (bytes, events) = (BYTES.to_string(), EVENTS.to_string());
        let call = [
            "FCALL_RO", &replay, "1", &key, &sequence, "1000", &bytes, &events,
        ];
        let page: Vec<redis::Value> = world.redis.run(&call).await;
        let redis::Value::Array(entries) = &page[5] else {
            panic!("entries were expected: {page:?}")
        };
        assert!(
            bounds.contains(&entries.len()),
            "{message} {}",
            entries.len()
        );
    }
    // And goes on where it ends.
    assert_eq!(clients.events("short").await.len(), 1_002);
}
