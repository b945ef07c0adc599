-- Constraints of schema $1, and foreign keys of other schemas that point into it. NOT NULL is told with the columns; a partition's
-- copy of its parent's foreign key or CHECK cannot be touched by itself.
select c.oid as table_oid,
       n.nspname <> $1 as from_outside,
       n.nspname::text as table_schema,
       c.relname::text as table_name,
       pg_has_role(c.relowner, 'usage') as owned,
       k.conname::text as name,
       k.contype::text as kind,
       pg_get_constraintdef(k.oid) as definition,
       obj_description(k.oid, 'pg_constraint') as comment,
       array(
           select a.attname::text
           from unnest(k.conkey) with ordinality as part (attnum, at)
           join pg_attribute a on a.attrelid = k.conrelid and a.attnum = part.attnum
           order by part.at
       ) as columns,
       pn.nspname::text as parent_schema,
       pc.relname::text as parent_name,
       k.condeferrable as deferrable
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_class pc on pc.oid = k.confrelid
left join pg_namespace pn on pn.oid = pc.relnamespace
where (n.nspname = $1 or pn.nspname = $1)
  and k.contype <> 'n'
  and not (k.contype = 'f' and k.conparentid <> 0)
  and not (k.contype = 'c' and not k.conislocal)
order by n.nspname, c.relname, k.conname
