//! Defaults that tell the time.
//!
//! They keep SQLite's grain: `datetime('now')` has whole seconds, so its counterpart is cut to them, and what PostgreSQL stores
//! after the switch is spelled as what SQLite stored before. SQLite's time is UTC.

use super::{DefaultTarget, Holds, fit, misplaced, spelled};
use crate::canon::form::Unit;
use crate::canon::{Form, Zone};
use crate::model::cell::{Cell, CellBuf};
use crate::model::name::literal;
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::default::constant;
use crate::plan::parse::{self, Refusal};
use sqlite3_parser::ast::{Expr, Literal};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Text(Written),
    /// Whole seconds since 1970, times a constant, as text or as an integer.
    Seconds {
        times: i64,
        class: Class,
    },
    Millis,
    Julian,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Integer,
    Text,
}

/// A format of `strftime`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The same for `to_char`.
    pattern: String,
    /// One moment so written, to ask the column's codec about.
    sample: String,
    grain: &'static str,
    digits: Digits,
}

/// Digits of a format that are no field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Digits {
    #[default]
    None,
    /// Nothing but zeros, and no field behind them: what a time cut off at its grain has there too.
    Zeros,
    /// They are part of the text alone.
    Others,
}

const SECONDS: &str = "floor(extract(epoch from now()))::bigint";
const MILLIS: &str = "floor(extract(epoch from now()) * 1000)::bigint";
const UTC: &str = "(now() at time zone 'UTC')";

/// The seconds of now, as `spelled` writes them.
const EPOCHS: [&str; 2] = ["strftime('%s','now')", "unixepoch('now')"];

pub(super) fn recognised(expr: &Expr<'_>) -> Result<Option<Clock>, Refusal> {
    match parse::bare(expr) {
        Expr::Literal(Literal::CurrentTimestamp) => return written("%Y-%m-%d %H:%M:%S"),
        Expr::Literal(Literal::CurrentDate) => return written("%Y-%m-%d"),
        Expr::Literal(Literal::CurrentTime) => return written("%H:%M:%S"),
        Expr::FunctionCall { name, args, .. } => {
            if let Some(clock) = function(&name.0.to_ascii_lowercase(), args.unwrap_or_default())? {
                return Ok(Some(clock));
            }
        }
        _ => {}
    }
    Ok(epoch(
        &spelled(expr).replace("unixepoch()", "unixepoch('now')").replace("julianday()", "julianday('now')"),
    ))
}

impl Clock {
    pub fn sql(&self, target: DefaultTarget<'_>) -> Result<String, Refusal> {
        match self {
            Clock::Text(written) => written.sql(target),
            Clock::Seconds { times, class } => {
                let sql = if *times == 1 { SECONDS.to_owned() } else { format!("({SECONDS} * {times})") };
                epoch_sql(&sql, Unit::Seconds, *class, target)
            }
            Clock::Millis => epoch_sql(MILLIS, Unit::Millis, Class::Integer, target),
            Clock::Julian if target.codec.ty == Type::Float8 => {
                Ok("(extract(epoch from now())::double precision / 86400 + 2440587.5)".to_owned())
            }
            Clock::Julian => Err(misplaced("julianday('now')", target)),
        }
    }
}

impl Digits {
    fn with(self, digit: char) -> Digits {
        match (self, digit) {
            (Digits::None | Digits::Zeros, '0') => Digits::Zeros,
            (Digits::None | Digits::Zeros | Digits::Others, _) => Digits::Others,
        }
    }
}

impl Written {
    fn sql(&self, target: DefaultTarget<'_>) -> Result<String, Refusal> {
        let codec = target.codec;
        let Holds::Value = fit(codec, Cell::Text(self.sample.as_bytes()), &mut Vec::new())? else {
            return Err(misplaced("the current time", target));
        };
        let grain = literal(self.grain);
        let zoned = self.sample.ends_with('Z') || matches!(codec.ty, Type::Timestamptz(_));
        match &codec.ty {
            Type::Text | Type::Varchar(None) | Type::Citext => {
                Ok(format!("to_char(now() at time zone 'UTC', {})", literal(&self.pattern)))
            }
            _ if self.digits == Digits::Others => Err(misplaced("a time with digits of its own", target)),
            _ if zoned && codec.zone != Zone::default() => Err(Refusal::new(
                "the current time in UTC",
                "the naive times of the source are set to be of another zone",
            )),
            Type::Date => Ok(format!("{UTC}::date")),
            Type::Time(_) => Ok(format!("date_trunc({grain}, {UTC})::time")),
            Type::Timestamp(_) => Ok(format!("date_trunc({grain}, {UTC})")),
            Type::Timestamptz(_) => Ok(format!("date_trunc({grain}, now(), 'UTC')")),
            _ => Err(misplaced("the current time", target)),
        }
    }
}

/// A number of seconds or milliseconds, in the type of the column; the affinity turns text into numbers and numbers into text.
fn epoch_sql(sql: &str, unit: Unit, class: Class, target: DefaultTarget<'_>) -> Result<String, Refusal> {
    let numeric = class == Class::Integer
        || matches!(target.affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real);
    let textual = class == Class::Text || target.affinity == Affinity::Text;
    match &target.codec.ty {
        Type::Int8 if numeric => Ok(sql.to_owned()),
        Type::Int4 | Type::Int2 if numeric => fitting(sql, target),
        Type::Float8 if numeric => Ok(format!("({sql})::double precision")),
        Type::Numeric(None) if numeric => Ok(sql.to_owned()),
        Type::Text | Type::Varchar(None) if textual => Ok(format!("({sql})::text")),
        Type::Timestamptz(_) | Type::Timestamp(_) if numeric && target.codec.form == Form::Epoch(unit) => {
            let grain = if unit == Unit::Millis { "'milliseconds'" } else { "'second'" };
            let plain = matches!(target.codec.ty, Type::Timestamp(_));
            Ok(if plain {
                format!("date_trunc({grain}, {UTC})")
            } else {
                format!("date_trunc({grain}, now())")
            })
        }
        _ => Err(misplaced("the time as a number", target)),
    }
}

/// Seconds fit into 32 bits until 2038, milliseconds never did.
fn fitting(sql: &str, target: DefaultTarget<'_>) -> Result<String, Refusal> {
    let now = if sql == SECONDS { 1_709_212_455 } else { 1_709_212_455_000 };
    let stored = constant::stored(CellBuf::Integer(now), target.affinity)?;
    match fit(target.codec, stored.as_cell(), &mut Vec::new())? {
        Holds::Value => Ok(sql.to_owned()),
        Holds::Null => Err(misplaced("the time as a number", target)),
    }
}

fn function(name: &str, args: &[Expr<'_>]) -> Result<Option<Clock>, Refusal> {
    let texts: Option<Vec<String>> = args.iter().map(text_of).collect();
    let Some(texts) = texts else { return Ok(None) };
    let (format, rest) = match (name, texts.as_slice()) {
        ("datetime", rest) => ("%Y-%m-%d %H:%M:%S", rest),
        ("date", rest) => ("%Y-%m-%d", rest),
        ("time", rest) => ("%H:%M:%S", rest),
        ("strftime", [format, rest @ ..]) => (format.as_str(), rest),
        ("julianday", rest) if is_now(rest) => return Ok(Some(Clock::Julian)),
        ("unixepoch", rest) if is_now(rest) => {
            return Ok(Some(Clock::Seconds { times: 1, class: Class::Integer }));
        }
        _ => return Ok(None),
    };
    let subsecond =
        |word: &String| word.eq_ignore_ascii_case("subsec") || word.eq_ignore_ascii_case("subsecond");
    match rest {
        rest if is_now(rest) && format == "%s" => Ok(Some(Clock::Seconds { times: 1, class: Class::Text })),
        rest if is_now(rest) => written(format),
        // It makes nothing else of a format of one's own than of its `%s`.
        [now, word] if is_now(std::slice::from_ref(now)) && subsecond(word) && name == "strftime" => {
            written(format)
        }
        [now, word] if is_now(std::slice::from_ref(now)) && subsecond(word) => {
            written(&format.replace("%S", "%f"))
        }
        [.., last] if last.eq_ignore_ascii_case("localtime") => Err(Refusal::new(
            "the current time by 'localtime'",
            "it depends on the zone of the machine that SQLite runs on",
        )),
        _ => Ok(None),
    }
}

fn is_now(args: &[String]) -> bool {
    args.is_empty() || (args.len() == 1 && args[0].eq_ignore_ascii_case("now"))
}

fn text_of(expr: &Expr<'_>) -> Option<String> {
    match parse::constant(expr)? {
        CellBuf::Text(bytes) => String::from_utf8(bytes).ok(),
        CellBuf::Null | CellBuf::Integer(_) | CellBuf::Real(_) | CellBuf::Blob(_) => None,
    }
}

/// The usual detours to an integer time.
fn epoch(spelling: &str) -> Option<Clock> {
    let days = "(julianday('now')-2440587.5)";
    let spelling = spelling
        .replace("86400000.0", "86400000")
        .replace("86400.0", "86400")
        .replace("'subsecond'", "'subsec'");
    for seconds in EPOCHS {
        if spelling == format!("int({seconds})") {
            return Some(Clock::Seconds { times: 1, class: Class::Integer });
        }
        let product =
            [format!("({seconds}*1000)"), format!("(int({seconds})*1000)"), format!("(1000*{seconds})")];
        if product.iter().any(|product| spelling == *product || spelling == format!("int({product})")) {
            return Some(Clock::Seconds { times: 1000, class: Class::Integer });
        }
    }
    let millis = [
        format!("int(({days}*86400000))"),
        "int((unixepoch('subsec')*1000))".to_owned(),
        "int((unixepoch('now','subsec')*1000))".to_owned(),
        "int((strftime('%s','now')||substr(strftime('%f','now'),4)))".to_owned(),
    ];
    if millis.contains(&spelling) {
        return Some(Clock::Millis);
    }
    (spelling == format!("int(({days}*86400))")).then_some(Clock::Seconds { times: 1, class: Class::Integer })
}

fn written(format: &str) -> Result<Option<Clock>, Refusal> {
    let mut out = Written::default();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        let (pattern, sample, grain) = match letter {
            '%' => match field(letters.next()) {
                Some(field) => field,
                None => {
                    return Err(Refusal::new(
                        "strftime()",
                        "its format has a field that to_char does not write alike",
                    ));
                }
            },
            ' ' | '-' | ':' | '.' | '/' | ',' => {
                out.pattern.push(letter);
                out.sample.push(letter);
                continue;
            }
            _ if letter.is_ascii_alphanumeric() => {
                if letter.is_ascii_digit() {
                    out.digits = out.digits.with(letter);
                }
                out.pattern.extend(['"', letter, '"']);
                out.sample.push(letter);
                continue;
            }
            _ => {
                return Err(Refusal::new(
                    "strftime()",
                    "its format has a character that to_char reads differently",
                ));
            }
        };
        if out.digits != Digits::None {
            out.digits = Digits::Others;
        }
        out.pattern.push_str(pattern);
        out.sample.push_str(sample);
        out.grain = finer(out.grain, grain);
    }
    Ok(Some(Clock::Text(out)))
}

/// A field of `strftime`: the same for `to_char`, the sample's, and how finely it tells the time.
fn field(letter: Option<char>) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match letter? {
        'Y' => ("YYYY", "2024", "year"),
        'm' => ("MM", "02", "month"),
        'd' => ("DD", "29", "day"),
        'H' => ("HH24", "13", "hour"),
        'M' => ("MI", "14", "minute"),
        'S' => ("SS", "15", "second"),
        'f' => ("SS.MS", "15.678", "milliseconds"),
        'F' => ("YYYY-MM-DD", "2024-02-29", "day"),
        'R' => ("HH24:MI", "13:14", "minute"),
        'T' => ("HH24:MI:SS", "13:14:15", "second"),
        _ => return None,
    })
}

fn finer(a: &'static str, b: &'static str) -> &'static str {
    let grains = ["", "year", "month", "day", "hour", "minute", "second", "milliseconds"];
    let rank = |grain: &str| grains.iter().position(|known| *known == grain);
    if rank(a) > rank(b) { a } else { b }
}
