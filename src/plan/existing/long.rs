//! Values that are too long for an index of the target: PostgreSQL refuses their rows, which go to the ledger whole.

use super::mapping::{Counterpart, MappedTable};
use crate::model::catalog::PgIndex;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::types::Type;
use crate::plan::survey::TableSurvey;

/// A third of a page, less what an entry takes for itself.
const ENTRY_BYTES_MAX: u64 = 2704;

pub(super) fn too_long_for_indexes<'a>(
    mapped: &'a MappedTable<'a>,
    surveyed: Option<&'a TableSurvey>,
) -> impl Iterator<Item = Finding> + 'a {
    let trees = mapped.target.indexes.iter().filter(|index| index.definition.contains(" USING btree "));
    trees.filter_map(move |index| finding(mapped, surveyed?, index))
}

fn finding(mapped: &MappedTable<'_>, surveyed: &TableSurvey, index: &PgIndex) -> Option<Finding> {
    let names = index.columns.as_ref()?;
    let bytes: u64 = names.iter().map(|name| longest(mapped, surveyed, name)).sum();
    if bytes <= ENTRY_BYTES_MAX {
        return None;
    }
    let text = format!(
        "there are values of {bytes} bytes for the index {}, which takes {ENTRY_BYTES_MAX} once they are compressed: rows with more are refused (54000) \
         and go to the ledger whole",
        ident(&index.name.name)
    );
    let (table, dropped) = (mapped.target.name.sql(), index.name.sql());
    let remedy = match names.as_slice() {
        [name] if !index.unique => {
            format!("drop index {dropped}; create index on {table} using hash ({});", ident(name))
        }
        _ => "have it index a digest of the long values (md5(…)) instead".to_owned(),
    };
    Some(Finding::warning("index_too_long", mapped.source.name.clone(), text).with_remedy(remedy))
}

/// What the column's values take at the most, where they may be of any length.
fn longest(mapped: &MappedTable<'_>, surveyed: &TableSurvey, name: &str) -> u64 {
    let is_it = |at: &usize| match mapped.columns[*at].counterpart {
        Counterpart::Column(target) => target.name == *name && varies(&target.ty),
        Counterpart::Missing | Counterpart::Excluded => false,
    };
    let found = (0..mapped.columns.len()).find(is_it).and_then(|at| surveyed.columns.get(at));
    found.map_or(0, |column| column.bytes_max)
}

fn varies(ty: &Type) -> bool {
    matches!(ty, Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext | Type::Bytea)
}
