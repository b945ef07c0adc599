//! Views: plain SELECTs, joins, groups and unions of what is whitelisted in expressions.
//!
//! A view is a convenience and its refusal a warning, so only what surely gives the same rows is translated. Names are resolved here
//! and `*` is written out: PostgreSQL never chooses a column.

mod compound;
mod from;
mod order;

use super::expr::{ExprType, Origin, Purpose, Scope, ScopeColumn, Term, Translator, groups_alike};
use super::parse::{self, Refusal};
use crate::canon::Form;
use crate::model::cell::{CellBuf, Class};
use crate::model::name::{PG_NAME_BYTES_MAX, folded, ident};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use sqlite3_parser::Bump;
use sqlite3_parser::ast::{As, Expr, OneSelect, ResultColumn, Select, With};

/// The tables and views that a view may read.
pub trait ViewTables {
    /// By its name in SQLite, ASCII letters in either case.
    fn table(&self, name: &str) -> Option<ViewTable>;
}

#[derive(Clone, Debug)]
pub struct ViewTable {
    /// The target table as SQL, with its schema.
    pub sql: String,
    /// In the order of SQLite's `*`. Qualifiers mean nothing here; `sql` is the bare quoted name.
    pub columns: Vec<ScopeColumn>,
}

/// A view in PostgreSQL.
#[derive(Clone, Debug)]
pub struct TranslatedView {
    /// What stands after `create view … as`.
    pub query: String,
    /// What it gives, as another view sees it.
    pub columns: Vec<ScopeColumn>,
}

/// From the text of SQLite's CREATE VIEW.
pub fn translate_view(sql: &str, tables: &dyn ViewTables) -> Result<TranslatedView, Refusal> {
    let arena = Bump::new();
    let view = parse::view(&arena, sql)?;
    let names: Option<Vec<String>> =
        view.columns.map(|columns| columns.iter().map(|column| parse::unquoted(column.col_name.0)).collect());
    let selected =
        Views { tables, ctes: Vec::new(), depth: 0, subqueries: 0 }.select(view.select, names.as_deref())?;
    Ok(TranslatedView { query: selected.sql, columns: selected.columns })
}

/// Selects within selects.
const DEPTH_MAX: usize = 16;

struct Views<'t> {
    tables: &'t dyn ViewTables,
    ctes: Vec<Cte>,
    depth: usize,
    /// Subqueries without an alias, which PostgreSQL wants named.
    subqueries: usize,
}

struct Cte {
    name: String,
    /// None while its own query and those before it are read.
    columns: Option<Vec<ScopeColumn>>,
}

struct Selected {
    sql: String,
    columns: Vec<ScopeColumn>,
}

/// One SELECT without ORDER BY and LIMIT.
struct Core {
    sql: String,
    scope: Scope,
    outputs: Vec<Output>,
    distinct: bool,
}

struct Output {
    term: Term,
    column: ScopeColumn,
}

impl Views<'_> {
    fn select(&mut self, select: &Select<'_>, names: Option<&[String]>) -> Result<Selected, Refusal> {
        if self.depth == DEPTH_MAX {
            return Err(Refusal::new("a very deep query", "it is nested deeper than is read here"));
        }
        self.depth += 1;
        let known = self.ctes.len();
        let with = select.with.as_ref().map_or(Ok(String::new()), |with| self.with(with))?;
        let body = self.body(&select.body, names)?;
        let order = order::clause(select.order_by.unwrap_or_default(), &body, select.limit)?;
        self.ctes.truncate(known);
        self.depth -= 1;
        let columns: Vec<ScopeColumn> = body.outputs.into_iter().map(|output| output.column).collect();
        distinct_names(&columns)?;
        Ok(Selected { sql: format!("{with}{}{order}", body.sql), columns })
    }

    fn with(&mut self, with: &With<'_>) -> Result<String, Refusal> {
        let first = self.ctes.len();
        self.ctes
            .extend(with.ctes.iter().map(|cte| Cte { name: parse::unquoted(cte.tbl_name.0), columns: None }));
        let mut parts = Vec::new();
        for (index, cte) in with.ctes.iter().enumerate() {
            let names: Option<Vec<String>> = cte
                .columns
                .map(|columns| columns.iter().map(|column| parse::unquoted(column.col_name.0)).collect());
            let selected = self.select(cte.select, names.as_deref())?;
            parts.push(format!("{} as ({})", ident(&self.ctes[first + index].name), selected.sql));
            self.ctes[first + index].columns = Some(selected.columns);
        }
        Ok(format!("with {} ", parts.join(", ")))
    }

    fn core(&mut self, select: &OneSelect<'_>, names: Option<&[String]>) -> Result<Core, Refusal> {
        let OneSelect::Select { distinctness, columns, from, where_clause, group_by, having, window_clause } =
            select
        else {
            return Err(Refusal::new("VALUES", "it is not translated in a view"));
        };
        if window_clause.is_some() {
            return Err(Refusal::new("WINDOW", "window functions are not translated"));
        }
        let (from, scope) = match from {
            Some(from) => self.from(from)?,
            None => (String::new(), Scope::default()),
        };
        let translator = Translator::new(&scope, Purpose::Query);
        let outputs = outputs(&translator, &scope, columns, names)?;
        let distinct = matches!(distinctness, Some(sqlite3_parser::ast::Distinctness::Distinct));
        if distinct {
            outputs.iter().try_for_each(|output| grouped("DISTINCT", &output.term))?;
        }
        let list: Vec<String> = outputs.iter().map(Output::sql).collect();
        let mut sql = format!("select {}{}{from}", if distinct { "distinct " } else { "" }, list.join(", "));
        if let Some(condition) = where_clause {
            sql.push_str(&format!(" where {}", translator.condition(condition)?));
        }
        if let Some(keys) = group_by {
            sql.push_str(&format!(" group by {}", group_keys(&translator, keys, &outputs)?.join(", ")));
        }
        if let Some(condition) = having {
            sql.push_str(&format!(" having {}", translator.condition(condition)?));
        }
        Ok(Core { sql, scope, outputs, distinct })
    }
}

impl Output {
    fn sql(&self) -> String {
        let value = match (&self.term.ty, &self.term.origin) {
            // SQLite gives 0 and 1.
            (ExprType::Boolean, Origin::Computed) => format!("{}::integer", self.term.sql),
            (ExprType::Text, Origin::Constant(_) | Origin::Computed) => {
                format!("({} collate \"C\")", self.term.text_sql())
            }
            _ => self.term.sql.clone(),
        };
        format!("{value} as {}", ident(&self.column.name))
    }
}

fn outputs(
    translator: &Translator<'_>,
    scope: &Scope,
    columns: &[ResultColumn<'_>],
    names: Option<&[String]>,
) -> Result<Vec<Output>, Refusal> {
    let mut outputs = Vec::new();
    for column in columns {
        match column {
            ResultColumn::Star => outputs.extend(scope.columns.iter().map(Output::of_column)),
            ResultColumn::TableStar(table) => {
                let table = parse::unquoted(table.0);
                let of_table =
                    scope.columns.iter().filter(|column| column.qualifier.eq_ignore_ascii_case(&table));
                outputs.extend(of_table.map(Output::of_column));
            }
            ResultColumn::Expr(expr, alias) => {
                let given = names.and_then(|names| names.get(outputs.len()));
                outputs.push(Output::of_expression(translator, expr, alias.as_ref(), given)?);
            }
        }
    }
    match names {
        Some(names) if names.len() != outputs.len() => {
            return Err(Refusal::new("a list of columns", "it has another length than its query's"));
        }
        Some(names) => outputs.iter_mut().zip(names).for_each(|(output, name)| output.rename(name)),
        None => {}
    }
    if outputs.is_empty() {
        return Err(Refusal::new("*", "there is no table to take the columns from"));
    }
    Ok(outputs)
}

impl Output {
    fn of_column(column: &ScopeColumn) -> Output {
        let mut output = Output { term: Term::column(column), column: column.clone() };
        output.rename(&column.name);
        output
    }

    fn of_expression(
        translator: &Translator<'_>,
        expr: &Expr<'_>,
        alias: Option<&As<'_>>,
        given: Option<&String>,
    ) -> Result<Output, Refusal> {
        let term = translator.value(expr)?;
        let name = match alias {
            Some(As::As(name) | As::Elided(name)) => Some(parse::unquoted(name.0)),
            None => given.cloned(),
        };
        if let Some(column) = translator.column(expr) {
            let mut output = Output { term, column: column.clone() };
            output.rename(name.as_ref().unwrap_or(&column.name));
            return Ok(output);
        }
        let name = name.ok_or_else(|| {
            Refusal::new(
                "a calculated column without a name",
                "SQLite names it after its own text; give it one with AS",
            )
        })?;
        let column = computed(&term, name)?;
        Ok(Output { term, column })
    }

    fn rename(&mut self, name: &str) {
        self.column.name = name.to_owned();
        self.column.sql = ident(name);
        self.column.qualifier = String::new();
    }
}

/// What a calculated value is to a query around this one: a column without affinity.
fn computed(term: &Term, name: String) -> Result<ScopeColumn, Refusal> {
    let ty = match (&term.ty, &term.origin) {
        (ExprType::Boolean, Origin::Computed) => Some(Type::Int4),
        (ty, _) => ty.column_type(),
    };
    let ty = ty.ok_or_else(|| Refusal::new("a column of NULLs", "it has no type in PostgreSQL"))?;
    let classes = match (term.class, &term.ty) {
        (Some(class), _) => vec![class],
        (None, ExprType::Float | ExprType::Numeric) => vec![Class::Integer, Class::Real],
        (None, _) => Class::ALL.to_vec(),
    };
    let (low, high) = term.reach();
    let integers = i64::try_from(low).ok().zip(i64::try_from(high).ok());
    Ok(ScopeColumn {
        qualifier: String::new(),
        sql: ident(&name),
        name,
        affinity: term.affinity.unwrap_or(Affinity::Blob),
        collation: term.collation.collator().name().to_owned(),
        ty,
        form: Form::Native,
        classes,
        integers,
        unique: false,
    })
}

fn group_keys(
    translator: &Translator<'_>,
    keys: &[Expr<'_>],
    outputs: &[Output],
) -> Result<Vec<String>, Refusal> {
    let mut list = Vec::new();
    for key in keys {
        let term = match output_of(translator, key, outputs) {
            Some(place) => outputs[place].term.clone(),
            None => translator.operand(key)?,
        };
        grouped("GROUP BY", &term)?;
        if term.cell().is_some() {
            return Err(Refusal::new("GROUP BY", "it names a constant"));
        }
        list.push(term.sql);
    }
    Ok(list)
}

/// The place of the output that a key of GROUP BY or ORDER BY names, by number or by a name that no column bears.
fn output_of(translator: &Translator<'_>, key: &Expr<'_>, outputs: &[Output]) -> Option<usize> {
    if let Some(CellBuf::Integer(number)) = parse::constant(key) {
        return usize::try_from(number).ok()?.checked_sub(1).filter(|place| *place < outputs.len());
    }
    match parse::bare(key) {
        Expr::Id(id) if translator.column(key).is_none() => named_output(&parse::unquoted(id.0), outputs),
        _ => None,
    }
}

fn named_output(name: &str, outputs: &[Output]) -> Option<usize> {
    outputs.iter().position(|output| output.column.name.eq_ignore_ascii_case(name))
}

fn grouped(construct: &str, term: &Term) -> Result<(), Refusal> {
    if groups_alike(term) {
        return Ok(());
    }
    Err(Refusal::new(construct, format!("which values of {} are the same is not certain", term.described())))
}

/// SQLite takes names twice, and of any length.
fn distinct_names(columns: &[ScopeColumn]) -> Result<(), Refusal> {
    let mut seen = std::collections::BTreeSet::new();
    for column in columns {
        let name = &column.name;
        if name.is_empty() || name.len() > PG_NAME_BYTES_MAX || !seen.insert(folded(name)) {
            return Err(Refusal::new(
                format!("a result column named \"{name}\""),
                "the name stands twice, is empty or is longer than PostgreSQL's names",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
