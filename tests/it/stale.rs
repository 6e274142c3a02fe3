//! What an instance remembers of a message it appends to, while another
//! instance makes the message something else.

use throughline::proto as v1;
use tonic::Code;

use crate::support::{World, image_block, refusal};

/// Two instances, of which the first has appended "one" to message `m`, twice:
/// now it knows the message.
async fn known() -> World {
    let world = World::start().await;
    world.a().message("m").await;
    for _ in 0..2 {
        world.a().append("m", "one ").await.unwrap();
    }
    world
}

#[tokio::test]
async fn text_goes_to_a_new_block_after_another_instance_added_one() {
    let world = known().await;
    world.b().add("m", image_block("png")).await.unwrap();

    let appended = world.a().append("m", "two").await.unwrap();

    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.text, "one one two");
    assert_eq!(message.blocks.len(), 3);
    assert_eq!(message.blocks[2].block_id, appended.block_id);
    assert_eq!(appended.offset, 0);
}

#[tokio::test]
async fn text_is_refused_after_another_instance_ended_the_message() {
    let world = known().await;
    world.b().complete("m").await;

    let refused = refusal(world.a().append("m", "two").await);

    let expected = (Code::FailedPrecondition, "MESSAGE_TERMINAL".to_owned());
    assert_eq!(refused, expected);
    assert_eq!(world.b().get("m").await.unwrap().text, "one one ");
}

#[tokio::test]
async fn text_is_refused_after_another_instance_deleted_the_message() {
    let world = known().await;
    world.b().delete("m").await.unwrap();

    let refused = refusal(world.a().append("m", "two").await);

    assert_eq!(refused, (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn text_goes_to_the_message_that_took_the_place_of_a_deleted_one() {
    let world = known().await;
    world.b().delete("m").await.unwrap();
    world.b().create("m", v1::Role::Assistant).await.unwrap();
    world.b().append("m", "new ").await.unwrap();

    world.a().append("m", "two").await.unwrap();

    assert_eq!(world.b().get("m").await.unwrap().text, "new two");
    assert_eq!(world.a().events("m").await.len(), 4);
}
