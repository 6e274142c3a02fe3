//! Content that is not sent along with its block.

use tonic::{Response, Status, transport::Channel};

use crate::proto::{ReadContentRequest, message_service_client::MessageServiceClient};

/// The whole text of a block.
pub(super) async fn read_text(
    mut client: MessageServiceClient<Channel>,
    message_id: &str,
    block_id: &str,
) -> Result<Response<String>, Status> {
    let request = ReadContentRequest {
        message_id: message_id.to_owned(),
        block_id: block_id.to_owned(),
        ..Default::default()
    };
    let mut chunks = client.read_content(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.data);
    }
    Ok(Response::new(String::from_utf8_lossy(&bytes).into_owned()))
}
