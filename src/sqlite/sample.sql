-- The demo's application: a small shop, with the habits that real SQLite databases have.
create table customers (
    id integer primary key autoincrement,
    email text not null collate nocase unique,
    name varchar(80) not null,
    vip boolean not null default 0,
    balance decimal(10, 2) not null default 0,
    settings json,
    created_at datetime not null default current_timestamp
);
create table products (
    sku text primary key not null,
    title text not null,
    price decimal(8, 2) not null check (price >= 0),
    weight real,
    picture blob
) without rowid;
create table orders (
    id integer primary key,
    customer_id integer not null references customers (id) on delete cascade,
    status text not null default 'new' check (status in ('new', 'paid', 'sent')),
    token uuid,
    placed_at datetime not null,
    shipped date
);
create table order_lines (
    order_id integer not null references orders (id),
    position integer not null,
    sku text not null references products (sku),
    quantity integer not null default 1,
    primary key (order_id, position)
);
-- Nobody gave this one a key, and anything may stand in it.
create table events (at integer, kind text, payload);
create table notes (id integer primary key, body text);
create index orders_by_customer on orders (customer_id, placed_at desc);
create index open_orders on orders (placed_at) where status <> 'sent';
create index customers_by_name on customers (lower(name));
create view order_totals as
    select l.order_id as order_id, sum(l.quantity) as items from order_lines as l group by l.order_id;
create virtual table search using fts5(body, content = 'notes', content_rowid = 'id');

insert into customers (email, name, vip, balance, settings, created_at)
with recursive n (i) as (select 1 union all select i + 1 from n where i < 5000)
select 'user' || i || '@example.com', 'Näme ' || i, i % 17 = 0, (i * 7919 % 100000) / 100.0,
       '{"theme": "' || case i % 2 when 0 then 'dark' else 'light' end || '", "n": ' || i || '}',
       datetime(1700000000 + i * 61, 'unixepoch')
from n;
insert into products
with recursive n (i) as (select 1 union all select i + 1 from n where i < 300)
select printf('SKU-%05d', i), 'Product ' || i, (i * 37 % 9000) / 100.0, i / 7.0, zeroblob(i % 64) from n;
insert into orders
with recursive n (i) as (select 1 union all select i + 1 from n where i < 20000)
select i, 1 + i * 31 % 5000, case i % 3 when 0 then 'new' when 1 then 'paid' else 'sent' end,
       printf('%08x-0000-4000-8000-%012x', i * 2654435761 % 4294967296, i),
       datetime(1710000000 + i * 97, 'unixepoch'), case when i % 3 = 2 then date(1710000000 + i * 97, 'unixepoch') end
from n;
insert into order_lines
with recursive n (i) as (select 1 union all select i + 1 from n where i < 60000)
select 1 + (i - 1) / 3, (i - 1) % 3, printf('SKU-%05d', 1 + i * 13 % 300), 1 + i % 5 from n;
insert into events
with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000)
select 1700000000 + i, 'click', case i % 4 when 0 then i when 1 then i / 3.0 when 2 then 'text ' || i else x'00ff' end from n;
insert into notes values (1, 'plain'), (2, 'with a NUL: a' || char(0) || 'b'), (3, cast(x'636166e9' as text)), (4, '😀'), (5, null);
insert into search (rowid, body) select id, body from notes where id <> 3;
