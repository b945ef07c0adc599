//! What the operator decides instead of us: tables, types, units, zones, and what becomes of rows already there.

use super::route::{Identity, Route};
use super::spelling;
use crate::canon::{Form, Reason, Zone};
use crate::model::name::PgName;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Table names, or patterns with `*`; empty includes everything.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Tables that are followed already, which no pattern leaves out any more.
    pub followed: BTreeSet<String>,
    /// Columns, `table.column`, or patterns with `*`, whose foreign keys the application does not keep to.
    pub no_foreign_key: Vec<String>,
    /// Of names in the target, `create` mode only.
    pub letters: Letters,
    pub json: JsonChoice,
    pub numeric: NumericChoice,
    pub int_width: IntWidth,
    /// The zone of naive times in the source.
    pub source_tz: Zone,
    /// Unit of bare integers in time columns, where the operator states one for all.
    pub unit: Option<crate::canon::form::Unit>,
    /// By `table.column`, names as in SQLite.
    pub columns: BTreeMap<String, ColumnOverride>,
    pub existing_rows: ExistingRows,
    /// What the ledger has for one of these, and the target keeps, nobody has to accept.
    pub accepted: Vec<Reason>,
    /// By sequence name.
    pub sequences: BTreeMap<String, SequenceStart>,
    /// Where the target has the type citext, as SQL names it; `create` mode only.
    pub citext_schema: Option<String>,
}

/// Where a sequence goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceStart {
    /// It never falls below this.
    At(i64),
    /// After the values of these columns, `table.column` by their names in SQLite.
    After(Vec<String>),
}

#[derive(Clone, Debug, Default)]
pub struct ColumnOverride {
    /// SQL spelling of the wanted target type, `create` mode only.
    pub type_sql: Option<String>,
    pub form: Option<Form>,
    pub zone: Option<Zone>,
}

/// The letters of a name in the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Letters {
    /// As the source has them: found by whoever quotes the name.
    #[default]
    Keep,
    /// Small ones, as PostgreSQL reads a name without quotes.
    Lower,
}

impl Letters {
    /// PostgreSQL folds the letters of ASCII alone; no two names of SQLite's differ by these.
    pub fn of(self, name: &str) -> String {
        match self {
            Letters::Keep => name.to_owned(),
            Letters::Lower => name.to_ascii_lowercase(),
        }
    }

    pub fn from_word(word: &str) -> Option<Letters> {
        [Letters::Keep, Letters::Lower].into_iter().find(|letters| letters.word() == word)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Letters::Keep => "keep",
            Letters::Lower => "lower",
        }
    }
}

/// What a column declared JSON becomes in `create` mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonChoice {
    Text,
    /// Keeps the text as it is, refuses what is not JSON.
    #[default]
    Json,
    Jsonb,
}

/// What a column of NUMERIC affinity becomes in `create` mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericChoice {
    #[default]
    Numeric,
    Float8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntWidth {
    /// Every integer column is bigint, as SQLite's are.
    #[default]
    Bigint,
    /// `smallint`, `int2`, `integer`, `int4` as declared, where every value fits.
    Declared,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingRows {
    /// A target table with rows blocks the migration.
    #[default]
    Refuse,
    /// The rows of mapped tables are removed first.
    Replace,
    /// Source rows overwrite those with the same key; others stay.
    Merge,
}

impl ExistingRows {
    /// Whether this table's rows overwrite those with the same key. A table without a key is merged only while it is empty.
    pub fn merges(self, route: &Route) -> bool {
        match self {
            ExistingRows::Refuse | ExistingRows::Replace => false,
            ExistingRows::Merge => matches!(route.identity, Identity::Columns(_)),
        }
    }

    pub fn from_word(word: &str) -> Option<ExistingRows> {
        let all = [ExistingRows::Refuse, ExistingRows::Replace, ExistingRows::Merge];
        all.into_iter().find(|rows| rows.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            ExistingRows::Refuse => "refuse",
            ExistingRows::Replace => "replace",
            ExistingRows::Merge => "merge",
        }
    }
}

impl Overrides {
    pub fn column(&self, table: &str, column: &str) -> Option<&ColumnOverride> {
        self.columns.get(&format!("{table}.{column}"))
    }

    /// The same, with the type and the form of every column that these routes carry stated as they are.
    #[must_use]
    pub fn as_it_stands<'r>(&self, routes: impl IntoIterator<Item = &'r Route>) -> Overrides {
        let mut stated = self.clone();
        for route in routes {
            for column in &route.columns {
                let Some(name) = &column.source else { continue };
                let codec = &column.codec;
                let own = ColumnOverride {
                    type_sql: Some(spelling::spelled(&codec.ty)),
                    form: Some(codec.form),
                    zone: Some(codec.zone),
                };
                stated.columns.insert(format!("{}.{name}", route.source), own);
            }
        }
        stated
    }

    /// What is said of a sequence, by its name with or without the schema.
    fn starts<'s>(&'s self, name: &PgName) -> impl Iterator<Item = &'s SequenceStart> {
        let (bare, whole) = (name.name.clone(), name.to_string());
        let named = move |setting: &String| *setting == bare || *setting == whole;
        self.sequences.iter().filter(move |(setting, _)| named(setting)).map(|(_, start)| start)
    }

    pub fn sequence_floor(&self, name: &PgName) -> Option<i64> {
        let floors = self.starts(name).filter_map(|start| match start {
            SequenceStart::At(floor) => Some(*floor),
            SequenceStart::After(_) => None,
        });
        floors.max()
    }

    /// The columns, as the settings name them, after whose values it goes on.
    pub fn sequence_columns(&self, name: &PgName) -> Vec<&str> {
        let columns = self.starts(name).filter_map(|start| match start {
            SequenceStart::At(_) => None,
            SequenceStart::After(columns) => Some(columns.iter().map(String::as_str)),
        });
        columns.flatten().collect()
    }

    pub fn includes(&self, table: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| Overrides::is_named(pattern, table));
        self.followed.contains(table)
            || (self.include.is_empty() || named(&self.include)) && !named(&self.exclude)
    }

    pub fn leaves_key_out(&self, table: &str, column: &str) -> bool {
        let name = format!("{table}.{column}");
        self.no_foreign_key.iter().any(|pattern| Overrides::is_named(pattern, &name))
    }

    /// Whether a pattern means the name: `*` stands for any run of characters; letters compare as SQLite compares names.
    pub fn is_named(pattern: &str, name: &str) -> bool {
        let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_tables() {
        for (pattern, name, expected) in [
            ("users", "Users", true),
            ("user", "users", false),
            ("django_*", "django_migrations", true),
            ("*_log", "audit_log", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("*", "", true),
        ] {
            assert_eq!(Overrides::is_named(pattern, name), expected, "{pattern} {name}");
        }
    }
}
