//! The invariants of ARCHITECTURE.md that can be checked by reading.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

/// The floors, lowest first: each knows only those before it.
const FLOORS: [&str; 12] = [
    "proto", "dial", "worker", "domain", "wire", "store", "tail", "engine", "api", "runtime",
    "bench", "cli",
];

/// Rust files under `directory`, with their text.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(Path::new(directory), &mut found);
    assert!(!found.is_empty(), "{directory} has sources");
    found
}

fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The floor of a file, if it is on one.
fn floor(path: &Path) -> Option<usize> {
    let below = path.strip_prefix("src").ok()?;
    let name = below.components().next()?.as_os_str().to_str()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    FLOORS.iter().position(|floor| *floor == name)
}

/// What a file says outside of comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| match line.find("//") {
        Some(comment) => &line[..comment],
        None => line,
    })
}

/// The modules that a file names behind `crate::` or `super::`, in paths and in `use`
/// lists.
fn named_modules(text: &str, root: &str) -> Vec<String> {
    let code: String = code(text)
        .flat_map(|line| line.chars().chain([' ']))
        .collect();
    let mut named = Vec::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(list) => named.extend(heads(list)),
            None => named.push(identifier(rest)),
        }
    }
    named
}

/// The first identifier of each path in a `use` list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_head = true;
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            character if at_head && !character.is_whitespace() => {
                heads.push(identifier(&list[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    let is_part = |character: &char| character.is_alphanumeric() || *character == '_';
    text.chars().take_while(is_part).collect()
}

#[test]
fn each_floor_knows_only_those_below_it() {
    for (path, text) in sources("src") {
        let Some(own) = floor(&path) else { continue };
        for name in named_modules(&text, "crate::") {
            let known = FLOORS.iter().position(|floor| *floor == name);
            let path = path.display();
            assert!(
                known.is_none_or(|known| known <= own),
                "{path} knows {name}"
            );
        }
    }
}

#[test]
fn use_lists_are_read_whole() {
    let text =
        "use crate::{\n    api::{a, b},\n    wire::c, // engine\n};\nlet x = crate::tail::y;";
    assert_eq!(named_modules(text, "crate::"), ["api", "wire", "tail"]);
}

/// The files beside a file that it names.
fn known_siblings(path: &Path, text: &str) -> Vec<PathBuf> {
    let directory = path.parent().unwrap();
    // There `super` is the file itself.
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let names = match path.file_name().is_some_and(|name| name == "mod.rs") {
        true => Vec::new(),
        false => named_modules(text, "super::"),
    };
    let siblings = names.iter().map(|name| directory.join(name));
    siblings
        .flat_map(|sibling| [sibling.with_extension("rs"), sibling.join("mod.rs")])
        .filter(|sibling| sibling.exists())
        .collect()
}

#[test]
fn no_file_needs_another_beside_it_that_needs_it() {
    let mut needs: HashMap<PathBuf, Vec<PathBuf>> = sources("src")
        .into_iter()
        .map(|(path, text)| (path.clone(), known_siblings(&path, &text)))
        .collect();
    assert!(needs.values().flatten().count() > 100, "they are found");
    // Who needs nothing that is left is left out, as long as there is such a file.
    loop {
        let count = needs.len();
        let left: HashSet<_> = needs.keys().cloned().collect();
        needs.retain(|path, needed| {
            needed
                .iter()
                .any(|other| other != path && left.contains(other))
        });
        if needs.len() == count {
            break;
        }
    }
    assert!(needs.is_empty(), "there is a circle among {needs:#?}");
}

#[test]
fn the_domain_is_pure() {
    let impure = [
        "tokio",
        "redis",
        "tracing",
        "now()",
        "new_v7",
        "SystemTime",
        "std::fs",
    ];
    for (path, text) in sources("src/domain") {
        for word in impure {
            let named = code(&text).find(|line| line.contains(word));
            assert_eq!(named, None, "{} says {word}", path.display());
        }
    }
}

#[test]
fn only_the_store_talks_to_redis() {
    for (path, text) in sources("src") {
        if !path.starts_with("src/store") {
            let named = code(&text).find(|line| line.contains("redis::"));
            assert_eq!(named, None, "{}", path.display());
        }
    }
}

#[test]
fn names_of_keys_are_built_in_one_file() {
    for (path, text) in sources("src") {
        if path.ends_with("store/keys.rs") {
            continue;
        }
        for prefix in [
            "\"message:",
            "\"stream:",
            "\"session:",
            "\"user:",
            "\"content:",
        ] {
            let named = code(&text).find(|line| line.contains(prefix));
            assert_eq!(named, None, "{} builds a key", path.display());
        }
    }
}

#[test]
fn files_do_one_job() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = ["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME"];
    for (path, text) in sources("src") {
        for word in unfinished {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}
