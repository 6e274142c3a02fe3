//! Events, blocks and tasks in a few words each.

use prost_types::Timestamp;

use super::terminal::printable;
use crate::proto::{
    BlockState, ContentBlock, ContentRef, ContentType, EndReason, Event, MessageEnd, MessageState,
    Role, StopReason, Task, TaskOutcome, TaskStatus, audio_content, code_content,
    content_block::Content, event::Payload, file_content, html_content, image_content,
    json_content, markdown_content, text_content, thinking_content, tool_call_content,
    tool_result_content, video_content,
};

/// `TASK_PROGRESS` and the like.
pub(super) fn event_name(event: &Event) -> &'static str {
    without(event.event_type().as_str_name(), "EVENT_TYPE_")
}

/// What happened, apart from the event's name.
pub(super) fn event_detail(event: &Event) -> String {
    let Some(payload) = &event.payload else {
        return String::new();
    };
    let detail = match payload {
        Payload::MessageStart(start) => role(start.role()),
        Payload::MessageEnd(end) => message_end(end),
        Payload::TextDelta(delta) => format!("{} at {}", delta.block_id, delta.offset),
        Payload::ContentAdded(added) => added.block.as_ref().map(block).unwrap_or_default(),
        Payload::ContentUpdated(updated) => updated.block.as_ref().map(block).unwrap_or_default(),
        Payload::TaskStarted(started) => started.task.as_ref().map(task).unwrap_or_default(),
        Payload::TaskProgress(progress) => progress.task.as_ref().map(task).unwrap_or_default(),
        Payload::TaskCompleted(completed) => completed.task.as_ref().map(task).unwrap_or_default(),
        Payload::TaskFailed(failed) => failed.task.as_ref().map(task).unwrap_or_default(),
        Payload::TaskCancelled(cancelled) => cancelled.task.as_ref().map(task).unwrap_or_default(),
        Payload::CancelRequested(request) => request.reason.clone(),
        Payload::Error(error) => error.message.clone(),
        Payload::Custom(custom) => custom.name.clone(),
    };
    printable(&detail)
}

/// Kind, state and content of a block.
pub(super) fn block(block: &ContentBlock) -> String {
    let kind = content_type(block.content_type());
    let state = match block.state() {
        BlockState::Open => "open",
        BlockState::Placeholder => "placeholder",
        BlockState::Sealed | BlockState::Unspecified => "",
    };
    let content = block.content.as_ref().map(content).unwrap_or_default();
    joined(&[&kind, state, &content, &block.error])
}

/// Type, status and progress of a task, and what is said of its end.
pub(super) fn task(task: &Task) -> String {
    let progress = match task.status() {
        TaskStatus::Processing => format!("{:.0} %", task.progress * 100.0),
        _ => String::new(),
    };
    let status = lower(task.status().as_str_name(), "TASK_STATUS_");
    joined(&[
        &task.task_type,
        &status,
        &progress,
        &task.status_text,
        &task.error,
        &task.outcome.as_ref().map(outcome).unwrap_or_default(),
    ])
}

/// Why the work on a task stopped, and what it took.
pub(super) fn outcome(outcome: &TaskOutcome) -> String {
    let stop_reason = match outcome.stop_reason() {
        StopReason::Unspecified => None,
        reason => Some(lower(reason.as_str_name(), "STOP_REASON_").replace('_', " ")),
    };
    let usage = outcome.usage.unwrap_or_default();
    let counted = |number, what| (number > 0).then(|| format!("{number} {what}"));
    let said = [
        stop_reason,
        counted(usage.model_calls.into(), "model calls"),
        counted(usage.input_tokens, "tokens in"),
        counted(usage.output_tokens, "tokens out"),
        counted(usage.tool_calls.into(), "tool calls"),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    match said.is_empty() {
        true => String::new(),
        false => format!("({})", said.join(", ")),
    }
}

pub(super) fn content_type(content_type: ContentType) -> String {
    lower(content_type.as_str_name(), "CONTENT_TYPE_")
}

pub(super) fn role(role: Role) -> String {
    lower(role.as_str_name(), "ROLE_")
}

pub(super) fn message_state(state: MessageState) -> String {
    lower(state.as_str_name(), "MESSAGE_STATE_")
}

pub(super) fn end_reason(reason: EndReason) -> String {
    lower(reason.as_str_name(), "END_REASON_").replace('_', " ")
}

/// In UTC, to the second.
pub(super) fn time(time: &Timestamp) -> String {
    let nanos = time.nanos.try_into().unwrap_or(0);
    chrono::DateTime::from_timestamp(time.seconds, nanos)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

/// The words that are not empty, with a space between them.
pub(super) fn joined(words: &[&str]) -> String {
    let present: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.is_empty())
        .collect();
    present.join(" ")
}

fn message_end(end: &MessageEnd) -> String {
    let reason = match end.end_reason() {
        EndReason::Unspecified | EndReason::Client => String::new(),
        reason => end_reason(reason),
    };
    joined(&[&message_state(end.state()), &reason, &end.error])
}

/// Where the text of a block is, and how long: the kinds differ in nothing else.
macro_rules! text_of {
    ($kind:ident, $content:expr) => {
        match &$content.source {
            Some($kind::Source::Text(text)) if text.is_empty() => String::new(),
            Some($kind::Source::Text(text)) => bytes(text.len()),
            Some($kind::Source::ContentRef(reference)) => elsewhere(reference),
            None => String::new(),
        }
    };
}

/// Where the bytes of a block are: the kinds differ in nothing else.
macro_rules! media_of {
    ($kind:ident, $content:expr) => {
        match &$content.source {
            Some($kind::Source::Url(url)) => url.clone(),
            Some($kind::Source::Data(data)) => bytes(data.len()),
            Some($kind::Source::ContentRef(reference)) => elsewhere(reference),
            None => String::new(),
        }
    };
}

fn content(content: &Content) -> String {
    match content {
        Content::Text(text) => text_of!(text_content, text),
        Content::Markdown(text) => text_of!(markdown_content, text),
        Content::Html(text) => text_of!(html_content, text),
        Content::Json(text) => text_of!(json_content, text),
        Content::Thinking(text) => text_of!(thinking_content, text),
        Content::Code(code) => joined(&[&code.language, &text_of!(code_content, code)]),
        Content::ToolCall(call) => joined(&[&call.name, &text_of!(tool_call_content, call)]),
        Content::ToolResult(result) => text_of!(tool_result_content, result),
        Content::Image(image) => joined(&[&media_of!(image_content, image), &image.caption]),
        Content::Audio(audio) => joined(&[&media_of!(audio_content, audio), &audio.caption]),
        Content::Video(video) => joined(&[&media_of!(video_content, video), &video.caption]),
        Content::File(file) => joined(&[&media_of!(file_content, file), &file.filename]),
    }
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}

fn elsewhere(reference: &ContentRef) -> String {
    match reference.content_id.as_str() {
        "" => format!("{} bytes", reference.size),
        id => format!("{} bytes in content:{id}", reference.size),
    }
}

/// The name of an enum's value without its prefix.
fn without(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn lower(name: &'static str, prefix: &str) -> String {
    without(name, prefix).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::TaskUsage;

    #[test]
    fn of_an_ended_task_is_said_why_it_stopped_and_what_it_took() {
        let ended = |outcome| {
            task(&Task {
                task_type: "critic".into(),
                status: TaskStatus::Completed.into(),
                outcome,
                ..Task::default()
            })
        };
        let usage = TaskUsage {
            model_calls: 8,
            input_tokens: 5_300,
            output_tokens: 910,
            tool_calls: 0,
        };
        let outcome = TaskOutcome {
            stop_reason: StopReason::MaxIterations.into(),
            usage: Some(usage),
        };
        assert_eq!(
            ended(Some(outcome)),
            "critic completed (max iterations, 8 model calls, 5300 tokens in, 910 tokens out)"
        );
        assert_eq!(ended(Some(TaskOutcome::default())), "critic completed");
        assert_eq!(ended(None), "critic completed");
    }
}
