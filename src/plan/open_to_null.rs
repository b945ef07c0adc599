//! Columns that take NULL in the target and none in SQLite: the first NULL that the application leaves there after the switch halts the
//! way back. Told before anybody depends on it, with what keeps such a NULL from being written.

use super::default::{DefaultTarget, stored_constant, translate_default};
use super::existing::is_plain;
use super::route::{ColumnRoute, Identity, Route};
use crate::canon::{Codec, Form};
use crate::model::cell::CellBuf;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::model::schema::{SqliteColumn, SqliteTable};

/// What SQLite puts there by itself, as far as the target can be given the same.
enum Instead {
    /// As the target spells it.
    Default(String),
    /// A text that the target's type does not hold.
    EmptyText,
    Unlike,
    Nothing,
}

struct Open<'a> {
    target: &'a str,
    source: &'a str,
    instead: Instead,
}

pub fn nulls_refused_back(route: &Route, source: &SqliteTable) -> Option<Finding> {
    let is_key = |at: usize| matches!(&route.identity, Identity::Columns(key) if key.contains(&at));
    let columns = route.columns.iter().enumerate().filter(|(at, _)| !is_key(*at));
    let columns: Vec<Open<'_>> = columns.filter_map(|(_, column)| open(column, source)).collect();
    if columns.is_empty() {
        return None;
    }
    let names: Vec<&str> = columns.iter().map(|column| column.target).collect();
    let text = format!(
        "SQLite takes no NULL in columns that take one in the target: {}; one that is written there after the switch halts the way back",
        names.join(", ")
    );
    Some(Finding::warning("reverse_nulls", &route.source, text).with_remedy(remedy(route, &columns)))
}

/// Columns in which NULL comes back as the empty text, which SQLite lets stand once.
pub fn nulls_collide_back(route: &Route, source: &SqliteTable) -> Option<Finding> {
    let collides = |column: &&ColumnRoute| {
        let at = source.columns.iter().position(|found| Some(&found.name) == column.source.as_ref());
        !column.not_null
            && !column.codec.nothing().is_null()
            && at.is_some_and(|at| source.keeps_unique(&[at]))
    };
    let columns: Vec<&str> =
        route.columns.iter().filter(collides).map(|column| column.target.as_str()).collect();
    if columns.is_empty() {
        return None;
    }
    let text = format!(
        "NULL comes back as the empty text in columns that SQLite keeps unique: {}; the second one that is written there after the switch halts \
         the way back",
        columns.join(", ")
    );
    let table = route.target.sql();
    let once = |column: &&str| {
        format!(
            "create unique index on {table} (({} is null)) where {} is null;",
            ident(column),
            ident(column)
        )
    };
    let once: Vec<String> = columns.iter().map(once).collect();
    let remedy = format!("have PostgreSQL let NULL stand once there too: {}", once.join(" "));
    Some(Finding::warning("reverse_nulls", &route.source, text).with_remedy(remedy))
}

fn open<'a>(column: &'a ColumnRoute, source: &'a SqliteTable) -> Option<Open<'a>> {
    let found = source.columns.iter().find(|found| Some(&found.name) == column.source.as_ref())?;
    let takes_none = found.not_null && found.generated.is_none();
    let leaves_null = !column.not_null && column.codec.nothing().is_null();
    let instead = || instead(column, found);
    (takes_none && leaves_null).then(|| Open {
        target: &column.target,
        source: &found.name,
        instead: instead(),
    })
}

fn instead(column: &ColumnRoute, source: &SqliteColumn) -> Instead {
    let Some(raw) = &source.default else { return Instead::Nothing };
    let target = DefaultTarget { affinity: column.affinity, codec: &column.codec };
    if let Ok(Some(sql)) = translate_default(raw, target) {
        return Instead::Default(sql);
    }
    let for_null = Codec { form: Form::EmptyNull, ..column.codec.clone() };
    let is_empty = stored_constant(raw, column.affinity) == Some(CellBuf::Text(Vec::new()));
    let stands_for_null = is_empty && !for_null.nothing().is_null() && is_plain(&column.codec);
    if stands_for_null { Instead::EmptyText } else { Instead::Unlike }
}

fn remedy(route: &Route, columns: &[Open<'_>]) -> String {
    let of_each = |action: &dyn Fn(&Open<'_>) -> Option<String>| {
        let actions: Vec<String> = columns.iter().filter_map(action).collect();
        let alter = format!("alter table {} {};", route.target.sql(), actions.join(", "));
        (!actions.is_empty()).then_some(alter)
    };
    let defaults = of_each(&|column| match &column.instead {
        Instead::Default(sql) => Some(format!("alter column {} set default {sql}", ident(column.target))),
        Instead::EmptyText | Instead::Unlike | Instead::Nothing => None,
    });
    let required = of_each(&|column| match column.instead {
        Instead::Nothing => Some(format!("alter column {} set not null", ident(column.target))),
        Instead::Default(_) | Instead::EmptyText | Instead::Unlike => None,
    });
    let empty = columns.iter().filter(|column| matches!(column.instead, Instead::EmptyText));
    let forms: Vec<String> = empty
        .map(|column| {
            let subject = format!("{}.{}", route.source, column.source);
            format!("[types.column.{subject:?}] form = \"{}\"", Form::EmptyNull)
        })
        .collect();
    let parts = [
        defaults.map(|sql| format!("give them the defaults that they have in SQLite: {sql}")),
        required.map(|sql| format!("what the application always names may be NOT NULL there too: {sql}")),
        (!forms.is_empty())
            .then(|| format!("{} if SQLite's default, the empty text, stands for NULL;", forms.join("; "))),
        Some(
            "a NULL that the application itself writes takes a trigger (docs/LIMITS.md, the way back)"
                .to_owned(),
        ),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
