//! Blocks of every kind whose content is elsewhere.

#![allow(
    clippy::needless_update,
    reason = "some kinds have nothing but a source"
)]

use throughline::proto::{self as v1, content_block::Content};

use crate::support::block;

/// A block of each kind that claims to be kept out of line.
pub(super) fn referring(reference: &v1::ContentRef) -> Vec<(&'static str, v1::ContentBlock)> {
    macro_rules! blocks {
        ($($name:literal: $kind:ident($content:ident) in $module:ident),* $(,)?) => {
            vec![$(($name, block(Content::$kind(v1::$content {
                source: Some(v1::$module::Source::ContentRef(reference.clone())),
                ..Default::default()
            })))),*]
        };
    }
    blocks! {
        "text": Text(TextContent) in text_content,
        "markdown": Markdown(MarkdownContent) in markdown_content,
        "html": Html(HtmlContent) in html_content,
        "json": Json(JsonContent) in json_content,
        "thinking": Thinking(ThinkingContent) in thinking_content,
        "code": Code(CodeContent) in code_content,
        "tool_call": ToolCall(ToolCallContent) in tool_call_content,
        "tool_result": ToolResult(ToolResultContent) in tool_result_content,
        "image": Image(ImageContent) in image_content,
        "audio": Audio(AudioContent) in audio_content,
        "video": Video(VideoContent) in video_content,
        "file": File(FileContent) in file_content,
    }
}

/// A medium of each kind that is somewhere in the net.
pub(super) fn linking(url: &str, size: i64) -> Vec<(&'static str, v1::ContentBlock)> {
    macro_rules! blocks {
        ($($name:literal: $kind:ident($content:ident) in $module:ident),* $(,)?) => {
            vec![$(($name, block(Content::$kind(v1::$content {
                source: Some(v1::$module::Source::Url(url.to_owned())),
                size,
                ..Default::default()
            })))),*]
        };
    }
    blocks! {
        "image": Image(ImageContent) in image_content,
        "audio": Audio(AudioContent) in audio_content,
        "video": Video(VideoContent) in video_content,
        "file": File(FileContent) in file_content,
    }
}
