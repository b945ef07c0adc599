//! How routes and scan positions are written down. Every form written here is read back by every later version.

use crate::canon::Codec;
use crate::model::name::PgName;
use crate::model::schema::{Affinity, KeyOrder};
use crate::model::types::{NumericLimit, Type};
use crate::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use serde_json::{Value, json};

pub fn route_to_json(route: &Route) -> Value {
    json!({
        "source": route.source,
        "target_schema": route.target.schema,
        "target": route.target.name,
        "columns": route.columns.iter().map(column_to_json).collect::<Vec<_>>(),
        "scan": scan_to_json(&route.scan),
        "identity": match &route.identity {
            Identity::Columns(columns) => json!(columns),
            Identity::WholeRow => Value::Null,
        },
    })
}

pub fn route_from_text(text: &str) -> Option<Route> {
    route_from_json(&serde_json::from_str(text).ok()?)
}

fn route_from_json(value: &Value) -> Option<Route> {
    let columns = value["columns"].as_array()?.iter().map(column_from_json).collect::<Option<Vec<_>>>()?;
    let identity = match &value["identity"] {
        Value::Null => Identity::WholeRow,
        listed => Identity::Columns(listed.as_array()?.iter().map(index).collect::<Option<_>>()?),
    };
    Some(Route {
        source: text(&value["source"])?,
        target: PgName::new(text(&value["target_schema"])?, text(&value["target"])?),
        columns,
        scan: scan_from_json(&value["scan"])?,
        identity,
    })
}

fn column_to_json(column: &ColumnRoute) -> Value {
    let mut told = json!({
        "source": column.source,
        "affinity": affinity_word(column.affinity),
        "target": column.target,
        "type_sql": column.type_sql,
        "type": type_to_json(&column.codec.ty),
        "form": column.codec.form.to_string(),
        "zone": column.codec.zone.to_string(),
        "not_null": column.not_null,
    });
    // Only after a way back: the plan that a copy is made by does not know of it.
    if column.codec.came_back.is_some() {
        told[CAME_BACK] = json!(true);
    }
    told
}

const CAME_BACK: &str = "came_back";

fn column_from_json(value: &Value) -> Option<ColumnRoute> {
    let source = match &value["source"] {
        Value::Null => None,
        named => Some(text(named)?),
    };
    let affinity = text(&value["affinity"])?;
    let affinity = AFFINITIES.into_iter().find(|known| affinity_word(*known) == affinity)?;
    Some(ColumnRoute {
        source,
        affinity,
        target: text(&value["target"])?,
        type_oid: 0,
        type_sql: text(&value["type_sql"])?,
        codec: Codec {
            ty: type_from_json(&value["type"])?,
            form: text(&value["form"])?.parse().ok()?,
            zone: text(&value["zone"])?.parse().ok()?,
            came_back: (value[CAME_BACK] == true).then_some(affinity),
        },
        not_null: value["not_null"].as_bool()?,
    })
}

fn scan_to_json(scan: &ScanOrder) -> Value {
    match scan {
        ScanOrder::Rowid { name, column } => json!({ "rowid": name, "column": column }),
        ScanOrder::Whole => Value::Null,
        ScanOrder::Key { names, order } => {
            let parts = names.iter().zip(order).map(|(name, key)| {
                json!({ "name": name, "column": key.column, "collation": key.collation, "descending": key.descending })
            });
            json!({ "key": parts.collect::<Vec<_>>() })
        }
    }
}

fn scan_from_json(value: &Value) -> Option<ScanOrder> {
    if value.is_null() {
        return Some(ScanOrder::Whole);
    }
    if let Some(name) = value.get("rowid") {
        let column = match &value["column"] {
            Value::Null => None,
            number => Some(index(number)?),
        };
        return Some(ScanOrder::Rowid { name: text(name)?, column });
    }
    let (mut names, mut order) = (Vec::new(), Vec::new());
    for part in value["key"].as_array()? {
        names.push(text(&part["name"])?);
        order.push(KeyOrder {
            column: index(&part["column"])?,
            collation: text(&part["collation"])?,
            descending: part["descending"].as_bool()?,
        });
    }
    Some(ScanOrder::Key { names, order })
}

fn type_to_json(ty: &Type) -> Value {
    match ty {
        Type::Enum(labels) => json!({ "enum": labels.to_vec() }),
        Type::Array { element, element_oid } => json!({ "array": type_to_json(element), "oid": element_oid }),
        Type::Varchar(Some(length)) => json!({ "varchar": length }),
        Type::Bpchar(length) => json!({ "char": length }),
        Type::Numeric(Some(limit)) => json!({ "numeric": [limit.precision, limit.scale] }),
        Type::Time(digits) => json!({ "time": digits }),
        Type::Timestamp(digits) => json!({ "timestamp": digits }),
        Type::Timestamptz(digits) => json!({ "timestamptz": digits }),
        Type::Interval(digits) => json!({ "interval": digits }),
        Type::Other(name) => json!({ "other": name }),
        Type::Bool
        | Type::Int2
        | Type::Int4
        | Type::Int8
        | Type::Float4
        | Type::Float8
        | Type::Numeric(None)
        | Type::Text
        | Type::Varchar(None)
        | Type::Citext
        | Type::Bytea
        | Type::Date
        | Type::Uuid
        | Type::Json
        | Type::Jsonb
        | Type::Inet
        | Type::Cidr
        | Type::Macaddr
        | Type::Oid => json!(ty.sql()),
    }
}

const PLAIN_TYPES: [Type; 19] = [
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Int8,
    Type::Float4,
    Type::Float8,
    Type::Numeric(None),
    Type::Text,
    Type::Varchar(None),
    Type::Citext,
    Type::Bytea,
    Type::Date,
    Type::Uuid,
    Type::Json,
    Type::Jsonb,
    Type::Inet,
    Type::Cidr,
    Type::Macaddr,
    Type::Oid,
];

fn type_from_json(value: &Value) -> Option<Type> {
    if let Some(name) = value.as_str() {
        return PLAIN_TYPES.into_iter().find(|ty| ty.sql() == name);
    }
    // The target's jsonb gives keys back in its own order.
    let (word, argument) = value.as_object()?.iter().find(|(word, _)| *word != "oid")?;
    let small = || u8::try_from(argument.as_u64()?).ok();
    let length = || u32::try_from(argument.as_u64()?).ok();
    Some(match word.as_str() {
        "enum" => Type::Enum(argument.as_array()?.iter().map(text).collect::<Option<Vec<_>>>()?.into()),
        "array" => Type::Array {
            element: Box::new(type_from_json(argument)?),
            element_oid: u32::try_from(value["oid"].as_u64()?).ok()?,
        },
        "varchar" => Type::Varchar(Some(length()?)),
        "char" => Type::Bpchar(length()?),
        "numeric" => Type::Numeric(Some(NumericLimit {
            precision: u16::try_from(argument[0].as_u64()?).ok()?,
            scale: i16::try_from(argument[1].as_i64()?).ok()?,
        })),
        "time" => Type::Time(small()?),
        "timestamp" => Type::Timestamp(small()?),
        "timestamptz" => Type::Timestamptz(small()?),
        "interval" => Type::Interval(small()?),
        "other" => Type::Other(text(argument)?),
        _ => return None,
    })
}

const AFFINITIES: [Affinity; 5] =
    [Affinity::Integer, Affinity::Real, Affinity::Numeric, Affinity::Text, Affinity::Blob];

fn affinity_word(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::Integer => "integer",
        Affinity::Real => "real",
        Affinity::Numeric => "numeric",
        Affinity::Text => "text",
        Affinity::Blob => "blob",
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn index(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::{Form, Zone};

    fn column(ty: Type, form: Form) -> ColumnRoute {
        ColumnRoute {
            source: Some("c".into()),
            affinity: Affinity::Numeric,
            target: "c".into(),
            type_oid: 0,
            type_sql: ty.sql(),
            codec: Codec::new(ty, form, Zone::Utc),
            not_null: true,
        }
    }

    /// Keys by length, then by bytes.
    fn as_jsonb_gives_it_back(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut members: Vec<(String, Value)> =
                    members.into_iter().map(|(key, value)| (key, as_jsonb_gives_it_back(value))).collect();
                members.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
                Value::Object(members.into_iter().collect())
            }
            Value::Array(items) => items.into_iter().map(as_jsonb_gives_it_back).collect(),
            plain => plain,
        }
    }

    #[test]
    fn a_route_is_read_back_as_it_was_written() {
        let types = [
            Type::Enum(vec!["a".to_owned(), "b'c".to_owned()].into()),
            Type::Array { element: Box::new(Type::Varchar(Some(3))), element_oid: 1043 },
            Type::Numeric(Some(NumericLimit { precision: 10, scale: -2 })),
            Type::Timestamptz(3),
            Type::Bpchar(32),
            Type::Other("tsvector".into()),
        ];
        let mut columns: Vec<ColumnRoute> = types.into_iter().map(|ty| column(ty, Form::Native)).collect();
        columns.extend(PLAIN_TYPES.map(|ty| column(ty, Form::Number)));
        columns[0].source = None;
        columns[1].codec.came_back = Some(columns[1].affinity);
        let order = vec![KeyOrder { column: 2, collation: "NOCASE".into(), descending: true }];
        for (scan, identity) in [
            (ScanOrder::Rowid { name: "_rowid_".into(), column: Some(0) }, Identity::Columns(vec![0, 2])),
            (ScanOrder::Key { names: vec!["a \"b".into()], order }, Identity::WholeRow),
            (ScanOrder::Whole, Identity::WholeRow),
        ] {
            let route = Route {
                source: "t\n".into(),
                target: PgName::new("public", "t"),
                columns: columns.clone(),
                scan,
                identity,
            };
            let read = route_from_json(&as_jsonb_gives_it_back(route_to_json(&route))).unwrap();
            assert_eq!(format!("{read:?}"), format!("{route:?}"));
        }
    }
}
