//! UNION, EXCEPT and INTERSECT. SQLite takes them from left to right, so the parentheses say so.

use super::{Core, Output, Views, grouped};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::expr::{Scope, ScopeColumn, Term};
use crate::plan::parse::Refusal;
use sqlite3_parser::ast::{CompoundOperator, SelectBody};

/// The SELECT that an ORDER BY and a LIMIT apply to.
pub(super) struct Body {
    pub sql: String,
    pub outputs: Vec<Output>,
    pub kind: Kind,
}

pub(super) enum Kind {
    /// A key may be any expression over the tables.
    Plain(Scope),
    /// A key can only be one of the outputs.
    Outputs,
}

impl Views<'_> {
    pub(super) fn body(&mut self, body: &SelectBody<'_>, names: Option<&[String]>) -> Result<Body, Refusal> {
        let Core { mut sql, scope, mut outputs, distinct } = self.core(&body.select, names)?;
        let Some(compounds) = &body.compounds else {
            let kind = if distinct { Kind::Outputs } else { Kind::Plain(scope) };
            return Ok(Body { sql, outputs, kind });
        };
        let own: Vec<String> = outputs.iter().map(|output| output.column.name.clone()).collect();
        for compound in compounds {
            let right = self.core(&compound.select, Some(&own))?;
            for (left, right) in outputs.iter_mut().zip(&right.outputs) {
                unite(compound.operator, left, right)?;
            }
            sql = format!("({sql}) {} ({})", word(compound.operator), right.sql);
        }
        for output in &mut outputs {
            output.term = Term::column(&output.column);
        }
        Ok(Body { sql, outputs, kind: Kind::Outputs })
    }
}

/// Both sides must be of one type and compare alike, for PostgreSQL would convert one of them.
fn unite(operator: CompoundOperator, left: &mut Output, right: &Output) -> Result<(), Refusal> {
    let construct = word(operator).to_uppercase();
    match operator {
        CompoundOperator::UnionAll => {}
        CompoundOperator::Union | CompoundOperator::Except | CompoundOperator::Intersect => {
            grouped(&construct, &left.term)?;
            grouped(&construct, &right.term)?;
        }
    }
    let (a, b) = (&left.column, &right.column);
    let alike = family(&a.ty) == family(&b.ty) && a.form == b.form && left.term.ty == right.term.ty;
    if !alike || !a.collation.eq_ignore_ascii_case(&b.collation) {
        return Err(Refusal::new(construct, format!("\"{}\" is of more than one type", a.name)));
    }
    left.column = merged(a, b);
    Ok(())
}

fn merged(a: &ScopeColumn, b: &ScopeColumn) -> ScopeColumn {
    let mut classes = a.classes.clone();
    classes.extend(b.classes.iter().filter(|class| !a.classes.contains(class)));
    let integers = match (a.integers, b.integers) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (one, other) => one.or(other),
    };
    let affinity = if a.affinity == b.affinity { a.affinity } else { Affinity::Blob };
    ScopeColumn { classes, integers, affinity, unique: false, ..a.clone() }
}

/// Integers of different widths unite without loss.
fn family(ty: &Type) -> &Type {
    match ty {
        Type::Int2 | Type::Int4 | Type::Int8 => &Type::Int8,
        other => other,
    }
}

fn word(operator: CompoundOperator) -> &'static str {
    match operator {
        CompoundOperator::Union => "union",
        CompoundOperator::UnionAll => "union all",
        CompoundOperator::Except => "except",
        CompoundOperator::Intersect => "intersect",
    }
}
