-- The columns of those tables in their order.
select a.attrelid as table_oid,
       a.attname::text as name,
       a.atttypid as type_oid,
       a.atttypmod as typmod,
       format_type(a.atttypid, a.atttypmod) as type_name,
       a.attnotnull as not_null,
       pg_get_expr(d.adbin, d.adrelid) as expression,
       a.attidentity::text as identity,
       a.attgenerated <> '' as generated,
       coalesce(l.collisdeterministic, true) as collation_deterministic
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join pg_collation l on l.oid = a.attcollation
where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
