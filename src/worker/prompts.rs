//! What models are told, beside the conversation. Each text is a file in `prompts/`,
//! and `--prompts` may hold another of that name.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Why `--prompts` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptsError {
    /// A file can't be read.
    #[error("--prompts: {file}: {source}")]
    Read {
        /// Which one.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that takes no prompt's place.
    #[error("--prompts: there is no prompt `{0}`; the prompts are {names}", names = names())]
    Unknown(String),
}

macro_rules! prompts {
    ($($constant:ident = $file:literal;)*) => {
        $(pub(super) const $constant: &str = $file;)*

        const BUILT_IN: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("prompts/", $file)))),*];
    };
}

prompts! {
    SIMPLE = "simple.md";
    DRAFT = "draft.md";
    JUDGE = "judge.md";
    REFINE = "refine.md";
    PLAN = "plan.md";
    PLAN_STATE = "plan_state.md";
    SUBTASK = "subtask.md";
    SYNTHESIS = "synthesis.md";
    REPAIR = "repair.md";
}

fn names() -> String {
    let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The prompts of a worker.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    own: BTreeMap<String, String>,
}

impl Prompts {
    /// The built-in prompts, and those of `directory` in their place.
    ///
    /// # Errors
    /// Where a file can't be read, or none of the built-in ones has its name.
    pub fn load(directory: Option<&Path>) -> Result<Self, PromptsError> {
        let mut prompts = Self::default();
        let Some(directory) = directory else {
            return Ok(prompts);
        };
        let unreadable = |path: &Path| {
            let file = path.display().to_string();
            |source| PromptsError::Read { file, source }
        };
        for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
            let path = entry.map_err(unreadable(directory))?.path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !BUILT_IN.iter().any(|(known, _)| *known == name) {
                return Err(PromptsError::Unknown(name.into_owned()));
            }
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            prompts.own.insert(name.into_owned(), text);
        }
        Ok(prompts)
    }

    /// A prompt with each `{{name}}` replaced.
    pub(super) fn fill(&self, prompt: &str, values: &[(&str, &str)]) -> String {
        let built_in = BUILT_IN.iter().find(|(name, _)| *name == prompt);
        let built_in = built_in.map(|(_, text)| *text).unwrap_or_default();
        let template = self.own.get(prompt).map_or(built_in, String::as_str);
        fill(template.trim(), values)
    }
}

/// What is put in is not looked at again: it may have braces of its own.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        let named = after.split_once("}}").and_then(|(name, after)| {
            let value = values.iter().find(|(known, _)| *known == name.trim())?;
            Some((value.1, after))
        });
        match named {
            Some((value, after)) => {
                filled += value;
                rest = after;
            }
            None => {
                filled += "{{";
                rest = after;
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_as_they_are() {
        let values = [("task", "say {{draft}}"), ("draft", "x")];
        assert_eq!(
            fill("Do {{ task }}, {{draft}}, {{other}}.", &values),
            "Do say {{draft}}, x, {{other}}."
        );
    }

    #[test]
    fn a_prompt_of_ones_own_takes_the_place_of_the_built_in_one() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(SIMPLE), "Be brief.").unwrap();
        let prompts = Prompts::load(Some(directory.path())).unwrap();
        assert_eq!(prompts.fill(SIMPLE, &[]), "Be brief.");
        assert!(prompts.fill(JUDGE, &[]).contains("EXCELLENT"));
        fs::write(directory.path().join("simpel.md"), "").unwrap();
        let refused = Prompts::load(Some(directory.path()));
        assert!(matches!(refused, Err(PromptsError::Unknown(name)) if name == "simpel.md"));
    }
}
