//! Content as a download.

use serde_json::json;

use super::http::{Answer, get, post, send};
use crate::support::{World, image_block};

const PATH: &str = "GET /api/v1/messages/m/content/picture";

fn bytes() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n % 251) as u8).collect()
}

async fn world() -> World {
    let world = World::start().await;
    world.a().message("m").await;
    let mut block = image_block(bytes());
    block.block_id = "picture".into();
    world.a().add("m", block).await.unwrap();
    world
}

async fn range(world: &World, headers: &[(&str, &str)]) -> Answer {
    send(&world.services[1], PATH, headers, b"").await
}

#[tokio::test]
async fn a_block_is_downloaded_with_its_type_and_length() {
    let world = world().await;
    let whole = range(&world, &[]).await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.headers["content-type"], "image/png");
    assert_eq!(whole.headers["content-length"], "100000");
    assert_eq!(whole.headers["x-content-type-options"], "nosniff");
    assert!(whole.headers["content-security-policy"].contains("sandbox"));
    assert!(whole.body == bytes());

    let message = get(&world, "/api/v1/messages/m").await.json();
    let reference = &message["message"]["blocks"][0]["image"]["contentRef"];
    let path = format!(
        "/api/v1/content/{}",
        reference["contentId"].as_str().unwrap()
    );
    assert!(get(&world, &path).await.body == bytes());
    assert_eq!(
        whole.headers["etag"],
        format!("\"{}\"", reference["sha256"].as_str().unwrap())
    );
}

#[tokio::test]
async fn a_range_is_answered_with_exactly_its_bytes() {
    let world = world().await;
    for (wanted, given, expected) in [
        ("bytes=0-9", "bytes 0-9/100000", &bytes()[..10]),
        (
            "bytes=99990-",
            "bytes 99990-99999/100000",
            &bytes()[99_990..],
        ),
        ("bytes=-5", "bytes 99995-99999/100000", &bytes()[99_995..]),
        (
            "bytes=99999-200000",
            "bytes 99999-99999/100000",
            &bytes()[99_999..],
        ),
        ("bytes=-200000", "bytes 0-99999/100000", &bytes()[..]),
    ] {
        let part = range(&world, &[("range", wanted)]).await;
        assert_eq!(part.status, 206, "{wanted}");
        assert_eq!(part.headers["content-range"], given);
        assert_eq!(part.headers["content-length"], expected.len().to_string());
        assert!(part.body == expected, "{wanted}");
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_names_the_length() {
    let world = world().await;
    for wanted in ["bytes=100000-", "bytes=100001-100002"] {
        let refused = range(&world, &[("range", wanted)]).await;
        assert_eq!(refused.status, 416, "{wanted}");
        assert_eq!(refused.headers["content-range"], "bytes */100000");
        assert_eq!(refused.reason(), "RANGE_BEYOND_END");
    }
}

#[tokio::test]
async fn what_was_downloaded_before_is_not_sent_again() {
    let world = world().await;
    let etag = range(&world, &[]).await.headers["etag"].clone();
    let same = range(&world, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let part = [("range", "bytes=0-9"), ("if-range", &etag)];
    assert_eq!(range(&world, &part).await.status, 206);
    let other = [("range", "bytes=0-9"), ("if-range", "\"other\"")];
    assert_eq!(range(&world, &other).await.body.len(), 100_000);
}

#[tokio::test]
async fn a_condition_goes_before_a_range_that_lies_behind_the_end_by_now() {
    let world = world().await;
    let etag = range(&world, &[]).await.headers["etag"].clone();
    let beyond = ("range", "bytes=200000-");
    let changed = range(&world, &[beyond, ("if-range", "\"longer\"")]).await;
    assert_eq!((changed.status, changed.body.len()), (200, 100_000));
    let same = range(&world, &[beyond, ("if-none-match", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let unchanged = range(&world, &[beyond, ("if-range", &etag)]).await;
    assert_eq!(unchanged.status, 416);
}

#[tokio::test]
async fn a_page_that_somebody_stored_may_run_nothing() {
    let world = world().await;
    let block = json!({"block": {"blockId": "page", "html": {"text": "<script>1</script>"}}});
    assert_eq!(
        post(&world, "/api/v1/messages/m/content", block)
            .await
            .status,
        200
    );
    let page = get(&world, "/api/v1/messages/m/content/page").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(
        page.headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
}
