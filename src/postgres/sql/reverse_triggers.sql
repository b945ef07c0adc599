-- The triggers of migration $1's way back, on tables and on their partitions. Their functions tell whose they are.
select n.nspname::text as schema,
       c.relname::text as name,
       t.tgname::text as trigger,
       t.tgenabled::text as enabled,
       t.tgparentid <> 0 as inherited
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_proc p on p.oid = t.tgfoid
join pg_namespace o on o.oid = p.pronamespace
where o.nspname = 'liteferry' and (starts_with(p.proname, $1) or p.proname = $2)
order by n.nspname, c.relname, t.tgname
