//! Views: the rows that SQLite gives are the rows that PostgreSQL gives.

use super::ground::copied;
use super::{rows_of, same};
use crate::support::psql;
use rusqlite::types::Value;

const TABLES: &str = "
    create table person (id integer primary key, name text, nick text collate nocase, age integer, height real, active boolean, home integer);
    insert into person values (1, 'Ann', 'ann', 30, 1.7, 1, 1), (2, 'Bob', 'BOB', null, 1.8, 0, 2), (3, 'Cid', 'bob', 30, null, 1, null),
        (4, 'ann', 'Ann', 41, 1.7, 1, 9), (5, null, null, -5, 0.5, null, 1), (6, 'Zoé', 'zoé', 41, -0.0, 0, 2), (7, '', ' ', 0, 2.0, 1, 1);
    create table place (id integer primary key, name text, size numeric, made datetime);
    insert into place values (1, 'Here', 1, '2024-01-01 10:00:00'), (2, 'There', 2.5, '2023-01-01 00:00:00'), (3, 'Bob', 2, null);
    create table tag (name text, person integer, n integer, primary key (name, person)) without rowid;
    insert into tag values ('a', 1, 1), ('a', 2, 2), ('b', 1, 3), ('B', 4, 9223372036854775807), ('c', 6, -1);
";

const VIEWS: [&str; 73] = [
    "select * from person",
    // Views upon views, one of them made later and one upon that.
    "select older, count(*) as n from v8 group by older",
    "select x.*, y.loud from v8 x left join v8 y on y.older = x.id + 20",
    "select loud from v8 where nick = 'ANN' or nick is null",
    "select n, age from v22 union select id, id from v8",
    "select is_tall, truth from v9 where truth order by id limit 3",
    "select * from v1",
    "with w as (select * from v8) select id, older as v from w where loud <> 'x'",
    "select id, nick, name || '!' as loud, age + 1 as older from person",
    "select id, height > 1.7 as is_tall, active as truth from person",
    "select id, name || '!' as loud, age + 1 as older from person",
    "select p.*, q.name as place from person p left join place q on q.id = p.home",
    "select p.name, q.name as place from person p join place q on q.id = p.home",
    "select p.name, q.name as place from person p, place q where q.id = p.home",
    "select p.name, q.name as place from person p cross join place q",
    "select p.name, q.name as place, t.name as tag from person p, place q left join tag t on t.person = p.id and q.id = p.home",
    "select p.id, q.id as place from person p right join place q on q.id = p.home",
    "select p.id, q.id as place from person p full join place q on q.id = p.home",
    "select p.id, q.id as place from person p full join place q on q.id > p.home",
    "select p.id, q.id as place from person p full join place q on q.id = p.home and p.active",
    "select p.id, q.id as place from person p full join place q on q.id = p.home and p.age > 30",
    "select age, count(*) as n from person group by age",
    "select age, count(name) as n, min(height) as low, max(height) as high from person group by age",
    "select age, sum(id) as ids, avg(id) as mean from person group by age having count(*) > 1",
    "select active, count(*) as n from person group by active",
    "select count(*) as n, count(distinct age) as ages, sum(age) as years, avg(age) as mean from person",
    "select count(*) filter (where active) as n, sum(age) filter (where age > 1000) as none, avg(age) filter (where age > 1000) as no from person",
    "select sum(active) as n, max(active) as most, min(name) as first, max(name) as last from person",
    "select max(nick) as nick from person",
    "select nick, count(*) as n from person group by nick",
    "select distinct age from person",
    "select distinct nick from person",
    "select distinct height from person",
    "select distinct size from place",
    "select name from person union select name from place",
    "select name from person union all select name from place",
    "select name from person intersect select name from place",
    "select name from person except select name from place",
    "select name from person union select name from place except select name from tag",
    "select id from person union all select n from tag",
    "select age from person union select size from place",
    "select nick from person union select name from place",
    "select id, age from person order by age desc, id limit 3",
    "select id, age from person order by age limit 3",
    "select age from person order by age limit 3",
    "select id, age from person order by id desc limit 2",
    "select id from person order by id limit 2 offset 1",
    "select name from person order by name",
    "select nick from person order by nick, id",
    "select nick as x from person order by x collate nocase",
    "select id from person limit 1",
    "with w as (select age as a, count(*) as n from person group by age) select a, n from w where n > 1",
    "with w (a, n) as (select age, count(*) from person group by age) select w.a, p.id from w join person p on p.age = w.a",
    "select a + 1 as b from (select age as a from person where active)",
    "select s.n from (select nick as n from person) s where s.n = 'BOB'",
    "select x from (select name || '' as x from person) where x = 'Ann'",
    "select case when active then 'yes' else 'no' end as word, active is null as unknown from person",
    "select id from person where nick = 'bob'",
    "select id from person where nick in ('ANN', 'Bob')",
    "select id from person where name like 'a%' or name glob 'Z*'",
    "select id, active = 1 as on1, not active as off, age > 30 as old from person",
    "select id from person where not active",
    "select id from person where height",
    "select coalesce(age, 0) as age, ifnull(name, 'nobody') as name, nullif(age, 30) as other from person",
    "select size * 2 as twice from place",
    "select round(height) as h from person",
    "select made from place where made > '2023-06-01'",
    "select made, count(*) as n from place group by made",
    "select age / 2 as half, age % 7 as rest, -age as minus, ~age as not_age, age << 2 as four from person",
    "select n + 1 as more from tag",
    "select name, (select max(n) from tag) as m from person",
    "select id, cast(age as text) as t, cast(age as real) as r, length(name) as l, upper(name) as u from person",
    "select 1 as one, 'a' as a, 2.5 as r, x'00' as x, true as yes from place",
];

#[test]
fn translated_views_give_sqlites_rows() {
    let views: Vec<String> = (0..)
        .zip(VIEWS)
        .map(|(place, query): (usize, &str)| format!("create view v{place} as {query};"))
        .collect();
    let ground = copied(&format!("{TABLES}{}", views.concat()));
    let made = psql(
        &ground.target.url,
        "select table_name from information_schema.views where table_schema = 'public'",
    );
    assert!(made.len() >= 40, "only {} of {} are made", made.len(), VIEWS.len());
    let mut complaints = Vec::new();
    for (place, query) in VIEWS.iter().enumerate() {
        let name = format!("v{place}");
        if !made.contains(&vec![Some(name.clone())]) {
            continue;
        }
        let select = format!("select * from {name}");
        let mut theirs = psql(&ground.target.url, &select);
        let ours = rows_of(&ground.source, &select);
        for row in &ours {
            match theirs.iter().position(|other| is_same_row(row, other)) {
                Some(found) => drop(theirs.swap_remove(found)),
                None => complaints.push(format!("{query}: misses {row:?}")),
            }
        }
        complaints.extend(theirs.iter().map(|row| format!("{query}: has {row:?} too much")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn is_same_row(row: &[Value], other: &[Option<String>]) -> bool {
    let truth = |shown: &Option<String>| match shown.as_deref() {
        Some("t") => Some("true".to_owned()),
        Some("f") => Some("false".to_owned()),
        other => other.map(str::to_owned),
    };
    row.len() == other.len()
        && row
            .iter()
            .zip(other)
            .all(|(cell, shown)| same(cell, shown.as_deref()) || same(cell, truth(shown).as_deref()))
}
