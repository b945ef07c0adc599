//! Columns that the target computes itself, told as findings: no value of the source goes there, and none is compared.

use crate::model::catalog::Catalog;
use crate::model::finding::Finding;
use crate::plan::route::Route;

/// One finding a column. A plan tells them itself; a copy that is only validated has none.
pub fn computed(route: &Route, now: &Catalog) -> Vec<Finding> {
    let columns = now.table(&route.target.name).map(|table| &table.columns[..]).unwrap_or_default();
    let computed = columns.iter().filter(|column| column.generated);
    let text = "the target computes this column: it is neither sent nor compared";
    computed
        .map(|column| Finding::note("column_computed", format!("{}.{}", route.source, column.name), text))
        .collect()
}
