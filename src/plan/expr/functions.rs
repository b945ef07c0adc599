//! SQLite's scalar functions: a list of those whose results are the same, and why the others' are not.

use super::aggregate;
use super::alike::Alike;
use super::compare;
use super::term::{Collation, Collator, Origin, Term, Width};
use super::translator::Translator;
use super::{ExprType, Purpose};
use crate::model::cell::CellBuf;
use crate::plan::parse::Refusal;
use sqlite3_parser::ast::{Expr, FunctionTail, Operator};

pub(super) struct Call<'e, 'a> {
    /// In lower case, as SQLite looks functions up.
    pub name: String,
    pub args: &'e [Expr<'a>],
    pub distinct: bool,
    pub ordered: bool,
    pub tail: Option<&'e FunctionTail<'a>>,
}

/// Positions and lengths in PostgreSQL's text functions have 32 bits.
const LENGTH_MAX: i64 = 1 << 30;

pub(super) fn call(translator: &Translator<'_>, call: &Call<'_, '_>) -> Result<Term, Refusal> {
    if translator.purpose == Purpose::Query
        && let Some(term) = aggregate::call(translator, call)?
    {
        return Ok(term);
    }
    if call.distinct || call.ordered || call.tail.is_some() {
        return Err(call.refusal("it is used as an aggregate or over a window"));
    }
    let value = |index: usize| translator.value(&call.args[index]);
    match (call.name.as_str(), call.args.len()) {
        ("lower" | "upper", 1) => {
            let text = call.text(value(0)?)?;
            Ok(Term::computed(format!("{}({} collate \"C\")", call.name, text.text_sql()), ExprType::Text))
        }
        ("length", 1) => length(call, value(0)?),
        ("abs", 1) => absolute(call, value(0)?),
        ("trim" | "ltrim" | "rtrim", 1 | 2) => trimmed(translator, call),
        ("replace", 3) => replaced(translator, call),
        ("instr", 2) => {
            let found = call.texts(translator, "strpos")?;
            Ok(Term::integer(found.sql, (0, i128::from(LENGTH_MAX)), Width::Narrow))
        }
        ("substr" | "substring", 2 | 3) => part(translator, call),
        ("coalesce", 2..) | ("ifnull", 2) => {
            let terms: Result<Vec<Term>, Refusal> =
                call.args.iter().map(|arg| translator.value(arg)).collect();
            let alike = Alike::of(&call.label(), terms?)?;
            let sql = format!("coalesce({})", alike.sql.join(", "));
            Ok(alike.term(sql))
        }
        ("nullif", 2) => null_if(call, value(0)?, value(1)?),
        ("iif" | "if", 3) => {
            let condition = translator.condition(&call.args[0])?;
            let alike = Alike::of(&call.label(), vec![value(1)?, value(2)?])?;
            let sql = format!("(case when {condition} then {} else {} end)", alike.sql[0], alike.sql[1]);
            Ok(alike.term(sql))
        }
        // The value stays, but it no longer counts as a column when it is compared.
        ("likely" | "unlikely", 1) => match value(0)? {
            term if term.cell().is_some() => Ok(term),
            term => Ok(Term { affinity: None, collation: Collation::None, origin: Origin::Computed, ..term }),
        },
        _ => Err(call.refusal(reason(&call.name))),
    }
}

impl Call<'_, '_> {
    pub fn label(&self) -> String {
        format!("{}()", self.name)
    }

    pub fn refusal(&self, reason: &str) -> Refusal {
        Refusal::new(self.label(), reason)
    }

    fn text(&self, term: Term) -> Result<Term, Refusal> {
        term.into_text(&self.label())
    }

    /// A function whose arguments are all texts and whose result is one.
    fn texts(&self, translator: &Translator<'_>, function: &str) -> Result<Term, Refusal> {
        let mut args = Vec::new();
        for arg in self.args {
            args.push(self.text(translator.value(arg)?)?.sql);
        }
        Ok(Term::computed(format!("{function}({})", args.join(", ")), ExprType::Text))
    }
}

fn length(call: &Call<'_, '_>, term: Term) -> Result<Term, Refusal> {
    let sql = match term.ty {
        ExprType::Bytea => format!("octet_length({})", term.sql),
        ExprType::Boolean | ExprType::Integer | ExprType::Float | ExprType::Numeric => {
            format!("length({})", call.text(term)?.sql)
        }
        ExprType::Text | ExprType::Null | ExprType::Column(_) => format!("length({})", call.text(term)?.sql),
    };
    Ok(Term::integer(sql, (0, i128::from(LENGTH_MAX)), Width::Narrow))
}

/// Both databases raise an error for the smallest integer.
fn absolute(call: &Call<'_, '_>, term: Term) -> Result<Term, Refusal> {
    match term.ty {
        ExprType::Numeric if term.reach().0 <= i128::from(i64::MIN) => {
            Err(call.refusal("the smallest integer may be among the values, and SQLite alone refuses that"))
        }
        ExprType::Float | ExprType::Numeric => {
            Ok(Term { class: term.class, ..Term::computed(format!("abs({})", term.sql), term.ty) })
        }
        ExprType::Boolean
        | ExprType::Integer
        | ExprType::Text
        | ExprType::Bytea
        | ExprType::Null
        | ExprType::Column(_) => {
            let term = term.into_integer(&call.label())?.widened();
            let (low, high) = term.reach();
            let top = low.abs().max(high.abs()).min(i128::from(i64::MAX));
            Ok(Term::integer(format!("abs({})", term.sql), (0, top), Width::Bigint))
        }
    }
}

/// Without a second argument SQLite takes spaces away, and only those.
fn trimmed(translator: &Translator<'_>, call: &Call<'_, '_>) -> Result<Term, Refusal> {
    let text = call.text(translator.value(&call.args[0])?)?;
    let letters = match call.args.get(1) {
        Some(letters) => call.text(translator.value(letters)?)?.sql,
        None => "' '".to_owned(),
    };
    let function = if call.name == "trim" { "btrim" } else { call.name.as_str() };
    Ok(Term::computed(format!("{function}({}, {letters})", text.sql), ExprType::Text))
}

/// An empty pattern gives the first argument back in SQLite, whatever its class and even beside a NULL.
fn replaced(translator: &Translator<'_>, call: &Call<'_, '_>) -> Result<Term, Refusal> {
    match translator.value(&call.args[1])?.into_text("replace()")?.cell() {
        Some(CellBuf::Text(pattern)) if !pattern.is_empty() => call.texts(translator, "replace"),
        _ => Err(call.refusal("its pattern may be empty, which SQLite and PostgreSQL take differently")),
    }
}

fn part(translator: &Translator<'_>, call: &Call<'_, '_>) -> Result<Term, Refusal> {
    let text = call.text(translator.value(&call.args[0])?)?;
    let mut sql = format!("substr({}", text.sql);
    for (arg, low) in call.args[1..].iter().zip([1, 0]) {
        match translator.value(arg)?.cell() {
            Some(CellBuf::Integer(number)) if (low..LENGTH_MAX).contains(number) => {
                sql.push_str(&format!(", {number}"));
            }
            _ => {
                return Err(call.refusal(
                    "a start below 1, a negative length or one that is not a constant is counted differently",
                ));
            }
        }
    }
    sql.push(')');
    Ok(Term::computed(sql, ExprType::Text))
}

/// A function's arguments are compared without affinity, but with the first one's collation.
fn null_if(call: &Call<'_, '_>, left: Term, right: Term) -> Result<Term, Refusal> {
    if left.cell().is_some()
        || [&left, &right].iter().any(|term| term.collation.collator() != Collator::Binary)
    {
        return Err(call.refusal("its first argument is a constant, or one of them has a collation"));
    }
    let (left, right) = (Term { affinity: None, ..left }, Term { affinity: None, ..right });
    let same = compare::compared(left.clone(), Operator::Equals, right)?;
    let sql = format!("(case when {} then null else {} end)", same.sql, left.sql);
    Ok(Term { sql, origin: Origin::Computed, collation: Collation::None, ..left })
}

fn reason(name: &str) -> &'static str {
    match name {
        "date" | "time" | "datetime" | "strftime" | "julianday" | "unixepoch" | "timediff" => {
            "it reads and writes times as text; PostgreSQL's counterparts are not immutable"
        }
        "round" => "the two databases round halves differently",
        "min" | "max" => {
            "with several arguments it is NULL if one is; PostgreSQL's greatest and least are not"
        }
        "typeof" => {
            "PostgreSQL's values have types, not storage classes; only comparisons with a word are translated"
        }
        "random" | "randomblob" | "changes" | "last_insert_rowid" | "total_changes" => {
            "its result is another each time"
        }
        "substr" | "substring" | "coalesce" | "iif" | "if" | "trim" | "replace" => {
            "it has another number of arguments"
        }
        "group_concat" | "string_agg" => "SQLite joins the values in an order of its own",
        "total" => "it sums in floating point, whose result depends on the order of the rows",
        "json_valid" => {
            "a json column guarantees it, for other columns PostgreSQL has no equal before version 16"
        }
        _ if name.starts_with("json") => "SQLite's JSON functions have no exact equals",
        _ => "no function of PostgreSQL is known to give the same results",
    }
}
