//! Rows for blocks, in each of the four requests that carry them.

use prost_types::Duration;
use throughline::proto::{self as v1, content_block::Content};
use tonic::Status;

use super::{
    kinds::{linking, referring},
    table::Table,
};
use crate::support::{Clients, Rpc, block, media_blocks, named, open, text_block, textual_blocks};

const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Does something with a medium, of whichever kind it is.
macro_rules! media {
    ($block:ident, $content:ident, $kind:ident => $body:expr) => {
        match $block.content.as_mut().unwrap() {
            Content::Image($content) => {
                let $kind = "image";
                $body
            }
            Content::Audio($content) => {
                let $kind = "audio";
                $body
            }
            Content::Video($content) => {
                let $kind = "video";
                $body
            }
            Content::File($content) => {
                let $kind = "file";
                $body
            }
            other => panic!("{other:?} is no medium"),
        }
    };
}

/// A block, and the request that carries it.
#[derive(Clone, Debug)]
struct Carried<R> {
    block: v1::ContentBlock,
    carry: fn(v1::ContentBlock) -> R,
}

impl<R: Rpc> Rpc for Carried<R> {
    async fn send(self, clients: &Clients) -> Result<(), Status> {
        (self.carry)(self.block).send(clients).await
    }
}

/// Where rows of blocks go: into requests, under a path.
struct Blocks<'a, R> {
    table: &'a mut Table,
    path: &'static str,
    carry: fn(v1::ContentBlock) -> R,
}

pub(super) async fn rows(table: &mut Table) {
    let mut add = Blocks {
        table,
        path: "block",
        carry: |block| v1::AddContentRequest {
            message_id: "m".into(),
            block: Some(block),
            ..Default::default()
        },
    };
    add.contents().await;
    add.missing_content().await;
    add.ids().await;
    add.sizes().await;

    let mut create = Blocks {
        table,
        path: "blocks[1]",
        carry: |block| v1::CreateMessageRequest {
            session_id: "s".into(),
            message_id: "new".into(),
            role: v1::Role::User.into(),
            blocks: vec![text_block("first"), block],
            ..Default::default()
        },
    };
    create.contents().await;
    create.missing_content().await;
    create.ids().await;

    let mut update = Blocks {
        table,
        path: "block",
        carry: |block| v1::UpdateContentRequest {
            message_id: "m".into(),
            block: Some(v1::ContentBlock {
                block_id: match block.block_id.as_str() {
                    "" => "b".into(),
                    "(none)" => String::new(),
                    id => id.into(),
                },
                ..block
            }),
            ..Default::default()
        },
    };
    update.contents().await;
    update.ids().await;
    let unnamed = named("(none)", text_block("x"));
    update.row("block_id", "empty", unnamed).await;

    let mut result = Blocks {
        table,
        path: "content",
        carry: |block| v1::UpdateTaskRequest {
            message_id: "m".into(),
            task_id: "t".into(),
            status: v1::TaskStatus::Completed.into(),
            content: Some(block),
            ..Default::default()
        },
    };
    result.contents().await;
    result.missing_content().await;
    result.ids().await;
    result.row("state", "OPEN", open(text_block("x"))).await;
}

impl<R: Rpc> Blocks<'_, R> {
    fn carried(&self, block: v1::ContentBlock) -> Carried<R> {
        let carry = self.carry;
        Carried { block, carry }
    }

    async fn row(&mut self, field: &str, what: &str, block: v1::ContentBlock) {
        let request = self.carried(block);
        let field = format!("{}.{field}", self.path);
        self.table.row(&field, what, request).await;
    }

    async fn missing_content(&mut self) {
        self.row("content", "missing", v1::ContentBlock::default())
            .await;
    }

    async fn ids(&mut self) {
        let good = self.carried(text_block("x"));
        let field = format!("{}.block_id", self.path);
        self.table
            .id(&field, &good, |r| &mut r.block.block_id)
            .await;
    }

    /// What a block may be and hold, whatever carries it.
    async fn contents(&mut self) {
        let good = self.carried(text_block("x"));
        let placeholder = v1::BlockState::Placeholder.into();
        self.table
            .choice(
                &format!("{}.state", self.path),
                &[placeholder],
                &good,
                |r, state| r.block.state = state,
            )
            .await;
        self.table
            .object(&format!("{}.metadata", self.path), &good, |r| {
                &mut r.block.metadata
            })
            .await;
        self.references().await;
        self.names().await;
        self.media().await;
        self.sources().await;
        self.durations().await;
        self.json().await;
    }

    /// References are the service's to make.
    async fn references(&mut self) {
        let empty = v1::ContentRef::default();
        let whole = v1::ContentRef {
            content_id: "c".into(),
            size: 20_000,
            media_type: "image/png".into(),
            sha256: "0".repeat(64),
        };
        let unnamed = v1::ContentRef {
            content_id: "a:b".into(),
            ..Default::default()
        };
        let negative = v1::ContentRef {
            size: -1,
            ..Default::default()
        };
        for (reference, inner) in [
            (empty, ""),
            (whole, ""),
            (unnamed, ".content_id"),
            (negative, ".size"),
        ] {
            for (kind, block) in referring(&reference) {
                let field = format!("{kind}.content_ref{inner}");
                self.row(&field, "there", block).await;
            }
        }
    }

    /// Short texts beside a text.
    async fn names(&mut self) {
        let long = || "x".repeat(129);
        let [.., code, tool_call, tool_result] = textual_blocks("x");
        let Some(Content::Code(code)) = code.content else {
            unreachable!()
        };
        let Some(Content::ToolCall(call)) = tool_call.content else {
            unreachable!()
        };
        let Some(Content::ToolResult(result)) = tool_result.content else {
            unreachable!()
        };
        let rows = [
            (
                "code.language",
                Content::Code(v1::CodeContent {
                    language: long(),
                    ..code.clone()
                }),
            ),
            (
                "code.filename",
                Content::Code(v1::CodeContent {
                    filename: "x".repeat(1_025),
                    ..code
                }),
            ),
            (
                "tool_call.call_id",
                Content::ToolCall(v1::ToolCallContent {
                    call_id: long(),
                    ..call.clone()
                }),
            ),
            (
                "tool_call.name",
                Content::ToolCall(v1::ToolCallContent {
                    name: long(),
                    ..call
                }),
            ),
            (
                "tool_result.call_id",
                Content::ToolResult(v1::ToolResultContent {
                    call_id: long(),
                    ..result
                }),
            ),
        ];
        for (field, content) in rows {
            self.row(field, "too long", block(content)).await;
        }
    }

    /// What all media have.
    async fn media(&mut self) {
        for good in media_blocks(b"x") {
            let mut bad = good.clone();
            let kind = media!(bad, content, kind => {
                content.media_type = "x".repeat(129);
                kind
            });
            self.row(&format!("{kind}.media_type"), "too long", bad)
                .await;
            let mut bad = good.clone();
            media!(bad, content, _kind => content.caption = "x".repeat(4_097));
            self.row(&format!("{kind}.caption"), "too long", bad).await;
            let mut bad = good.clone();
            media!(bad, content, _kind => content.source = None);
            self.row(&format!("{kind}.source"), "missing", bad).await;
            self.row("state", "OPEN", open(good)).await;
        }
        let [.., mut file] = media_blocks(b"x");
        let Some(Content::File(content)) = &mut file.content else {
            unreachable!()
        };
        content.filename = "x".repeat(1_025);
        self.row("file.filename", "too long", file).await;
    }

    async fn sources(&mut self) {
        for url in [String::new(), "x".repeat(8_193)] {
            for (kind, block) in linking(&url, 0) {
                let what = format!("{} bytes long", url.len());
                self.row(&format!("{kind}.url"), &what, block).await;
            }
        }
        for size in [-1, i64::MIN] {
            for (kind, block) in linking("https://example.org/", size) {
                self.row(&format!("{kind}.size"), "negative", block).await;
            }
        }
    }

    async fn durations(&mut self) {
        let [_, audio, video, _] = media_blocks(b"x");
        let good = self.carried(audio);
        let field = format!("{}.audio.duration", self.path);
        self.table.duration(&field, &good, duration).await;
        let good = self.carried(video);
        let field = format!("{}.video.duration", self.path);
        self.table.duration(&field, &good, duration).await;
    }

    /// A JSON block that is sealed holds JSON.
    async fn json(&mut self) {
        let texts = [
            "",
            " ",
            "{",
            "}",
            "nul",
            "1 2",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "\"a",
            "\"\n\"",
            "NaN",
            "01",
            "[1",
            "\u{feff}{}",
            "{}\0",
        ];
        for text in texts {
            let [_, _, _, json, ..] = textual_blocks(text);
            self.row("json.text", text, json).await;
        }
    }

    /// Content over 16 MiB.
    async fn sizes(&mut self) {
        let text = "x".repeat(BLOCK_BYTES_MAX + 1);
        let kinds = [
            "text",
            "markdown",
            "html",
            "json",
            "thinking",
            "code",
            "tool_call",
            "tool_result",
        ];
        for (kind, block) in kinds.into_iter().zip(textual_blocks(&text)) {
            self.row(&format!("{kind}.text"), "too long", block).await;
        }
        self.row("text.text", "too long", open(text_block(&text)))
            .await;
        for mut block in media_blocks(text.as_bytes()) {
            let kind = media!(block, _content, kind => kind);
            self.row(&format!("{kind}.data"), "too long", block).await;
        }
    }
}

fn duration<R>(request: &mut Carried<R>) -> &mut Option<Duration> {
    match request.block.content.as_mut().unwrap() {
        Content::Audio(audio) => &mut audio.duration,
        Content::Video(video) => &mut video.duration,
        other => panic!("{other:?} has no duration"),
    }
}
