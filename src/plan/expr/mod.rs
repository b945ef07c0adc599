//! SQLite expressions to PostgreSQL: CHECKs, index terms, index predicates, generated columns, and what stands in views.
//!
//! Only what provably means the same is translated. Everything else is refused with a reason; nothing is approximated, and no
//! construct that PostgreSQL would read by its own rules is passed through.

mod aggregate;
mod alike;
mod arithmetic;
mod compare;
mod functions;
mod implied;
mod pattern;
mod term;
mod translator;

pub(super) use aggregate::groups_alike;
pub(super) use term::{Collation, Collator, Origin, Term};
pub(super) use translator::Translator;

use super::parse::{self, Refusal};
use crate::canon::Form;
use crate::model::cell::Class;
use crate::model::schema::Affinity;
use crate::model::types::Type;
use sqlite3_parser::Bump;
use sqlite3_parser::ast::Expr;

/// The columns that an expression may name.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub columns: Vec<ScopeColumn>,
}

#[derive(Clone, Debug)]
pub struct ScopeColumn {
    /// The table's name or alias, for names such as `t.a`; empty where none can stand before the column's.
    pub qualifier: String,
    /// The name in SQLite.
    pub name: String,
    pub affinity: Affinity,
    /// The collation in SQLite: `BINARY` unless declared otherwise.
    pub collation: String,
    /// The target column as SQL, quoted. Columns of text are taken to be `collate "C"`.
    pub sql: String,
    pub ty: Type,
    pub form: Form,
    /// The classes of the cells that are not NULL, as the survey found them: none where there are no such cells. A caller
    /// without a survey names them all.
    pub classes: Vec<Class>,
    /// Smallest and largest INTEGER that the survey found.
    pub integers: Option<(i64, i64)>,
    /// Whether it is NULL in no row and no two rows of its table have it alike.
    pub unique: bool,
}

/// Where the expression will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What is not false is satisfied. An expression that the target's types already guarantee comes out as `true`.
    Check,
    IndexTerm,
    /// The WHERE of a partial index.
    Predicate,
    /// The caller compares `ty` with the column's: SQLite applies the column's affinity to the value.
    Generated,
    /// Within a view: aggregates are allowed, and nothing needs to be immutable.
    Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// To be put in parentheses where the grammar wants them.
    pub sql: String,
    pub ty: ExprType,
}

/// What a PostgreSQL expression gives, as far as SQLite's values are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExprType {
    Boolean,
    Integer,
    /// `double precision`.
    Float,
    Numeric,
    Text,
    Bytea,
    Null,
    /// A column of another type, or of one whose cells SQLite writes in another class.
    Column(Type),
}

pub fn translate(expression: &str, scope: &Scope, purpose: Purpose) -> Result<Translated, Refusal> {
    let arena = Bump::new();
    let expr = parse::expression(&arena, expression)?;
    let translator = Translator::new(scope, purpose);
    match purpose {
        Purpose::Check => check(&translator, expr),
        Purpose::Predicate => Ok(Translated { sql: translator.condition(expr)?, ty: ExprType::Boolean }),
        Purpose::IndexTerm | Purpose::Generated | Purpose::Query => {
            let term = translator.operand(expr)?;
            if purpose == Purpose::IndexTerm && term.cell().is_some() {
                return Err(Refusal::new("a constant in an index", "it orders nothing"));
            }
            let ty = term.ty.clone();
            let sql = if purpose == Purpose::IndexTerm { term.indexed()? } else { term.sql };
            Ok(Translated { sql, ty })
        }
    }
}

/// A text column or expression as an index sorts and compares it under one of SQLite's collations.
pub fn collated(sql: &str, collation: &str) -> Result<String, Refusal> {
    term::Collator::named(collation)?.key(sql)
}

/// The parts of a conjunction that can never be false are left out: a CHECK is satisfied by NULL.
fn check(translator: &Translator<'_>, expr: &Expr<'_>) -> Result<Translated, Refusal> {
    let mut kept = Vec::new();
    for part in translator::operands(expr, sqlite3_parser::ast::Operator::And) {
        if !implied::never_false(translator, part)? {
            kept.push(translator.condition(part)?);
        }
    }
    let sql = match kept.as_slice() {
        [] => "true".to_owned(),
        [one] => one.clone(),
        several => format!("({})", several.join(" and ")),
    };
    Ok(Translated { sql, ty: ExprType::Boolean })
}

#[cfg(test)]
mod tests;
