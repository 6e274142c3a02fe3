//! The walk through.

use throughline::proto as v1;

use crate::support::World;

#[tokio::test]
async fn a_message_is_written_and_watched() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let mut watch = b.watch("m", "0").await;
    for delta in ["Hello", ", ", "world"] {
        a.append("m", delta).await.unwrap();
    }
    let message = b.get("m").await.unwrap();
    assert_eq!(message.text, "Hello, world");
    a.complete("m").await;
    let events = watch
        .events_until(|e| e.event_type() == v1::EventType::MessageEnd)
        .await;
    assert_eq!(events.len(), 6);
    assert_eq!(watch.end().await.reason(), v1::WatchEndReason::MessageEnded);
    println!("{:#?}", b.get("m").await.unwrap());
}
