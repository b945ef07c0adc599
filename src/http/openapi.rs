//! The description of the API in OpenAPI 3.1, made from the table that the router is made from: it can leave nothing out.

use super::commands::REASON_MAX;
use super::error::PROBLEM;
use super::routes::{Field, FieldKind, Kind, Need, Route, Verb};
use crate::engine::follows::CHALLENGE_LETTERS;
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
        "description": "The number of the entry, or all.",
        "schema": { "oneOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] },
    });
    path.contains("{id}").then_some(id).into_iter()
}

fn responses(route: &Route) -> Map<String, Value> {
    let special = |status: u16| route.answers.iter().any(|(known, _)| *known == status);
    let common = REFUSED.iter().filter(|(status, _)| !special(*status));
    route
        .answers
        .iter()
        .chain(common)
        .map(|(status, summary)| {
            let content = if *status < 400 { good(route.kind) } else { refused() };
            (status.to_string(), json!({ "description": summary, "content": content }))
        })
        .collect()
}

/// What any request may meet before it is looked at more closely.
const REFUSED: [(u16, &str); 11] = [
    (400, "It names no host, or its body is not a JSON object that names each field once."),
    (401, "It does not bear the token."),
    (403, "It comes from another site's page."),
    (408, "It took too long."),
    (411, "It has a body of unknown length."),
    (413, "Its body is too long."),
    (415, "An order is JSON, and this is not."),
    (421, "It is for another host."),
    (422, "A field or parameter is not known, or not what it must be."),
    (431, "Its headers are too long."),
    (503, "All places are taken."),
];

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
    // No body is an object without fields.
    let must_come = !required.is_empty();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({ "required": must_come, "content": { "application/json": { "schema": schema } } })
}

fn schema(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Flag => json!({ "type": "boolean" }),
        FieldKind::Limit => json!({ "type": "integer", "minimum": 1, "maximum": ENTRIES_MAX }),
        FieldKind::Text => json!({ "type": "string" }),
        FieldKind::Name => json!({ "type": "string", "pattern": NO_NUL }),
        FieldKind::Reason => json!({ "type": "string", "maxLength": REASON_MAX, "pattern": NO_NUL }),
        FieldKind::Percent => json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
        FieldKind::Aim => one_of(Phase::ALL.iter().filter(|phase| Command::to(**phase).is_some())),
        FieldKind::Phase => one_of(Phase::ALL.iter()),
        FieldKind::Challenge => json!({
            "type": "string",
            "minLength": CHALLENGE_LETTERS,
            "maxLength": CHALLENGE_LETTERS,
            "pattern": "^[0-9A-Fa-f]*$",
        }),
        FieldKind::Settle => json!({ "type": "string", "enum": ["retry", "accept"] }),
    }
}

/// PostgreSQL holds none.
const NO_NUL: &str = r"^[^\u0000]*$";

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
            "phase": {
                "type": ["string", "null"],
                "description": "Of a command: the phase that the migration is in; null until that is known.",
            },
            "gates": {
                "type": "array",
                "description": "Of a command: every closed gate.",
                "items": { "type": "object" },
            },
            "follows": {
                "type": "object",
                "description": "Of /healthz: SHA-256 of the source's path, the target's address and its schema.",
            },
            "proof": {
                "type": "string",
                "description": "Of /healthz, where a challenge was given: HMAC-SHA256 under the token.",
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Refusal;
    use crate::http::routes::ROUTES;

    #[test]
    fn what_meets_a_request_anywhere_is_described_everywhere() {
        let document = document(&ROUTES);
        for refusal in [
            Refusal::NoHost,
            Refusal::ForeignHost,
            Refusal::ForeignOrigin,
            Refusal::HeadersTooLarge,
            Refusal::NoLength,
            Refusal::BodyTooLarge,
            Refusal::NoToken,
            Refusal::TooSlow,
            Refusal::TooManyConnections,
            Refusal::NotJson,
            Refusal::NoObject,
            Refusal::unknown_field("x"),
        ] {
            for route in &ROUTES {
                let status = refusal.status().as_u16().to_string();
                let answers = &document["paths"][route.path][verb(route.verb)]["responses"];
                assert!(answers[&status].is_object(), "{status} is not described at {}", route.path);
                assert!(answers["default"].is_null(), "what may be anything describes nothing");
            }
        }
    }
}
