//! A foreign key as its statement says it, ours or the catalog's: which columns refer to which. Pure text.

use super::overrides::Overrides;
use super::route::{ColumnRoute, Route};
use crate::model::name::{PgName, ident};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<Table = PgName> {
    pub table: Table,
    pub columns: Vec<String>,
    pub parent: Table,
    pub parent_columns: Vec<String>,
    /// Of the columns, those in which the empty text is NULL in the target, and refers to nothing there.
    pub emptied: Vec<String>,
    pub nulls: Nulls,
}

/// What a row refers to that has NULL in some of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// To nothing, and may: MATCH SIMPLE.
    Any,
    /// It breaks the key, unless it has NULL in all of them: MATCH FULL.
    AllOrNone,
}

impl Reference {
    /// Of `alter table T add constraint N foreign key (…) references P (…) …`, whose tables bear their schemas. Nothing of any other
    /// statement.
    pub fn of(statement: &str) -> Option<Reference> {
        let (head, rest) = split_once_folded(statement, " foreign key ")?;
        let table = head.strip_prefix("alter table ")?;
        let (table, _) = split_once_folded(table, " add constraint ")?;
        let (columns, rest) = in_parentheses(rest)?;
        let (_, rest) = split_once_folded(rest, "references ")?;
        let open = outside_quotes(rest, '(')?;
        let parent = rest[..open].trim_end();
        let (parents, rest) = in_parentheses(&rest[open..])?;
        let is_full = rest.to_ascii_lowercase().starts_with(" match full");
        let names = |list| split(list, ',').into_iter().map(plain).collect::<Vec<String>>();
        let reference = Reference {
            table: pg_name(table)?,
            columns: names(columns),
            parent: pg_name(parent)?,
            parent_columns: names(parents),
            emptied: Vec::new(),
            nulls: if is_full { Nulls::AllOrNone } else { Nulls::Any },
        };
        (reference.columns.len() == reference.parent_columns.len()).then_some(reference)
    }

    pub fn orphans_sql(&self, limit: u32) -> String {
        self.orphans_between((&self.table.sql(), &self.parent.sql()), limit)
    }

    /// The same in SQLite's names, where all of it is followed.
    pub fn in_source(&self, routes: &[&Route]) -> Option<Reference<String>> {
        let followed = |name: &PgName| routes.iter().find(|route| route.target == *name);
        let (table, parent) = (followed(&self.table)?, followed(&self.parent)?);
        Some(Reference {
            table: table.source.clone(),
            columns: source_columns(table, &self.columns)?,
            parent: parent.source.clone(),
            parent_columns: source_columns(parent, &self.parent_columns)?,
            emptied: table.columns.iter().filter_map(emptied).collect(),
            nulls: self.nulls,
        })
    }
}

impl Reference<String> {
    pub fn orphans_sql(&self, limit: u32) -> String {
        let main = |table| format!("main.{}", ident(table));
        self.orphans_between((&main(&self.table), &main(&self.parent)), limit)
    }

    /// Whether the settings say that the application does not keep to it.
    pub fn is_left_out(&self, overrides: &Overrides) -> bool {
        self.columns.iter().any(|column| overrides.leaves_key_out(&self.table, column))
    }
}

impl<Table> Reference<Table> {
    fn filled(&self, column: &String) -> String {
        let name = ident(column);
        match self.emptied.contains(column) {
            true => format!("child.{name} <> ''"),
            false => format!("child.{name} is not null"),
        }
    }

    /// How many rows refer to nothing, at most `limit` counted. SQLite compares by the rules of what stands on the left.
    fn orphans_between(&self, (table, parent): (&str, &str), limit: u32) -> String {
        let columns = self.columns.iter().map(|column| ident(column));
        let filled: Vec<String> = self.columns.iter().map(|column| self.filled(column)).collect();
        let same: Vec<String> = columns
            .zip(&self.parent_columns)
            .map(|(column, parent)| format!("parent.{} = child.{column}", ident(parent)))
            .collect();
        let refers = match self.nulls {
            Nulls::Any => filled.join(" and "),
            Nulls::AllOrNone => format!("({})", filled.join(" or ")),
        };
        format!(
            "select count(*) from (select 1 from {table} as child where {refers} and not exists (select 1 from {parent} as parent where {}) \
             limit {limit}) as orphan",
            same.join(" and ")
        )
    }
}

/// The source's column, where its empty texts become NULLs.
fn emptied(column: &ColumnRoute) -> Option<String> {
    column.source.clone().filter(|_| !column.codec.nothing().is_null())
}

fn source_columns(route: &Route, columns: &[String]) -> Option<Vec<String>> {
    let source = |name: &String| {
        let crossing = route.columns.iter().find(|crossing| crossing.target == *name)?;
        crossing.source.clone()
    };
    columns.iter().map(source).collect()
}

fn pg_name(text: &str) -> Option<PgName> {
    match split(text, '.').as_slice() {
        [schema, name] => Some(PgName::new(plain(schema), plain(name))),
        _ => None,
    }
}

/// An identifier without its quotes.
fn plain(name: &str) -> String {
    let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    quoted.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\""))
}

fn split_once_folded<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.to_ascii_lowercase().find(separator)?;
        if text[..at].matches('"').count().is_multiple_of(2) {
            return Some((&text[..at], &text[at + separator.len()..]));
        }
        from = at + 1;
        while !text.is_char_boundary(from) {
            from += 1;
        }
    }
}

/// What stands in the parentheses that the text begins with, and what follows them.
fn in_parentheses(text: &str) -> Option<(&str, &str)> {
    let inside = text.trim_start().strip_prefix('(')?;
    let end = outside_quotes(inside, ')')?;
    Some((&inside[..end], &inside[end + 1..]))
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, letter)| {
        quoted ^= letter == '"';
        (letter == wanted && !quoted).then_some(at)
    })
}

fn split(mut text: &str, separator: char) -> Vec<&str> {
    let mut found = Vec::new();
    while let Some(at) = outside_quotes(text, separator) {
        found.push(text[..at].trim());
        text = &text[at + 1..];
    }
    found.push(text.trim());
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_statement() {
        let ours = r#"alter table "s"."a, (b)" add constraint "x foreign key (" foreign key ("p,1", "q") references "s"."p ("" (""id" ("id", "no)") on delete cascade"#;
        let reference = Reference::of(ours).unwrap();
        assert_eq!(reference.parent, PgName::new("s", "p (\" (\"id"));
        assert_eq!(
            reference.orphans_sql(9),
            r#"select count(*) from (select 1 from "s"."a, (b)" as child where child."p,1" is not null and child."q" is not null and not exists (select 1 from "s"."p ("" (""id" as parent where parent."id" = child."p,1" and parent."no)" = child."q") limit 9) as orphan"#
        );
        let catalog = r#"alter table "public"."t" add constraint "fk" FOREIGN KEY (p) REFERENCES other.p(id) ON DELETE CASCADE"#;
        assert_eq!(
            Reference::of(catalog).unwrap().orphans_sql(1),
            r#"select count(*) from (select 1 from "public"."t" as child where child."p" is not null and not exists (select 1 from "other"."p" as parent where parent."id" = child."p") limit 1) as orphan"#
        );
        let full = r#"alter table "s"."t" add constraint "c" FOREIGN KEY (a, b) REFERENCES s.p(a, b) MATCH FULL ON DELETE CASCADE"#;
        assert_eq!(
            Reference::of(full).unwrap().orphans_sql(1),
            r#"select count(*) from (select 1 from "s"."t" as child where (child."a" is not null or child."b" is not null) and not exists (select 1 from "s"."p" as parent where parent."a" = child."a" and parent."b" = child."b") limit 1) as orphan"#
        );
        for other in [
            r#"alter table "s"."t" add constraint "c" CHECK ((a > 1))"#,
            r#"alter table "s"."t" enable trigger "fk foreign key (a) references b (c)""#,
        ] {
            assert_eq!(Reference::of(other), None, "{other}");
        }
    }
}
