//! What the target needs before the application may write to it: from which value each sequence goes on. Pure text over the catalog;
//! whoever runs it decides when.

use crate::model::catalog::{Catalog, Identity, PgSequence, PgTable};
use crate::model::name::{PgName, literal};
use crate::model::schema::SqliteSchema;
use crate::model::types::Type;
use crate::plan::feeder::{Numbered, feeder};
use crate::plan::numbers::{Heights, Numbers, Reached, Written};
use crate::plan::overrides::{Overrides, SequenceStart};
use crate::plan::route::{ColumnRoute, Route};

/// A sequence that must not issue a value again which either side has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub name: PgName,
    /// The column that it numbers; nothing where only the settings say how far it is.
    pub numbers: Option<Numbers>,
    /// The SQLite table whose own counter it goes on from.
    pub counter: Option<String>,
    /// By the settings: it never falls below this.
    pub floor: Option<i64>,
    max: i64,
}

/// Every sequence that fills a column of a followed table, and those that the settings name. What they name and nobody finds is among
/// them, for whoever asks how far it is to stumble over.
pub fn sequences<'r>(
    routes: impl IntoIterator<Item = &'r Route>,
    (schema, catalog): (&SqliteSchema, &Catalog),
    overrides: &Overrides,
) -> Vec<Sequence> {
    let routes: Vec<&Route> = routes.into_iter().collect();
    let mut found: Vec<Sequence> = Vec::new();
    for route in &routes {
        let Some(table) = catalog.tables.iter().find(|table| table.name == route.target) else { continue };
        found.extend(of_table(route, table, (schema, catalog), overrides));
    }
    for (setting, start) in &overrides.sequences {
        let is_named = |name: &PgName| name.name == *setting || name.to_string() == *setting;
        let sequence = catalog.sequences.iter().find(|sequence| is_named(&sequence.name));
        let whole = |numbers: Option<Numbers>, counter: Option<String>| Sequence {
            name: sequence
                .map_or_else(|| PgName::new(&catalog.schema, setting), |sequence| sequence.name.clone()),
            numbers,
            counter,
            floor: sequence.and_then(|sequence| overrides.sequence_floor(&sequence.name)),
            max: sequence.map_or(i64::MAX, |sequence| sequence.max),
        };
        match start {
            SequenceStart::At(_) if found.iter().any(|known| is_named(&known.name)) => {}
            SequenceStart::At(_) => found.push(whole(None, None)),
            // One that counts downwards is left alone.
            SequenceStart::After(_) if sequence.is_some_and(|sequence| sequence.increment < 0) => {}
            SequenceStart::After(columns) => {
                found.extend(columns.iter().map(|named| {
                    let (numbers, counter) = column_named(named, &routes, (schema, &catalog.schema));
                    whole(Some(numbers), counter)
                }));
            }
        }
    }
    found
}

/// What the settings say of sequences and means nothing: each by its name, with what there is not.
pub fn unmeant<'r>(
    routes: impl IntoIterator<Item = &'r Route>,
    catalog: &Catalog,
    overrides: &Overrides,
) -> Vec<(String, String)> {
    let carried: Vec<String> = routes
        .into_iter()
        .flat_map(|route| {
            let holds_numbers = |crossing: &&ColumnRoute| Written::in_type(&crossing.codec.ty).is_some();
            let columns =
                route.columns.iter().filter(holds_numbers).filter_map(|crossing| crossing.source.as_ref());
            columns.map(|column| format!("{}.{column}", route.source))
        })
        .collect();
    let mut found = Vec::new();
    for (setting, start) in &overrides.sequences {
        let is_named = |name: &PgName| name.name == *setting || name.to_string() == *setting;
        if !catalog.sequences.iter().any(|sequence| is_named(&sequence.name)) {
            found.push((setting.clone(), "the target has no sequence of this name".to_owned()));
        }
        let SequenceStart::After(columns) = start else { continue };
        for named in
            columns.iter().filter(|named| !carried.iter().any(|name| name.eq_ignore_ascii_case(named)))
        {
            let text = format!(
                "it is to go on after {named}, which is no column of numbers or of text that is carried over"
            );
            found.push((setting.clone(), text));
        }
    }
    found
}

/// A column of the target by its name in SQLite, and the table whose counter it goes on from.
fn column_named(
    named: &str,
    routes: &[&Route],
    (schema, target): (&SqliteSchema, &str),
) -> (Numbers, Option<String>) {
    for route in routes {
        for crossing in &route.columns {
            let Some(source) = &crossing.source else { continue };
            if format!("{}.{source}", route.source).eq_ignore_ascii_case(named) {
                let counter = counts(route, schema, &crossing.target).then(|| route.source.clone());
                return (Numbers::of(&route.target, &crossing.target, &crossing.codec.ty), counter);
            }
        }
    }
    let (table, column) = named.rsplit_once('.').unwrap_or((named, ""));
    (Numbers::of(&PgName::new(target, table), column, &Type::Int8), None)
}

/// Whether SQLite's own counter numbers the column.
fn counts(route: &Route, schema: &SqliteSchema, column: &str) -> bool {
    let Some(source) = schema.tables.iter().find(|source| source.name == route.source) else { return false };
    let Some(alias) = source.rowid_alias().map(|alias| &source.columns[alias].name) else { return false };
    let is_alias =
        |crossing: &ColumnRoute| crossing.target == column && crossing.source.as_ref() == Some(alias);
    source.autoincrement && route.columns.iter().any(is_alias)
}

/// What both sides have given out already.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'i> {
    /// SQLite's own, by table.
    pub counters: &'i [(String, i64)],
    /// Columns that were read beforehand. Those that are not among them are asked for.
    pub heights: &'i Heights,
}

impl Issued<'_> {
    fn height(self, numbers: &Numbers) -> Option<Reached> {
        self.heights.iter().find(|(known, _)| known == numbers).map(|(_, reached)| *reached)
    }
}

/// Columns whose largest number is found by reading all of their rows. While anybody waits there is no time for that. Only what is
/// carried over is seen on its way; what else fills a column gives its numbers by the sequence itself.
pub fn to_be_read<'n, 'r>(
    numbers: impl IntoIterator<Item = &'n Numbers>,
    routes: impl IntoIterator<Item = &'r Route>,
    catalog: &Catalog,
) -> Vec<Numbers> {
    let routes: Vec<&Route> = routes.into_iter().collect();
    let is_carried = |numbers: &Numbers| {
        let of_table = routes.iter().filter(|route| route.target == numbers.table);
        let mut columns = of_table.flat_map(|route| &route.columns);
        columns.any(|crossing| crossing.target == numbers.column && crossing.source.is_some())
    };
    let mut found: Vec<Numbers> = Vec::new();
    for numbers in numbers {
        if is_carried(numbers) && !is_ordered(numbers, catalog) && !found.contains(numbers) {
            found.push(numbers.clone());
        }
    }
    found
}

/// Whether an index has the largest number at its end.
fn is_ordered(numbers: &Numbers, catalog: &Catalog) -> bool {
    let indexes =
        catalog.tables.iter().filter(|table| table.name == numbers.table).flat_map(|table| &table.indexes);
    let mut leading = indexes.filter(|index| {
        let first = index.columns.as_ref().and_then(|columns| columns.first());
        index.valid
            && !index.partial
            && first == Some(&numbers.column)
            && index.definition.contains(" USING btree ")
    });
    numbers.written == Written::AsInteger && leading.next().is_some()
}

/// A sequence that nobody sets: it fills no column, or only a part of one, and the settings do not name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub name: PgName,
    pub suspect: Option<Suspect>,
}

/// The column whose next numbers a sequence looks to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// As the settings would name it.
    pub column: String,
    as_if_set: Sequence,
    /// The same, where it is a part of texts that may begin with something else.
    at_end: Option<Sequence>,
}

pub fn left_alone<'r>(
    routes: impl IntoIterator<Item = &'r Route>,
    (schema, catalog): (&SqliteSchema, &Catalog),
    overrides: &Overrides,
) -> Vec<Left> {
    let fills = |sequence: &PgSequence| {
        let mut columns = catalog.tables.iter().flat_map(|table| &table.columns);
        sequence.column.is_some() || columns.any(|column| column.sequence.as_ref() == Some(&sequence.name))
    };
    let is_set = |name: &PgName| {
        overrides.sequence_floor(name).is_some() || !overrides.sequence_columns(name).is_empty()
    };
    let routes: Vec<&Route> = routes.into_iter().collect();
    let tables: Vec<Numbered<'_>> =
        routes.iter().filter_map(|route| numbered(route, (schema, catalog))).collect();
    let suspect = |sequence: &PgSequence| {
        let feeder = match &sequence.part_of {
            _ if sequence.increment < 0 => None,
            Some(part_of) => holder(part_of, &routes),
            None => feeder(&sequence.name.name, &tables, &catalog.sequences)
                .filter(|(table, column)| is_free(&tables[*table], *column))
                .map(|(table, column)| format!("{}.{}", tables[table].name, tables[table].columns[column].0)),
        };
        let column = feeder?;
        let (numbers, counter) = column_named(&column, &routes, (schema, &catalog.schema));
        let (name, max) = (sequence.name.clone(), sequence.max);
        let at_end = numbers.at_end().filter(|_| sequence.part_of.is_some());
        let as_if_set = Sequence { name, numbers: Some(numbers), counter, floor: None, max };
        let at_end = at_end.map(|numbers| Sequence { numbers: Some(numbers), ..as_if_set.clone() });
        Some(Suspect { column, as_if_set, at_end })
    };
    let left = catalog.sequences.iter().filter(|sequence| !fills(sequence) && !is_set(&sequence.name));
    left.map(|sequence| Left { name: sequence.name.clone(), suspect: suspect(sequence) }).collect()
}

/// The column that holds the sequence's numbers as a part of its text, by its name in SQLite.
fn holder((table, column): &(PgName, String), routes: &[&Route]) -> Option<String> {
    let route = routes.iter().find(|route| route.target == *table)?;
    let crossing = route.columns.iter().find(|crossing| crossing.target == *column)?;
    Some(format!("{}.{}", route.source, crossing.source.as_ref()?))
}

fn numbered<'r>(
    route: &'r Route,
    (schema, catalog): (&'r SqliteSchema, &'r Catalog),
) -> Option<Numbered<'r>> {
    let table = catalog.tables.iter().find(|table| table.name == route.target)?;
    let source = schema.tables.iter().find(|source| source.name == route.source)?;
    let column = |name: &'r str| {
        let crossing = route.columns.iter().find(|crossing| crossing.source.as_deref() == Some(name));
        let target =
            crossing.and_then(|crossing| table.columns.iter().find(|column| column.name == crossing.target));
        (name, target)
    };
    Some(Numbered {
        name: &source.name,
        columns: source.columns.iter().map(|found| column(&found.name)).collect(),
        key: source.rowid_alias(),
    })
}

/// Whether no other sequence gives the column its numbers.
fn is_free(table: &Numbered<'_>, column: usize) -> bool {
    let (_, target) = table.columns[column];
    target.is_some_and(|target| target.sequence.is_none() && target.identity == Identity::No)
}

impl Suspect {
    pub fn numbers(&self) -> impl Iterator<Item = &Numbers> {
        [Some(&self.as_if_set), self.at_end.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|one| one.numbers.as_ref())
    }

    /// One row if the column has numbers that the sequence has yet to give.
    pub fn behind_sql(&self, issued: Issued<'_>) -> String {
        self.as_if_set.behind_sql(issued)
    }

    /// The same of numbers with something before them: how far they are.
    pub fn behind_at_end_sql(&self, issued: Issued<'_>) -> Option<String> {
        self.at_end.as_ref().map(|at_end| at_end.behind_sql(issued))
    }
}

fn of_table(
    route: &Route,
    table: &PgTable,
    (schema, catalog): (&SqliteSchema, &Catalog),
    overrides: &Overrides,
) -> Vec<Sequence> {
    let numbered = table.columns.iter().filter_map(|column| {
        let name = column.sequence.as_ref()?;
        // One that counts downwards is left alone, as it was told at setup.
        let sequence =
            catalog.sequences.iter().find(|sequence| sequence.name == *name && sequence.increment > 0)?;
        Some(Sequence {
            name: name.clone(),
            numbers: Some(Numbers::of(&table.name, &column.name, &column.ty)),
            counter: counts(route, schema, &column.name).then(|| route.source.clone()),
            floor: overrides.sequence_floor(name),
            max: sequence.max,
        })
    });
    numbered.collect()
}

impl Sequence {
    fn behind_sql(&self, issued: Issued<'_>) -> String {
        let (reached, now) = (self.reached_sql(issued), self.name.sql());
        format!(
            "select v from ({reached}) as reached (v), {now} as now where v > now.last_value or v = now.last_value and not now.is_called"
        )
    }

    /// Moves it on, never back: what it stands at it has issued, or issues next.
    pub fn set_sql(&self, issued: Issued<'_>) -> String {
        format!(
            "select pg_catalog.setval({}::pg_catalog.regclass, least(v, {}), true) from ({}) as reached (v), {} as now where v >= now.last_value",
            literal(&self.name.sql()),
            self.max,
            self.reached_sql(issued),
            self.name.sql()
        )
    }

    /// One row if it has reached its last value: the next row would get no number.
    pub fn exhausted_sql(&self, issued: Issued<'_>) -> String {
        let reached = self.reached_sql(issued);
        format!("select 1 from ({reached}) as reached (v) where v >= {}", self.max)
    }

    /// Whether the column that it is to go on after has values, and none of them is a number.
    pub fn is_untold(&self, issued: Issued<'_>) -> bool {
        self.numbers.as_ref().and_then(|numbers| issued.height(numbers)).is_some_and(Reached::is_untold)
    }

    /// The largest value that was ever issued, as far as anybody knows.
    fn reached_sql(&self, issued: Issued<'_>) -> String {
        let counted = self.counter.as_ref().and_then(|table| {
            let of_table = issued.counters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(table));
            of_table.map(|(_, value)| *value).max()
        });
        let mut values = vec![last_sql(&self.name)];
        values.extend(self.numbers.iter().filter_map(|numbers| match issued.height(numbers) {
            Some(reached) => reached.largest.map(|largest| format!("({largest})")),
            None => Some(format!("({})", numbers.largest_sql())),
        }));
        values.extend([counted, self.floor].into_iter().flatten().map(|value| value.to_string()));
        format!("select greatest({})", values.join(", "))
    }
}

fn last_sql(sequence: &PgName) -> String {
    format!("pg_catalog.pg_sequence_last_value({}::pg_catalog.regclass)", literal(&sequence.sql()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_goes_on_after_everything_that_was_issued() {
        let mut sequence = Sequence {
            name: PgName::new("s", "it's_seq"),
            numbers: Some(Numbers::of(&PgName::new("s", "t"), "id", &Type::Int8)),
            counter: Some("T".into()),
            floor: None,
            max: 99,
        };
        let counters = [("t".to_owned(), 41), ("other".to_owned(), 77)];
        let issued = Issued { counters: &counters, heights: &[] };
        assert_eq!(
            sequence.set_sql(issued),
            "select pg_catalog.setval('\"s\".\"it''s_seq\"'::pg_catalog.regclass, least(v, 99), true) from (select \
             greatest(pg_catalog.pg_sequence_last_value('\"s\".\"it''s_seq\"'::pg_catalog.regclass), \
             (select max(\"id\")::bigint from \"s\".\"t\"), 41)) as reached (v), \"s\".\"it's_seq\" as now where v >= now.last_value"
        );
        sequence.counter = None;
        sequence.floor = Some(50);
        assert!(sequence.set_sql(issued).contains("\"s\".\"t\"), 50))"));

        // What was read beforehand is not read again while the application waits.
        let reached = Reached { largest: Some(-7), has_others: true };
        let heights = [(sequence.numbers.clone().unwrap(), reached)];
        let issued = Issued { counters: &counters, heights: &heights };
        assert!(sequence.set_sql(issued).contains("::pg_catalog.regclass), (-7), 50))"));
        assert!(!sequence.is_untold(issued));
    }
}
