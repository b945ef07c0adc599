//! The statements by which rows overwrite those with the same key: staged by COPY, then written by one INSERT.
//!
//! It never deletes a row and never writes a column that the source does not fill.

use crate::model::name::{ident, ident_list};
use crate::plan::route::{Identity, Route};

/// What merges one piece of a chunk, in this order, and then `DROP`.
pub struct Merge {
    pub stage: String,
    pub copy: String,
    /// Gives the number of rows that the target then holds of those that were sent.
    pub write: String,
}

pub const DROP: &str = "drop table pg_temp.liteferry_stage";

impl Merge {
    pub fn of(route: &Route) -> Merge {
        let columns = ident_list(route.columns.iter().map(|column| column.target.as_str()));
        let target = route.target.sql();
        Merge {
            // The columns' types alone: what the target refuses is refused by the target, where the constraint has its name.
            stage: format!(
                "create temporary table liteferry_stage on commit drop as select {columns} from {target} with no data"
            ),
            copy: format!("copy pg_temp.liteferry_stage ({columns}) from stdin (format binary)"),
            write: write_sql(route, &columns),
        }
    }
}

fn write_sql(route: &Route, columns: &str) -> String {
    let target = route.target.sql();
    let is_key = |index: usize| match &route.identity {
        Identity::Columns(key) => key.contains(&index),
        Identity::WholeRow => true,
    };
    let (keys, others): (Vec<usize>, Vec<usize>) = (0..route.columns.len()).partition(|index| is_key(*index));
    let names = |indexes: &[usize]| -> Vec<String> {
        indexes.iter().map(|index| ident(&route.columns[*index].target)).collect()
    };
    let (keys, others) = (names(&keys), names(&others));
    let insert = format!(
        "insert into {target} ({columns}) overriding system value select {columns} from pg_temp.liteferry_stage"
    );
    if others.is_empty() {
        // Nothing to overwrite: rows whose key is there are there already.
        let same: Vec<String> =
            keys.iter().map(|key| format!("target.{key} = liteferry_stage.{key}")).collect();
        let there = format!("exists (select from {target} as target where {})", same.join(" and "));
        return format!(
            "with added as ({insert} where not {there} returning 1)
             select (select count(*) from added) + (select count(*) from pg_temp.liteferry_stage where {there})"
        );
    }
    let set: Vec<String> = others.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "with written as ({insert} on conflict ({}) do update set {} returning 1) select count(*) from written",
        keys.join(", "),
        set.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples::route;

    #[test]
    fn a_row_with_the_same_key_is_overwritten_except_for_its_key() {
        let merge = Merge::of(&route(&["b", "a\"", "c"], Identity::Columns(vec![2, 0])));
        assert_eq!(
            merge.write,
            "with written as (insert into \"s\".\"T\" (\"b\", \"a\"\"\", \"c\") overriding system value select \"b\", \"a\"\"\", \"c\" \
             from pg_temp.liteferry_stage on conflict (\"b\", \"c\") do update set \"a\"\"\" = excluded.\"a\"\"\" returning 1) \
             select count(*) from written"
        );
        assert!(!merge.copy.contains("\"T\""));
    }

    #[test]
    fn a_row_that_is_all_key_is_added_where_it_is_not() {
        let merge = Merge::of(&route(&["a", "b"], Identity::Columns(vec![0, 1])));
        assert!(merge.write.contains("where not exists (select from \"s\".\"T\" as target where target.\"a\" = liteferry_stage.\"a\" and"));
        assert!(!merge.write.contains("on conflict"));
    }
}
