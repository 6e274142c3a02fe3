//! One message and many watchers, beside the naive design.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    audience::Audience,
    callers::call_at_pace,
    client::DELTA,
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    side::Side,
};

/// How often is written where Redis's commands are counted.
const PACE: Duration = Duration::from_millis(5);

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut table = Table::of_runs(
        "fanout",
        "fan-out: deliveries of one message to so many watchers, written as fast as they take it",
    );
    let mut commands = Vec::new();
    bar.set_length(scale.audiences.len() as u64);
    let compared = scale.audiences.len() - 2;
    for (index, &watchers) in scale.audiences.iter().enumerate() {
        let sides = [Side::own().await?, Side::naive().await?];
        let [own, naive] = compare(scale, &sides, watchers).await?;
        for (side, runs) in sides.iter().zip([&own, &naive]) {
            table.runs(format!("{}_{watchers}", side.name), runs);
        }
        commands.push(commands_per_s(&sides[0], scale, watchers).await?);
        if index == compared {
            let value = ratio(&own, &naive, Run::per_s);
            report.ratio("fanout_1000_vs_naive", value, Bar::AtLeast(20.0));
            let cpu = |run: &Run| run.service_cpu() + run.redis_cpu();
            let value = ratio(&own, &naive, cpu);
            report.ratio("fanout_cpu_vs_naive", value, Bar::AtMost(0.1));
        }
        bar.inc(1);
    }
    report.table(table);
    let value = commands[commands.len() - 1] / commands[0];
    report.ratio("redis_commands_2000_vs_1_watcher", value, Bar::AtMost(1.1));
    report.table(commands_table(scale, &commands));
    Ok(())
}

fn commands_table(scale: &Scale, commands: &[f64]) -> Table {
    let rows = scale.audiences.iter().zip(commands);
    Table {
        key: "redis_commands",
        title: format!(
            "Redis commands, with one append each {} ms and so many watchers",
            PACE.as_millis()
        ),
        columns: vec!["per_s"],
        rows: rows
            .map(|(watchers, per_s)| (format!("watchers_{watchers}"), vec![*per_s]))
            .collect(),
    }
}

async fn compare(
    scale: &Scale,
    sides: &[Side; 2],
    watchers: usize,
) -> Result<[Vec<Run>; 2], BenchError> {
    let mut runs = [Vec::new(), Vec::new()];
    let mut audiences = Vec::new();
    for side in sides {
        audiences.push(Audience::seat(&side.stage, &side.message, watchers).await?);
    }
    for _ in 0..scale.rounds.div_ceil(3) {
        for ((side, audience), runs) in sides.iter().zip(&mut audiences).zip(&mut runs) {
            let delivered = audience.deliver(scale, &side.stage, &side.client, &side.message);
            runs.push(delivered.await?);
        }
    }
    Ok(runs)
}

/// How many commands Redis does in a second while the message is written slowly.
async fn commands_per_s(side: &Side, scale: &Scale, watchers: usize) -> Result<f64, BenchError> {
    let _audience = Audience::seat(&side.stage, &side.message, watchers).await?;
    let mut redis = side.stage.redis().await?;
    let begin = Instant::now();
    let before: f64 = redis.info("stats", "total_commands_processed").await?;
    let append = |_| {
        let (client, message) = (side.client.clone(), side.message.clone());
        async move { client.append(&message, DELTA).await }
    };
    call_at_pace(PACE, 10 * scale.rounds, append).await?;
    let after: f64 = redis.info("stats", "total_commands_processed").await?;
    Ok((after - before) / begin.elapsed().as_secs_f64())
}
