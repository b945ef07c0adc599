//! Tables of the target that share their rows by inheritance or as parts of one another.

use crate::support::{database, liteferry, psql, sqlite};

/// What is read or deleted in the one is the other's too.
#[test]
fn tables_that_share_their_rows_in_postgres_are_refused_by_name_and_told_apart() {
    let source = sqlite(
        "create table place (id integer primary key, name text); insert into place values (1, 'a');
         create table shop (id integer primary key, name text, floor integer); insert into shop values (1, 'x', 1), (2, 'y', 2);
         create table log (id integer primary key, v text); insert into log values (1, 'a');
         create table log_old (id integer primary key, v text); insert into log_old values (2, 'b')",
    );
    let target = database();
    psql(
        &target.url,
        "create table place (id bigint primary key, name text); create table between () inherits (place);
         create table shop (floor integer, primary key (id)) inherits (between);
         create table log (id bigint primary key, v text) partition by range (id);
         create table log_old partition of log default",
    );
    let file = source.path.display().to_string();
    let sides = ["--set", "target.mode=existing", "--source", &file, "--target", &target.url];
    let told = liteferry(&[&["check"], &sides[..]].concat()).exits_with(1).stdout;
    let apart = "alter table \"public\".\"shop\" no inherit \"public\".\"between\";";
    for says in [
        "[target_inherited] public.shop: this table inherits from public.place",
        apart,
        "[target_inherited] public.log_old: this table is a part of public.log",
        "[tables] exclude = [\"log_old\"]",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    psql(&target.url, apart);
    let report = liteferry(&[&["copy", "--json", "--set", "tables.exclude=log_old"], &sides[..]].concat());
    assert_eq!(report.exits_with(0).json()["verdict"], "equal");
}
