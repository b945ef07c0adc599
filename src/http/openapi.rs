//! The description of the API in OpenAPI 3.1, made from the table that the router is made from: it can leave nothing out.

use super::error::PROBLEM;
use super::routes::{Field, FieldKind, Kind, Need, Route, Verb};
use crate::engine::records::ENTRIES_MAX;
use crate::phase::Phase;
use crate::phase::machine::Command;
use serde_json::{Map, Value, json};

pub fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[verb(route.verb)] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "liteferry",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Reading is open on loopback. Every order, and beyond loopback every request but /healthz, bears the token.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem() },
        },
    })
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::Post => "post",
    }
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({ "summary": route.summary, "responses": responses(route) });
    match route.verb {
        Verb::Get => {
            operation["parameters"] = route.fields.iter().map(parameter).collect();
            operation["security"] = json!([{}, { "token": [] }]);
        }
        Verb::Post => {
            let actor = json!({
                "name": "X-Liteferry-Actor",
                "in": "header",
                "description": "Who is at the client, for the journal.",
                "schema": { "type": "string" },
            });
            operation["parameters"] = named_in_path(route.path).chain([actor]).collect();
            operation["requestBody"] = body(route.fields);
            operation["security"] = json!([{ "token": [] }]);
        }
    }
    operation
}

/// The entry that an order is about.
fn named_in_path(path: &str) -> impl Iterator<Item = Value> {
    let id = json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": "The number of the entry.",
        "schema": { "type": "integer", "minimum": 1 },
    });
    path.contains("{id}").then_some(id).into_iter()
}

fn responses(route: &Route) -> Value {
    let mut responses: Map<String, Value> = route
        .answers
        .iter()
        .map(|(status, summary)| {
            let content = if *status < 400 { good(route.kind) } else { refused() };
            (status.to_string(), json!({ "description": summary, "content": content }))
        })
        .collect();
    let default =
        json!({ "description": "The request was refused; why, and what to do.", "content": refused() });
    responses.insert("default".into(), default);
    Value::Object(responses)
}

fn good(kind: Kind) -> Value {
    match kind {
        Kind::Json => json!({ "application/json": { "schema": { "type": "object" } } }),
        Kind::Metrics => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Kind::Page => json!({ "text/html": { "schema": { "type": "string" } } }),
        Kind::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
    }
}

fn refused() -> Value {
    json!({ PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

fn parameter(field: &Field) -> Value {
    json!({ "name": field.name, "in": "query", "description": field.summary, "schema": schema(field.kind) })
}

fn body(fields: &[Field]) -> Value {
    let property = |field: &Field| {
        let mut property = schema(field.kind);
        property["description"] = json!(field.summary);
        (field.name.to_owned(), property)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| field.need == Need::Must).map(|field| field.name).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn schema(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Flag => json!({ "type": "boolean" }),
        FieldKind::Limit => json!({ "type": "integer", "minimum": 1, "maximum": ENTRIES_MAX }),
        FieldKind::Text => json!({ "type": "string" }),
        FieldKind::Percent => json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
        FieldKind::Aim => one_of(Phase::ALL.iter().filter(|phase| Command::to(**phase).is_some())),
        FieldKind::Phase => one_of(Phase::ALL.iter()),
        FieldKind::Settle => json!({ "type": "string", "enum": ["retry", "accept"] }),
    }
}

fn one_of<'a>(phases: impl Iterator<Item = &'a Phase>) -> Value {
    json!({ "type": "string", "enum": phases.map(|phase| phase.word()).collect::<Vec<_>>() })
}

fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "remedy"],
        "properties": {
            "type": text,
            "title": text,
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable, for programs." },
            "detail": text,
            "remedy": text,
            "phase": { "type": "string", "description": "Of a command: the phase that the migration is in." },
            "gates": {
                "type": "array",
                "description": "Of a command: every closed gate.",
                "items": { "type": "object" },
            },
        },
    })
}
