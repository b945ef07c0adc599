-- Of the tables $1 those that nothing can have been written to unnoted since they were made. Where the guards are what is missing ($2), or no row
-- is noted yet, they are those without a page; else only a truncation passed unnoted, which gives a table another file.
select wanted.name
from unnest($1::text[]) as wanted (name)
join pg_class c on c.oid = to_regclass(wanted.name)
where c.relkind = 'p'
   or case when $2::bool or not c.relispartition then pg_relation_size(c.oid) = 0 else c.relfilenode = c.oid end
