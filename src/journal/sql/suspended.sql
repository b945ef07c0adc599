-- What was taken away, and what bears the numbers of its tables and columns now. A name that belongs to another number than it did says
-- that the database was restored, or the table made anew: then the statement is taken as it is.
select what, restore, fallback, head,
       case when trusted then relation_name end as known_as,
       namespace.nspname::text, class.relname::text,
       case when trusted and head is not null then liteferry.foreign_key_head(relation, columns, parent, parent_columns) end as head_now,
       not trusted or (
           class.oid is not null
           and (parent is null or exists (select from pg_class where pg_class.oid = parent))
           and not exists (select from pg_attribute where attrelid = relation and attnum = any (columns) and attisdropped)
           and not exists (select from pg_attribute where attrelid = parent and attnum = any (parent_columns) and attisdropped)
       ) as stands
from (select *, relation is not null
             and coalesce(to_regclass(relation_name)::oid, relation) = relation
             and (parent is null or coalesce(to_regclass(parent_name)::oid, parent) = parent) as trusted
      from liteferry.suspended where migration_id = $1) as suspended
left join pg_class as class on class.oid = relation
left join pg_namespace as namespace on namespace.oid = class.relnamespace
order by ordinal desc
