//! Keys: by what a row is found, told from another, and kept unique.
//!
//! The declared primary key becomes the target's only when every row has it, whole and exact. A table where it does not gets the
//! rowid in a column of its own, so that rows which SQLite tells apart stay apart. Nothing is made unique that SQLite does not
//! hold unique.

use super::draft::{Draft, KEY_BYTES_MAX};
use super::indexes;
use super::width::COLUMNS_MAX;
use crate::model::finding::Finding;
use crate::model::name::{ident, ident_list};
use crate::model::schema::{IndexOrigin, IndexPart, IndexTerm, KeyOrder, SqliteTable, Storage, is_built_in};
use crate::plan::Statement;
use crate::plan::naming::Names;
use crate::plan::route::{Identity, ScanOrder};
use crate::plan::survey::TableSurvey;
use crate::plan::typing::Decision;

pub(super) struct Keys {
    pub primary: Primary,
    pub identity: Identity,
    pub scan: ScanOrder,
    /// Why the declared key is not the target's primary key.
    pub unfit: Option<Unfit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Primary {
    Columns(Vec<usize>),
    /// The column of our own that carries the rowid.
    Rowid,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Undeclared,
    Nulls(u64),
    MayBeNull,
    Ledgered,
    TooLong,
    TooManyColumns,
    Unordered,
    ForeignCollation,
}

/// PostgreSQL's limit for the columns of an index.
pub(super) const INDEX_COLUMNS_MAX: usize = 32;

/// Decided from the declaration, the values seen and the types chosen.
pub(super) fn of(table: &SqliteTable, survey: Option<&TableSurvey>, decisions: &[Decision]) -> Keys {
    let declared = distinct(&table.primary_key);
    let unfit = unfit(table, survey, decisions, &declared);
    let finds = |unfit: Unfit| match unfit {
        Unfit::Undeclared | Unfit::Nulls(_) | Unfit::MayBeNull | Unfit::Ledgered | Unfit::Unordered => false,
        Unfit::TooLong | Unfit::TooManyColumns | Unfit::ForeignCollation => true,
    };
    let exact = unfit.is_none_or(finds);
    let by_key = || Identity::Columns(declared.clone());
    match &table.storage {
        Storage::WithoutRowid { .. } => Keys {
            primary: if unfit.is_none() { Primary::Columns(declared.clone()) } else { Primary::None },
            identity: if exact { by_key() } else { Identity::WholeRow },
            scan: ScanOrder::declared(table),
            unfit,
        },
        Storage::Rowid { alias, rowid } => {
            let name =
                rowid.map(str::to_owned).or_else(|| alias.map(|alias| table.columns[alias].name.clone()));
            let own = table.columns.len();
            let has_room = own < COLUMNS_MAX;
            let (primary, identity) = match unfit {
                None => (Primary::Columns(declared.clone()), by_key()),
                Some(_) if name.is_some() && has_room => (Primary::Rowid, Identity::Columns(vec![own])),
                Some(_) if exact => (Primary::None, by_key()),
                Some(_) => (Primary::None, Identity::WholeRow),
            };
            let column = if primary == Primary::Rowid { Some(own) } else { *alias };
            let scan = match name {
                Some(name) => ScanOrder::Rowid { name, column },
                None if exact => ScanOrder::by_key(table, declared_order(table)),
                None => ScanOrder::declared(table),
            };
            Keys { primary, identity, scan, unfit }
        }
    }
}

/// The statements that make the key hold in the target, after the load.
pub(super) fn add_statements(draft: &mut Draft<'_>, names: &mut Names) {
    let parts = declared_parts(draft.source);
    explain(draft);
    match draft.keys.primary.clone() {
        Primary::Columns(columns) => {
            let list = ident_list(columns.iter().map(|column| draft.columns.names[*column].as_str()));
            let name = names.invent(&format!("{}_pkey", draft.target.name));
            let fallback = indexes::digest_key(draft, &name, &columns);
            add_primary_key(draft, &name, &list, fallback);
            // SQLite's key is narrower where it is compared by another collation than the bytes'.
            if indexes::is_plain(draft, &parts) {
                draft.unique.push(columns);
            } else {
                indexes::add_unique(draft, names, &parts);
            }
        }
        Primary::Rowid => {
            let list = ident(&draft.columns.rowid);
            let name = names.invent(&format!("{}_pkey", draft.target.name));
            add_primary_key(draft, &name, &list, None);
            add_declared_as_unique(draft, names, &parts);
        }
        Primary::None => add_declared_as_unique(draft, names, &parts),
    }
}

fn add_declared_as_unique(draft: &mut Draft<'_>, names: &mut Names, parts: &[IndexPart]) {
    if !parts.is_empty() {
        indexes::add_unique(draft, names, parts);
    }
}

fn add_primary_key(draft: &mut Draft<'_>, name: &str, list: &str, fallback: Option<String>) {
    draft.constraint_names.claim(name);
    let statement = Statement {
        what: format!("primary key {} on {}", ident(name), ident(&draft.target.name)),
        sql: draft.alter(&format!("add constraint {} primary key ({list})", ident(name))),
        fallback,
        required: true,
    };
    draft.note(format!("primary key ({list})"));
    draft.indexes.push(statement);
}

fn explain(draft: &mut Draft<'_>) {
    let Some(unfit) = draft.keys.unfit else { return };
    let kept = match draft.keys.primary {
        Primary::Rowid => format!("its rowid is kept in {} as primary key", ident(&draft.columns.rowid)),
        Primary::Columns(_) | Primary::None => match draft.keys.identity {
            Identity::Columns(_) => "it gets no primary key".to_owned(),
            Identity::WholeRow => "it gets no primary key, and its rows are compared whole".to_owned(),
        },
    };
    let text = format!("{}; {kept}", unfit.sentence());
    draft.note(format!("key: {text}"));
    draft.findings.push(Finding::note("key_replaced", &draft.source.name, text));
}

impl Unfit {
    fn sentence(self) -> String {
        match self {
            Unfit::Undeclared => "it declares no primary key".to_owned(),
            Unfit::Nulls(rows) => format!("its primary key is NULL in some rows ({rows})"),
            Unfit::MayBeNull => "its primary key may hold NULLs, and its values were not read".to_owned(),
            Unfit::Ledgered => "its primary key has values that do not cross exactly".to_owned(),
            Unfit::TooLong => "its primary key has values too long for an index entry".to_owned(),
            Unfit::TooManyColumns => format!("its primary key has more than {INDEX_COLUMNS_MAX} columns"),
            Unfit::Unordered => "its primary key has a type that cannot be indexed".to_owned(),
            Unfit::ForeignCollation => {
                "its primary key compares by a collation that only the application has".to_owned()
            }
        }
    }
}

fn unfit(
    table: &SqliteTable,
    survey: Option<&TableSurvey>,
    decisions: &[Decision],
    declared: &[usize],
) -> Option<Unfit> {
    if declared.is_empty() {
        return Some(Unfit::Undeclared);
    }
    if let Some(unfit) = null_keys(table, survey, declared) {
        return Some(unfit);
    }
    if declared.iter().any(|column| decisions[*column].misfits > 0) {
        return Some(Unfit::Ledgered);
    }
    if declared.len() > INDEX_COLUMNS_MAX {
        return Some(Unfit::TooManyColumns);
    }
    if declared.iter().any(|column| !indexes::has_order(&decisions[*column].codec.ty)) {
        return Some(Unfit::Unordered);
    }
    let bytes =
        |column: &usize| survey.and_then(|survey| survey.columns.get(*column)).map_or(0, |it| it.bytes_max);
    let bytes: u64 = declared.iter().map(bytes).sum();
    if bytes > KEY_BYTES_MAX {
        return Some(Unfit::TooLong);
    }
    // By such a key SQLite finds no row for us; by its rowid it does.
    let has_rowid = matches!(table.storage, Storage::Rowid { rowid: Some(_), .. });
    let is_foreign = |column: &usize| !is_built_in(&table.columns[*column].collation);
    (has_rowid && declared.iter().any(is_foreign)).then_some(Unfit::ForeignCollation)
}

/// Outside of STRICT and WITHOUT ROWID tables only NOT NULL keeps NULL out of a primary key that is not the rowid.
fn null_keys(table: &SqliteTable, survey: Option<&TableSurvey>, declared: &[usize]) -> Option<Unfit> {
    let rowid = table.rowid_alias().is_some() || matches!(table.storage, Storage::WithoutRowid { .. });
    let refused = declared.iter().all(|column| table.columns[*column].not_null);
    match survey {
        _ if rowid => None,
        Some(survey) if survey.key_nulls > 0 => Some(Unfit::Nulls(survey.key_nulls)),
        Some(_) => None,
        None if refused || table.strict => None,
        None => Some(Unfit::MayBeNull),
    }
}

/// The declared key as SQLite compares it.
fn declared_parts(table: &SqliteTable) -> Vec<IndexPart> {
    let of_order = |order: &KeyOrder| IndexPart {
        term: IndexTerm::Column(order.column),
        collation: order.collation.clone(),
        descending: order.descending,
    };
    let parts: Vec<IndexPart> = match &table.storage {
        Storage::WithoutRowid { order } => order.iter().map(of_order).collect(),
        Storage::Rowid { .. } => declared_order(table).iter().map(of_order).collect(),
    };
    let mut distinct: Vec<IndexPart> = Vec::new();
    for part in parts {
        if !distinct.iter().any(|seen| seen.term == part.term && seen.collation == part.collation) {
            distinct.push(part);
        }
    }
    distinct
}

/// From the key's own index where it has one, which knows collation and direction.
fn declared_order(table: &SqliteTable) -> Vec<KeyOrder> {
    let index = table.indexes.iter().find(|index| index.origin == IndexOrigin::PrimaryKey);
    let of_part = |part: &IndexPart| match part.term {
        IndexTerm::Column(column) => {
            Some(KeyOrder { column, collation: part.collation.clone(), descending: part.descending })
        }
        IndexTerm::Rowid | IndexTerm::Expression(_) => None,
    };
    let of_column = |column: &usize| KeyOrder {
        column: *column,
        collation: table.columns[*column].collation.clone(),
        descending: false,
    };
    match index {
        Some(index) => index.parts.iter().filter_map(of_part).collect(),
        None => table.primary_key.iter().map(of_column).collect(),
    }
}

fn distinct(columns: &[usize]) -> Vec<usize> {
    let mut seen = Vec::new();
    for column in columns {
        if !seen.contains(column) {
            seen.push(*column);
        }
    }
    seen
}
