//! What goes wrong, as the script wants it.

use http_body_util::BodyExt;
use serde_json::Value;
use throughline_model::{Fault, Model, Reply, Script, When, Within};

use crate::client::{ask, ask_streamed, begin, post, soon};

const PATH: &str = "/v1/chat/completions";

async fn model(fault: Fault) -> Model {
    let reply = Reply::text("one two three four").fault(fault);
    Model::start(Script::new().rule(When::any(), reply)).await
}

#[tokio::test]
async fn an_error_comes_in_place_of_an_answer() {
    let script = Script::new()
        .rule_times(1, When::any(), Reply::status(500))
        .rule(When::any(), Reply::too_many_requests("2"));
    let model = Model::start(script).await;
    let heard = post(&model, &ask_streamed("x")).await;
    assert_eq!(heard.status, 500);
    assert_eq!(heard.json()["error"]["type"], "server_error");
    let heard = post(&model, &ask_streamed("x")).await;
    assert_eq!(heard.status, 429);
    assert_eq!(heard.headers["retry-after"], "2");
    assert_eq!(heard.json()["error"]["type"], "rate_limit_error");
    assert_eq!(model.record()[1].status, Some(429));
}

#[tokio::test]
async fn a_cut_stream_has_no_end() {
    for within in [None, Some(Within::Json), Some(Within::Character)] {
        let model = model(Fault::Cut {
            after_tokens: 2,
            within,
        })
        .await;
        let heard = post(&model, &ask_streamed("x")).await;
        assert!(!heard.is_whole, "the connection was closed");
        let text = String::from_utf8_lossy(&heard.bytes);
        assert!(text.contains("two") && !text.contains("three"));
        assert!(!text.contains("[DONE]") && !text.contains("\"stop\""));
        let is_torn = !text.ends_with("\n\n");
        assert_eq!(is_torn, within.is_some());
        let is_character_torn = str::from_utf8(&heard.bytes).is_err();
        assert_eq!(is_character_torn, matches!(within, Some(Within::Character)));
        let exchange = soon(model.answered(1)).await;
        assert_eq!((exchange.tokens, exchange.gone_us), (2, None));
    }
}

#[tokio::test]
async fn a_cut_may_come_after_all_that_there_is_to_say() {
    let model = model(Fault::Cut {
        after_tokens: 9,
        within: None,
    })
    .await;
    let heard = post(&model, &ask_streamed("x")).await;
    assert_eq!(heard.said(), "one two three four");
    assert!(!heard.is_whole && heard.finish_reasons().is_empty());
}

#[tokio::test]
async fn half_of_a_whole_answer_comes_before_a_cut() {
    let model = model(Fault::Cut {
        after_tokens: 0,
        within: None,
    })
    .await;
    let heard = post(&model, &ask("x")).await;
    assert!(!heard.is_whole && !heard.bytes.is_empty());
    assert!(serde_json::from_slice::<Value>(&heard.bytes).is_err());
}

#[tokio::test]
async fn a_stream_may_end_with_an_error() {
    let model = model(Fault::Error {
        after_tokens: 1,
        message: "overloaded".to_owned(),
    })
    .await;
    let heard = post(&model, &ask_streamed("x")).await;
    assert!(heard.is_whole);
    assert_eq!(heard.said(), "one");
    assert_eq!(
        heard.chunks().last().unwrap()["error"]["message"],
        "overloaded"
    );
    assert!(!heard.text().contains("[DONE]"));
    let answer = post(&model, &ask("x")).await.json();
    assert_eq!(answer["error"]["message"], "overloaded");
}

#[tokio::test]
async fn who_leaves_a_hanging_stream_is_seen() {
    let model = model(Fault::Hang { after_tokens: 2 }).await;
    let body = ask_streamed("x").to_string();
    let (response, connection) = soon(begin(&model, "POST", PATH, None, body)).await;
    let exchange = soon(model.said(1, 2)).await;
    assert_eq!((exchange.gone_us, exchange.ended_us), (None, None));
    drop((response, connection));
    let exchange = soon(model.left(1)).await;
    assert!(exchange.gone_us >= exchange.first_token_us);
    assert_eq!((exchange.ended_us, exchange.tokens), (None, 2));
}

#[tokio::test]
async fn who_leaves_a_silent_model_is_seen() {
    let model = model(Fault::Silence).await;
    for (number, body) in [(1, ask_streamed("x")), (2, ask("x"))] {
        tokio::select! {
            _ = begin(&model, "POST", PATH, None, body.to_string()) => panic!("it is silent"),
            _ = soon(model.request(number)) => {}
        }
        let exchange = soon(model.left(number)).await;
        assert_eq!((exchange.status, exchange.ended_us), (None, None));
    }
}

#[tokio::test]
async fn a_model_that_is_dropped_is_gone() {
    let model = model(Fault::Hang { after_tokens: 0 }).await;
    let body = ask_streamed("x").to_string();
    let (response, _connection) = soon(begin(&model, "POST", PATH, None, body)).await;
    drop(model);
    let heard = soon(response.into_body().collect()).await;
    assert!(heard.is_err(), "the connection was closed");
}
