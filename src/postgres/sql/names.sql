-- Every name in schema $1 that a new relation cannot take. Array types give way by themselves.
select c.relname::text as name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1
union
select t.typname::text
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
where n.nspname = $1 and not exists (select from pg_type e where e.typarray = t.oid)
order by name
