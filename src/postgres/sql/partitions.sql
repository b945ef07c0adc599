-- The table $1 and all its partitions, of every depth.
with recursive member (oid) as (
    select $1::text::regclass::oid
    union
    select i.inhrelid from pg_inherits i join member on member.oid = i.inhparent
)
select n.nspname::text as schema, c.relname::text as name
from member
join pg_class c on c.oid = member.oid
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
