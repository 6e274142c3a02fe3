//! `throughline bench`, in its shortest form.

use std::process::{Command, Output};

use serde_json::Value;

const RATIOS: [&str; 20] = [
    "streamed_append_16x256_vs_pipelined_xadd",
    "streamed_append_256x16_vs_pipelined_xadd",
    "unary_append_vs_noop_unary",
    "redis_cpu_append_vs_xadd",
    "redis_cpu_append_batch16_vs_xadd",
    "append_1mb_vs_empty",
    "delivery_p50_vs_floor_50_per_s",
    "delivery_p50_vs_floor_1000_per_s",
    "fanout_1000_vs_naive",
    "fanout_cpu_vs_naive",
    "redis_commands_2000_vs_1_watcher",
    "sse_throughput_vs_grpc",
    "sse_fanout_vs_grpc",
    "load_1mb_vs_hgetall",
    "idle_watcher_kib",
    "stalled_watcher_kib",
    "redis_connections_10000_watchers",
    "submit_to_claim_p99_ms",
    "redis_connections_1000_vs_10_idle_workers",
    "redis_core_percent_1000_idle_workers",
];

fn bench(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(["bench", "--quick"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output
}

#[test]
fn the_bench_gives_every_ratio_with_its_bar() {
    let output = bench(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in RATIOS {
        assert!(report["ratios"][key].is_f64(), "{key}");
        assert!(report["bars"][key].is_object(), "{key}");
    }
    for call in ["create", "append", "update_task", "load", "watch"] {
        let latency = &report["figures"]["latency"][call];
        for figure in ["p50_ms", "p99_ms", "redis_p50_ms", "target_ms"] {
            assert!(latency[figure].as_f64().unwrap() > 0.0, "{call} {figure}");
        }
    }
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
}

#[test]
fn the_bench_measures_only_what_it_is_asked_for() {
    let output = bench(&["--only", "latency"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("update task"), "{text}");
    assert!(!text.contains("append_1mb_vs_empty"), "{text}");
}
