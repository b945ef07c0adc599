//! A term: one translated expression, with what SQLite would know of its value when it compares or converts it.

use super::{ExprType, ScopeColumn};
use crate::canon::Form;
use crate::model::cell::{CellBuf, Class};
use crate::model::name::literal;
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::parse::Refusal;

#[derive(Clone, Debug)]
pub(in crate::plan) struct Term {
    /// Complete in itself: a name, a literal, a call, or something in parentheses.
    pub sql: String,
    pub ty: ExprType,
    pub origin: Origin,
    /// What SQLite would convert the other side of a comparison to.
    pub affinity: Option<Affinity>,
    pub collation: Collation,
    /// The storage class of its values that are not NULL, where there is but one.
    pub class: Option<Class>,
    /// The integers that it may come to.
    pub range: Option<(i128, i128)>,
    pub width: Width,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::plan) enum Origin {
    /// A column as it stands, with the form of its cells.
    Column(Form),
    Constant(CellBuf),
    Computed,
}

/// Whether PostgreSQL calculates with 64 bits, as SQLite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Width {
    Bigint,
    Narrow,
}

/// SQLite's collations; a comparison takes the explicit one before the left side's, and that before the right side's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Collation {
    /// None of its own: compared as bytes.
    None,
    Of(Collator),
    Explicit(Collator),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Collator {
    Binary,
    NoCase,
    Rtrim,
    /// The application's own.
    Foreign(String),
}

/// Doubles hold every integer up to this one.
pub(super) const EXACT_MAX: i64 = 1 << 53;

const BIGINT: (i128, i128) = (-(1 << 63), (1 << 63) - 1);

impl Term {
    pub fn column(column: &ScopeColumn) -> Term {
        let ty = column_type(column);
        Term {
            sql: column.sql.clone(),
            origin: Origin::Column(column.form),
            affinity: Some(column.affinity),
            collation: Collation::Of(Collator::of(&column.collation)),
            class: column_class(column, &ty),
            range: column_range(column, &ty),
            width: if column.ty == Type::Int8 { Width::Bigint } else { Width::Narrow },
            ty,
        }
    }

    pub fn constant(cell: CellBuf) -> Result<Term, Refusal> {
        let (ty, sql) = match &cell {
            CellBuf::Null => (ExprType::Null, "null".to_owned()),
            CellBuf::Integer(value) => (ExprType::Integer, integer_sql(*value)),
            CellBuf::Real(value) => (ExprType::Float, float_sql(*value)?),
            CellBuf::Text(bytes) => (ExprType::Text, literal(text_of(bytes)?)),
            CellBuf::Blob(bytes) => (ExprType::Bytea, bytea_sql(bytes)),
        };
        let mut term = Term::computed(sql, ty);
        if let CellBuf::Integer(value) = cell {
            term.range = Some((i128::from(value), i128::from(value)));
            term.width = Width::Narrow;
        }
        term.origin = Origin::Constant(cell);
        Ok(term)
    }

    pub fn computed(sql: String, ty: ExprType) -> Term {
        let (class, range) = match &ty {
            ExprType::Boolean => (Some(Class::Integer), Some((0, 1))),
            ExprType::Integer => (Some(Class::Integer), Some(BIGINT)),
            ExprType::Text => (Some(Class::Text), None),
            ExprType::Bytea => (Some(Class::Blob), None),
            ExprType::Float | ExprType::Numeric | ExprType::Null | ExprType::Column(_) => (None, None),
        };
        Term {
            sql,
            ty,
            origin: Origin::Computed,
            affinity: None,
            collation: Collation::None,
            class,
            range,
            width: Width::Bigint,
        }
    }

    pub fn truth(sql: String) -> Term {
        Term::computed(sql, ExprType::Boolean)
    }

    pub fn integer(sql: String, range: (i128, i128), width: Width) -> Term {
        Term { range: Some(range), width, ..Term::computed(sql, ExprType::Integer) }
    }

    pub fn cell(&self) -> Option<&CellBuf> {
        match &self.origin {
            Origin::Constant(cell) => Some(cell),
            Origin::Column(_) | Origin::Computed => None,
        }
    }

    /// The integers it may come to; all of them where nothing narrower is known.
    pub fn reach(&self) -> (i128, i128) {
        self.range.unwrap_or(BIGINT)
    }

    /// Whether no INTEGER among its values is beyond 2^53, where decimals and REALs part.
    pub fn is_exact(&self) -> bool {
        let (low, high) = self.reach();
        let limit = i128::from(EXACT_MAX);
        -limit <= low && high <= limit
    }

    /// As an argument of a text function or of `||`; SQLite spells integers as PostgreSQL does, but not REALs.
    pub fn into_text(self, construct: &str) -> Result<Term, Refusal> {
        match &self.ty {
            ExprType::Text => Ok(self),
            ExprType::Integer => match self.cell() {
                Some(CellBuf::Integer(value)) => {
                    Term::constant(CellBuf::Text(value.to_string().into_bytes()))
                }
                _ => Ok(Term::computed(format!("({}::text)", self.sql), ExprType::Text)),
            },
            ExprType::Boolean => Ok(Term::computed(format!("({}::integer::text)", self.sql), ExprType::Text)),
            ExprType::Float | ExprType::Numeric => Err(Refusal::new(
                construct,
                "a number that may have a fraction is spelled differently as text by the two databases",
            )),
            ExprType::Null | ExprType::Bytea | ExprType::Column(_) => Err(self.no_text(construct)),
        }
    }

    pub fn into_integer(self, construct: &str) -> Result<Term, Refusal> {
        match &self.ty {
            ExprType::Integer => Ok(self),
            ExprType::Boolean => Ok(Term::integer(format!("({}::integer)", self.sql), (0, 1), Width::Narrow)),
            ExprType::Float | ExprType::Numeric => Err(Refusal::new(
                construct,
                "REAL arithmetic rounds and overflows differently in the two databases",
            )),
            ExprType::Text | ExprType::Bytea | ExprType::Null | ExprType::Column(_) => Err(Refusal::new(
                construct,
                format!("SQLite looks for a number in {}, PostgreSQL raises an error", self.described()),
            )),
        }
    }

    /// Text to put a COLLATE behind. On an untyped literal PostgreSQL would lose it again.
    pub fn text_sql(&self) -> String {
        match self.origin {
            Origin::Constant(_) => format!("{}::text", self.sql),
            Origin::Column(_) | Origin::Computed => self.sql.clone(),
        }
    }

    /// With 64 bits, so that PostgreSQL overflows no earlier than SQLite.
    pub fn widened(self) -> Term {
        match self.width {
            Width::Bigint => self,
            Width::Narrow => Term {
                sql: format!("({}::bigint)", self.sql),
                width: Width::Bigint,
                origin: Origin::Computed,
                ..self
            },
        }
    }

    /// With the collation that an index or an ORDER BY needs, whatever the database's own is.
    pub fn indexed(self) -> Result<String, Refusal> {
        match (&self.ty, &self.origin, &self.collation) {
            (
                ExprType::Text,
                Origin::Column(_),
                Collation::Of(Collator::Binary) | Collation::Explicit(Collator::Binary),
            ) => Ok(self.sql),
            (ExprType::Text, _, collation) => collation.collator().key(&self.text_sql()),
            (ExprType::Boolean | ExprType::Integer | ExprType::Float | ExprType::Numeric, _, _) => {
                Ok(self.sql)
            }
            (ExprType::Bytea | ExprType::Null | ExprType::Column(_), _, _) => Ok(self.sql),
        }
    }

    /// What it is, for a person who reads a refusal.
    pub fn described(&self) -> String {
        match &self.ty {
            ExprType::Boolean => "a truth value".into(),
            ExprType::Integer => "an integer".into(),
            ExprType::Float => "a REAL".into(),
            ExprType::Numeric => "a number".into(),
            ExprType::Text => "text".into(),
            ExprType::Bytea => "a blob".into(),
            ExprType::Null => "NULL".into(),
            ExprType::Column(ty) => format!("{}, a column that becomes {}", self.sql, ty.sql()),
        }
    }

    fn no_text(&self, construct: &str) -> Refusal {
        Refusal::new(construct, format!("{} is not text in PostgreSQL", self.described()))
    }
}

impl Collation {
    pub fn collator(&self) -> Collator {
        match self {
            Collation::None => Collator::Binary,
            Collation::Of(collator) | Collation::Explicit(collator) => collator.clone(),
        }
    }

    /// The collation by which SQLite compares two sides.
    pub fn between(left: &Collation, right: &Collation) -> Collator {
        match (left, right) {
            (Collation::Explicit(collator), _) | (_, Collation::Explicit(collator)) => collator.clone(),
            (Collation::Of(collator), _) | (Collation::None, Collation::Of(collator)) => collator.clone(),
            (Collation::None, Collation::None) => Collator::Binary,
        }
    }
}

impl Collator {
    pub fn of(name: &str) -> Collator {
        match name.to_ascii_uppercase().as_str() {
            "BINARY" => Collator::Binary,
            "NOCASE" => Collator::NoCase,
            "RTRIM" => Collator::Rtrim,
            _ => Collator::Foreign(name.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Collator::Binary => "BINARY",
            Collator::NoCase => "NOCASE",
            Collator::Rtrim => "RTRIM",
            Collator::Foreign(name) => name,
        }
    }

    /// A collation that PostgreSQL can stand in for.
    pub fn named(name: &str) -> Result<Collator, Refusal> {
        match Collator::of(name) {
            Collator::Foreign(name) => Err(Collator::unknown(&name)),
            known @ (Collator::Binary | Collator::NoCase | Collator::Rtrim) => Ok(known),
        }
    }

    /// Text whose bytes sort and compare as this collation does. In the collation "C", `lower` folds ASCII letters alone, which
    /// is what NOCASE does.
    pub fn key(&self, sql: &str) -> Result<String, Refusal> {
        match self {
            Collator::Binary => Ok(format!("({sql} collate \"C\")")),
            Collator::NoCase => Ok(format!("(lower({sql} collate \"C\") collate \"C\")")),
            Collator::Rtrim => Ok(format!("(rtrim({sql}, ' ') collate \"C\")")),
            Collator::Foreign(name) => Err(Collator::unknown(name)),
        }
    }

    /// One side of a comparison; constants are folded here and now.
    pub fn side(&self, term: &Term) -> Result<String, Refusal> {
        match (self, term.cell()) {
            (Collator::Binary, _) => Ok(term.sql.clone()),
            (Collator::NoCase, Some(CellBuf::Text(bytes))) => {
                Ok(literal(&text_of(bytes)?.to_ascii_lowercase()))
            }
            (Collator::Rtrim, Some(CellBuf::Text(bytes))) => {
                Ok(literal(text_of(bytes)?.trim_end_matches(' ')))
            }
            (Collator::NoCase, _) => Ok(format!("lower({} collate \"C\")", term.text_sql())),
            (Collator::Rtrim, _) => Ok(format!("rtrim({}, ' ')", term.sql)),
            (Collator::Foreign(name), _) => Err(Collator::unknown(name)),
        }
    }

    fn unknown(name: &str) -> Refusal {
        Refusal::new(format!("collation {name}"), "it belongs to the application; PostgreSQL has no equal")
    }
}

pub(in crate::plan) fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| Refusal::new("a text constant", "PostgreSQL cannot hold its bytes as text"))
}

fn integer_sql(value: i64) -> String {
    if value == i64::MIN {
        // PostgreSQL reads the digits before the sign, and they alone are beyond bigint.
        format!("'{value}'::bigint")
    } else if value < 0 {
        format!("({value})")
    } else {
        value.to_string()
    }
}

fn float_sql(value: f64) -> Result<String, Refusal> {
    if value.is_finite() {
        Ok(format!("'{value:?}'::double precision"))
    } else {
        Err(Refusal::new("a REAL constant", "it is infinite"))
    }
}

fn bytea_sql(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{digits}'::bytea")
}

/// A column counts as the type it has in PostgreSQL only where its cells are of the class that goes with it.
fn column_type(column: &ScopeColumn) -> ExprType {
    let only = |classes: &[Class]| column.classes.iter().all(|class| classes.contains(class));
    let plain = match &column.ty {
        Type::Bool => (column.form == Form::Native && only(&[Class::Integer])).then_some(ExprType::Boolean),
        Type::Int2 | Type::Int4 | Type::Int8 => {
            (is_number(column.form) && only(&[Class::Integer])).then_some(ExprType::Integer)
        }
        Type::Float8 => {
            (is_number(column.form) && only(&[Class::Integer, Class::Real])).then_some(ExprType::Float)
        }
        Type::Numeric(_) => {
            (is_number(column.form) && only(&[Class::Integer, Class::Real])).then_some(ExprType::Numeric)
        }
        Type::Text | Type::Varchar(_) => (matches!(column.form, Form::Native | Form::Affinity)
            && only(&[Class::Text]))
        .then_some(ExprType::Text),
        Type::Bytea => (column.form == Form::Native && only(&[Class::Blob])).then_some(ExprType::Bytea),
        Type::Float4 | Type::Bpchar(_) | Type::Citext | Type::Date | Type::Time(_) => None,
        Type::Timestamp(_) | Type::Timestamptz(_) | Type::Interval(_) | Type::Uuid | Type::Json => None,
        Type::Jsonb | Type::Inet | Type::Cidr | Type::Macaddr | Type::Oid | Type::Enum(_) => None,
        Type::Array { .. } | Type::Other(_) => None,
    };
    plain.unwrap_or_else(|| ExprType::Column(column.ty.clone()))
}

fn is_number(form: Form) -> bool {
    matches!(form, Form::Native | Form::Number | Form::Real)
}

fn column_class(column: &ScopeColumn, ty: &ExprType) -> Option<Class> {
    match column.classes.as_slice() {
        [class] => Some(*class),
        [] => match ty {
            ExprType::Boolean | ExprType::Integer => Some(Class::Integer),
            ExprType::Text => Some(Class::Text),
            ExprType::Bytea => Some(Class::Blob),
            ExprType::Float | ExprType::Numeric | ExprType::Null | ExprType::Column(_) => None,
        },
        _ => None,
    }
}

/// The survey's range, or the type's where that is the smaller; a column without values cannot overflow.
fn column_range(column: &ScopeColumn, ty: &ExprType) -> Option<(i128, i128)> {
    match ty {
        ExprType::Boolean => Some((0, 1)),
        ExprType::Integer | ExprType::Numeric | ExprType::Float => {
            match (column.integers, column.classes.as_slice()) {
                (Some((low, high)), _) => Some((i128::from(low), i128::from(high))),
                (None, classes) if !classes.contains(&Class::Integer) => Some((0, 0)),
                (None, _) => None,
            }
        }
        ExprType::Text | ExprType::Bytea | ExprType::Null | ExprType::Column(_) => None,
    }
}
