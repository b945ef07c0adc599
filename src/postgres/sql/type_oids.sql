-- The columns of table $1.$2 in their order, with their type ids.
select a.attname::text as name, a.atttypid as type_oid
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
order by a.attnum
