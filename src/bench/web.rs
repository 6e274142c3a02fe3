//! Watches as server-sent events, beside the same watches by gRPC.

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    audience::Audience,
    meter::{Run, ratio},
    raw::Door,
    report::{Bar, Report, Table},
    side::Side,
};

/// Watchers enough to keep the service busy, few enough that each must be fast.
const FEW: usize = 8;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut table = Table::of_runs(
        "sse",
        "server-sent events beside gRPC: deliveries of one message, written as fast as they are taken",
    );
    let many = scale.audiences[scale.audiences.len() - 2];
    bar.set_length(2);
    for (key, watchers) in [
        ("sse_throughput_vs_grpc", FEW),
        ("sse_fanout_vs_grpc", many),
    ] {
        let [events, frames] = compare(scale, watchers).await?;
        table.runs(format!("sse_{watchers}"), &events);
        table.runs(format!("grpc_{watchers}"), &frames);
        let value = ratio(&events, &frames, Run::per_s);
        report.ratio(key, value, Bar::AtLeast(0.7));
        bar.inc(1);
    }
    report.table(table);
    Ok(())
}

/// Each door in turn, on a message of its own.
async fn compare(scale: &Scale, watchers: usize) -> Result<[Vec<Run>; 2], BenchError> {
    let side = Side::own().await?;
    let mut audiences = Vec::new();
    for door in [Door::Web, Door::Grpc] {
        let message = side.create_message_of(1).await?;
        let audience = Audience::seat_at(door, &side.stage, &message, watchers).await?;
        audiences.push((message, audience));
    }
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..scale.rounds.div_ceil(3) {
        for ((message, audience), runs) in audiences.iter_mut().zip(&mut runs) {
            let delivered = audience.deliver(scale, &side.stage, &side.client, message);
            runs.push(delivered.await?);
        }
    }
    Ok(runs)
}
