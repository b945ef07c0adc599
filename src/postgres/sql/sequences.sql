-- Sequences of schema $1, and those of other schemas that fill its columns; one row a use, the surest use of a column first:
-- its identity, then the nextval of its default, then ownership alone. A default that names its sequence by a text depends on none that
-- PostgreSQL knew of; without a schema it is taken to mean the table's own. What is put to no use anywhere is taken to number the column
-- that its name tells, as PostgreSQL itself would name it: applications ask such a sequence themselves.
with recorded as (
    select p.objid as sequence_oid,
           p.refobjid as table_oid,
           p.refobjsubid as attnum,
           case p.deptype when 'i' then 0 else 2 end as rank
    from pg_depend p
    where p.classid = 'pg_class'::regclass
      and p.refclassid = 'pg_class'::regclass
      and p.refobjsubid > 0
      and p.deptype in ('i', 'a')
    union all
    select p.refobjid, d.adrelid, d.adnum, 1
    from pg_depend p
    join pg_attrdef d on d.oid = p.objid
    where p.classid = 'pg_attrdef'::regclass
      and p.refclassid = 'pg_class'::regclass
      and pg_get_expr(d.adbin, d.adrelid) like '%nextval(%'
    union all
    select c.oid, d.adrelid, d.adnum, 1
    from pg_attrdef d
    join pg_class t on t.oid = d.adrelid
    join pg_namespace tn on tn.oid = t.relnamespace
    cross join lateral regexp_match(
        pg_get_expr(d.adbin, d.adrelid),
        '^nextval\(\(''(?:(\w+|"[^"'']+")\.)?(\w+|"[^"'']+")''::(?:text|character varying)\)::regclass\)$'
    ) as spelt
    cross join lateral (
        select array_agg(case when word like '"%' then btrim(word, '"') else lower(word) end order by at) as words
        from unnest(spelt) with ordinality as s (word, at)
    ) as named
    join pg_namespace n on n.nspname = coalesce(named.words[1], tn.nspname)
    join pg_class c on c.relnamespace = n.oid and c.relname = named.words[2] and c.relkind = 'S'
),
used as (
    select * from recorded
    union all
    select c.oid, t.oid, a.attnum, 3
    from pg_class c
    join pg_class t on t.relnamespace = c.relnamespace and t.relkind in ('r', 'p')
    join pg_attribute a on a.attrelid = t.oid and c.relname = t.relname || '_' || a.attname || '_seq'
    where c.relkind = 'S'
      and a.attnum > 0
      and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
      and not a.attisdropped
      and not a.atthasdef
      and a.attidentity = ''
      and not exists (select from recorded r where r.sequence_oid = c.oid)
)
select n.nspname::text as schema,
       c.relname::text as name,
       v.last_value,
       s.seqmax as max,
       s.seqincrement as increment,
       array(
           select p.word
           from unnest(array['SELECT', 'UPDATE']) with ordinality as p (word, at)
           where not has_sequence_privilege(s.seqrelid, p.word)
           order by p.at
       ) as missing_privileges,
       used.rank is not distinct from 3 as is_by_name,
       used.table_oid,
       tn.nspname::text as table_schema,
       tc.relname::text as table_name,
       a.attname::text as column_name
from pg_sequence s
join pg_class c on c.oid = s.seqrelid
join pg_namespace n on n.oid = c.relnamespace
-- The view shows no last value of a sequence that the role may not read.
left join pg_sequences v on v.schemaname = n.nspname and v.sequencename = c.relname
left join used on used.sequence_oid = s.seqrelid
left join pg_class tc on tc.oid = used.table_oid
left join pg_namespace tn on tn.oid = tc.relnamespace
left join pg_attribute a on a.attrelid = used.table_oid and a.attnum = used.attnum
where n.nspname = $1 or tn.nspname = $1
order by used.rank, n.nspname, c.relname, tn.nspname, tc.relname, a.attnum
