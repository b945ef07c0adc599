-- Whether a table of the name $1, or one that it is made of, has other files now than the caller's snapshot shows.
with recursive part as (
    select $1::text::regclass::oid as id
    union all
    select i.inhrelid from pg_inherits i join part on i.inhparent = part.id
)
select coalesce(bool_or(c.relfilenode is distinct from coalesce(pg_relation_filenode(c.oid), 0)), true)
from part join pg_class c on c.oid = part.id
