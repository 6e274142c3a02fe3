//! A block of a message, as far as a person sees it.

use prost_types::value::Kind;

use crate::{
    cli::{terminal::printable, words},
    proto::{
        BlockState, ContentBlock, ContentType, code_content, content_block::Content, html_content,
        json_content, markdown_content, text_content, thinking_content, tool_call_content,
        tool_result_content,
    },
};

/// What is left of a text that is shown in one line.
const PREVIEW_CHARS: usize = 100;

/// What is known of a block.
pub(super) struct Block {
    pub(super) id: String,
    /// It is TEXT: part of what the message says.
    pub(super) is_text: bool,
    pub(super) text: String,
    /// What all of its text has in bytes, where that is not sent along.
    pub(super) size_elsewhere: Option<usize>,
    /// It was shown in a line of its own.
    pub(super) is_told: bool,
    /// What a line about it begins with: the stage, or what it is.
    label: String,
}

/// Where the text of a block is.
pub(super) enum Source<'a> {
    Here(&'a str),
    /// So many bytes of it.
    Elsewhere(usize),
    /// There is no content, or none with a text.
    Nowhere,
}

impl Block {
    pub(super) fn new(block: &ContentBlock) -> Self {
        Self {
            id: block.block_id.clone(),
            is_text: block.content_type() == ContentType::Text,
            text: String::new(),
            size_elsewhere: None,
            is_told: false,
            label: label(block),
        }
    }

    /// Takes in what a line about the block says.
    pub(super) fn describe(&mut self, block: &ContentBlock) {
        self.label = label(block);
    }

    /// One line about it.
    pub(super) fn line(&self) -> String {
        let text = match (self.text.is_empty(), self.size_elsewhere) {
            (true, Some(size)) => format!("{size} bytes"),
            _ => preview(&self.text),
        };
        printable(&format!("  {} {text}", self.label))
    }

    /// What is being written to it, in few words.
    pub(super) fn status(&self) -> String {
        let skipped = self.text.chars().count().saturating_sub(PREVIEW_CHARS);
        let end: String = self.text.chars().skip(skipped).collect();
        printable(&words::joined(&[&self.label, &preview(&end)]))
    }
}

/// Whether a block is shown in a line of its own: once it is whole, and there.
pub(super) fn is_tellable(block: &ContentBlock) -> bool {
    block.state() == BlockState::Sealed && block.content.is_some()
}

/// Where the text is: the kinds differ in nothing else.
macro_rules! text_of {
    ($kind:ident, $content:expr) => {
        match &$content.source {
            Some($kind::Source::Text(text)) => Source::Here(text),
            Some($kind::Source::ContentRef(reference)) => {
                Source::Elsewhere(reference.size.try_into().unwrap_or(usize::MAX))
            }
            None => Source::Nowhere,
        }
    };
}

pub(super) fn source(block: &ContentBlock) -> Source<'_> {
    match &block.content {
        Some(Content::Text(text)) => text_of!(text_content, text),
        Some(Content::Markdown(text)) => text_of!(markdown_content, text),
        Some(Content::Html(text)) => text_of!(html_content, text),
        Some(Content::Json(text)) => text_of!(json_content, text),
        Some(Content::Thinking(text)) => text_of!(thinking_content, text),
        Some(Content::Code(code)) => text_of!(code_content, code),
        Some(Content::ToolCall(call)) => text_of!(tool_call_content, call),
        Some(Content::ToolResult(result)) => text_of!(tool_result_content, result),
        Some(Content::Image(_) | Content::Audio(_) | Content::Video(_) | Content::File(_))
        | None => Source::Nowhere,
    }
}

fn label(block: &ContentBlock) -> String {
    match &block.content {
        Some(Content::ToolCall(call)) => format!("tool {}", call.name),
        Some(Content::ToolResult(result)) if result.is_error => "✗".to_owned(),
        Some(Content::ToolResult(_)) => "→".to_owned(),
        Some(Content::Image(_) | Content::Audio(_) | Content::Video(_) | Content::File(_)) => {
            words::block(block)
        }
        _ => format!("{}:", stage(block)),
    }
}

/// What the worker says that the block belongs to, as "draft 2"; else its kind.
fn stage(block: &ContentBlock) -> String {
    let metadata = block.metadata.as_ref();
    let stage = metadata.and_then(|metadata| metadata.fields.get("stage")?.kind.as_ref());
    match stage {
        Some(Kind::StringValue(stage)) => stage.clone(),
        _ => words::content_type(block.content_type()),
    }
}

/// The beginning of a text, in one line.
fn preview(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(PREVIEW_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview("  Some\n\nlines\tof text "), "Some lines of text");
        let long = preview(&"é".repeat(200));
        assert_eq!(long.chars().count(), PREVIEW_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
