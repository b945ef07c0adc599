//! SQLite's mathematical functions, for connections of ours: most builds of SQLite have them, the bundled one has not, and a generated
//! column, a CHECK or an index of the application may be made of them.
//!
//! They give what SQLite's own give, by the same functions of the machine. The inverse hyperbolic ones are left out: those of the standard
//! library differ in the last bit.

use crate::model::cell::CellBuf;
use crate::plan::number_in;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

/// They keep integers as they are.
const ROUNDING: [(&str, OfOne); 4] =
    [("ceil", f64::ceil), ("ceiling", f64::ceil), ("floor", f64::floor), ("trunc", f64::trunc)];

const OF_ONE: [(&str, OfOne); 13] = [
    ("acos", f64::acos),
    ("asin", f64::asin),
    ("atan", f64::atan),
    ("cos", f64::cos),
    ("sin", f64::sin),
    ("tan", f64::tan),
    ("cosh", f64::cosh),
    ("sinh", f64::sinh),
    ("tanh", f64::tanh),
    ("exp", f64::exp),
    ("sqrt", f64::sqrt),
    ("radians", |degrees| degrees * (std::f64::consts::PI / 180.0)),
    ("degrees", |radians| radians * (180.0 / std::f64::consts::PI)),
];

const OF_TWO: [(&str, OfTwo); 4] =
    [("pow", f64::powf), ("power", f64::powf), ("atan2", f64::atan2), ("mod", |x, y| x % y)];

/// Of a number above zero; of any other there is none.
const LOGARITHMS: [(&str, OfOne); 4] =
    [("ln", f64::ln), ("log", f64::log10), ("log10", f64::log10), ("log2", f64::log2)];

/// An argument that is a number, or a text that is one as a whole.
enum Number {
    Integer(i64),
    Real(f64),
}

pub fn register(db: &Connection) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, function) in ROUNDING {
        db.create_scalar_function(name, 1, flags, move |call| {
            Ok(match number(call, 0) {
                Some(Number::Integer(value)) => Value::Integer(value),
                Some(Number::Real(value)) => Value::Real(function(value)),
                None => Value::Null,
            })
        })?;
    }
    for (name, function) in OF_ONE {
        db.create_scalar_function(name, 1, flags, move |call| Ok(real(call, 0).map(function)))?;
    }
    for (name, function) in OF_TWO {
        db.create_scalar_function(name, 2, flags, move |call| {
            Ok(real(call, 0).zip(real(call, 1)).map(|(x, y)| function(x, y)))
        })?;
    }
    for (name, function) in LOGARITHMS {
        db.create_scalar_function(name, 1, flags, move |call| Ok(above_zero(call, 0).map(function)))?;
    }
    db.create_scalar_function("log", 2, flags, |call| {
        let base = above_zero(call, 0).map(f64::ln).filter(|base| *base > 0.0);
        Ok(base.zip(above_zero(call, 1)).map(|(base, value)| value.ln() / base))
    })?;
    db.create_scalar_function("pi", 0, flags, |_| Ok(std::f64::consts::PI))
}

fn number(call: &Context<'_>, at: usize) -> Option<Number> {
    match call.get_raw(at) {
        ValueRef::Integer(value) => Some(Number::Integer(value)),
        ValueRef::Real(value) => Some(Number::Real(value)),
        ValueRef::Text(bytes) => match number_in(bytes)? {
            CellBuf::Integer(value) => Some(Number::Integer(value)),
            CellBuf::Real(value) => Some(Number::Real(value)),
            CellBuf::Null | CellBuf::Text(_) | CellBuf::Blob(_) => None,
        },
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn real(call: &Context<'_>, at: usize) -> Option<f64> {
    number(call, at).map(|number| match number {
        #[allow(clippy::cast_precision_loss)] // SQLite takes the nearest REAL, and so does this.
        Number::Integer(value) => value as f64,
        Number::Real(value) => value,
    })
}

fn above_zero(call: &Context<'_>, at: usize) -> Option<f64> {
    real(call, at).filter(|value| *value > 0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn they_give_what_sqlites_own_give() {
        let db = Connection::open_in_memory().unwrap();
        register(&db).unwrap();
        // What the shell of SQLite 3.40.1 answers.
        for (call, expected) in [
            ("floor(-1.5)", Value::Real(-2.0)),
            ("ceil(7)", Value::Integer(7)),
            ("ceiling('1.2')", Value::Real(2.0)),
            ("trunc(-1.7)", Value::Real(-1.0)),
            ("floor('abc')", Value::Null),
            ("floor(null)", Value::Null),
            ("floor(x'31')", Value::Null),
            ("sqrt(2)", Value::Real(std::f64::consts::SQRT_2)),
            ("sqrt(-1)", Value::Null),
            ("pow(2, 0.5)", Value::Real(std::f64::consts::SQRT_2)),
            ("power(2, 10)", Value::Real(1024.0)),
            ("mod(-7.5, 2)", Value::Real(-1.5)),
            ("mod(1, 0)", Value::Null),
            ("log(100)", Value::Real(2.0)),
            ("log(2, 8)", Value::Real(3.0)),
            ("log(1, 8)", Value::Null),
            ("log(0)", Value::Null),
            ("log2(8)", Value::Real(3.0)),
            ("ln(10)", Value::Real(std::f64::consts::LN_10)),
            ("exp(1)", Value::Real(std::f64::consts::E)),
            ("pi()", Value::Real(std::f64::consts::PI)),
            ("degrees(pi())", Value::Real(180.0)),
            ("radians(180)", Value::Real(std::f64::consts::PI)),
            ("atan2(1, -1)", Value::Real(2.356194490192345)),
            ("acos(2)", Value::Null),
            ("sin(1)", Value::Real(0.8414709848078965)),
        ] {
            let told: Value = db.query_row(&format!("select {call}"), [], |row| row.get(0)).unwrap();
            assert_eq!(told, expected, "{call}");
        }
    }
}
