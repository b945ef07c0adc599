-- Triggers of schema $1's tables, but for those by which PostgreSQL enforces foreign keys. Bit 2 of tgtype says BEFORE.
select t.tgrelid as table_oid,
       t.tgname::text as name,
       (t.tgtype & 2) <> 0 as is_before,
       t.tgenabled::text as enabled
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and not t.tgisinternal
order by c.relname, t.tgname
