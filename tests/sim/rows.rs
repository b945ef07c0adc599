//! Tables, rows, and what the target must hold of them. Rows cross by the real packer: misfits and held rows are what they are outside.

use liteferry::canon::{Codec, Form, Zone};
use liteferry::model::cell::{Cell, CellBuf};
use liteferry::model::chunk::{Chunk, Misfit, tuple_cells};
use liteferry::model::key::key_json;
use liteferry::model::name::PgName;
use liteferry::model::schema::Affinity;
use liteferry::model::types::Type;
use liteferry::plan::packer::Packer;
use liteferry::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const TABLES: usize = 2;
/// Values of this column are unique in the first table.
pub const TAG: usize = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// An integer, NULL, or a text that the target's column cannot hold.
    pub tag: CellBuf,
    /// A text, or one with a NUL, for which the target holds the row back.
    pub note: CellBuf,
}

pub type Tables = [BTreeMap<i64, Row>; TABLES];

/// Rows by their keys' canonical bytes, and the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub rows: [BTreeMap<Vec<u8>, Vec<u8>>; TABLES],
    ledger: BTreeMap<(usize, String, usize), Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    raw: Vec<u8>,
    reason: &'static str,
}

pub fn routes() -> [Arc<Route>; TABLES] {
    [route("first"), route("second")].map(Arc::new)
}

fn route(name: &str) -> Route {
    let column = |name: &str, (ty, affinity): (Type, Affinity)| ColumnRoute {
        source: Some(name.into()),
        affinity,
        target: name.into(),
        type_oid: ty.builtin_oid().expect("a type that PostgreSQL has"),
        type_sql: ty.sql(),
        codec: Codec::new(ty, Form::Native, Zone::Utc),
        not_null: name != "tag",
    };
    let integer = || (Type::Int8, Affinity::Integer);
    Route {
        source: name.into(),
        target: PgName::new("public", name),
        columns: vec![
            column("id", integer()),
            column("tag", integer()),
            column("note", (Type::Text, Affinity::Text)),
        ],
        scan: ScanOrder::Rowid { name: "rowid".into(), column: Some(0) },
        identity: Identity::Columns(vec![0]),
    }
}

pub fn pack(route: &Route, (id, row): (i64, &Row), chunk: &mut Chunk) {
    let cells = [Cell::Integer(id), row.tag.as_cell(), row.note.as_cell()];
    Packer::new(route).pack(|column| cells[column], || vec![Cell::Integer(id)], chunk);
}

pub fn name_of(id: i64) -> String {
    key_json([Cell::Integer(id)])
}

/// A row's key, or a lone key's only cell.
pub fn key_of(tuple: &[u8]) -> Vec<u8> {
    let key = tuple_cells(tuple).next().flatten();
    key.expect("a key is never NULL").to_vec()
}

pub fn tag_of(tuple: &[u8]) -> Option<&[u8]> {
    tuple_cells(tuple).nth(TAG).flatten()
}

/// What the target must hold where the source is in this state.
pub fn image_of(tables: &Tables, routes: &[Arc<Route>; TABLES]) -> Image {
    let mut image = Image::default();
    for (at, (table, route)) in tables.iter().zip(routes).enumerate() {
        let mut chunk = Chunk::default();
        table.iter().for_each(|(id, row)| pack(route, (*id, row), &mut chunk));
        for row in 0..chunk.rows() {
            let tuple = chunk.row(row).to_vec();
            image.rows[at].insert(key_of(&tuple), tuple);
        }
        image.enter(at, &chunk.misfits);
    }
    image
}

impl Image {
    pub fn enter(&mut self, table: usize, misfits: &[Misfit]) {
        for misfit in misfits {
            let entry = Entry { raw: misfit.raw.clone(), reason: misfit.reason };
            self.ledger.insert((table, misfit.key.clone(), misfit.column), entry);
        }
    }

    /// The target would not have the row.
    pub fn enter_refused(&mut self, table: usize, tuple: Vec<u8>) {
        let name = format!("{:?}", key_of(&tuple));
        self.ledger.insert((table, name, 0), Entry { raw: tuple, reason: "refused" });
    }

    pub fn forget_entries(&mut self, table: usize, name: &str) {
        self.ledger.retain(|(at, key, _), _| *at != table || key != name);
    }

    pub fn entries(&self) -> usize {
        self.ledger.len()
    }

    /// Whether another row of the first table has this row's tag.
    pub fn tag_is_taken(&self, tuple: &[u8]) -> bool {
        let (key, tag) = (key_of(tuple), tag_of(tuple));
        tag.is_some() && self.rows[0].iter().any(|(other, row)| *other != key && tag_of(row) == tag)
    }
}
