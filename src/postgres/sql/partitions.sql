-- The tables $1 and all that they are made of, of every depth: partitions, to which row triggers are handed on, and children by plain
-- inheritance, to which nothing is. What bears the name of a table and is none, as a view that stands in its place, is told as the table: it lacks
-- everything. A table that another one stands above is reached by statements that name that one.
with recursive member (wanted, oid, is_part) as (
    select wanted.name, to_regclass(wanted.name)::oid, false from unnest($1::text[]) as wanted (name)
    union
    select member.wanted, i.inhrelid, true from pg_inherits i join member on member.oid = i.inhparent
)
select member.wanted, n.nspname::text as schema, c.relname::text as name,
       c.relispartition and member.is_part as handed_on,
       exists (select from pg_inherits i where i.inhrelid = to_regclass(member.wanted)) as from_above
from member
join pg_class c on c.oid = member.oid
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') or not member.is_part
order by member.wanted, c.oid
