//! Blocks of every kind.

use bytes::Bytes;
use prost_types::Struct;
use throughline::{
    proto::{self as v1, content_block::Content},
    wire::values::metadata_to_v1,
};

/// A block of this content.
pub fn block(content: Content) -> v1::ContentBlock {
    v1::ContentBlock {
        content: Some(content),
        ..Default::default()
    }
}

/// A block of plain text.
pub fn text_block(text: &str) -> v1::ContentBlock {
    textual_blocks(text)[0].clone()
}

/// The same block, to be appended to.
pub fn open(block: v1::ContentBlock) -> v1::ContentBlock {
    v1::ContentBlock {
        state: v1::BlockState::Open.into(),
        ..block
    }
}

/// The same block under an id.
pub fn named(id: &str, block: v1::ContentBlock) -> v1::ContentBlock {
    v1::ContentBlock {
        block_id: id.into(),
        ..block
    }
}

/// An image of these bytes.
pub fn image_block(data: impl Into<Bytes>) -> v1::ContentBlock {
    let image = v1::ImageContent {
        source: Some(v1::image_content::Source::Data(data.into())),
        media_type: "image/png".into(),
        caption: "a picture".into(),
        width: 640,
        height: 480,
        ..Default::default()
    };
    block(Content::Image(image))
}

macro_rules! textual {
    ($text:expr, $($kind:ident: $content:ident in $module:ident { $($field:ident: $value:expr),* }),* $(,)?) => {
        [$(block(Content::$kind(v1::$content {
            source: Some(v1::$module::Source::Text($text.into())),
            $($field: $value.into()),*
        }))),*]
    };
}

/// A block of each kind made of text: TEXT first.
pub fn textual_blocks(text: &str) -> [v1::ContentBlock; 8] {
    textual! { text,
        Text: TextContent in text_content {},
        Markdown: MarkdownContent in markdown_content {},
        Html: HtmlContent in html_content {},
        Json: JsonContent in json_content {},
        Thinking: ThinkingContent in thinking_content {},
        Code: CodeContent in code_content { language: "rust", filename: "main.rs" },
        ToolCall: ToolCallContent in tool_call_content { call_id: "call_1", name: "search" },
        ToolResult: ToolResultContent in tool_result_content { call_id: "call_1", is_error: true },
    }
}

/// A block of each kind made of bytes.
pub fn media_blocks(data: &[u8]) -> [v1::ContentBlock; 4] {
    let data = Bytes::copy_from_slice(data);
    let duration = Some(prost_types::Duration {
        seconds: 3,
        nanos: 500_000_000,
    });
    [
        image_block(data.clone()),
        block(Content::Audio(v1::AudioContent {
            source: Some(v1::audio_content::Source::Data(data.clone())),
            media_type: "audio/mpeg".into(),
            caption: "a sound".into(),
            duration,
            ..Default::default()
        })),
        block(Content::Video(v1::VideoContent {
            source: Some(v1::video_content::Source::Data(data.clone())),
            media_type: "video/mp4".into(),
            caption: "a film".into(),
            width: 640,
            height: 480,
            duration,
            ..Default::default()
        })),
        block(Content::File(v1::FileContent {
            source: Some(v1::file_content::Source::Data(data)),
            media_type: "application/pdf".into(),
            filename: "report.pdf".into(),
            caption: "a report".into(),
            ..Default::default()
        })),
    ]
}

/// The reference that a block holds in place of its content.
pub fn reference(block: &v1::ContentBlock) -> Option<&v1::ContentRef> {
    macro_rules! reference {
        ($($kind:ident in $module:ident),* $(,)?) => {
            match block.content.as_ref()? {
                $(Content::$kind(content) => match content.source.as_ref()? {
                    v1::$module::Source::ContentRef(reference) => Some(reference),
                    _ => None,
                }),*
            }
        };
    }
    reference! {
        Text in text_content, Markdown in markdown_content, Html in html_content,
        Json in json_content, Thinking in thinking_content, Code in code_content,
        ToolCall in tool_call_content, ToolResult in tool_result_content,
        Image in image_content, Audio in audio_content, Video in video_content,
        File in file_content,
    }
}

/// A JSON object as metadata.
pub fn object(json: serde_json::Value) -> Struct {
    match json {
        serde_json::Value::Object(object) => metadata_to_v1(&object).unwrap_or_default(),
        other => panic!("{other} is no object"),
    }
}

/// An object that is exactly 16 KiB of JSON.
pub fn largest_object() -> Struct {
    object(serde_json::json!({ "a": "x".repeat(16 * 1024 - 8) }))
}

/// The text of a block, wherever its kind keeps it.
pub fn inline_text(block: &v1::ContentBlock) -> &str {
    macro_rules! text {
        ($($kind:ident in $module:ident),* $(,)?) => {
            match block.content.as_ref().unwrap() {
                $(Content::$kind(content) => match content.source.as_ref().unwrap() {
                    v1::$module::Source::Text(text) => text,
                    other => panic!("{other:?} is no text"),
                },)*
                other => panic!("{other:?} is not textual"),
            }
        };
    }
    text! {
        Text in text_content, Markdown in markdown_content, Html in html_content,
        Json in json_content, Thinking in thinking_content, Code in code_content,
        ToolCall in tool_call_content, ToolResult in tool_result_content,
    }
}
