//! The workflow planner: how often it asks, and what it does not do twice.

use serde_json::json;
use throughline::proto::{
    self as v1, ContentType, StopReason,
    TaskStatus::{Completed, Failed},
    Workflow::Planner,
};

use super::{
    endpoint::{Act, Asked, say, say_json},
    stage::{Stage, complete, judgement, limit, plan, request},
};
use crate::support::{Program, eventually};

/// Whether it is the synthesis that is asked for.
fn is_synthesis(asked: &Asked) -> bool {
    asked.last().starts_with("The request has been worked on")
}

/// Which subtask is asked for, if one is.
fn piece(asked: &Asked) -> Option<&str> {
    let (_, piece) = asked.last().split_once("Your piece:\n")?;
    Some(piece.trim())
}

fn count(asked: &[Asked], what: impl Fn(&Asked) -> bool) -> usize {
    asked.iter().filter(|asked| what(asked)).count()
}

fn planned(asked: &Asked) -> bool {
    asked.shape() == Some("plan")
}

/// Plans this much, then says that it is enough.
fn plans_once(steps: &'static [usize]) -> impl Fn(&Asked, usize) -> Act + Send + Sync {
    move |asked, number| match (planned(asked), piece(asked)) {
        (true, _) if number == 0 => say_json(&plan(steps)),
        (true, _) => say_json(&complete()),
        (_, Some(piece)) => say(format!("did {piece}")),
        (_, None) => say("All done."),
    }
}

#[tokio::test]
async fn steps_run_in_order_and_their_results_are_told_on() {
    let stage = Stage::set(plans_once(&[2, 1])).await;
    let ended = stage.done(Planner, "Build.").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "All done."));
    let asked = stage.model.asked();
    // Two plans, three subtasks, a synthesis.
    assert_eq!(asked.len(), 6);
    assert_eq!(
        (count(&asked, planned), count(&asked, is_synthesis)),
        (2, 1)
    );
    let last = asked
        .iter()
        .find(|asked| piece(asked) == Some("piece-1-0"))
        .unwrap();
    assert!(last.last().contains("did piece-0-0") && last.last().contains("did piece-0-1"));
    assert!(asked[4].last().contains("did piece-1-0"));
    let kinds = ended.kinds();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == ContentType::Thinking)
            .count(),
        3
    );
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == ContentType::Json)
            .count(),
        2
    );
}

#[tokio::test]
async fn who_plans_on_and_on_is_stopped_and_the_results_are_used() {
    let endless = |asked: &Asked, _| match (planned(asked), piece(asked)) {
        (true, _) => say_json(&plan(&[1])),
        (_, Some(_)) => say("did it"),
        _ => say("So far."),
    };
    let stage = Stage::set(endless).await;
    let ended = stage.done(Planner, "Build.").await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::MaxIterations, "So far.")
    );
    assert_eq!(stage.model.asked().len(), 3 + 3 + 1);
}

#[tokio::test]
async fn a_failed_subtask_is_tried_again_and_then_told_as_failed() {
    let script = |asked: &Asked, number| match (planned(asked), piece(asked)) {
        (true, _) if number == 0 => say_json(&plan(&[2])),
        (true, _) => say_json(&complete()),
        (_, Some("piece-0-1")) => Act::Status(404, ""),
        (_, Some(_)) => say("did it"),
        _ => say("In part."),
    };
    let stage = Stage::set(script).await;
    let ended = stage.done(Planner, "Build.").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "In part."));
    let asked = stage.model.asked();
    assert_eq!(count(&asked, |asked| piece(asked) == Some("piece-0-1")), 2);
    let second_plan = asked.iter().filter(|asked| planned(asked)).nth(1).unwrap();
    assert!(
        second_plan.last().contains("FAILED: "),
        "{}",
        second_plan.last()
    );
}

#[tokio::test]
async fn a_plan_that_is_too_large_is_sent_back_once_and_then_cut() {
    let script = |asked: &Asked, _| match (planned(asked), piece(asked)) {
        (true, _) => say_json(&plan(&[1; 17])),
        (_, Some(_)) => say("did it"),
        _ => say("Much."),
    };
    let stage = Stage::set(script).await;
    let task = v1::SubmitTaskRequest {
        max_iterations: 1,
        ..request(Planner, "Build.")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::MaxIterations, "Much.")
    );
    assert_eq!(stage.model.asked().len(), 2 + 16 + 1);
}

#[tokio::test]
async fn a_planner_who_is_not_understood_fails_the_attempt() {
    let stage = Stage::set(|_, _| say_json(&judgement("GOOD"))).await;
    let ended = stage.done(Planner, "Build.").await;
    assert_eq!(ended.task.status(), Failed);
    assert!(
        ended.task.error.contains("BAD_JSON"),
        "{}",
        ended.task.error
    );
    assert_eq!(stage.model.asked().len(), 2);
}

#[tokio::test]
async fn a_budget_that_is_used_up_leaves_the_results() {
    let stage = Stage::set(plans_once(&[1, 1, 1])).await;
    let task = v1::SubmitTaskRequest {
        params: limit("max_calls", 3),
        ..request(Planner, "Build.")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    let (status, reason, text) = ended.result();
    assert_eq!((status, reason), (Completed, StopReason::Budget));
    assert!(text.contains("did piece-0-0") && text.contains("did piece-1-0"));
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_third_step_leaves_the_first_two_done() {
    let script = |asked: &Asked, number| match piece(asked) {
        // The first time the third step is reached, nobody answers.
        Some("piece-2-0") if number == 3 => Act::Hang("I am at"),
        _ => plans_once(&[1, 1, 1, 1, 1])(asked, number),
    };
    let mut stage = Stage::without_worker(script).await;
    let server = format!("http://{}", stage.world.services[1].address);
    let mut program = Program::work(&server, &stage.model.url).await;
    let task = v1::SubmitTaskRequest {
        max_attempts: 2,
        ..request(Planner, "Build.")
    };
    let task = stage.submit_with(task).await;
    stage.model.was_asked(4).await;
    let clients = stage.clients();
    eventually("the text of the third step", || async {
        let message = clients.get(&task.message_id).await.unwrap();
        message.blocks.len() == 5
    })
    .await;
    program.kill().await;
    stage.hire(&[]);
    let ended = stage.ended(&task).await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "All done."));
    assert_eq!(ended.task.attempt, 2);
    let asked = stage.model.asked();
    let times: Vec<_> = (0..5)
        .map(|step| {
            count(&asked, |asked| {
                piece(asked) == Some(&format!("piece-{step}-0"))
            })
        })
        .collect();
    assert_eq!(times, [1, 1, 2, 1, 1]);
    assert_eq!(count(&asked, planned), 2);
    let third = asked
        .iter()
        .filter(|asked| piece(asked) == Some("piece-2-0"))
        .nth(1);
    assert!(third.unwrap().last().contains("did piece-1-0"));
    assert_eq!(json!(ended.usage().model_calls), json!(8));
}
