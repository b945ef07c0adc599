//! Names that SQLite takes: of tables, of columns, of indexes.

use super::random::Random;
use std::collections::BTreeSet;

const ODD: [&str; 48] = [
    "user",
    "order",
    "Group",
    "select",
    "table",
    "end",
    "offset",
    "analyse",
    "sp ace",
    "dot.ted",
    "da-sh",
    "quo\"te",
    "ap'os",
    "new\nline",
    "tab\there",
    "",
    " ",
    "%s",
    "$1",
    "\\",
    "ctid",
    "xmin",
    "tableoid",
    "oid",
    "é",
    "É",
    "ключ",
    "名前",
    "😀",
    "İ",
    "ı",
    "ß",
    "_",
    "_liteferry_rowid",
    "Mixed Case",
    "UPPER",
    "camelCase",
    "a_pkey",
    "a_id_seq",
    "1digit",
    "?",
    ":x",
    "key",
    "value",
    "excluded",
    "new",
    "rownum",
    "current_user",
];

/// Names of which no two are equal to SQLite, which folds ASCII letters alone.
#[derive(Default)]
pub struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    pub fn claim(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_ascii_lowercase())
    }

    pub fn invent(&mut self, random: &mut Random, stem: &str) -> String {
        loop {
            let name = match random.below(12) {
                0..=2 => (*random.pick(&ODD)).to_owned(),
                3 => "long_é_".repeat(9) + &random.below(3).to_string(),
                4 => format!("{}{}", stem.repeat(30), random.below(9)),
                _ => format!("{stem}{}", random.below(1000)),
            };
            // Tables and views of such a name are ours, and left out.
            let ours = name.starts_with("_liteferry_") && !["c", "id"].contains(&stem);
            if !ours && self.claim(&name) {
                return name;
            }
        }
    }
}
