//! The worker at a model as strict as OpenAI's with what it is sent, and as odd as others
//! with what it sends.

use std::time::Duration;

use serde_json::json;
use throughline::proto::{
    StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::{Critic, Planner, Simple},
    event::Payload,
};
use throughline_model::{Fault, Model, Quirk, Reply, Say, Script, When, Within};

use super::{
    stage::{Ended, Stage, judgement, plan},
    tools::{stdio_server, tools_file},
};

const QUIRKS: [Quirk; 9] = [
    Quirk::NoId,
    Quirk::NoToolIndex,
    Quirk::WholeToolCalls,
    Quirk::NullContent,
    Quirk::NoUsage,
    Quirk::NoDone,
    Quirk::Comments,
    Quirk::Crlf,
    Quirk::NoSpace,
];

/// The service, and a worker at this model.
async fn stage(script: Script) -> (Stage, Model) {
    let (_directory, tools) = tools_file(&stdio_server());
    let model = Model::start(script).await;
    let mut stage = Stage::without_worker(|_, _| unreachable!("it is not asked")).await;
    let times = [
        "--llm-token-timeout",
        "300ms",
        "--llm-first-token-timeout",
        "500ms",
    ];
    let flags = [&times[..], &["--tools", tools.to_str().unwrap()]].concat();
    stage.hire_at(&model.base_url(), &flags);
    (stage, model)
}

#[tokio::test]
async fn each_oddity_is_understood_with_text_and_with_tools() {
    for quirk in QUIRKS {
        let calls = Reply::tool_call("desk__add", json!({"a": 1, "b": 2})).quirk(quirk);
        let script = Script::new().rule_times(1, When::any(), calls).rule(
            When::any().last_role("tool"),
            Reply::text("It is 3.").quirk(quirk),
        );
        let (stage, model) = stage(script).await;
        let ended = stage.done(Simple, "1 + 2?").await;
        let expected = (Completed, StopReason::Done, "It is 3.");
        assert_eq!(ended.result(), expected, "{quirk:?}: {}", ended.task.error);
        assert_eq!(model.record().len(), 2, "{quirk:?}");
        assert_eq!(ended.usage().tool_calls, 1);
    }
}

#[tokio::test]
async fn nothing_that_goes_wrong_is_an_empty_success() {
    let cut = |within| Fault::Cut {
        after_tokens: 2,
        within,
    };
    for (fault, calls) in [
        (
            Fault::Status {
                code: 500,
                retry_after: None,
            },
            4,
        ),
        (
            Fault::Status {
                code: 429,
                retry_after: Some("0".into()),
            },
            4,
        ),
        (
            Fault::Status {
                code: 401,
                retry_after: None,
            },
            1,
        ),
        (Fault::Silence, 1),
        (Fault::Hang { after_tokens: 2 }, 1),
        (cut(None), 1),
        (cut(Some(Within::Json)), 1),
        (cut(Some(Within::Character)), 1),
        (
            Fault::Error {
                after_tokens: 2,
                message: "overloaded".into(),
            },
            1,
        ),
    ] {
        for workflow in [Simple, Critic, Planner] {
            let reply = Reply::words(8).fault(fault.clone());
            let (stage, model) = stage(Script::new().rule(When::any(), reply)).await;
            let ended = stage.done(workflow, "Hi").await;
            assert_eq!(ended.task.status(), Failed, "{fault:?} {workflow:?}");
            assert!(!ended.task.error.is_empty());
            assert_eq!(model.record().len(), calls, "{fault:?} {workflow:?}");
        }
    }
}

/// What the critic makes of a judge who says this, and how often it asked.
async fn judged(say: Say) -> (Ended, usize) {
    let script = Script::new()
        .rule(When::schema("judgement"), Reply::say(say))
        .rule(When::any(), Reply::echo());
    let (stage, model) = stage(script).await;
    (stage.done(Critic, "Hi there").await, model.record().len())
}

#[tokio::test]
async fn fenced_json_is_read_and_broken_json_is_asked_for_once_more() {
    for say in [
        Say::Json(judgement("GOOD")),
        Say::FencedJson(judgement("GOOD")),
    ] {
        let (ended, calls) = judged(say).await;
        assert_eq!(ended.result(), (Completed, StopReason::Done, "Hi there"));
        assert_eq!(calls, 2);
    }
    let (ended, calls) = judged(Say::BadJson(judgement("GOOD"))).await;
    assert_eq!((ended.task.status(), calls), (Failed, 3));
    assert!(
        ended.task.error.contains("BAD_JSON"),
        "{}",
        ended.task.error
    );
}

#[tokio::test]
async fn what_is_sent_is_what_openai_takes() {
    // The schemas, tools and turns of all workflows: the model refuses what OpenAI would.
    let complete = json!({"steps": [], "is_complete": true});
    let call = Reply::tool_call("desk__add", json!({"a": 1, "b": 2}));
    let script = Script::new()
        .rule_times(1, When::schema("plan"), Reply::json(plan(&[2])))
        .rule(When::schema("plan"), Reply::json(complete))
        .rule(When::schema("judgement"), Reply::json(judgement("FAIR")))
        .rule(When::user("Your piece:").last_role("user"), call)
        .rule(
            When::any(),
            Reply::text("Done.").token_delay(Duration::from_millis(1)),
        );
    let (stage, model) = stage(script).await;
    for workflow in [Simple, Critic, Planner] {
        let ended = stage.done(workflow, "Hi").await;
        assert_eq!(ended.task.status(), Completed, "{}", ended.task.error);
    }
    let statuses = model.record().into_iter().map(|exchange| exchange.status);
    let statuses: Vec<_> = statuses.collect();
    assert_eq!(statuses, vec![Some(200); 1 + 8 + 7]);
}

#[tokio::test]
async fn a_step_runs_four_subtasks_at_a_time_and_no_more() {
    let complete = json!({"steps": [], "is_complete": true});
    let slow = Reply::text("Did it.").token_delay(Duration::from_millis(100));
    let script = Script::new()
        .rule_times(1, When::schema("plan"), Reply::json(plan(&[9])))
        .rule(When::schema("plan"), Reply::json(complete))
        .rule(When::user("Your piece:"), slow)
        .rule(When::any(), Reply::text("Done."));
    let (stage, model) = stage(script).await;
    stage.done(Planner, "Hi").await;
    let subtasks = model.record()[1..10].to_vec();
    let at_work = |time: u64| {
        let spans = subtasks
            .iter()
            .map(|one| (one.arrived_us, one.ended_us.unwrap()));
        spans
            .filter(|(begin, end)| (begin..end).contains(&&time))
            .count()
    };
    let most = subtasks.iter().map(|one| at_work(one.arrived_us)).max();
    assert_eq!(most, Some(4));
}

#[tokio::test]
async fn the_first_word_is_written_at_once_and_the_rest_in_portions() {
    let (stage, _model) = stage(Script::new().rule(When::any(), Reply::words(2_000))).await;
    let ended = stage.done(Simple, "Hi").await;
    let events = stage.clients().events(&ended.message.message_id).await;
    let deltas: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event.payload? {
            Payload::TextDelta(text) => Some(text.delta),
            _ => None,
        })
        .collect();
    assert_eq!(deltas.concat(), ended.message.text);
    assert!(
        deltas[0].starts_with("word1") && deltas[0].len() < 20,
        "{}",
        deltas[0]
    );
    assert!(deltas.len() < 200, "{} portions", deltas.len());
}
