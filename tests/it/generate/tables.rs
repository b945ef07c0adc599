//! Tables with odd keys, columns, constraints and indexes, as SQL text and as what is needed to fill them.

use super::names::Names;
use super::random::Random;
use super::values::Kind;
use liteferry::model::name::ident;

pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub create: String,
    pub autoincrement: bool,
}

pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub generated: bool,
    /// Of a hundred cells, how many are of another kind.
    pub misfits: usize,
    pub nulls: usize,
}

const DECLARED: [&str; 84] = [
    "",
    "FLOATING POINT",
    "CHARINT",
    "STRING",
    "UNSIGNED BIG INT",
    "NATIVE CHARACTER(70)",
    "VARYING  CHARACTER ( 255 )",
    "DOUBLE PRECISION",
    "DECIMAL(10,5)",
    "ANY",
    "TEXT[]",
    "byte[]",
    "\"varchar(max)\"",
    "\"ENUM('a','b')\"",
    "\"my \"\"odd\"\" type\"",
    "DATETIME(6)",
    "TIMESTAMP WITH TIME ZONE",
    "BOOLEAN",
    "TINYINT(1)",
    "DECIMAL(-5,+2)",
    "MONEY",
    "UUID",
    "JSON",
    "\"HSTORE\"",
    "INTEGER",
    "INT",
    "INT2",
    "INT4",
    "INT8",
    "SMALLINT",
    "smallint unsigned",
    "bigint",
    "MEDIUMINT",
    "TINYINT",
    "TEXT",
    "varchar(20)",
    "char(32)",
    "char(39)",
    "CLOB",
    "BLOB",
    "REAL",
    "FLOAT",
    "DOUBLE",
    "NUMERIC",
    "decimal",
    "decimal(20,6)",
    "NUMERIC(10, 2)",
    "number",
    "DATE",
    "DATETIME",
    "TIMESTAMP",
    "time",
    "bool",
    "bit",
    "BIT(1)",
    "BIT(8)",
    "GUID",
    "uniqueidentifier",
    "jsonb",
    "varbinary(16)",
    "bytea",
    "LONGTEXT",
    "nvarchar(255)",
    "timestamptz",
    "serial",
    "year",
    "INTEGER(8)",
    "INT UNSIGNED",
    "TIME WITHOUT TIME ZONE",
    "interval",
    "inet",
    "citext",
    "POINT",
    "geometry",
    "character",
    "num",
    "dec(5)",
    "smalldatetime",
    "currency",
    "xml",
    "object",
    "blob sub_type text",
    "int identity",
    "datetimeoffset",
];

const STRICT: [&str; 6] = ["INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"];

const DEFAULTS: [&str; 40] = [
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "(current_time)",
    "(datetime('now'))",
    "(datetime('now','localtime'))",
    "(STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW'))",
    "(strftime('%s','now'))",
    "(unixepoch())",
    "(julianday('now'))",
    "(cast((julianday('now') - 2440587.5)*86400000 as int))",
    "(lower(hex(randomblob(16))))",
    "(random())",
    "(abs(random()) % 100)",
    "\"dq literal\"",
    "'it''s'",
    "''",
    "'null'",
    "null",
    "(NULL)",
    "'CURRENT_TIMESTAMP'",
    "bareword",
    "-1",
    "+5",
    "0x10",
    "1e3",
    "'0'",
    "\"0\"",
    "false",
    "TRUE",
    "'t'",
    "(1+2*3)",
    "9223372036854775808",
    ".5",
    "x'00ff'",
    "'text'",
    "'{}'",
    "(json_object('a',1))",
    "'2024-02-29'",
    "'007'",
    "-9223372036854775808",
];

const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// `others` are the tables that foreign keys may name.
pub fn table(random: &mut Random, name: &str, others: &[String]) -> Table {
    let strict = random.in_hundred(15);
    let mut names = Names::default();
    let (mut columns, mut lines) = (Vec::new(), Vec::new());
    let mut options: Vec<&str> = if strict { vec!["STRICT"] } else { Vec::new() };
    let style = random.below(12);
    if let Some(declared) = single_key(random, style) {
        let name = names.invent(random, "id");
        lines.push(format!("{} {declared}", ident(&name)));
        let kind = if declared.starts_with("TEXT") { Kind::Text } else { Kind::Integer };
        columns.push(Column { name, kind, generated: false, misfits: 0, nulls: 5 });
    }
    if style == 8 {
        for shadow in ["rowid", "oid", "_rowid_"].into_iter().filter(|_| random.in_hundred(90)) {
            names.claim(shadow);
            columns.push(Column {
                name: shadow.into(),
                kind: Kind::Hostile,
                generated: false,
                misfits: 10,
                nulls: 10,
            });
            lines.push(format!("{shadow} TEXT"));
        }
    }
    for _ in 0..=(if random.in_hundred(10) { random.below(40) } else { random.below(8) }) {
        let name = names.invent(random, "c");
        let (column, line) = column(random, name, &columns, &options);
        columns.push(column);
        lines.push(line);
    }
    if style >= 9 || style == 8 && random.in_hundred(30) {
        let parts = parts(random, &columns);
        let listed: Vec<String> = parts.iter().map(|(name, rest)| format!("{}{rest}", ident(name))).collect();
        lines.push(format!("PRIMARY KEY({})", listed.join(", ")));
        if random.in_hundred(60) {
            options.push("WITHOUT ROWID");
        }
    }
    lines.extend(constraints(random, &columns, others));
    let create = format!("CREATE TABLE {}({}) {}", ident(name), lines.join(", "), options.join(", "));
    Table { name: name.to_owned(), columns, create, autoincrement: style < 2 }
}

/// The declaration of a key of one column, for the styles that have one.
fn single_key(random: &mut Random, style: usize) -> Option<&'static str> {
    match style {
        0 | 1 => Some("INTEGER PRIMARY KEY AUTOINCREMENT"),
        2 | 3 => Some("INTEGER PRIMARY KEY"),
        4 => Some(*random.pick(&["INTEGER PRIMARY KEY DESC", "INT PRIMARY KEY", "INTEGER PRIMARY KEY ASC"])),
        5 => Some(*random.pick(&[
            "TEXT PRIMARY KEY",
            "TEXT PRIMARY KEY NOT NULL",
            "TEXT COLLATE NOCASE PRIMARY KEY",
        ])),
        _ => None,
    }
}

fn column(random: &mut Random, name: String, before: &[Column], options: &[&str]) -> (Column, String) {
    let declared = if options.contains(&"STRICT") { random.pick(&STRICT) } else { random.pick(&DECLARED) };
    let kind = if random.in_hundred(85) { Kind::of_declared(declared, random) } else { Kind::any(random) };
    let mut line = format!("{} {declared}", ident(&name));
    let stem = ident(&name);
    let generated = !before.is_empty() && random.in_hundred(8);
    if generated {
        let other = ident(&random.pick(before).name);
        let expressions = [
            other.clone(),
            format!("{other}/2"),
            format!("{other}||'x'"),
            format!("lower({other})"),
            format!("json_extract({other},'$.n')"),
            format!("date({other})"),
            format!("typeof({other})"),
        ];
        let stored = random.pick(&["STORED", "VIRTUAL"]);
        line.push_str(&format!(" AS ({}) {stored}", random.pick(&expressions)));
    } else if random.in_hundred(30) {
        line.push_str(&format!(" DEFAULT {}", random.pick(&DEFAULTS)));
    }
    if random.in_hundred(20) {
        line.push_str(&format!(" COLLATE {}", random.pick(&COLLATIONS)));
    }
    let required = random.in_hundred(20);
    if required {
        line.push_str(" NOT NULL");
    }
    if random.in_hundred(8) {
        line.push_str(" UNIQUE");
    }
    if random.in_hundred(12) {
        line.push_str(&format!(" CHECK ({})", condition(random, &stem)));
    }
    let misfits = *random.pick(&[0, 0, 0, 0, 3, 30]);
    let nulls = if required { 0 } else { *random.pick(&[0, 10, 50, 100]) };
    (Column { name, kind, generated, misfits, nulls }, line)
}

fn condition(random: &mut Random, column: &str) -> String {
    let conditions = [
        format!("{column} IS NOT NULL"),
        format!("{column} >= 0"),
        format!("{column} IN (0, 1)"),
        format!("{column} <> ''"),
        format!("length({column}) < 30"),
        format!("typeof({column}) = 'text'"),
        format!("{column} LIKE 'a%'"),
        format!("{column} GLOB '[A-Z]*'"),
        column.to_owned(),
        format!("json_valid({column}) OR {column} IS NULL"),
        format!("{column} BETWEEN 1 AND 100 AND NOT {column} = 7"),
        format!("coalesce({column}, '') || 'x' <> lower({column})"),
        format!("{column} <> x'00'"),
        format!("{column} = '5' OR {column} > 1.5"),
        format!("abs({column}) % 2 = 0"),
    ];
    random.pick(&conditions).clone()
}

/// Columns for a key or an index, with collations and directions.
fn parts(random: &mut Random, columns: &[Column]) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for _ in 0..=random.below(3) {
        let name = random.pick(columns).name.clone();
        let collation = if random.in_hundred(20) {
            format!(" COLLATE {}", random.pick(&COLLATIONS))
        } else {
            String::new()
        };
        let direction = random.pick(&["", "", " ASC", " DESC"]);
        if !parts.iter().any(|(known, _)| *known == name) {
            parts.push((name, format!("{collation}{direction}")));
        }
    }
    parts
}

fn constraints(random: &mut Random, columns: &[Column], others: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if random.in_hundred(20) {
        let listed: Vec<String> =
            parts(random, columns).iter().map(|(name, rest)| format!("{}{rest}", ident(name))).collect();
        lines.push(format!("UNIQUE({})", listed.join(", ")));
    }
    for _ in 0..random.below(3) {
        let child = ident(&random.pick(columns).name);
        let parent = random.pick(others).clone();
        let column = match random.below(3) {
            0 => String::new(),
            1 => format!("({child})"),
            _ => "(id1)".to_owned(),
        };
        let name = if random.in_hundred(30) { "CONSTRAINT fk " } else { "" };
        let action =
            random.pick(&["", " ON DELETE CASCADE", " ON UPDATE SET NULL", " ON DELETE SET DEFAULT"]);
        let deferrable =
            random.pick(&["", " DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE", " NOT DEFERRABLE"]);
        lines.push(format!(
            "{name}FOREIGN KEY({child}) REFERENCES {}{column}{action}{deferrable}",
            ident(&parent)
        ));
    }
    if random.in_hundred(15) {
        let column = ident(&random.pick(columns).name);
        lines.push(format!("CONSTRAINT \"odd check\" CHECK ({})", condition(random, &column)));
    }
    lines
}

pub fn index(random: &mut Random, table: &Table, name: &str) -> String {
    let unique = if random.in_hundred(25) { "UNIQUE " } else { "" };
    let column = ident(&random.pick(&table.columns).name);
    let expressions = [
        format!("lower({column})"),
        format!("{column} || 'x'"),
        format!("abs({column})"),
        format!("length({column})"),
        format!("coalesce({column}, '')"),
        format!("date({column})"),
        format!("CAST({column} AS TEXT)"),
        format!("json_extract(iif(json_valid({column}), {column}, 'null'), '$.n')"),
        format!("{column} + 1"),
        format!("substr({column}, 1, 3) COLLATE NOCASE DESC"),
        format!("ifnull({column}, 0)"),
        format!("{column} IS NULL"),
    ];
    let terms: Vec<String> = if random.in_hundred(30) {
        vec![random.pick(&expressions).clone()]
    } else {
        parts(random, &table.columns).iter().map(|(name, rest)| format!("{}{rest}", ident(name))).collect()
    };
    let predicate = if random.in_hundred(25) {
        let column = ident(&random.pick(&table.columns).name);
        format!(" WHERE {}", condition(random, &column))
    } else {
        String::new()
    };
    format!("CREATE {unique}INDEX {} ON {}({}){predicate}", ident(name), ident(&table.name), terms.join(", "))
}

pub fn view(random: &mut Random, table: &Table, name: &str) -> String {
    let column = ident(&random.pick(&table.columns).name);
    let from = ident(&table.name);
    let queries = [
        format!("SELECT * FROM {from}"),
        format!("SELECT {column} AS a, count(*) AS n FROM {from} GROUP BY {column}"),
        format!("SELECT x.{column} FROM {from} AS x WHERE {}", condition(random, &format!("x.{column}"))),
        format!(
            "SELECT a.{column} FROM {from} a LEFT JOIN {from} b ON a.{column} = b.{column} ORDER BY 1 LIMIT 5"
        ),
        format!("SELECT {column} FROM {from} UNION ALL SELECT {column} FROM {from}"),
        format!("SELECT rowid, {column} FROM {from}"),
        "SELECT * FROM no_such_table".to_owned(),
    ];
    format!("CREATE VIEW {} AS {}", ident(name), random.pick(&queries))
}
