//! What a SQLite database declares, as introspection found it. Expressions stay SQL text; `plan` parses them.

use super::cell::CellBuf;

#[derive(Clone, Debug, Default)]
pub struct SqliteSchema {
    /// `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    pub tables: Vec<SqliteTable>,
    pub views: Vec<SqliteView>,
    pub triggers: Vec<SqliteTrigger>,
    /// Virtual and shadow tables, and columns that only the application can compute: named, never copied.
    pub left_out: Vec<LeftOut>,
    /// The rows of `sqlite_sequence`, as they stand; the value may be of any class.
    pub sequences: Vec<(String, CellBuf)>,
    /// Tables, indexes, views and triggers of whose text something could not be read. A table here lacks its CHECKs, generated
    /// expressions (empty), constraint names and deferrability; an index with expressions or a WHERE, a view, a trigger is
    /// only named here.
    pub unread: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct SqliteTable {
    pub name: String,
    pub storage: Storage,
    pub strict: bool,
    pub autoincrement: bool,
    pub columns: Vec<SqliteColumn>,
    /// Columns of the declared primary key in key order; empty where there is none.
    pub primary_key: Vec<usize>,
    pub indexes: Vec<SqliteIndex>,
    pub foreign_keys: Vec<SqliteForeignKey>,
    pub checks: Vec<SqliteCheck>,
    /// What its constraints do with a row that breaks them, other than to refuse it; each once.
    pub on_conflict: Vec<OnConflict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    Replace,
    Ignore,
}

/// How rows are found in a table's own tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// `alias`: the column that is the rowid (a true INTEGER PRIMARY KEY). `rowid`: the name under which SQL reaches the
    /// rowid (`_rowid_`, `rowid` or `oid`, whichever no column shadows); `None` where all three are columns.
    Rowid { alias: Option<usize>, rowid: Option<&'static str> },
    /// The primary key is the tree; `order` tells its collation and direction per key column.
    WithoutRowid { order: Vec<KeyOrder> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    pub column: usize,
    pub collation: String,
    pub descending: bool,
}

#[derive(Clone, Debug)]
pub struct SqliteColumn {
    pub name: String,
    /// The declared type as written, without constraints; empty where none.
    pub declared: String,
    pub affinity: Affinity,
    pub not_null: bool,
    /// Raw SQL text of the default, as `table_xinfo` gives it.
    pub default: Option<String>,
    /// `BINARY` unless declared otherwise.
    pub collation: String,
    pub generated: Option<Generated>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    pub stored: bool,
    /// Expression text, without the outer parentheses.
    pub expression: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affinity {
    Integer,
    Real,
    Numeric,
    Text,
    /// SQLite's BLOB or NONE: values are stored as given.
    Blob,
}

#[derive(Clone, Debug)]
pub struct SqliteIndex {
    pub name: String,
    pub unique: bool,
    pub origin: IndexOrigin,
    /// Text of the WHERE clause.
    pub predicate: Option<String>,
    /// Key parts only, without the trailing rowid.
    pub parts: Vec<IndexPart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// CREATE INDEX.
    Created,
    /// A UNIQUE constraint of the table.
    Unique,
    /// The PRIMARY KEY of the table.
    PrimaryKey,
}

#[derive(Clone, Debug)]
pub struct IndexPart {
    pub term: IndexTerm,
    pub collation: String,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexTerm {
    Column(usize),
    Rowid,
    /// Expression text, without a trailing COLLATE, ASC or DESC.
    Expression(String),
}

#[derive(Clone, Debug)]
pub struct SqliteForeignKey {
    /// The name given by CONSTRAINT, if any.
    pub name: Option<String>,
    pub columns: Vec<usize>,
    pub parent: String,
    /// Empty: the parent's primary key is meant.
    pub parent_columns: Vec<String>,
    pub on_update: FkAction,
    pub on_delete: FkAction,
    pub deferrable: Deferrable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FkAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

impl FkAction {
    pub fn sql(self) -> &'static str {
        match self {
            FkAction::NoAction => "NO ACTION",
            FkAction::Restrict => "RESTRICT",
            FkAction::Cascade => "CASCADE",
            FkAction::SetNull => "SET NULL",
            FkAction::SetDefault => "SET DEFAULT",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferrable {
    No,
    InitiallyImmediate,
    InitiallyDeferred,
}

#[derive(Clone, Debug)]
pub struct SqliteCheck {
    pub name: Option<String>,
    /// Expression text, without the outer parentheses.
    pub expression: String,
}

#[derive(Clone, Debug)]
pub struct SqliteView {
    pub name: String,
    pub sql: String,
}

#[derive(Clone, Debug)]
pub struct SqliteTrigger {
    pub name: String,
    pub table: String,
    pub sql: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub name: String,
    /// Of a table, what `PRAGMA table_list` says; `virtual` carries the module's name.
    pub kind: LeftOutKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOutKind {
    Virtual {
        module: String,
    },
    Shadow,
    /// A column, as `table.column`, that is not stored: SQLite cannot compute it without the application.
    Uncomputable {
        why: String,
    },
}

impl SqliteSchema {
    /// SQLite folds ASCII letters when it looks up a table.
    pub fn table(&self, name: &str) -> Option<&SqliteTable> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

impl SqliteTable {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The column that is the rowid under another name.
    pub fn rowid_alias(&self) -> Option<usize> {
        match &self.storage {
            Storage::Rowid { alias, .. } => *alias,
            Storage::WithoutRowid { .. } => None,
        }
    }

    /// Whether no two rows have the same in all of these columns. A unique part makes the whole unique. SQLite's collations and its
    /// numeric comparison only ever make more values equal than bytes do, so what they keep apart differs.
    pub fn keeps_unique(&self, columns: &[usize]) -> bool {
        let covers = |key: &[usize]| !key.is_empty() && key.iter().all(|column| columns.contains(column));
        let unique_index = self.indexes.iter().any(|index| {
            let parts: Option<Vec<usize>> = index.parts.iter().map(|part| part.term.column()).collect();
            index.unique && index.predicate.is_none() && parts.is_some_and(|parts| covers(&parts))
        });
        unique_index || covers(&self.primary_key) || self.rowid_alias().is_some_and(|alias| covers(&[alias]))
    }
}

impl IndexTerm {
    /// The column that it is, where it is nothing else.
    pub fn column(&self) -> Option<usize> {
        match self {
            IndexTerm::Column(column) => Some(*column),
            IndexTerm::Rowid | IndexTerm::Expression(_) => None,
        }
    }
}

/// Whether SQLite itself has the collation. Any other is the application's own: nobody else who opens the file knows its order.
pub fn is_built_in(collation: &str) -> bool {
    ["BINARY", "NOCASE", "RTRIM"].iter().any(|name| collation.eq_ignore_ascii_case(name))
}

impl Affinity {
    /// SQLite's rule: substrings of the declared type, in this order; no type at all is BLOB.
    pub fn of_declared(declared: &str) -> Affinity {
        let upper = declared.to_ascii_uppercase();
        let holds = |word: &str| upper.contains(word);
        if holds("INT") {
            Affinity::Integer
        } else if holds("CHAR") || holds("CLOB") || holds("TEXT") {
            Affinity::Text
        } else if holds("BLOB") || upper.trim().is_empty() {
            Affinity::Blob
        } else if holds("REAL") || holds("FLOA") || holds("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_is_a_matter_of_substrings() {
        let cases = [
            ("FLOATING POINT", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("STRING", Affinity::Numeric),
            ("UUID", Affinity::Numeric),
            ("varchar(max)", Affinity::Text),
            ("DOUBLE PRECISION", Affinity::Real),
            ("", Affinity::Blob),
            ("byte[]", Affinity::Numeric),
            ("ANY", Affinity::Numeric),
        ];
        for (declared, expected) in cases {
            assert_eq!(Affinity::of_declared(declared), expected, "{declared}");
        }
    }
}
