//! What a form takes for granted that values cannot prove: a unit, a byte order, a zone. And the form of a column whose values
//! nobody has read, as the usual libraries write it.

use super::mapping::unit_named;
use crate::canon::form::{ByteOrder, Case, Dress, Duration, Unit, UuidText};
use crate::canon::{Codec, Form, Zone};
use crate::model::finding::Finding;
use crate::model::schema::{Affinity, SqliteColumn};
use crate::model::types::{NumericLimit, Type};

/// Whether bare numbers are given a unit.
pub(super) fn assumes_unit(form: Form) -> bool {
    match form {
        Form::Epoch(_) => true,
        Form::Duration(duration) => duration.counts(),
        Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => false,
        Form::Trimmed(_) | Form::Unsigned => false,
        Form::EmptyNull | Form::Affinity | Form::OtherClass => false,
        Form::Words(_) | Form::Moment(_) | Form::UuidText(_) | Form::UuidBlob(_) => false,
        Form::Array(_) | Form::List | Form::Base64 | Form::Latin1 => false,
    }
}

pub(super) fn assumes_byte_order(form: Form) -> bool {
    matches!(form, Form::UuidBlob(_))
}

/// Whether the values' meaning depends on the source's zone: an instant from a wall clock, or a wall clock from an instant.
pub(super) fn assumes_zone(ty: &Type, form: Form) -> bool {
    match form {
        Form::Epoch(_) => matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_)),
        Form::Moment(moment) if moment.suffix.is_some() => matches!(ty, Type::Timestamp(_)),
        Form::Moment(_) => matches!(ty, Type::Timestamptz(_)),
        Form::EmptyNull => matches!(ty, Type::Timestamptz(_)),
        Form::Native | Form::Number | Form::Real | Form::Shortest | Form::Digits => false,
        Form::Trimmed(_) | Form::Unsigned => false,
        Form::Affinity | Form::OtherClass => false,
        Form::Words(_) | Form::UuidText(_) | Form::UuidBlob(_) | Form::Duration(_) => false,
        Form::Array(_) | Form::List | Form::Base64 | Form::Latin1 => false,
    }
}

/// Offsets that differ among texts of one column may be those of one zone's summer and winter.
pub(super) fn season_proposed(codec: &Codec) -> &'static str {
    match codec.form {
        Form::Moment(moment) if moment.suffix.is_some() && codec.zone == Zone::Utc => {
            "[types] source_tz if the clock of one zone wrote them, in summer and in winter; or "
        }
        _ => "",
    }
}

/// Npgsql's column for what EF Core writes into SQLite as the same 64 bits.
pub(super) fn is_unsigned(ty: &Type, affinity: Affinity) -> bool {
    *ty == Type::Numeric(Some(NumericLimit::UNSIGNED)) && affinity == Affinity::Integer
}

/// How the texts of a column spell the bytes of its counterpart.
pub(super) fn bytes_proposed(subject: &str, form: Form) -> Option<Finding> {
    let pin = format!("if so, for each: [types.column.\"table.column\"] form = \"{form}\"");
    match form {
        Form::OtherClass => {
            let text = "the letters of each text are taken for the bytes themselves";
            let remedy = format!(
                "{pin}; if they are the bytes' base64 (SQLObject writes that into SQLite, and the bytes into PostgreSQL): form = \"{}\"; \
                 if each letter is one byte (Perl): form = \"{}\"; in any other code the application would read the letters there: leave \
                 the column out, [tables] exclude",
                Form::Base64,
                Form::Latin1
            );
            Some(Finding::note("bytes_proposed", subject, text).with_remedy(remedy))
        }
        Form::Latin1 => {
            let text = "each letter of each text is taken for one byte, as Perl writes them: some are control letters, which no text has";
            let remedy =
                format!("{pin}; if the bytes are those of the texts: form = \"{}\"", Form::OtherClass);
            Some(Finding::warning("bytes_proposed", subject, text).with_remedy(remedy))
        }
        _ => None,
    }
}

/// What the values cannot tell: a `ulong` of EF Core's, or numbers below zero.
pub(super) fn unsigned_proposed(subject: String, integers: Option<(i64, i64)>) -> Finding {
    let finding = match integers {
        Some((min, _)) if min < 0 => {
            let text = "the integers below zero are read as EF Core's ulong, as numbers from 2^63 on";
            Finding::warning("unsigned_proposed", subject, text)
        }
        _ => {
            let text = "an integer below zero would be read as EF Core's ulong, as a number from 2^63 on";
            Finding::note("unsigned_proposed", subject, text)
        }
    };
    finding.with_remedy(format!(
        "pin it, for each: [types.column.\"table.column\"] form = \"{}\" if so, form = \"{}\" if they are numbers below zero",
        Form::Unsigned,
        Form::Native
    ))
}

/// Whether `native` writes the values just so.
pub(in crate::plan) fn is_plain(codec: &Codec) -> bool {
    let plain = match &codec.ty {
        Type::Date => "Y-m-d",
        Type::Time(_) => "H:M:S[.f6]",
        Type::Timestamp(_) | Type::Timestamptz(_) => "Y-m-d H:M:S[.f6]",
        Type::Uuid => "uuid",
        _ => "native",
    };
    codec.form == Form::Native || codec.form.to_string() == plain
}

/// `unit`: of bare numbers, where the operator states one.
pub(super) fn unsurveyed_form(ty: &Type, source: &SqliteColumn, unit: Option<Unit>) -> Form {
    let usual = Form::usual(ty, source.affinity);
    let named = unit_named(source);
    let unit = named.or(unit);
    match (ty, source.affinity) {
        (ty, affinity) if is_unsigned(ty, affinity) => Form::Unsigned,
        (Type::Interval(_), _) if named.is_some() => Form::Duration(duration(unit)),
        (Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_), Affinity::Integer) => {
            unit.map_or(usual, Form::Epoch)
        }
        (Type::Interval(_), Affinity::Integer) => Form::Duration(duration(unit)),
        (Type::Interval(_), Affinity::Numeric) => Form::Duration(Duration::Since1970),
        (Type::Interval(_), Affinity::Text) => Form::Duration(Duration::DotNet),
        (Type::Uuid, Affinity::Blob) => Form::UuidBlob(ByteOrder::BigEndian),
        (Type::Uuid, Affinity::Text) if source.declared.contains("(32)") => {
            Form::UuidText(UuidText { dress: Dress::Bare, case: Case::Lower })
        }
        _ => usual,
    }
}

/// Django's microseconds, unless something else is stated.
fn duration(unit: Option<Unit>) -> Duration {
    match unit {
        Some(Unit::Seconds | Unit::RealSeconds) => Duration::Seconds,
        Some(Unit::Millis) => Duration::Millis,
        Some(Unit::Nanos) => Duration::Nanos,
        Some(Unit::Micros | Unit::Ticks | Unit::Julian) | None => Duration::Micros,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::existing::fixture::source;

    #[test]
    fn unread_columns_take_the_form_that_the_usual_libraries_write() {
        for (declared, ty, expected) in [
            ("bigint", Type::Interval(6), "native-micros"),
            ("char(32)", Type::Uuid, "uuid-hex"),
            ("varchar(36)", Type::Uuid, "uuid"),
            ("BLOB", Type::Uuid, "uuid-blob"),
            ("SECONDS", Type::Interval(6), "duration-s"),
            ("integer", Type::Timestamptz(6), "epoch-ms"),
            ("datetime", Type::Timestamptz(6), "native"),
            ("bool", Type::Bool, "native"),
        ] {
            let column = source("t", &[("c", declared)]).columns.remove(0);
            let expected =
                if expected == "native-micros" { Duration::Micros.to_string() } else { expected.into() };
            let unit = declared.eq("integer").then_some(Unit::Millis);
            assert_eq!(unsurveyed_form(&ty, &column, unit).to_string(), expected, "{declared}");
        }
    }

    #[test]
    fn zones_matter_between_wall_clocks_and_instants_only() {
        let naive: Form = "Y-m-d H:M:S".parse().unwrap();
        let aware: Form = "Y-m-d H:M:S+00:00".parse().unwrap();
        for (ty, form, expected) in [
            (Type::Timestamptz(6), naive, true),
            (Type::Timestamptz(6), aware, false),
            (Type::Timestamp(6), naive, false),
            (Type::Timestamp(6), aware, true),
            (Type::Timestamptz(6), Form::Epoch(Unit::Millis), false),
            (Type::Date, Form::Epoch(Unit::Millis), true),
        ] {
            assert_eq!(assumes_zone(&ty, form), expected, "{ty:?} {form}");
        }
    }
}
