//! The walk over an expression: which construct is whose, and truth.
//!
//! SQLite has no truth values, it has numbers; PostgreSQL has both and mixes neither.

use super::alike::Alike;
use super::term::{Collation, Collator, Term};
use super::{ExprType, Purpose, Scope, ScopeColumn};
use super::{aggregate, arithmetic, compare, functions, pattern};
use crate::model::cell::{CellBuf, Class};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, LikeOperator, Literal, Name, Operator, UnaryOperator};
use std::cell::Cell as Counter;

/// Deeper expressions than people write; the walk's own stack is bounded by it.
const DEPTH_MAX: u32 = 60;

pub(in crate::plan) struct Translator<'s> {
    scope: &'s Scope,
    pub(super) purpose: Purpose,
    depth: Counter<u32>,
    /// COLLATEs met so far.
    collates: Counter<u32>,
}

/// The operands of a chain of ANDs or ORs, from left to right.
pub(super) fn operands<'e, 'a>(expr: &'e Expr<'a>, chain: Operator) -> Vec<&'e Expr<'a>> {
    let mut right_to_left = Vec::new();
    let mut rest = parse::bare(expr);
    while let Expr::Binary(left, operator, right) = rest
        && *operator == chain
    {
        right_to_left.push(parse::bare(right));
        rest = parse::bare(left);
    }
    right_to_left.push(rest);
    right_to_left.reverse();
    right_to_left
}

impl<'s> Translator<'s> {
    pub fn new(scope: &'s Scope, purpose: Purpose) -> Translator<'s> {
        Translator { scope, purpose, depth: Counter::new(0), collates: Counter::new(0) }
    }

    /// The expression as a truth value: true, false or NULL exactly where SQLite takes it so.
    pub fn condition(&self, expr: &Expr<'_>) -> Result<String, Refusal> {
        let term = self.value(expr)?;
        match (&term.ty, term.cell()) {
            (ExprType::Boolean, _) => Ok(term.sql),
            (_, Some(CellBuf::Null)) => Ok("null::boolean".into()),
            (_, Some(CellBuf::Integer(value))) => Ok((*value != 0).to_string()),
            (ExprType::Integer | ExprType::Float | ExprType::Numeric, _) => {
                Ok(format!("({} <> 0)", term.sql))
            }
            (ExprType::Text | ExprType::Bytea | ExprType::Null | ExprType::Column(_), _) => {
                Err(Refusal::new(
                    "a condition that is not a number",
                    format!("SQLite looks for a number in {}, PostgreSQL raises an error", term.described()),
                ))
            }
        }
    }

    pub fn value(&self, expr: &Expr<'_>) -> Result<Term, Refusal> {
        if self.depth.get() >= DEPTH_MAX {
            return Err(Refusal::new("a very deep expression", "it is nested deeper than is read here"));
        }
        let collates = self.collates.get();
        self.depth.set(self.depth.get() + 1);
        let term = self.dispatch(parse::bare(expr))?;
        self.depth.set(self.depth.get() - 1);
        if term.ty == ExprType::Text && self.collates.get() != collates {
            return Err(carried_outwards());
        }
        Ok(term)
    }

    /// A side of a comparison or a key, which alone may bear a COLLATE.
    pub fn operand(&self, expr: &Expr<'_>) -> Result<Term, Refusal> {
        let Expr::Collate(inner, name) = parse::bare(expr) else { return self.value(expr) };
        let collator = Collator::named(&parse::unquoted(name))?;
        let term = self.value(inner)?;
        self.collates.set(self.collates.get() + 1);
        Ok(Term { collation: Collation::Explicit(collator), ..term })
    }

    fn dispatch(&self, expr: &Expr<'_>) -> Result<Term, Refusal> {
        if let Some(cell) = parse::constant(expr) {
            return Term::constant(cell);
        }
        match expr {
            Expr::Literal(literal) => Err(not_constant(literal)),
            Expr::Id(id) => self.named(id.0),
            Expr::Name(name) => self.named(name.0),
            Expr::Qualified(table, column) | Expr::DoublyQualified(_, table, column) => {
                self.qualified(table, column)
            }
            Expr::Unary(operator, inner) => self.unary(*operator, inner),
            Expr::Binary(left, operator, right) => self.binary(expr, left, *operator, right),
            Expr::Between { lhs, not, start, end } => {
                compare::between(self, lhs, [start, end]).map(|term| if *not { negated(term) } else { term })
            }
            Expr::InList { lhs, not, rhs } => compare::in_list(self, lhs, rhs.unwrap_or_default())
                .map(|term| if *not { negated(term) } else { term }),
            Expr::IsNull(inner) => compare::is_null(self, inner),
            Expr::NotNull(inner) => compare::is_null(self, inner).map(negated),
            Expr::Like { lhs, not, op, rhs, escape } => {
                self.like(*op, lhs, rhs, *escape).map(|term| if *not { negated(term) } else { term })
            }
            Expr::Case { base, when_then_pairs, else_expr } => self.case(*base, when_then_pairs, *else_expr),
            Expr::Cast { expr, type_name } => self.cast(expr, type_name.as_ref().map_or("", |ty| ty.name)),
            Expr::Collate(..) => Err(carried_outwards()),
            Expr::FunctionCall { name, distinctness, args, order_by, filter_over } => {
                let call = functions::Call {
                    name: parse::unquoted(name.0).to_ascii_lowercase(),
                    args: args.unwrap_or_default(),
                    distinct: distinctness.is_some(),
                    ordered: order_by.is_some(),
                    tail: filter_over.as_ref(),
                };
                functions::call(self, &call)
            }
            Expr::FunctionCallStar { name, filter_over } => {
                aggregate::count_rows(self, &parse::unquoted(name.0), filter_over.as_ref())
            }
            Expr::Exists(_) | Expr::InSelect { .. } | Expr::InTable { .. } | Expr::Subquery(_) => {
                Err(Refusal::new("a subquery", "it is not translated within an expression"))
            }
            Expr::Raise(..) => Err(Refusal::new("RAISE()", "it has a meaning in triggers alone")),
            Expr::Variable(_) => Err(Refusal::new("a parameter", "it has no value here")),
            Expr::Parenthesized(_) => Err(Refusal::new("a row value", "rows are not compared here")),
        }
    }

    /// The column that an expression is, where it is nothing but one.
    pub fn column(&self, expr: &Expr<'_>) -> Option<&'s ScopeColumn> {
        let (table, name) = match parse::bare(expr) {
            Expr::Id(id) => (None, parse::unquoted(id.0)),
            Expr::Qualified(table, column) | Expr::DoublyQualified(_, table, column) => {
                (Some(parse::unquoted(table.0)), parse::unquoted(column.0))
            }
            _ => return None,
        };
        self.matching(table.as_deref(), &name).next()
    }

    fn named(&self, word: &str) -> Result<Term, Refusal> {
        let name = parse::unquoted(word);
        let found: Vec<_> = self.matching(None, &name).collect();
        match (found.as_slice(), parse::truth_word(word)) {
            ([column], _) => Ok(Term::column(column)),
            ([], Some(truth)) => Term::constant(CellBuf::Integer(i64::from(truth))),
            // In a query such a word may also be another column's alias.
            ([], None) if parse::is_double_quoted(word) && self.purpose != Purpose::Query => {
                Term::constant(CellBuf::Text(name.into_bytes()))
            }
            ([], None) => Err(unknown_column(&name)),
            (_, _) => Err(Refusal::new(format!("the name \"{name}\""), "more than one column bears it")),
        }
    }

    fn qualified(&self, table: &Name<'_>, column: &Name<'_>) -> Result<Term, Refusal> {
        let (table, name) = (parse::unquoted(table.0), parse::unquoted(column.0));
        let found: Vec<_> = self.matching(Some(&table), &name).collect();
        match found.as_slice() {
            [column] => Ok(Term::column(column)),
            [] => Err(unknown_column(&format!("{table}.{name}"))),
            _ => Err(Refusal::new(format!("the name \"{table}.{name}\""), "more than one column bears it")),
        }
    }

    fn matching<'n>(
        &self,
        table: Option<&'n str>,
        name: &'n str,
    ) -> impl Iterator<Item = &'s ScopeColumn> + 'n
    where
        's: 'n,
    {
        self.scope.columns.iter().filter(move |column| {
            column.name.eq_ignore_ascii_case(name)
                && table.is_none_or(|table| column.qualifier.eq_ignore_ascii_case(table))
        })
    }

    fn unary(&self, operator: UnaryOperator, inner: &Expr<'_>) -> Result<Term, Refusal> {
        match operator {
            UnaryOperator::Not => Ok(Term::truth(format!("(not {})", self.condition(inner)?))),
            // The value stays, but it no longer counts as a column when it is compared.
            UnaryOperator::Positive => Ok(Term { affinity: None, ..self.value(inner)? }),
            UnaryOperator::Negative => arithmetic::negative(self.value(inner)?),
            UnaryOperator::BitwiseNot => arithmetic::complement(self.value(inner)?),
        }
    }

    fn binary(
        &self,
        whole: &Expr<'_>,
        left: &Expr<'_>,
        operator: Operator,
        right: &Expr<'_>,
    ) -> Result<Term, Refusal> {
        match operator {
            Operator::And | Operator::Or => self.chain(whole, operator),
            Operator::Equals | Operator::NotEquals | Operator::Less | Operator::LessEquals => {
                compare::binary(self, left, operator, right)
            }
            Operator::Greater | Operator::GreaterEquals | Operator::Is | Operator::IsNot => {
                compare::binary(self, left, operator, right)
            }
            Operator::Concat => arithmetic::concatenation(self.value(left)?, self.value(right)?),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulus => arithmetic::calculation(self.value(left)?, operator, self.value(right)?),
            Operator::BitwiseAnd | Operator::BitwiseOr | Operator::LeftShift | Operator::RightShift => {
                arithmetic::bitwise(self.value(left)?, operator, self.value(right)?)
            }
            Operator::ArrowRight | Operator::ArrowRightShift => Err(Refusal::new(
                "a JSON path operator",
                "SQLite gives back SQL values by the JSON's own types, PostgreSQL gives text or JSON",
            )),
        }
    }

    fn chain(&self, whole: &Expr<'_>, operator: Operator) -> Result<Term, Refusal> {
        let word = if operator == Operator::And { " and " } else { " or " };
        let parts: Result<Vec<String>, Refusal> =
            operands(whole, operator).into_iter().map(|part| self.condition(part)).collect();
        Ok(Term::truth(format!("({})", parts?.join(word))))
    }

    fn like(
        &self,
        operator: LikeOperator,
        text: &Expr<'_>,
        pattern: &Expr<'_>,
        escape: Option<&Expr<'_>>,
    ) -> Result<Term, Refusal> {
        let (text, pattern) = (self.value(text)?, self.value(pattern)?);
        match (operator, escape) {
            (LikeOperator::Like, Some(escape)) => pattern::like(text, &pattern, Some(&self.value(escape)?)),
            (LikeOperator::Like, None) => pattern::like(text, &pattern, None),
            (LikeOperator::Glob, _) => pattern::glob(text, &pattern),
            (LikeOperator::Match | LikeOperator::Regexp, _) => {
                Err(Refusal::new("MATCH or REGEXP", "what it means is up to the application or an extension"))
            }
        }
    }

    fn case(
        &self,
        base: Option<&Expr<'_>>,
        pairs: &[(Expr<'_>, Expr<'_>)],
        otherwise: Option<&Expr<'_>>,
    ) -> Result<Term, Refusal> {
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for (when, then) in pairs {
            conditions.push(match base {
                Some(base) => compare::binary(self, base, Operator::Equals, when)?.sql,
                None => self.condition(when)?,
            });
            results.push(self.value(then)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.value(otherwise)?,
            None => Term::constant(CellBuf::Null)?,
        });
        let alike = Alike::of("CASE", results)?;
        let (last, results) = alike.sql.split_last().expect("an ELSE was pushed");
        let mut sql = String::from("(case");
        for (condition, result) in conditions.iter().zip(results) {
            sql.push_str(&format!(" when {condition} then {result}"));
        }
        sql.push_str(&format!(" else {last} end)"));
        Ok(alike.term(sql))
    }

    fn cast(&self, inner: &Expr<'_>, type_name: &str) -> Result<Term, Refusal> {
        let construct = format!("CAST(… AS {type_name})");
        let term = self.value(inner)?;
        let affinity = Affinity::of_declared(type_name);
        let collation = term.collation.clone();
        let cast = match (affinity, &term.ty) {
            (Affinity::Text, _) => term.into_text(&construct)?,
            (Affinity::Integer | Affinity::Numeric, ExprType::Integer | ExprType::Boolean) => {
                term.into_integer(&construct)?
            }
            (Affinity::Real, ExprType::Integer) => {
                Term::computed(format!("({}::double precision)", term.sql), ExprType::Float)
            }
            (Affinity::Real, ExprType::Float) if term.class == Some(Class::Real) => term,
            (Affinity::Integer | Affinity::Numeric | Affinity::Real | Affinity::Blob, _) => {
                return Err(Refusal::new(
                    construct,
                    format!(
                        "SQLite converts {} by its own rules, PostgreSQL rounds or raises an error",
                        term.described()
                    ),
                ));
            }
        };
        Ok(Term { affinity: Some(affinity), collation, ..cast })
    }
}

impl ExprType {
    /// The type that a column of such values has, where it is known.
    pub(in crate::plan) fn column_type(&self) -> Option<Type> {
        match self {
            ExprType::Boolean => Some(Type::Bool),
            ExprType::Integer => Some(Type::Int8),
            ExprType::Float => Some(Type::Float8),
            ExprType::Numeric => Some(Type::Numeric(None)),
            ExprType::Text => Some(Type::Text),
            ExprType::Bytea => Some(Type::Bytea),
            ExprType::Null => None,
            ExprType::Column(ty) => Some(ty.clone()),
        }
    }
}

fn negated(term: Term) -> Term {
    Term::truth(format!("(not {})", term.sql))
}

fn not_constant(literal: &Literal<'_>) -> Refusal {
    match literal {
        Literal::CurrentDate | Literal::CurrentTime | Literal::CurrentTimestamp => {
            Refusal::new("the current time", "it changes, and is text to SQLite")
        }
        Literal::Numeric(_) | Literal::String(_) | Literal::Blob(_) | Literal::Keyword(_) | Literal::Null => {
            Refusal::new("a literal", "it was not understood")
        }
    }
}

/// However deep it stands, even in the condition of a CASE.
fn carried_outwards() -> Refusal {
    Refusal::new("COLLATE within an expression", "SQLite carries it outwards to whatever compares the value")
}

fn unknown_column(name: &str) -> Refusal {
    Refusal::new(format!("the name \"{name}\""), "no column of the target bears it")
}
