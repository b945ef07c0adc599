//! Columns that SQLite compares by anything but their bytes. Keys and indexes keep that order of theirs; what the application compares in
//! its statements it does not.

use super::draft::Draft;
use crate::model::finding::Finding;
use crate::model::types::Type;

pub(super) fn tell(draft: &mut Draft<'_>) {
    let columns = 0..draft.source.columns.len();
    let found: Vec<Finding> = columns.filter_map(|column| finding(draft, column)).collect();
    draft.findings.extend(found);
}

fn finding(draft: &Draft<'_>, column: usize) -> Option<Finding> {
    let declared = &draft.source.columns[column];
    let collation = declared.collation.to_ascii_uppercase();
    if collation == "BINARY" || !draft.is_textual(column) || *draft.ty(column) == Type::Citext {
        return None;
    }
    let (there, remedy) = match collation.as_str() {
        "NOCASE" => (
            "there 'Ab' is not 'ab' in a condition or a join, and capital letters come first in an order",
            "have the application's statements compare lower(…), as indexes of it are made, or for each: [types.column.\"table.column\"] \
             type = \"citext\", to which É and é are one letter too",
        ),
        "RTRIM" => (
            "there spaces at the end count",
            "have the application's statements compare rtrim(…, ' '), as indexes of it are made",
        ),
        _ => (
            "there is no such order there",
            "give the column an order of PostgreSQL's that is like it, after the copy, if the application relies on it",
        ),
    };
    let text = format!("SQLite compares it by {collation}, and PostgreSQL by its bytes: {there}");
    let subject = format!("{}.{}", draft.source.name, declared.name);
    Some(Finding::warning("compared_by_bytes", subject, text).with_remedy(remedy))
}
