//! What would halt the way back, told by `check` before anybody depends on it.

use crate::support::{database, liteferry, psql, sqlite, try_psql};

#[test]
fn a_text_that_sqlite_could_compute_nothing_of_is_told_by_check() {
    let source = sqlite(
        "create table indexed (id integer primary key, j text not null unique, k text, v text, w varchar(9), c text, n integer);
         create index by_a on indexed (json_extract(j, '$.a')); create index by_k on indexed (v) where k ->> 'on';
         create index by_w on indexed (iif(json_valid(w), w ->> 'a', null)); create index by_lower on indexed (lower(v));
         create index by_c on indexed (c -> 'x') where n is null;
         create table computed (id integer primary key, j text, a text as (j ->> 'a'), b text as (json_type(j)) stored) strict;
         create table plain (id integer primary key, j text); create view shown as select json_extract(j, '$.a') from plain;
         insert into indexed values (1, '{}', '{}', 'v', 'w', 'no', 1); insert into computed values (1, '{\"a\": 1}')",
    );
    let target = database();
    psql(
        &target.url,
        "create table indexed (id bigint primary key, j text not null unique, k text, v text, w varchar(9), c text, n integer);
         create table computed (id bigint primary key, j text, a text, b text); create table plain (id bigint primary key, j text)",
    );
    let path = source.path.display().to_string();
    let told = |mode: &str| {
        let set = format!("target.mode={mode}");
        let schema = if mode == "create" { "target.schema=fresh" } else { "target.schema=public" };
        let sides =
            ["check", "--source", &path, "--target", &target.url, "--set", &set, "--set", schema, "--json"];
        let report = liteferry(&sides).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").clone();
        let of_it = findings.into_iter().filter(|finding| finding["code"] == "reverse_computed");
        of_it
            .map(|finding| ["text", "remedy"].map(|part| finding[part].as_str().expect("text").to_owned()))
            .collect::<Vec<_>>()
    };
    for mode in ["create", "existing"] {
        let [indexed, computed] = &told(mode)[..] else { panic!("two tables: {:?}", told(mode)) };
        assert!(indexed[0].contains("say): j, k, c; one"), "{indexed:?}");
        assert!(computed[0].contains("say): j; one"), "{computed:?}");
    }
    for [_, remedy] in told("existing") {
        psql(&target.url, remedy.split_once("to: ").expect("a statement").1);
    }
    assert!(told("existing").is_empty());
    assert!(try_psql(&target.url, "insert into computed values (1, 'none')").is_err());
    psql(&target.url, "insert into computed values (1, null), (2, '[]')");
}

/// What holds the same classes on both sides is told of nothing, nor is what `create` makes.
#[test]
fn a_class_that_sqlite_alone_refuses_is_told_by_check() {
    let source = sqlite(
        "create table narrow (id integer primary key, n int, f real, t text, b blob, a any, i integer, x int) strict;
         create table wide (id integer primary key, n int);
         insert into narrow values (1, 1, 1.5, 't', x'00', 1, 7, 1); insert into wide values (1, 1)",
    );
    let target = database();
    psql(
        &target.url,
        "create table narrow (id numeric primary key, n float8, f float8, t text, b bytea, a text, i bigint, x text);
         create table wide (id text primary key, n text)",
    );
    let path = source.path.display().to_string();
    let told = |settings: &[&str]| {
        let sides = ["check", "--source", &path, "--target", &target.url, "--json"];
        let report = liteferry(&[&sides[..], settings].concat()).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").clone();
        let of_it = findings.into_iter().filter(|finding| finding["code"] == "reverse_classes");
        of_it.map(|finding| finding["text"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let told_there = told(&["--set", "target.mode=existing"]);
    let [narrow, wide] = &told_there[..] else { panic!("two tables: {told_there:?}") };
    for (name, is_told) in [
        ("id", true),
        ("n", true),
        ("f", false),
        ("t", false),
        ("b", false),
        ("a", false),
        ("i", false),
        ("x", true),
    ] {
        assert_eq!(narrow.contains(&format!(" {name} (")), is_told, "{name}: {narrow}");
    }
    assert!(wide.contains("more: id (") && !wide.contains(" n ("), "{wide}");
    assert_eq!(told(&["--set", "target.schema=fresh"]), Vec::<String>::new());
}
