-- What a crossing leaves owed, and by what a suspended constraint is found again after its table was renamed.

alter table liteferry.follow
    -- The hook that whoever moved the writes has not called yet, as far as is known.
    add column hook_due text check (hook_due in ('after_switch', 'after_rollback'));

-- Numbers and names as they were when it was taken away. Empty where an earlier version did that: such a statement is taken as it is.
alter table liteferry.suspended
    add column relation oid,
    add column relation_name text,
    add column parent oid,
    add column parent_name text,
    add column columns smallint[],
    add column parent_columns smallint[],
    add column head text;

-- How a foreign key's definition begins, by what bears these numbers now; null where a column is gone.
create function liteferry.foreign_key_head(relation oid, columns smallint[], parent oid, parent_columns smallint[])
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select 'FOREIGN KEY (' || own.names || ') REFERENCES ' || parent::regclass || '(' || others.names || ')'
    from (select string_agg(quote_ident(attname), ', ' order by n), count(*)
          from unnest(columns) with ordinality as k (number, n)
          join pg_attribute on attrelid = relation and attnum = number and not attisdropped) as own (names, there),
         (select string_agg(quote_ident(attname), ', ' order by n), count(*)
          from unnest(parent_columns) with ordinality as k (number, n)
          join pg_attribute on attrelid = parent and attnum = number and not attisdropped) as others (names, there)
    where own.there = cardinality(columns) and others.there = cardinality(parent_columns)
$$;
