//! Keeps small what a text of JSON becomes: each of its values takes up to 1.4 KB
//! while it is read, though it may be written in two bytes.

use memchr::memchr2;
use tonic::Status;

use crate::api::status::invalid;

/// More than fit into what a message may keep.
const VALUES_MAX: usize = 50_000;

/// The text, if it has a bearable number of values.
pub(in crate::api::web) fn bounded(text: &[u8]) -> Result<&[u8], Status> {
    match has_more_values(text, VALUES_MAX) {
        false => Ok(text),
        true => {
            let problem = format!("must have at most {VALUES_MAX} values");
            Err(invalid("request", problem))
        }
    }
}

/// Every value but the first comes after a comma or begins an object or a list.
fn has_more_values(text: &[u8], max: usize) -> bool {
    let mut values = 1;
    let mut rest = text;
    while values <= max {
        rest = match rest.split_first() {
            Some((b'"', string)) => after_string(string),
            Some((b',' | b'[' | b'{', after)) => {
                values += 1;
                after
            }
            Some((_, after)) => after,
            None => return false,
        };
    }
    true
}

/// What comes after the string that the bytes begin with.
fn after_string(mut bytes: &[u8]) -> &[u8] {
    while let Some(place) = memchr2(b'"', b'\\', bytes) {
        let is_end = bytes[place] == b'"';
        // What is escaped ends nothing.
        let length = if is_end { place + 1 } else { place + 2 };
        bytes = bytes.get(length..).unwrap_or_default();
        if is_end {
            return bytes;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_but_not_what_stands_in_strings() {
        for (text, values) in [
            ("{}", 2),
            ("[0,0,0]", 4),
            (r#"{"a,[{":"b\\\",,,[[","c":"\\"}"#, 3),
            (r#"["cut off,,,\"#, 2),
            (r#"["cut off,,,"#, 2),
        ] {
            let text = text.as_bytes();
            assert!(has_more_values(text, values - 1), "{values}");
            assert!(!has_more_values(text, values), "{values}");
        }
    }
}
