//! SQL text of every kind through the translators: a refusal, or SQL whose quotes and parentheses close.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::canon::{Codec, Form, Zone};
use liteferry::model::cell::Class;
use liteferry::model::schema::Affinity;
use liteferry::model::types::Type;
use liteferry::plan::default::{DefaultTarget, translate_default};
use liteferry::plan::expr::{Purpose, Scope, ScopeColumn, translate};
use liteferry::plan::view::{ViewTable, ViewTables, translate_view};
use liteferry_fuzz::is_balanced;

struct Tables;

impl ViewTables for Tables {
    fn table(&self, name: &str) -> Option<ViewTable> {
        let columns = match name.to_ascii_lowercase().as_str() {
            "t" => columns(),
            "u" => columns().split_off(2),
            _ => return None,
        };
        Some(ViewTable { sql: format!("\"s\".\"{}\"", name.to_ascii_lowercase()), columns })
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let scope = Scope { columns: columns() };
    let purposes =
        [Purpose::Check, Purpose::IndexTerm, Purpose::Predicate, Purpose::Generated, Purpose::Query];
    for purpose in purposes {
        if let Ok(translated) = translate(text, &scope, purpose) {
            assert!(is_balanced(&translated.sql), "{}", translated.sql);
        }
    }
    for column in columns() {
        let codec = Codec::new(column.ty, column.form, Zone::Utc);
        let target = DefaultTarget { affinity: column.affinity, codec: &codec };
        if let Ok(Some(sql)) = translate_default(text, target) {
            assert!(is_balanced(&sql), "{sql}");
        }
    }
    if let Ok(view) = translate_view(&format!("create view v as {text}"), &Tables) {
        assert!(is_balanced(&view.query), "{}", view.query);
    }
});

fn columns() -> Vec<ScopeColumn> {
    let column = |name: &str, affinity, ty, form, classes: &[Class]| ScopeColumn {
        qualifier: "t".to_owned(),
        name: name.to_owned(),
        affinity,
        collation: if name == "n" { "NOCASE".to_owned() } else { "BINARY".to_owned() },
        sql: format!("\"{name}\""),
        ty,
        form,
        classes: classes.to_vec(),
        integers: None,
        unique: false,
    };
    vec![
        ScopeColumn {
            integers: Some((-5, 1000)),
            ..column("a", Affinity::Integer, Type::Int8, Form::Native, &[Class::Integer])
        },
        column("b", Affinity::Integer, Type::Int4, Form::Native, &[Class::Integer]),
        column("c", Affinity::Text, Type::Text, Form::Native, &[Class::Text]),
        column("n", Affinity::Text, Type::Text, Form::Native, &[Class::Text]),
        column("f", Affinity::Real, Type::Float8, Form::Native, &[Class::Real]),
        column("d", Affinity::Numeric, Type::Numeric(None), Form::Number, &[Class::Integer, Class::Real]),
        column("g", Affinity::Numeric, Type::Bool, Form::Native, &[Class::Integer]),
        column("x", Affinity::Blob, Type::Bytea, Form::Native, &[Class::Blob]),
        column("j", Affinity::Text, Type::Json, Form::Native, &[Class::Text]),
        column("m", Affinity::Numeric, Type::Timestamp(6), Form::Native, &[Class::Text]),
        column("i", Affinity::Text, Type::Uuid, Form::Native, &[Class::Text]),
        column("e", Affinity::Integer, Type::Text, Form::Affinity, &[Class::Integer, Class::Text]),
    ]
}
