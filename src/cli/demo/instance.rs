//! One instance of the service in this process, and its clients.

use std::time::Duration;

use tonic::transport::Channel;

use crate::{
    cli::CliError,
    dial::dial,
    proto::{
        message_service_client::MessageServiceClient, session_service_client::SessionServiceClient,
        task_service_client::TaskServiceClient,
    },
    runtime::{
        config::RedisUrl,
        serve::{Service, ServiceOptions},
    },
};

pub(super) struct Instance {
    pub(super) name: &'static str,
    pub(super) service: Service,
    pub(super) sessions: SessionServiceClient<Channel>,
    pub(super) messages: MessageServiceClient<Channel>,
    pub(super) tasks: TaskServiceClient<Channel>,
}

impl Instance {
    pub(super) async fn start(name: &'static str, redis: RedisUrl) -> Result<Self, CliError> {
        let service = Service::start(ServiceOptions {
            drain_timeout: Duration::from_secs(1),
            ..ServiceOptions::new(redis)
        })
        .await?;
        let channel = dial(&service.address.to_string())?;
        Ok(Self {
            name,
            service,
            sessions: SessionServiceClient::new(channel.clone()),
            messages: MessageServiceClient::new(channel.clone()),
            tasks: TaskServiceClient::new(channel),
        })
    }

    pub(super) async fn stop(self) {
        self.service.stop().await;
    }
}
