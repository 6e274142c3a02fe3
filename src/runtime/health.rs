//! `grpc.health.v1.Health`: whether calls can be expected to succeed, which is
//! whether Redis answers and accepts writes. Where it does not, other connections
//! are tried.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use super::reflection;
use crate::store::Store;

const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the reported health true until `drain`, then reports NOT_SERVING and
/// ends the watches of it, which would keep their connections open.
pub(super) async fn report(store: Store, mut reporter: HealthReporter, drain: CancellationToken) {
    let services = reported_services();
    let mut serving = true;
    set_all(&reporter, &services, serving).await;

    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(probed) = drain.run_until_cancelled(store.probe()).await else {
            break;
        };
        if probed.is_ok() != serving {
            serving = probed.is_ok();
            log_turn(serving);
            set_all(&reporter, &services, serving).await;
        }
        if let Err(error) = probed {
            drain.run_until_cancelled(store.recover(&error)).await;
        }
    }

    if serving {
        set_all(&reporter, &services, false).await;
    }
    for service in &services {
        reporter.clear_service_status(service).await;
    }
}

/// The service as a whole, which the protocol calls "", and each one of it.
fn reported_services() -> Vec<String> {
    let mut services = reflection::service_names();
    services.push(String::new());
    services
}

fn log_turn(serving: bool) {
    if serving {
        info!("Redis answers again, health is SERVING");
    } else {
        warn!("Redis does not answer or does not accept writes, health is NOT_SERVING");
    }
}

async fn set_all(reporter: &HealthReporter, services: &[String], serving: bool) {
    let status = match serving {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}
