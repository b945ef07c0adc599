//! Checks on one source file each. Text in, complaints out; nothing is read from disk.

use crate::lex::{closing, code_only, line_of, production, words};

/// Which modules each module may use. An edge that is not here is against the law of layers.
pub const LAYERS: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("crash", &[]),
    ("canon", &["model"]),
    ("diff", &["model", "canon"]),
    ("plan", &["model", "canon", "diff"]),
    ("phase", &["model"]),
    ("link", &["model", "canon", "plan", "diff", "phase"]),
    ("sqlite", &["model", "canon", "plan", "diff", "phase", "link"]),
    ("postgres", &["model", "canon", "plan", "diff", "phase", "link"]),
    ("journal", &["model", "canon", "plan", "diff", "phase", "link", "postgres"]),
    ("flow", &["model", "crash", "canon", "plan", "diff", "phase", "link"]),
    ("settings", &["model", "canon", "plan"]),
    ("telemetry", &["model", "phase", "settings"]),
    ("engine", &ENGINE),
    ("http", &["model", "phase", "settings", "telemetry", "engine"]),
    ("cli", &EVERYTHING),
    ("main", &EVERYTHING),
];

const ENGINE: [&str; 13] = [
    "model",
    "crash",
    "canon",
    "plan",
    "diff",
    "phase",
    "link",
    "sqlite",
    "postgres",
    "journal",
    "flow",
    "settings",
    "telemetry",
];

const EVERYTHING: [&str; 15] = [
    "model",
    "canon",
    "plan",
    "diff",
    "phase",
    "link",
    "sqlite",
    "postgres",
    "journal",
    "flow",
    "settings",
    "telemetry",
    "engine",
    "http",
    "cli",
];

/// Modules that compute and nothing else, and what would let them do more.
const PURE: [&str; 5] = ["model", "canon", "plan", "diff", "phase"];
const IMPURE: [&str; 7] = ["std::fs", "std::process", "std::env", "tokio", "serde", "rusqlite", "sqlx"];
const IMPURE_NAMES: [&str; 5] = ["Instant", "SystemTime", "TcpStream", "UdpSocket", "UnixStream"];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const PARAMETERS_MAX: usize = 5;

/// `path` is relative to `src`.
pub fn layers(path: &str, source: &str) -> Vec<String> {
    let code = code_only(production(source));
    let module = module_of(path);
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{path}: the module `{module}` has no layer; give it one in tests/tidy/code.rs"
        )];
    };
    let mut complaints = Vec::new();
    for used in modules_used(path, &code) {
        if used != module && !allowed.contains(&used.as_str()) {
            complaints.push(format!("{path}: `{module}` must not use `{used}`"));
        }
    }
    if PURE.contains(&module) {
        let paths = IMPURE.into_iter().filter(|path| names_path(&code, path));
        let names = IMPURE_NAMES.into_iter().filter(|name| words(&code).any(|(_, word)| word == *name));
        complaints.extend(
            paths.chain(names).map(|used| format!("{path}: `{module}` is pure and must not use `{used}`")),
        );
    }
    complaints
}

pub fn header(path: &str, source: &str) -> Vec<String> {
    if source.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{path}: starts without a `//!` that says what it is for")]
}

/// A bool that chooses behaviour is refused; one that is a cell's value is called `truth`.
pub fn sizes(path: &str, source: &str) -> Vec<String> {
    let code = code_only(production(source));
    let lines = code.lines().count();
    let mut complaints = Vec::new();
    if lines >= FILE_LINES_MAX {
        complaints.push(format!("{path}: {lines} lines before its tests"));
    }
    for function in functions(&code) {
        let Function { name, line, lines, parameters } = function;
        if lines >= FUNCTION_LINES_MAX {
            complaints.push(format!("{path}:{line}: fn {name} has {lines} lines"));
        }
        let named: Vec<_> = parameters.iter().filter(|parameter| !is_receiver(parameter)).collect();
        if named.len() > PARAMETERS_MAX {
            complaints.push(format!("{path}:{line}: fn {name} has {} parameters", named.len()));
        }
        if named.iter().any(|parameter| parameter.ends_with(": bool") && *parameter != "truth: bool") {
            complaints
                .push(format!("{path}:{line}: fn {name} takes a bool; two functions or an enum say more"));
        }
    }
    complaints
}

pub fn names(path: &str, source: &str) -> Vec<String> {
    let code = code_only(source);
    let named = words(&code).zip(words(&code).skip(1)).filter_map(|((_, keyword), (at, name))| {
        ["fn", "mod", "struct", "enum", "trait", "type"].contains(&keyword).then_some((at, name))
    });
    let mut complaints: Vec<String> = named
        .filter(|(_, name)| is_empty_name(name))
        .map(|(at, name)| format!("{path}:{}: the name `{name}` says nothing", line_of(&code, at)))
        .collect();
    let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    complaints.extend(
        parts.filter(|part| is_empty_name(part)).map(|part| format!("{path}: `{part}` says nothing")),
    );
    complaints
}

/// Marks of work that is not done, anywhere in the file.
pub fn unfinished(path: &str, source: &str) -> Vec<String> {
    let marks = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ig", "nore"),
        concat!("allow(dead", "_code)"),
        concat!("allow(un", "used"),
    ];
    let found = |mark: &&str| source.find(*mark).map(|at| format!("{path}:{}: {mark}", line_of(source, at)));
    marks.iter().filter_map(found).collect()
}

/// `unwrap` says nothing when it fails; `expect` states the invariant.
pub fn unwraps(path: &str, source: &str) -> Vec<String> {
    let code = code_only(production(source));
    let places = code.match_indices(".unwrap()");
    places.map(|(at, _)| format!("{path}:{}: unwrap outside tests", line_of(&code, at))).collect()
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
    parameters: Vec<String>,
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let pairs = words(code).zip(words(code).skip(1));
    pairs
        .filter(|((_, keyword), _)| *keyword == "fn")
        .filter_map(|(_, (at, name))| function(code, at, name))
        .collect()
}

fn function<'a>(code: &'a str, at: usize, name: &'a str) -> Option<Function<'a>> {
    let open = parameters_open(code, at + name.len())?;
    let close = closing(code, open)?;
    let body = close + code[close..].find(['{', ';'])?;
    let end = if code[body..].starts_with('{') { closing(code, body)? } else { body };
    let line = line_of(code, at);
    let parameters = split_parameters(&code[open + 1..close - 1]);
    Some(Function { name, line, lines: line_of(code, end) - line + 1, parameters })
}

/// The parenthesis that opens the parameters, past the generics; `None` for a type such as `fn(u8)`.
fn parameters_open(code: &str, after_name: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut before = ' ';
    for (at, next) in code[after_name..].char_indices() {
        match next {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.checked_sub(1)?,
            '(' if depth == 0 => return Some(after_name + at),
            c if depth == 0 && !c.is_whitespace() => return None,
            _ => {}
        }
        before = next;
    }
    None
}

fn split_parameters(text: &str) -> Vec<String> {
    let (mut depth, mut before, mut parameters) = (0i32, ' ', vec![String::new()]);
    for next in text.chars() {
        match next {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        match next {
            ',' if depth == 0 => parameters.push(String::new()),
            _ => parameters.last_mut().expect("there is always one").push(next),
        }
        before = next;
    }
    let trimmed = parameters.iter().map(|parameter| parameter.trim().to_owned());
    trimmed.filter(|parameter| !parameter.is_empty()).collect()
}

fn is_receiver(parameter: &str) -> bool {
    let bare = parameter.split(':').next().unwrap_or_default();
    bare.split([' ', '&']).next_back() == Some("self")
}

fn is_empty_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["utils", "util", "helpers", "helper", "common", "misc"].contains(&lower.as_str())
        || lower.contains("manager")
        || lower.starts_with("handle_")
}

fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Modules of the crate that the file names, by `crate::`, by `liteferry::` in the binary, or by enough `super::`.
fn modules_used(path: &str, code: &str) -> Vec<String> {
    let mut roots: Vec<String> = vec!["crate::".into(), "liteferry::".into()];
    let depth = path.split('/').filter(|part| *part != "mod.rs").count();
    roots.push("super::".repeat(depth));
    let mut used = Vec::new();
    for root in roots {
        for (at, _) in code.match_indices(&root) {
            let inside_a_word = code[..at].ends_with(|c: char| c == '_' || c == ':' || c.is_alphanumeric());
            if !inside_a_word {
                used.extend(first_segments(code, at + root.len()));
            }
        }
    }
    used.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    used.sort();
    used.dedup();
    used
}

/// `a::b` gives a; `{a::b, c}` gives a and c.
fn first_segments(code: &str, at: usize) -> Vec<String> {
    let segment = |text: &str| words(text).next().map(|(_, word)| word.to_owned());
    let rest = &code[at..];
    if !rest.starts_with('{') {
        return segment(rest).into_iter().collect();
    }
    let Some(end) = closing(code, at) else { return Vec::new() };
    split_parameters(&code[at + 1..end - 1]).iter().filter_map(|path| segment(path)).collect()
}

/// Whether the code goes into `path`, as `path::…` or as `use path;`.
fn names_path(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + path.len()..]);
        let starts_here = !before.ends_with(|c: char| c == '_' || c == ':' || c.is_alphanumeric());
        starts_here && (after.starts_with("::") || (after.starts_with(';') && before.ends_with("use ")))
    })
}

#[test]
fn each_check_can_fail() {
    let long = format!("fn long() {{\n{}}}\n", "    a();\n".repeat(70));
    type Check = fn(&str, &str) -> Vec<String>;
    let cases: [(Check, &str, &str, usize); 23] = [
        (layers, "sqlite/scan.rs", "use crate::postgres::Copy;", 1),
        (layers, "sqlite/scan.rs", "use crate::{model::cell, postgres, flow::{x, y}};", 2),
        (layers, "model/mod.rs", "use super::plan::Plan;", 1),
        (layers, "model/cell.rs", "use super::name::PgName; use super::super::canon::Fit;", 1),
        (layers, "main.rs", "liteferry::cli::main()", 0),
        (layers, "flow/copy.rs", "// crate::sqlite\nlet x = \"crate::sqlite\"; mycrate::sqlite;", 0),
        (layers, "flow/copy.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\nuse crate::sqlite; }", 0),
        (layers, "novelty.rs", "", 1),
        (
            layers,
            "plan/mod.rs",
            "use std::fs::File; use tokio::spawn; use std::time::{Duration, Instant};",
            3,
        ),
        (layers, "plan/mod.rs", "use std::net::Ipv4Addr; mod tokio_like; my::tokio::x();", 0),
        (header, "a.rs", "use std::fmt;", 1),
        (sizes, "a.rs", &long, 1),
        (sizes, "a.rs", "fn f<F: Fn(u8) -> bool>(&self, a: (u8, u8), b: F, c: [u8; 2], d: u8, e: u8) {}", 0),
        (sizes, "a.rs", "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8,) {}", 1),
        (sizes, "a.rs", "fn f(&mut self, deep: bool);", 1),
        (sizes, "a.rs", "fn f(g: fn(bool) -> u8, deep: Option<bool>) -> bool { \"}\" }", 0),
        (names, "helpers/a.rs", "", 1),
        (names, "a.rs", "struct TableManager; fn handle_row() {} let common = 1;", 2),
        (unfinished, "a.rs", concat!("// FIX", "ME later\nto", "do!()"), 2),
        (unwraps, "a.rs", "a.unwrap(); // .unwrap()\n", 1),
        (unwraps, "a.rs", "a.unwrap_or(1)\n#[cfg(test)]\nmod tests {\na.unwrap() }", 0),
        (sizes, "a.rs", &"\n".repeat(500), 1),
        (header, "a.rs", "//! What it is for.", 0),
    ];
    for (check, path, source, expected) in cases {
        let complaints = check(path, source);
        assert_eq!(complaints.len(), expected, "{path}: {source}\n{complaints:?}");
    }
}
