//! What a migration began with, and what the settings have come to say since.
//!
//! It goes on in the mode that it began in, whatever the settings say by now: what `create` mode drops and makes is, in `existing` mode,
//! the application's own. A setting that has no effect any more is told of by name.

use super::prepare::Request;
use crate::journal::store::{Migration, Store};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::phase::Phase;
use crate::plan::Mode;
use crate::plan::overrides::{ExistingRows, Letters, Overrides};
use crate::plan::route::Route;
use crate::postgres::connect::pool_of_one;
use std::collections::{BTreeMap, BTreeSet};

/// Settings by their keys.
pub type Terms = BTreeMap<String, String>;

const MODE: &str = "target.mode";
const EXISTING_ROWS: &str = "target.existing_rows";
const NAMES: &str = "target.names";
const COLUMN: &str = "types.column";
const NO_FOREIGN_KEY: &str = "tables.no_foreign_key";

/// A migration that is under way, and what it began with.
pub struct Begun {
    mode: Mode,
    phase: Phase,
    /// Nothing of one that an earlier version began.
    terms: Option<Terms>,
    /// Tables of the source.
    followed: Vec<String>,
    /// What each of their columns became, in the settings' words: what was stated before it came has had its effect.
    columns: Terms,
}

/// What decides the plan, and nothing afterwards.
pub fn terms(request: &Request) -> Terms {
    let overrides = &request.overrides;
    let Overrides { json, numeric, int_width, source_tz, unit, columns, .. } = overrides;
    let Overrides { existing_rows, letters, no_foreign_key, .. } = overrides;
    let mut terms: Terms = [
        (MODE, request.mode.word().to_owned()),
        (EXISTING_ROWS, existing_rows.word().to_owned()),
        (NAMES, letters.word().to_owned()),
        (NO_FOREIGN_KEY, no_foreign_key.join(SEPARATOR)),
        ("types.json", word(json)),
        ("types.numeric", word(numeric)),
        ("types.int_width", word(int_width)),
        ("types.source_tz", source_tz.to_string()),
        ("types.units", unit.map(|unit| unit.to_string()).unwrap_or_default()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    for (name, stated) in columns {
        let form = stated.form.as_ref().map(ToString::to_string);
        let zone = stated.zone.map(|zone| zone.to_string());
        for (key, value) in [("type", stated.type_sql.clone()), ("form", form), ("tz", zone)] {
            terms.extend(value.map(|value| (column_key(name, key), value)));
        }
    }
    terms
}

/// Between patterns, none of which holds it.
const SEPARATOR: &str = ", ";

/// As the settings spell them.
fn word(choice: impl std::fmt::Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

/// The migration of this source that the target holds, where it is one that follows.
pub async fn under_way(request: &Request) -> Result<Option<Begun>, Fault> {
    let store = Store::new(pool_of_one(&request.address).await?);
    if !store.exists().await? {
        return Ok(None);
    }
    match store.find(&request.schema).await? {
        Some(migration) if migration.source_path == request.source_path() => begun(&store, &migration).await,
        Some(_) | None => Ok(None),
    }
}

/// Nothing of a one-shot copy.
pub async fn begun(store: &Store, migration: &Migration) -> Result<Option<Begun>, Fault> {
    let Some(follow) = store.follow(migration.id).await? else { return Ok(None) };
    let followed = store.captured(migration.id).await?.into_values().collect();
    let terms = store.terms(migration.id).await?;
    let routes = store.routes(migration.id).await?;
    let columns = routes.iter().flat_map(|(route, _)| became(route)).collect();
    Ok(Some(Begun { mode: migration.mode, phase: follow.phase, terms, followed, columns }))
}

fn became(route: &Route) -> impl Iterator<Item = (String, String)> {
    route.columns.iter().flat_map(|column| {
        let name = column.source.as_ref().map(|name| format!("{}.{name}", route.source));
        let codec = &column.codec;
        let are = [
            ("type", column.type_sql.clone()),
            ("form", codec.form.to_string()),
            ("tz", codec.zone.to_string()),
        ];
        name.into_iter().flat_map(move |name| are.clone().map(|(key, value)| (column_key(&name, key), value)))
    })
}

fn column_key(name: &str, key: &str) -> String {
    format!("{COLUMN}.\"{name}\".{key}")
}

/// The request as the migration carries it out.
pub async fn as_begun(request: &Request, store: &Store, known: Option<&Migration>) -> Result<Request, Fault> {
    let begun = match known {
        Some(migration) => begun(store, migration).await?,
        None => None,
    };
    Ok(begun.map_or_else(|| request.clone(), |begun| begun.holds(request)))
}

impl Begun {
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The request as the migration carries it out.
    #[must_use]
    pub fn holds(&self, request: &Request) -> Request {
        let mut held = Request { mode: self.mode, ..request.clone() };
        held.overrides.existing_rows = self.existing_rows(request.overrides.existing_rows);
        held.overrides.letters = self.letters();
        held.overrides.followed = self.followed.iter().cloned().collect();
        held
    }

    /// What is not stated began before there was a choice.
    fn letters(&self) -> Letters {
        let stated = self.terms.as_ref().and_then(|terms| Letters::from_word(terms.get(NAMES)?));
        stated.unwrap_or_default()
    }

    /// Whether the target's other rows count as differences is decided once. Between the others it is chosen for tables that come later.
    fn existing_rows(&self, now: ExistingRows) -> ExistingRows {
        let began = self.terms.as_ref().and_then(|terms| ExistingRows::from_word(terms.get(EXISTING_ROWS)?));
        match (began, now) {
            (Some(ExistingRows::Merge), _) => ExistingRows::Merge,
            (Some(began), ExistingRows::Merge) => began,
            (Some(_) | None, now) => now,
        }
    }

    /// The settings that have no effect on what is followed, each by its key.
    pub fn without_effect(&self, request: &Request) -> Vec<Finding> {
        let now = terms(request);
        let mut began = self.terms.clone().unwrap_or_else(|| now.clone());
        began.insert(MODE.to_owned(), self.mode.word().to_owned());
        began.insert(NAMES.to_owned(), self.letters().word().to_owned());
        let keys: BTreeSet<&String> = began.keys().chain(now.keys()).collect();
        let changed = keys.into_iter().filter(|key| began.get(*key) != now.get(*key));
        let rows = request.overrides.existing_rows;
        let holds = self.existing_rows(rows) == rows;
        let mut findings: Vec<Finding> = changed
            .filter(|key| *key != EXISTING_ROWS || !holds)
            .filter(|key| *key != NO_FOREIGN_KEY || self.lacks_keys(&request.overrides))
            .filter(|key| !key.starts_with(COLUMN) || self.is_another(key, now.get(*key)))
            .map(|key| self.finding(key, told(key, (began.get(key), now.get(key)))))
            .collect();
        let left_out = |table: &&String| !request.overrides.includes(table);
        let left_out: Vec<&str> = self.followed.iter().filter(left_out).map(String::as_str).collect();
        if !left_out.is_empty() {
            let text = format!("followed since the migration began, and so still: {}", left_out.join(", "));
            findings.push(self.finding("tables", text));
        }
        let columns: Vec<&str> =
            request.overrides.exclude.iter().filter(|name| self.rests(name)).map(String::as_str).collect();
        if !columns.is_empty() {
            let text = format!("carried over until the writes are back in SQLite: {}", columns.join(", "));
            findings.push(self.finding("tables.exclude", text));
        }
        findings
    }

    /// Whether it names a column that is carried over by what was planned before the switch. Until then it is left out from the next start on.
    fn rests(&self, name: &str) -> bool {
        let key = column_key(name, "type");
        let is_carried = || self.columns.keys().any(|known| known.eq_ignore_ascii_case(&key));
        self.mode == Mode::Existing && self.phase == Phase::Switch && is_carried()
    }

    /// Whether a foreign key was left out that is not left out now. One that is left out since is asked for when the writes move.
    fn lacks_keys(&self, now: &Overrides) -> bool {
        let began = self.terms.as_ref().and_then(|terms| terms.get(NO_FOREIGN_KEY));
        let mut patterns = began.into_iter().flat_map(|began| began.split(SEPARATOR));
        let is_left_out =
            |pattern: &str| now.no_foreign_key.iter().any(|wider| Overrides::is_named(wider, pattern));
        patterns.any(|pattern| !pattern.is_empty() && !is_left_out(pattern))
    }

    /// Whether a column that is followed is something else than what is stated of it.
    fn is_another(&self, key: &str, stated: Option<&String>) -> bool {
        self.columns.get(key).is_some_and(|is| Some(is) != stated)
    }

    fn finding(&self, key: &str, text: String) -> Finding {
        let tables = match self.mode {
            Mode::Create => "the tables that it made",
            Mode::Existing => "the rows of the tables that it filled",
        };
        let remedy = match self.phase {
            Phase::Setup | Phase::Backfill | Phase::DualWrite | Phase::Validate => format!(
                "put it back as it was; or begin anew: stop the daemon, `liteferry detach`, remove schema liteferry and {tables} from \
                 PostgreSQL, `liteferry run`"
            ),
            Phase::Switch => {
                "put it back as it was; to begin anew, `liteferry rollback` comes first".to_owned()
            }
            Phase::Cleanup | Phase::Done => "put it back as it was".to_owned(),
        };
        let otherwise =
            if may_be_taken_up(key) { "nothing, if it is read by it then; otherwise " } else { "" };
        Finding::warning("setting_without_effect", key, text).with_remedy(format!("{otherwise}{remedy}"))
    }
}

/// Forms are learned anew of values that the ledger holds.
fn may_be_taken_up(key: &str) -> bool {
    key.starts_with(COLUMN) && key.ends_with(".form")
}

fn told(key: &str, (began, now): (Option<&String>, Option<&String>)) -> String {
    let spelt = |value: Option<&String>| match value.map_or("", String::as_str) {
        "" => "not set".to_owned(),
        value => format!("\"{value}\""),
    };
    let changed = format!("{} when the migration began, and {} now: ", spelt(began), spelt(now));
    let stays = match key {
        MODE | EXISTING_ROWS | NAMES => "it goes on as it began",
        NO_FOREIGN_KEY => {
            "the foreign keys that it left out are not made by the switch, but of tables that a migration of the application's changes; add \
             them afterwards"
        }
        key if may_be_taken_up(key) => {
            "a column that is followed is read by it within seconds where the ledger holds values that it reads (in a table of at most \
             100,000 rows), and else stays as it is; those that come later are made by it"
        }
        _ => "columns that are followed stay as they are, and those that come later are made by it",
    };
    changed + stays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_decided_once_and_the_rest_may_change() {
        use ExistingRows::{Merge, Refuse, Replace};
        let check = |began: Option<ExistingRows>, now: ExistingRows, expected: ExistingRows| {
            let terms = began.map(|began| Terms::from([(EXISTING_ROWS.to_owned(), began.word().to_owned())]));
            let begun = Begun {
                mode: Mode::Existing,
                phase: Phase::DualWrite,
                terms,
                followed: Vec::new(),
                columns: Terms::new(),
            };
            assert_eq!(begun.existing_rows(now), expected, "{began:?} {now:?}");
        };
        check(Some(Refuse), Merge, Refuse);
        check(Some(Replace), Merge, Replace);
        check(Some(Merge), Refuse, Merge);
        check(Some(Merge), Replace, Merge);
        check(Some(Refuse), Replace, Replace);
        check(Some(Replace), Refuse, Refuse);
        check(None, Merge, Merge);
    }
}
