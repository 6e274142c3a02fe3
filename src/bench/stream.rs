//! Appends on WriteMessage streams, each with a window of them unacknowledged,
//! beside pipelined XADDs.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use indicatif::ProgressBar;
use prost::Message;
use tokio::task::JoinSet;

use super::{
    BenchError, Scale,
    client::DELTA,
    floor::PipelinedXadd,
    meter::{Run, ratio},
    raw::{Connection, Incoming, Outgoing, put_message},
    report::{Bar, Report, Table},
    stage::Stage,
};
use crate::proto::{
    self as v1, write_ack::Outcome, write_message_request::Write, write_message_response::Response,
};

/// Streams, and how many appends of each are unacknowledged.
struct Shape {
    name: &'static str,
    key: &'static str,
    bar: f64,
    streams: usize,
    window: usize,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "16x256",
        key: "streamed_append_16x256_vs_pipelined_xadd",
        bar: 1.5,
        streams: 16,
        window: 256,
    },
    Shape {
        name: "256x16",
        key: "streamed_append_256x16_vs_pipelined_xadd",
        bar: 1.0,
        streams: 256,
        window: 16,
    },
];

/// Connections that the streams share.
const CONNECTIONS: usize = 4;
const WINDOW_BYTES: u32 = 1024 * 1024;
/// In which bare Redis is fastest.
const FLOOR_CONNECTIONS: usize = 16;
const FLOOR_WINDOW: usize = 256;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let mut floor = PipelinedXadd::open(&stage, FLOOR_CONNECTIONS, FLOOR_WINDOW).await?;
    let mut runs = SHAPES.map(|_| Vec::new());
    let mut xadds = Vec::new();
    SHAPES[0].append(scale, &stage).await?;
    bar.set_length(scale.rounds as u64);
    for _ in 0..scale.rounds {
        for (shape, runs) in SHAPES.iter().zip(&mut runs) {
            runs.push(shape.append(scale, &stage).await?);
        }
        let meter = stage.meter()?;
        xadds.push(meter.read(floor.add(scale.round).await?)?);
        bar.inc(1);
    }

    let mut table = Table::of_runs(
        "streamed_append",
        "streamed append: WriteMessage streams x appends unacknowledged on each",
    );
    for (shape, runs) in SHAPES.iter().zip(&runs) {
        let ratio = ratio(runs, &xadds, Run::per_s);
        report.ratio(shape.key, ratio, Bar::AtLeast(shape.bar));
        table.runs(shape.name, runs);
    }
    table.runs("pipelined_xadd", &xadds);
    report.table(table);
    Ok(())
}

impl Shape {
    async fn append(&self, scale: &Scale, stage: &Stage) -> Result<Run, BenchError> {
        let streams = self.open(stage).await?;
        let meter = stage.meter()?;
        let end = Instant::now() + scale.round;
        let mut running = JoinSet::new();
        for stream in streams {
            running.spawn(stream.append_until(end));
        }
        let mut acknowledged = 0;
        while let Some(ended) = running.join_next().await {
            let panicked = |_| BenchError::Unexpected("the generator panicked");
            acknowledged += ended.map_err(panicked)??;
        }
        meter.read(acknowledged)
    }

    async fn open(&self, stage: &Stage) -> Result<Vec<AppendStream>, BenchError> {
        let client = stage.client().await?;
        let address = stage.service.address();
        let connections = Connection::open_many(address, WINDOW_BYTES, CONNECTIONS).await?;
        let mut streams = Vec::new();
        for number in 0..self.streams {
            let message = client.create_message_of(1).await?;
            let connection = &connections[number % CONNECTIONS];
            streams.push(AppendStream::open(connection, &message, self.window).await?);
        }
        Ok(streams)
    }
}

/// A stream of appends to one message, whose text is one byte at first.
pub(super) struct AppendStream {
    outgoing: Outgoing,
    incoming: Incoming,
    /// As many appends as may be unacknowledged, encoded.
    window: Bytes,
    append_bytes: usize,
    acknowledged: u64,
}

impl AppendStream {
    async fn open(
        connection: &Connection,
        message: &str,
        window: usize,
    ) -> Result<Self, BenchError> {
        let append = v1::WriteMessageRequest {
            write: Some(Write::AppendText(v1::AppendTextRequest {
                message_id: message.to_owned(),
                delta: DELTA.to_owned(),
                ..Default::default()
            })),
        };
        let mut bytes = BytesMut::new();
        for _ in 0..window {
            put_message(&append, &mut bytes);
        }
        let (outgoing, incoming) = connection.call("WriteMessage").await?;
        Ok(Self {
            outgoing,
            incoming,
            append_bytes: bytes.len() / window,
            window: bytes.freeze(),
            acknowledged: 0,
        })
    }

    /// Keeps the window full. Returns how many appends were acknowledged, which
    /// in the end are all.
    async fn append_until(mut self, end: Instant) -> Result<u64, BenchError> {
        let mut sent = (self.window.len() / self.append_bytes) as u64;
        self.outgoing.send(self.window.clone())?;
        while self.acknowledged < sent {
            let acks = self.read_acks().await?;
            if Instant::now() < end {
                let bytes = self.append_bytes * acks;
                self.outgoing.send(self.window.slice(..bytes))?;
                sent += acks as u64;
            }
        }
        self.outgoing.finish()?;
        Ok(self.acknowledged)
    }

    /// Waits for acks. The last of them tells whether all before it are good,
    /// by its number and by the place of its text.
    async fn read_acks(&mut self) -> Result<usize, BenchError> {
        let mut acks = 0;
        let mut last = Vec::new();
        let read = self.incoming.read(|message| {
            acks += 1;
            last.clear();
            last.extend_from_slice(message);
            Ok(())
        });
        if !read.await? {
            return Err(BenchError::Unexpected("a stream of appends ended"));
        }
        self.acknowledged += acks as u64;
        if acks > 0 {
            self.check(&last)?;
        }
        Ok(acks)
    }

    fn check(&self, last: &[u8]) -> Result<(), BenchError> {
        let wrong = BenchError::Unexpected("an append was refused or misplaced");
        let Ok(v1::WriteMessageResponse {
            response: Some(Response::Ack(ack)),
        }) = v1::WriteMessageResponse::decode(last)
        else {
            return Err(wrong);
        };
        let is_last = ack.index + 1 == self.acknowledged;
        let offset = 1 + ack.index * DELTA.len() as u64;
        match ack.outcome {
            Some(Outcome::Result(_)) if is_last && ack.offset == offset => Ok(()),
            _ => Err(wrong),
        }
    }
}
