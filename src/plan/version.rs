//! What a plan asks of the server that only later versions have. Pure.
//!
//! The oldest version that is worked with at all is no matter of a plan.

use super::Plan;
use super::survey::Survey;
use crate::model::finding::Finding;
use crate::model::schema::SqliteSchema;
use crate::model::types::{NumericLimit, Type};

/// Since this version `numeric` holds infinities.
const NUMERIC_INFINITE: u32 = 140_000;
/// Since this version the scale of `numeric` may be negative, or larger than the precision.
const NUMERIC_ANY_SCALE: u32 = 150_000;

/// Blockers: the load would be refused in the middle.
pub fn too_new(
    plan: &Plan,
    schema: &SqliteSchema,
    survey: Option<&Survey>,
    version_num: u32,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in plan.tables.iter().map(|table| &table.route) {
        let table = schema.tables.iter().find(|table| table.name == route.source);
        let surveyed = survey.and_then(|survey| survey.tables.get(&route.source));
        for column in &route.columns {
            let is_it = |name: &String| column.source.as_ref() == Some(name);
            let at = table.and_then(|table| table.columns.iter().position(|column| is_it(&column.name)));
            let seen = surveyed.zip(at).and_then(|(table, at)| table.columns.get(at));
            let infinite = seen.map_or(0, |seen| seen.reals_infinite);
            let Some((what, since)) = lacking(&column.codec.ty, infinite, version_num) else { continue };
            let (of_server, since) = (version_num / 10_000, since / 10_000);
            let text = format!("{what}: PostgreSQL {since} takes it, and the server is {of_server}");
            let subject = format!("{}.{}", route.source, column.target);
            findings.push(
                Finding::blocker("type_too_new", subject, text)
                    .with_remedy("set another type for it, such as double precision, or upgrade the server"),
            );
        }
    }
    findings
}

/// What the server does not have, and since when others do. `infinite`: so many values of the column.
fn lacking(ty: &Type, infinite: u64, version_num: u32) -> Option<(String, u32)> {
    let (what, since) = match ty {
        Type::Numeric(None) if infinite > 0 => {
            ("numeric would hold infinite values".to_owned(), NUMERIC_INFINITE)
        }
        Type::Numeric(Some(NumericLimit { precision, scale }))
            if !(0..=i32::from(*precision)).contains(&i32::from(*scale)) =>
        {
            (format!("its type is {}", ty.sql()), NUMERIC_ANY_SCALE)
        }
        _ => return None,
    };
    (version_num < since).then_some((what, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_lacks_is_known() {
        let numeric = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
        for (ty, infinite, version_num, expected) in [
            (Type::Numeric(None), 1, 130_023, Some(140_000)),
            (Type::Numeric(None), 0, 130_023, None),
            (Type::Numeric(None), 1, 140_000, None),
            (Type::Float8, 1, 130_023, None),
            // What a precision does not admit is a misfit, whatever the version.
            (numeric(5, 2), 1, 130_023, None),
            (numeric(5, -2), 0, 140_023, Some(150_000)),
            (numeric(3, 5), 0, 140_023, Some(150_000)),
            (numeric(3, 3), 0, 140_023, None),
            (numeric(3, 5), 0, 150_000, None),
        ] {
            let found = lacking(&ty, infinite, version_num).map(|(_, since)| since);
            assert_eq!(found, expected, "{ty:?} {version_num}");
        }
    }
}
