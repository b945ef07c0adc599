//! Width: rows that PostgreSQL cannot hold or send, told from the survey before anything is written.

use super::draft::Draft;
use super::keys::Primary;
use crate::model::cell::Class;
use crate::model::finding::Finding;
use crate::model::types::Type;

/// What a table of PostgreSQL takes. One with so many has no room for its rowid, and is compared by whole rows where it has no key.
pub(super) const COLUMNS_MAX: usize = 1600;

/// What a page leaves for one row, its header taken off.
const ROW_IN_PAGE_MAX: u64 = 8160;

/// What stays in the row of a value that is stored elsewhere.
const TOAST_POINTER_BYTES: u64 = 18;

/// PostgreSQL builds a row in one allocation of at most 1 GiB; the rest is left for headers and lengths.
const ROW_BYTES_MAX: u64 = 1_073_000_000;

pub(super) fn judge(draft: &mut Draft<'_>) {
    let columns = draft.source.columns.len() + usize::from(draft.keys.primary == Primary::Rowid);
    if columns > COLUMNS_MAX {
        let text = format!("it has {columns} columns and PostgreSQL's tables take {COLUMNS_MAX}");
        block(draft, "too_many_columns", &text, "split the table, or leave it out by [tables] exclude");
    }
    let Some(survey) = draft.survey else { return };
    if survey.row_bytes_max > ROW_BYTES_MAX {
        let text = format!(
            "its largest row has {} bytes, which PostgreSQL cannot take at once",
            survey.row_bytes_max
        );
        block(
            draft,
            "row_too_large",
            &text,
            "split the row's values, or leave the table out by [tables] exclude",
        );
    }
    let every_row = in_page(draft, |nulls, values| nulls == 0 && values > 0);
    let fullest_row = in_page(draft, |_, values| values > 0);
    // No row is wider in the target's page than its bytes, with a length before each value.
    let possible = fullest_row.min(survey.row_bytes_max + 8 * columns as u64);
    let remedy = "gather columns into one of JSON, or leave the table out by [tables] exclude";
    if every_row > ROW_IN_PAGE_MAX {
        let text =
            format!("its rows need {every_row} bytes in a page of PostgreSQL, which holds {ROW_IN_PAGE_MAX}");
        block(draft, "row_too_wide", &text, remedy);
    } else if possible > ROW_IN_PAGE_MAX {
        let text = format!(
            "a row with values in all columns needs up to {possible} bytes in a page of PostgreSQL, which holds {ROW_IN_PAGE_MAX}"
        );
        let finding = Finding::warning("row_may_be_too_wide", &draft.source.name, text);
        draft.findings.push(finding.with_remedy(remedy));
    }
}

fn block(draft: &mut Draft<'_>, code: &'static str, text: &str, remedy: &str) {
    let finding = Finding::blocker(code, &draft.source.name, text);
    draft.findings.push(finding.with_remedy(remedy));
}

/// The bytes of a row's page that the columns with such counts of NULLs and values take.
fn in_page(draft: &Draft<'_>, counts: impl Fn(u64, u64) -> bool) -> u64 {
    let is_met = |column: &usize| {
        draft.column_survey(*column).is_some_and(|survey| counts(survey.count(Class::Null), survey.values()))
    };
    let bytes = |column: usize| {
        let longest = draft.column_survey(column).map_or(0, |survey| survey.bytes_max);
        fixed_bytes(draft.ty(column)).unwrap_or((longest + 1).min(TOAST_POINTER_BYTES))
    };
    (0..draft.source.columns.len()).filter(is_met).map(bytes).sum()
}

fn fixed_bytes(ty: &Type) -> Option<u64> {
    match ty {
        Type::Bool => Some(1),
        Type::Int2 => Some(2),
        Type::Int4 | Type::Float4 | Type::Date | Type::Oid | Type::Enum(_) => Some(4),
        Type::Int8 | Type::Float8 | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => Some(8),
        Type::Macaddr => Some(6),
        Type::Interval(_) | Type::Uuid => Some(16),
        Type::Numeric(_) | Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext => None,
        Type::Bytea | Type::Json | Type::Jsonb | Type::Inet | Type::Cidr => None,
        Type::Array { .. } | Type::Other(_) => None,
    }
}
