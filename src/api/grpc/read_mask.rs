//! Which fields of a message an answer gives.

use std::collections::HashSet;

use prost_types::FieldMask;
use tonic::Status;

use crate::{
    api::status::invalid,
    proto::{self as v1, POOL},
};

/// Names of fields; none for all.
pub(super) struct ReadMask(Option<HashSet<String>>);

/// The message with the fields that a mask has.
macro_rules! masked {
    ($message:ident, $mask:ident: $($field:ident)*) => {
        v1::Message {
            $($field: match $mask.has(stringify!($field)) {
                true => $message.$field,
                false => Default::default(),
            },)*
        }
    };
}

impl ReadMask {
    pub(super) fn of_message(mask: Option<FieldMask>) -> Result<Self, Status> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(None));
        }
        let message = POOL.get_message_by_name("throughline.v1.Message");
        for path in &paths {
            let field = message.as_ref().and_then(|of| of.get_field_by_name(path));
            if field.is_none() {
                return Err(invalid("read_mask", "names what is no field of a message"));
            }
        }
        Ok(Self(Some(paths.into_iter().collect())))
    }

    /// Whether everything is given.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(field))
    }

    /// Leaves out what is not asked for.
    pub(super) fn apply(&self, message: v1::Message) -> v1::Message {
        if self.0.is_none() {
            return message;
        }
        masked!(message, self: message_id session_id role state blocks text text_truncated
            tasks metadata parent_message_id create_time update_time end_time end_reason
            error cancel_requested sequence cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Result<ReadMask, Status> {
        ReadMask::of_message(Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }))
    }

    #[test]
    fn only_what_is_named_is_given() {
        let message = v1::Message {
            message_id: "m".to_owned(),
            text: "text".to_owned(),
            sequence: 7,
            ..Default::default()
        };
        for all in [&[][..], &["*"], &["text", "*"]] {
            assert_eq!(mask(all).unwrap().apply(message.clone()), message);
        }
        let given = mask(&["sequence", "text"]).unwrap().apply(message);
        assert_eq!((given.sequence, given.text.as_str()), (7, "text"));
        assert_eq!(given.message_id, "");
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for path in ["texts", "", "blocks.text", "createTime"] {
            assert!(mask(&["text", path]).is_err(), "{path}");
        }
    }
}
