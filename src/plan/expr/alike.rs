//! Values that take turns in one place: the results of CASE, the arguments of COALESCE.

use super::ExprType;
use super::term::{EXACT_MAX, Term, Width};
use crate::model::cell::CellBuf;
use crate::plan::parse::Refusal;

/// Values of one type. NULL goes with all, 0 and 1 go with truth values, and small integers with numbers.
pub(super) struct Alike {
    pub sql: Vec<String>,
    ty: ExprType,
    range: (i128, i128),
    width: Width,
}

impl Alike {
    pub fn of(construct: &str, terms: Vec<Term>) -> Result<Alike, Refusal> {
        let values = || terms.iter().filter(|term| term.ty != ExprType::Null);
        let model = values().find(|term| term.cell().is_none()).or_else(|| values().next());
        let model = model.ok_or_else(|| Refusal::new(construct, "every one of its values is NULL"))?;
        let ty = model.ty.clone();
        if let ExprType::Column(_) = ty {
            return Err(Refusal::new(
                construct,
                format!("{} is not mixed with others here", model.described()),
            ));
        }
        let sql: Option<Vec<String>> = terms.iter().map(|term| value_sql(term, &ty)).collect();
        let sql = sql.ok_or_else(|| Refusal::new(construct, "its values are of more than one type"))?;
        let range = values()
            .map(Term::reach)
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            .unwrap_or_else(|| model.reach());
        let narrow = values().all(|term| term.width == Width::Narrow);
        Ok(Alike { sql, ty, range, width: if narrow { Width::Narrow } else { Width::Bigint } })
    }

    /// What stands for all of them.
    pub fn term(self, sql: String) -> Term {
        match self.ty {
            ExprType::Integer => Term::integer(sql, self.range, self.width),
            ty @ (ExprType::Boolean | ExprType::Float | ExprType::Numeric | ExprType::Text) => {
                Term::computed(sql, ty)
            }
            ty @ (ExprType::Bytea | ExprType::Null | ExprType::Column(_)) => Term::computed(sql, ty),
        }
    }
}

fn value_sql(term: &Term, ty: &ExprType) -> Option<String> {
    match (ty, term.cell()) {
        (_, Some(CellBuf::Null)) => Some("null".to_owned()),
        (ExprType::Boolean, Some(CellBuf::Integer(value @ (0 | 1)))) => Some((*value == 1).to_string()),
        (ExprType::Float | ExprType::Numeric, Some(CellBuf::Integer(value))) => {
            (value.unsigned_abs() <= EXACT_MAX.unsigned_abs()).then(|| term.sql.clone())
        }
        (_, _) => (term.ty == *ty).then(|| term.sql.clone()),
    }
}
