//! By what a mapped table's rows are told apart, and in which order the source reads them.
//!
//! A key counts only where both sides vouch for it: unique by the target's constraint and by the source's, without NULL,
//! and every cell crossing exactly. Anything less would pair the wrong rows, so the whole row is taken instead.

use super::columns::AdaptedColumn;
use super::mapping::MappedTable;
use crate::model::catalog::{ConstraintKind, PgColumn, PgTable};
use crate::model::finding::Finding;
use crate::model::name::{ident, ident_list};
use crate::model::schema::{SqliteIndex, SqliteTable};
use crate::model::types::Type;
use crate::plan::route::{ColumnRoute, Identity, ScanOrder};

/// Columns that the target keeps unique together.
struct Candidate<'a> {
    columns: &'a [String],
    deferrable: bool,
}

#[derive(Debug)]
pub(super) struct Key {
    pub identity: Identity,
    /// Whether `on conflict` may name the key: its constraint is checked row by row.
    pub arbiter: bool,
}

pub(super) fn key(mapped: &MappedTable<'_>, columns: &[AdaptedColumn]) -> Key {
    let position = |name: &String| columns.iter().position(|column| column.route.target == *name);
    for candidate in candidates(mapped.target) {
        let Some(indexes) = candidate.columns.iter().map(position).collect::<Option<Vec<usize>>>() else {
            continue;
        };
        let sources: Vec<usize> = indexes.iter().map(|&index| columns[index].source).collect();
        let holds = |index: &usize| columns[*index].certain && columns[*index].route.not_null;
        if indexes.iter().all(holds) && mapped.source.keeps_unique(&sources) {
            let exact =
                indexes.iter().all(|index| is_told_apart_by_bytes(mapped.target, &columns[*index].route));
            return Key { identity: Identity::Columns(indexes), arbiter: !candidate.deferrable && exact };
        }
    }
    Key { identity: Identity::WholeRow, arbiter: false }
}

/// Whether the target takes two values of the column as equal only where their bytes are: `on conflict` would else overwrite
/// one row of the source with another.
fn is_told_apart_by_bytes(target: &PgTable, route: &ColumnRoute) -> bool {
    let deterministic =
        target.columns.iter().any(|column| column.name == route.target && column.collation_deterministic);
    match &route.codec.ty {
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) => deterministic,
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Bytea => true,
        Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => true,
        Type::Uuid | Type::Inet | Type::Cidr | Type::Macaddr | Type::Enum(_) | Type::Numeric(Some(_)) => true,
        // SQLite takes the two zeros as equal itself.
        Type::Float4 | Type::Float8 => true,
        Type::Numeric(None) | Type::Interval(_) | Type::Citext | Type::Json | Type::Jsonb => false,
        Type::Array { .. } | Type::Other(_) => false,
    }
}

/// What would make a key of the target out of one that the source has: its primary key, or else an index that keeps its rows unique;
/// one of which the target knows already that it is unique comes first.
pub fn key_at_hand(source: &SqliteTable, target: &PgTable) -> Option<String> {
    let plain = |index: &SqliteIndex| match index.predicate {
        None if index.unique => {
            index.parts.iter().map(|part| part.term.column()).collect::<Option<Vec<usize>>>()
        }
        None | Some(_) => None,
    };
    let declared = [source.primary_key.clone()].into_iter().filter(|key| !key.is_empty());
    let of_source = declared.chain(source.indexes.iter().filter_map(plain));
    let counterpart = |column: &usize| {
        let name = &source.columns[*column].name;
        target.columns.iter().find(|found| found.name.eq_ignore_ascii_case(name))
    };
    let of_target =
        of_source.filter_map(|key| key.iter().map(counterpart).collect::<Option<Vec<&PgColumn>>>());
    let is_known = |key: &[&PgColumn]| {
        candidates(target).iter().any(|candidate| {
            candidate.columns.len() == key.len()
                && key.iter().all(|column| candidate.columns.contains(&column.name))
        })
    };
    let (known, new): (Vec<Vec<&PgColumn>>, Vec<Vec<&PgColumn>>) = of_target.partition(|key| is_known(key));
    let not_null = |key: &[&PgColumn]| {
        let nullable = key.iter().filter(|column| !column.not_null);
        nullable
            .map(|column| format!("alter column {} set not null", ident(&column.name)))
            .collect::<Vec<_>>()
    };
    let clauses = match (known.first(), new.first()) {
        (Some(key), _) => not_null(key),
        (None, Some(key)) => {
            let unique =
                format!("add unique ({})", ident_list(key.iter().map(|column| column.name.as_str())));
            not_null(key).into_iter().chain([unique]).collect()
        }
        (None, None) => Vec::new(),
    };
    (!clauses.is_empty()).then(|| format!("alter table {} {};", target.name.sql(), clauses.join(", ")))
}

/// Unique constraints of the target that nothing in the source vouches for.
pub(super) fn unproven(mapped: &MappedTable<'_>, columns: &[AdaptedColumn]) -> Vec<Finding> {
    let source_of = |name: &String| {
        columns.iter().find(|column| column.route.target == *name).map(|column| column.source)
    };
    let mut findings = Vec::new();
    for candidate in candidates(mapped.target) {
        let sources: Option<Vec<usize>> = candidate.columns.iter().map(source_of).collect();
        if sources.is_some_and(|sources| !mapped.source.keeps_unique(&sources)) {
            let text = format!(
                "the target keeps ({}) unique and the source does not: of rows with the same value all but one \
                 are refused and go to the ledger",
                candidate.columns.join(", ")
            );
            findings.push(Finding::warning("unique_unproven", &mapped.source.name, text));
        }
    }
    findings
}

pub(super) fn scan_order(source: &SqliteTable, columns: &[AdaptedColumn]) -> ScanOrder {
    let carries_rowid = |alias: usize| {
        columns.iter().position(|column| column.source == alias && is_integer(&column.route.codec.ty))
    };
    match ScanOrder::declared(source) {
        ScanOrder::Rowid { name, .. } => {
            ScanOrder::Rowid { name, column: source.rowid_alias().and_then(carries_rowid) }
        }
        order @ (ScanOrder::Key { .. } | ScanOrder::Whole) => order,
    }
}

/// Only where the target orders the values as SQLite orders rowids can both be asked for the same stretch.
pub(super) fn is_integer(ty: &Type) -> bool {
    matches!(ty, Type::Int2 | Type::Int4 | Type::Int8)
}

/// The primary key first, then constraints before bare indexes, and what is checked at once before what may wait.
fn candidates(target: &PgTable) -> Vec<Candidate<'_>> {
    let of_kind =
        |kind: ConstraintKind| {
            target.constraints.iter().filter(move |constraint| constraint.kind == kind).map(|constraint| {
                Candidate { columns: &constraint.columns, deferrable: constraint.deferrable }
            })
        };
    let names_constraint = |name: &str| target.constraints.iter().any(|constraint| constraint.name == name);
    let bare = target
        .indexes
        .iter()
        .filter(|index| index.unique && index.valid && !index.partial && !names_constraint(&index.name.name));
    let bare = bare.filter_map(|index| index.columns.as_deref());
    let mut found: Vec<Candidate<'_>> = of_kind(ConstraintKind::Primary)
        .chain(of_kind(ConstraintKind::Unique))
        .chain(bare.map(|columns| Candidate { columns, deferrable: false }))
        .collect();
    found.sort_by_key(|candidate| candidate.deferrable);
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, column, expect, source, target, unique_index, with_key};
    use super::*;
    use crate::model::catalog::PgIndex;
    use crate::model::cell::Cell;
    use crate::model::finding::Severity::Warning;
    use crate::model::schema::Storage;
    use crate::model::schema::{IndexOrigin, IndexPart, IndexTerm, KeyOrder};
    use crate::plan::Plan;

    #[test]
    fn a_key_of_the_source_that_the_target_lacks_is_told_as_a_statement() {
        let columns = || vec![column("Id", Type::Int8), column("v", Type::Text)];
        let mut numbered = source("t", &[("id", "INTEGER"), ("v", "TEXT")]);
        let bare = numbered.clone();
        numbered.primary_key = vec![0];
        let alter = |clauses: &str| Some(format!("alter table \"public\".\"t\" {clauses};"));
        let found = |source, target| key_at_hand(source, &target);
        assert_eq!(found(&bare, target("t", columns())), None);
        assert_eq!(
            found(&numbered, target("t", columns())),
            alter("alter column \"Id\" set not null, add unique (\"Id\")")
        );
        let mut nullable = target("t", columns());
        nullable.indexes = vec![unique_index("u", &["Id"])];
        assert_eq!(found(&numbered, nullable), alter("alter column \"Id\" set not null"));
        assert_eq!(found(&numbered, target("t", vec![column("v", Type::Text)])), None);
    }

    #[test]
    fn a_key_counts_only_where_both_sides_vouch_for_it() {
        let unique = |columns: &[usize]| SqliteIndex {
            name: "u".into(),
            unique: true,
            origin: IndexOrigin::Created,
            predicate: None,
            parts: columns
                .iter()
                .map(|column| IndexPart {
                    term: IndexTerm::Column(*column),
                    collation: "BINARY".into(),
                    descending: false,
                })
                .collect(),
        };
        let keyed_by_v = |indexes: Vec<SqliteIndex>| {
            let mut case = Case::new();
            case.schema.tables[0].indexes = indexes;
            let columns = vec![column("v", Type::Text), column("id", Type::Int8)];
            case.catalog.tables = vec![with_key(target("t", columns), &["v"])];
            case
        };
        let identity = |plan: &Plan| plan.tables[0].route.identity.clone();
        let proven = keyed_by_v(vec![unique(&[1])]);
        assert_eq!(identity(&proven.plan()), Identity::Columns(vec![1]));
        assert_eq!(identity(&proven.plan_with_value(Cell::Null)), Identity::WholeRow);
        assert_eq!(identity(&proven.plan_unread()), Identity::WholeRow);
        let partial = SqliteIndex { predicate: Some("id > 5".into()), ..unique(&[1]) };
        let unproven = keyed_by_v(vec![partial]);
        assert_eq!(identity(&unproven.plan()), Identity::WholeRow);
        expect(&unproven.plan(), Warning, "unique_unproven", "(v) unique");

        let mut narrow = Case::new();
        narrow.table().columns[0].ty = Type::Int4;
        let beyond: &[&[Cell<'_>]] = &[&[Cell::Integer(3_000_000_000), Cell::Null]];
        assert_eq!(identity(&narrow.plan()), Identity::Columns(vec![0]));
        assert_eq!(identity(&narrow.plan_with(&[("t", beyond)])), Identity::WholeRow);

        let mut bare = Case::new();
        bare.table().constraints.clear();
        bare.table().indexes = vec![unique_index("u", &["id"])];
        assert_eq!(identity(&bare.plan()), Identity::Columns(vec![0]));
        bare.table().indexes[0] = PgIndex { partial: true, ..unique_index("u", &["id"]) };
        assert_eq!(identity(&bare.plan()), Identity::WholeRow);
        assert_eq!(identity(&Case::new().plan_unread()), Identity::Columns(vec![0]));
    }

    #[test]
    fn rows_are_read_in_the_order_of_their_own_tree() {
        let order = |storage: Storage| {
            let mut case = Case::new();
            case.schema.tables[0].storage = storage;
            case.plan().tables[0].route.scan.clone()
        };
        let key = KeyOrder { column: 1, collation: "NOCASE".into(), descending: true };
        assert_eq!(
            order(Storage::WithoutRowid { order: vec![key.clone()] }),
            ScanOrder::Key { names: vec!["v".into()], order: vec![key] }
        );
        let named = |name: &str, column| ScanOrder::Rowid { name: name.into(), column };
        assert_eq!(order(Storage::Rowid { alias: None, rowid: Some("oid") }), named("oid", None));
        assert_eq!(order(Storage::Rowid { alias: Some(0), rowid: None }), named("id", Some(0)));
        assert_eq!(order(Storage::Rowid { alias: None, rowid: None }), ScanOrder::Whole);
    }
}
