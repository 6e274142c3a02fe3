//! Server reflection, so that a generic client needs no proto files.

use prost::Message;
use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use crate::proto::DESCRIPTORS;

/// Adds reflection in both versions, since many tools know only the older one.
pub(super) fn add(routes: Routes) -> Result<Routes, Error> {
    Ok(routes
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?))
}

/// Full names of the services of this API, as in `throughline.v1.TaskService`.
pub(super) fn service_names() -> Vec<String> {
    let descriptors = prost_types::FileDescriptorSet::decode(DESCRIPTORS)
        .expect("the build wrote the descriptors");
    let full_names = |file: prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        file.service
            .into_iter()
            .map(move |service| format!("{package}.{}", service.name()))
    };
    descriptors.file.into_iter().flat_map(full_names).collect()
}

fn described() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_services_are_known_by_name() {
        let mut names = service_names();
        names.sort();
        let expected = ["Admin", "Message", "Session", "Task"]
            .map(|service| format!("throughline.v1.{service}Service"));
        assert_eq!(names, expected);
    }
}
