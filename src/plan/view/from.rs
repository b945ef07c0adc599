//! FROM: tables, subqueries and joins, and the columns that they bring.

use super::Views;
use crate::model::name::{PG_NAME_BYTES_MAX, ident};
use crate::plan::expr::{Purpose, Scope, ScopeColumn, Translator};
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{
    As, Expr, FromClause, JoinConstraint, JoinOperator, JoinType, JoinedSelectTable, Operator, QualifiedName,
    SelectTable,
};

impl Views<'_> {
    /// ` from …` and the columns in the order of `*`.
    pub(super) fn from(&mut self, from: &FromClause<'_>) -> Result<(String, Scope), Refusal> {
        let (sql, columns) = self.joined(from)?;
        Ok((format!(" from {sql}"), Scope { columns }))
    }

    fn joined(&mut self, from: &FromClause<'_>) -> Result<(String, Vec<ScopeColumn>), Refusal> {
        let first = from.select.ok_or_else(|| Refusal::new("FROM", "it names no table"))?;
        let (mut sql, columns) = self.source(first)?;
        let mut scope = Scope { columns };
        for join in from.joins.iter().flatten() {
            let (table, columns) = self.source(&join.table)?;
            scope.columns.extend(columns);
            // A row may now stand there several times, or not at all beside its NULLs.
            scope.columns.iter_mut().for_each(|column| column.unique = false);
            sql.push_str(&join_sql(join, &table, &scope)?);
        }
        Ok((sql, scope.columns))
    }

    fn source(&mut self, source: &SelectTable<'_>) -> Result<(String, Vec<ScopeColumn>), Refusal> {
        match source {
            SelectTable::Table(name, alias, _) => self.table(name, alias.as_ref()),
            SelectTable::Select(select, alias) => {
                let selected = self.select(select, None)?;
                let alias = alias.as_ref().map(alias_of);
                let shown = alias.clone().unwrap_or_else(|| format!("subquery {}", self.next_subquery()));
                let columns = qualified(selected.columns, &shown, alias.as_deref().unwrap_or_default());
                Ok((format!("({}) as {}", selected.sql, named(&shown)?), columns))
            }
            SelectTable::Sub(from, None) => {
                let (sql, columns) = self.joined(from)?;
                Ok((format!("({sql})"), columns))
            }
            SelectTable::Sub(_, Some(_)) => Err(Refusal::new("a join with an alias", "it is not translated")),
            SelectTable::TableCall(..) => Err(Refusal::new(
                "a table-valued function",
                "no function of PostgreSQL is known to give the same rows",
            )),
        }
    }

    fn table(
        &self,
        name: &QualifiedName<'_>,
        alias: Option<&As<'_>>,
    ) -> Result<(String, Vec<ScopeColumn>), Refusal> {
        let table = parse::unquoted(name.name.0);
        let schema = name.db_name.as_ref().map(|schema| parse::unquoted(schema.0));
        if schema.as_ref().is_some_and(|schema| !schema.eq_ignore_ascii_case("main")) {
            return Err(Refusal::new(format!("table \"{table}\""), "it is of another database"));
        }
        let cte =
            self.ctes.iter().rev().find(|cte| schema.is_none() && cte.name.eq_ignore_ascii_case(&table));
        let (sql, columns) = match cte {
            Some(cte) => match &cte.columns {
                Some(columns) => (ident(&cte.name), columns.clone()),
                None => {
                    return Err(Refusal::new(
                        "a recursive WITH",
                        "the order of its rows decides what it gives",
                    ));
                }
            },
            None => {
                let found = self.tables.table(&table).ok_or_else(|| {
                    Refusal::new(
                        format!("the relation \"{table}\""),
                        "it is no table that is copied, and no view that is made",
                    )
                })?;
                (found.sql, found.columns)
            }
        };
        let alias = alias.map_or(table, alias_of);
        let columns = qualified(columns, &alias, &alias);
        Ok((format!("{sql} as {}", named(&alias)?), columns))
    }

    fn next_subquery(&mut self) -> usize {
        self.subqueries += 1;
        self.subqueries
    }
}

fn join_sql(join: &JoinedSelectTable<'_>, table: &str, scope: &Scope) -> Result<String, Refusal> {
    let kind = match join.operator {
        JoinOperator::Comma | JoinOperator::TypedJoin(None) => JoinType::INNER,
        JoinOperator::TypedJoin(Some(kind)) => kind,
    };
    let condition = match &join.constraint {
        Some(JoinConstraint::On(condition)) => {
            Some(Translator::new(scope, Purpose::Query).condition(condition)?)
        }
        Some(JoinConstraint::Using(_)) => {
            return Err(Refusal::new(
                "JOIN … USING",
                "which side's column a name means is not resolved here; use ON",
            ));
        }
        None => None,
    };
    if kind.contains(JoinType::NATURAL) {
        return Err(Refusal::new(
            "NATURAL JOIN",
            "which side's column a name means is not resolved here; use ON",
        ));
    }
    let word = match (kind.contains(JoinType::LEFT), kind.contains(JoinType::RIGHT)) {
        (true, true) if is_equation(join, scope) => "full join",
        (true, true) => {
            return Err(Refusal::new(
                "FULL JOIN",
                "PostgreSQL joins so on nothing but columns that are equal",
            ));
        }
        (true, false) => "left join",
        (false, true) => "right join",
        // A comma binds as a JOIN does in SQLite, but more loosely in PostgreSQL.
        (false, false) if condition.is_none() => return Ok(format!(" cross join {table}")),
        (false, false) => "join",
    };
    Ok(format!(" {word} {table} on {}", condition.as_deref().unwrap_or("true")))
}

/// Whether the condition says of columns of two tables that they are equal, and nothing more.
fn is_equation(join: &JoinedSelectTable<'_>, scope: &Scope) -> bool {
    let Some(JoinConstraint::On(condition)) = &join.constraint else { return false };
    let translator = Translator::new(scope, Purpose::Query);
    let Expr::Binary(left, Operator::Equals, right) = parse::bare(condition) else { return false };
    match (translator.column(left), translator.column(right)) {
        (Some(left), Some(right)) => left.qualifier != right.qualifier,
        _ => false,
    }
}

fn alias_of(alias: &As<'_>) -> String {
    match alias {
        As::As(name) | As::Elided(name) => parse::unquoted(name.0),
    }
}

fn named(alias: &str) -> Result<String, Refusal> {
    if alias.is_empty() || alias.len() > PG_NAME_BYTES_MAX {
        return Err(Refusal::new(
            format!("the alias \"{alias}\""),
            "it is empty or longer than PostgreSQL's names",
        ));
    }
    Ok(ident(alias))
}

/// The columns under the name that PostgreSQL knows their source by, and the one that SQLite's text may use.
fn qualified(mut columns: Vec<ScopeColumn>, shown: &str, qualifier: &str) -> Vec<ScopeColumn> {
    for column in &mut columns {
        column.sql = format!("{}.{}", ident(shown), column.sql);
        column.qualifier = qualifier.to_owned();
    }
    columns
}
