//! Answers that are JSON: asked for with a schema, read as models write them, and asked
//! for once more where they can't be read.

use serde::de::DeserializeOwned;

use super::Work;
use crate::worker::{
    failure::Failure,
    llm::request::{Prompt, Shape, Turn},
    prompts,
};

/// Asks for a `T`. Where the answer is none, or `check` finds fault with it, the model
/// is told so and asked once more; what then is one, is taken in spite of `check`.
pub(super) async fn ask<T: DeserializeOwned>(
    work: &Work,
    mut turns: Vec<Turn>,
    shape: Shape,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<T, Failure> {
    let (text, first) = ask_once::<T>(work, &turns, shape).await?;
    let error = match first {
        Ok(value) => match check(&value) {
            Ok(()) => return Ok(value),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let repair = work.prompts.fill(prompts::REPAIR, &[("error", &error)]);
    turns.push(Turn::assistant(text));
    turns.push(Turn::user(repair));
    let (_, second) = ask_once(work, &turns, shape).await?;
    second.map_err(|error| Failure::BadJson {
        what: shape.name,
        error,
    })
}

async fn ask_once<T: DeserializeOwned>(
    work: &Work,
    turns: &[Turn],
    shape: Shape,
) -> Result<(String, Result<T, String>), Failure> {
    let prompt = Prompt {
        turns: turns.to_vec(),
        shape: Some(shape),
        ..Prompt::default()
    };
    let reply = work
        .model
        .call(&prompt, &work.tuning, &work.meter, None)
        .await?;
    let read = read(&reply.text);
    Ok((reply.text, read))
}

/// The first JSON document in `text` that is a `T`: alone, in a fence or amid words.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut first_error = None;
    for (at, _) in text.match_indices('{') {
        let mut documents = serde_json::Deserializer::from_str(&text[at..]).into_iter::<T>();
        match documents.next() {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => first_error.get_or_insert(error.to_string()),
            None => continue,
        };
    }
    Err(first_error.unwrap_or_else(|| "there is no JSON object in it".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Point {
        x: i32,
    }

    #[test]
    fn json_is_found_where_models_put_it() {
        for text in [
            r#"{"x": 1}"#,
            "```json\n{\"x\": 1}\n```",
            "Here {as you asked}: {\"x\": 1}. Anything else?",
            r#"{"point": {"x": 1}}"#,
        ] {
            assert_eq!(read(text), Ok(Point { x: 1 }), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_says_why() {
        let error = |text| read::<Point>(text).unwrap_err();
        assert_eq!(error("no"), "there is no JSON object in it");
        assert!(error("{\"x\": 1").contains("EOF"));
        assert!(error("{}").contains("missing field `x`"));
    }
}
