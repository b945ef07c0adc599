//! Checks that code and papers tell the same: settings, codes, the code map, links. Text in, complaints out.

use crate::lex::{line_of, production, without_comments};
use std::collections::BTreeSet;

/// Words that a public repository has no use for, by the parts they are put together from.
const STRAY: [[&str; 2]; 3] = [["/wo", "rk/"], [".lib", "rary/"], ["/tm", "p/h/"]];

pub fn stray_words(path: &str, text: &str) -> Vec<String> {
    let words = STRAY.iter().map(|parts| parts.concat());
    words
        .filter_map(|word| text.find(&word).map(|at| format!("{path}:{}: {word}", line_of(text, at))))
        .collect()
}

/// Every key of the default settings has a comment above it, and is read by the code, and the other way round.
pub fn settings(toml: &str, code: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut section, mut before, mut documented) = ("", "", BTreeSet::new());
    for line in toml.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')) {
            let key = format!("{section}.{key}");
            if !before.starts_with("# ") {
                complaints.push(format!("config/default.toml: {key} has no comment above it"));
            }
            documented.insert(key);
        }
        before = line;
    }
    let read: BTreeSet<String> = arguments(&without_comments(production(code)), ".take(").collect();
    complaints.extend(documented.difference(&read).map(|key| format!("{key} is documented and not read")));
    complaints.extend(read.difference(&documented).map(|key| format!("{key} is read and not documented")));
    complaints
}

/// Every setting that a remedy tells to set, as `[section] key`, is one.
pub fn remedies(path: &str, source: &str, toml: &str) -> Vec<String> {
    let code = without_comments(production(source));
    let (mut keys, mut section) = (BTreeSet::new(), "");
    for line in toml.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.split([']', '.']).next().unwrap_or_default();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert((section, key));
        }
    }
    let sections: BTreeSet<&str> = keys.iter().map(|(section, _)| *section).collect();
    let mut complaints = Vec::new();
    for (at, _) in code.match_indices('[') {
        let Some((named, rest)) = code[at + 1..].split_once("] ") else { continue };
        let section = named.split('.').next().unwrap_or_default();
        let key = rest
            .split(|letter: char| !letter.is_ascii_lowercase() && letter != '_')
            .next()
            .unwrap_or_default();
        if sections.contains(section) && !key.is_empty() && !keys.contains(&(section, key)) {
            complaints.push(format!("{path}:{}: there is no setting {section}.{key}", line_of(&code, at)));
        }
    }
    complaints
}

/// `openers` are what a code stands behind; `paper` describes each in a table row that starts with it.
pub fn codes(sources: &[(String, String)], openers: &[&str], (name, paper): (&str, &str)) -> Vec<String> {
    let described: BTreeSet<&str> =
        paper.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut used = BTreeSet::new();
    let mut all = String::new();
    for (_, source) in sources {
        let code = without_comments(production(source));
        used.extend(openers.iter().flat_map(|opener| arguments(&code, opener)));
        all.push_str(&code);
    }
    let missing = used.iter().filter(|code| !described.contains(code.as_str()));
    let mut complaints: Vec<String> =
        missing.map(|code| format!("{name} does not describe `{code}`")).collect();
    let stale = described.iter().filter(|code| !all.contains(&format!("\"{code}\"")));
    complaints.extend(stale.map(|code| format!("{name} describes `{code}`, which nothing uses")));
    complaints
}

/// Every module of the tree stands in the code map.
pub fn code_map(modules: &[String], architecture: &str) -> Vec<String> {
    let absent = modules.iter().filter(|module| !architecture.contains(&format!("`{module}`")));
    absent.map(|module| format!("ARCHITECTURE.md: the code map leaves out `{module}`")).collect()
}

pub fn length(name: &str, text: &str, lines_max: usize) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= lines_max { Vec::new() } else { vec![format!("{name}: {lines} lines, at most {lines_max}")] }
}

/// The targets of links that point into the repository.
pub fn links(text: &str) -> Vec<&str> {
    let targets = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

/// The string literal right behind each `opener`.
fn arguments<'a>(code: &'a str, opener: &'a str) -> impl Iterator<Item = String> + 'a {
    code.match_indices(opener).filter_map(move |(at, _)| {
        let rest = code[at + opener.len()..].trim_start().strip_prefix('"')?;
        Some(rest.split('"').next()?.to_owned())
    })
}

#[test]
fn each_check_can_fail() {
    assert_eq!(stray_words("a.md", &format!("see {}", STRAY[0].concat())).len(), 1);

    let toml = "[a]\n# Says why.\nb = 1\nc = 2\n#d = 3\n";
    assert!(settings(toml, "x.take(\"a.b\", f)").contains(&"a.c is documented and not read".to_owned()));
    assert_eq!(
        settings(toml, "x.take(\"a.b\"); x.take(\n\"a.c\"); // x.take(\"a.e\")").len(),
        1,
        "no comment"
    );
    assert!(settings("", "x.take(\"a.e\")").contains(&"a.e is read and not documented".to_owned()));

    let toml = "[a]\nb = 1\n#   [a.c.\"x.y\"]\n#   d = \"e\"  # Why.\n";
    let named = |text: &str| remedies("a.rs", text, toml).len();
    assert_eq!(named("\"[a] c = 1\""), 1);
    assert_eq!(named("\"[a.c.\\\"x\\\"] f = 1\""), 1);
    assert_eq!(named("\"[a] b = 1\"; \"[a.c.\\\"x\\\"] d\"; \"[a] \\\"x\\\" = 1\"; [z] c"), 0);

    let sources = [("a.rs".to_owned(), "Finding::note(\n    \"new_code\", x)".to_owned())];
    let papers = codes(&sources, &["Finding::note("], ("P", "| `old_code` | x |\n"));
    assert_eq!(papers, ["P does not describe `new_code`", "P describes `old_code`, which nothing uses"]);
    assert!(codes(&sources, &["Finding::note("], ("P", "| `new_code` | x |\n")).is_empty());

    assert_eq!(code_map(&["canon".into(), "plan".into()], "| `plan` | x |").len(), 1);
    assert_eq!(length("a", "1\n2\n3", 2).len(), 1);
    assert_eq!(links("[a](docs/A.md#b) [c](https://d) [e](#f)"), ["docs/A.md"]);
}
