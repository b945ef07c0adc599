//! The layers settings come from, merged: built-in defaults, file, environment, command line; each value keeps its origin.
//! It knows no key and judges no value.

use super::Problem;
use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use std::path::Path;

/// The built-in settings: the reference and the default at once.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

pub const ORIGIN_DEFAULT: &str = "default";
pub const ORIGIN_COMMAND_LINE: &str = "command line";
/// Before the variable's name.
pub const ORIGIN_ENVIRONMENT: &str = "environment";
pub const ENVIRONMENT_PREFIX: &str = "LITEFERRY__";

/// Sections whose keys are names from the databases; the environment has no letter case to tell those.
const NAMED_BY_DATABASE: [&str; 2] = ["sequences", "types.column"];

/// One layer, parsed. Its values carry their origin.
#[derive(Clone, Debug, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// A layer that cannot be read is a problem of its own and takes no part; the others are merged all the same, so that one run
/// shows every problem.
pub fn merged(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    sets: &[(String, String)],
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let mut layers = vec![parsed(DEFAULTS, ORIGIN_DEFAULT)];
    layers.extend(file.map(read_file));
    layers.extend(env.filter_map(|(name, value)| match name.strip_prefix(ENVIRONMENT_PREFIX) {
        Some(keys) => Some(from_environment(&name, &keys.to_ascii_lowercase(), value)),
        None => misspelt(&name).map(Err),
    }));
    layers.extend(sets.iter().map(|(key, value)| from_command_line(key, value)));

    let mut builder = Config::builder();
    for layer in layers {
        match layer {
            Ok(layer) => builder = builder.add_source(layer),
            Err(problem) => problems.push(problem),
        }
    }
    match builder.build().map(|config| config.cache.kind) {
        Ok(ValueKind::Table(table)) => table,
        _ => unreachable!("layers are tables, and merging tables gives a table"),
    }
}

fn read_file(path: &Path) -> Result<Layer, Problem> {
    let origin = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parsed(&text, &origin),
        Err(error) => Err(Problem::new("--config", format!("cannot be read: {error}"), &origin)),
    }
}

fn parsed(toml: &str, origin: &str) -> Result<Layer, Problem> {
    match File::from_str(toml, FileFormat::Toml).collect() {
        Ok(table) => Ok(Layer(table.into_iter().map(|(key, value)| (key, placed(value, origin))).collect())),
        Err(error) => {
            Err(Problem::new("--config", format!("is not TOML: {}", without_excerpt(&error)), origin))
        }
    }
}

/// The parser's message shows the line it stumbled over, which may hold a password: its first and last lines say enough.
fn without_excerpt(error: &ConfigError) -> String {
    let message = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let lines: Vec<&str> =
        message.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
    lines.join(": ")
}

/// A variable that was meant for us, by a section's name: it would be passed over, and another value hold.
fn misspelt(name: &str) -> Option<Problem> {
    let meant = name.strip_prefix("LITEFERRY_")?.to_ascii_lowercase();
    let sections = parsed(DEFAULTS, ORIGIN_DEFAULT).ok()?.0;
    let section = meant.split('_').next().filter(|word| sections.contains_key(*word))?;
    let text = "must be LITEFERRY__SECTION__KEY, with two underscores before each";
    Some(Problem::new(section, text, &format!("{ORIGIN_ENVIRONMENT} {name}")))
}

/// `name` is the variable's own, for the origin; `keys` what follows the prefix, in lower case.
fn from_environment(name: &str, keys: &str, value: String) -> Result<Layer, Problem> {
    let origin = format!("{ORIGIN_ENVIRONMENT} {name}");
    let path: Vec<&str> = keys.split("__").collect();
    let dotted = path.join(".");
    if NAMED_BY_DATABASE.iter().any(|section| dotted.starts_with(&format!("{section}."))) {
        let text =
            "names of tables, columns and sequences cannot be told in the environment: use the file or --set";
        return Err(Problem::new(dotted, text, &origin));
    }
    if path.iter().any(|key| key.is_empty()) {
        return Err(Problem::new(dotted, "must be LITEFERRY__SECTION__KEY", &origin));
    }
    let leaf = Value::new(Some(&origin), value);
    let nested = path[1..].iter().rev().fold(leaf, |inner, key| nest(key, inner, &origin));
    Ok(Layer(Map::from([(path[0].to_owned(), nested)])))
}

/// The key is read by the rules of TOML, so that `types.column."orders.placed_at".tz` names what it names in a file.
fn from_command_line(key: &str, value: &str) -> Result<Layer, Problem> {
    let unreadable = || Problem::new(key, "is not a key: write section.key", ORIGIN_COMMAND_LINE);
    let mut layer = match File::from_str(&format!("{key} = ''"), FileFormat::Toml).collect() {
        Ok(table) => table,
        Err(_) => return Err(unreadable()),
    };
    replace_leaf(&mut layer, value).ok_or_else(unreadable)?;
    Ok(Layer(layer.into_iter().map(|(key, value)| (key, placed(value, ORIGIN_COMMAND_LINE))).collect()))
}

/// `None` where the text held anything but one key.
fn replace_leaf(table: &mut Map<String, Value>, text: &str) -> Option<()> {
    let only = if table.len() == 1 { table.values_mut().next()? } else { return None };
    match &mut only.kind {
        ValueKind::Table(inner) => replace_leaf(inner, text),
        ValueKind::String(empty) if empty.is_empty() => {
            text.clone_into(empty);
            Some(())
        }
        _ => None,
    }
}

fn nest(key: &str, inner: Value, origin: &str) -> Value {
    Value::new(Some(&origin.to_owned()), Map::from([(key.to_owned(), inner)]))
}

fn placed(value: Value, origin: &str) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => ValueKind::Table(
            table.into_iter().map(|(key, inner)| (key, placed(inner, origin))).collect::<Map<_, _>>(),
        ),
        ValueKind::Array(items) => {
            ValueKind::Array(items.into_iter().map(|inner| placed(inner, origin)).collect())
        }
        kind => kind,
    };
    Value::new(Some(&origin.to_owned()), kind)
}
