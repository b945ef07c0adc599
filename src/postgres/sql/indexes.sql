-- Indexes of schema $1's tables. A key part that is an expression has no column: null.
select i.indrelid as table_oid,
       ic.relname::text as name,
       i.indisunique as is_unique,
       i.indisprimary as is_primary,
       pg_get_indexdef(i.indexrelid) as definition,
       array(
           select a.attname::text
           from generate_series(0, i.indnkeyatts - 1) as part (at)
           left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[part.at]
           order by part.at
       ) as columns,
       i.indpred is not null as is_partial,
       i.indisvalid as is_valid,
       -- The column exists from PostgreSQL 15 on.
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) as nulls_not_distinct
from pg_index i
join pg_class ic on ic.oid = i.indexrelid
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1
order by c.relname, ic.relname
