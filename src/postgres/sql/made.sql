-- Of the tables $2, which migration $3 knows by the numbers $1, those that are not made of what they were: parts, the files that these lie in,
-- and of each column the number, the type and the transaction that defined it last. Whoever defines a column anew may have changed its values in
-- all rows, and they lie in another file then (one alone is given another default, or lets in no NULL); whoever detaches a part takes its rows
-- away, and an attached one brings some, which one that was made as a part does not. Of a table that is gone, or bears another name, nothing
-- is found. Put together once: who knows nothing of liteferry.captured would plan it for each of its rows.
with recursive given as (
    select given.id, to_regclass(given.name)::oid as oid from unnest($1::bigint[], $2::text[]) as given (id, name)
),
wanted as (select id, oid from given where oid is not null),
part (id, oid, file, attached) as (
    select wanted.id, c.oid, c.relfilenode, false
    from wanted
    join pg_class c on c.oid = wanted.oid
    union all
    select part.id, c.oid, c.relfilenode, i.xmin <> t.xmin
    from part
    join pg_inherits i on i.inhparent = part.oid
    join pg_class c on c.oid = i.inhrelid
    join pg_type t on t.oid = c.reltype
),
whole as (
    select id,
           jsonb_object_agg(oid::text, attached) as parts,
           jsonb_object_agg(oid::text, file::bigint) as files
    from part
    group by id
),
found as materialized (
    select id,
           jsonb_build_object(
               'parts', whole.parts,
               'files', whole.files,
               'columns', (
                   select jsonb_object_agg(
                       a.attname::text,
                       concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.xmin::text)
                   )
                   from pg_attribute a
                   where a.attrelid = wanted.oid and a.attnum > 0 and not a.attisdropped
               )
           ) as made
    from wanted
    join whole using (id)
)
select c.id,
       found.made::text,
       exists (
           select from jsonb_each_text(c.made -> 'columns') as was
           cross join lateral (select found.made -> 'columns' ->> was.key as value) as now
           where now.value is distinct from was.value
             and (c.made -> 'files' is distinct from found.made -> 'files'
                  or regexp_replace(now.value, ' \d+$', '') is distinct from regexp_replace(was.value, ' \d+$', ''))
       )
       or exists (select from jsonb_object_keys(c.made -> 'parts') as was (key) where not found.made -> 'parts' ? was.key)
       or exists (
           select from jsonb_each(found.made -> 'parts') as now
           where now.value = 'true' and c.made is not null and not c.made -> 'parts' ? now.key
       ) as remade
from given
left join found using (id)
join liteferry.captured c on c.migration_id = $3 and c.id = given.id
where c.made is distinct from found.made or found.id is null
order by c.id
