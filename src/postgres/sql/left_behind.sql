-- Tables that hold rows in the schemas of the tables $1.$2, and are none of them; partitions count for their table, an extension's own do not.
select distinct n.nspname::text, c.relname::text
from pg_class part
join pg_namespace its on its.oid = part.relnamespace
join pg_class c on c.oid = coalesce(pg_partition_root(part.oid), part.oid)
join pg_namespace n on n.oid = c.relnamespace
where part.relkind = 'r' and part.relpersistence <> 't' and its.nspname = any ($1::text[])
  and (part.reltuples > 0 or pg_stat_get_tuples_inserted(part.oid) > 0)
  and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  and not exists (
    select from unnest($1::text[], $2::text[]) as carried (schema, name)
    where carried.schema = n.nspname and carried.name = c.relname)
order by 1, 2
