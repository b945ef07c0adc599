-- Every type that those columns are made of: their own, the bases of domains, the elements of arrays.
with recursive reached (oid) as (
    select a.atttypid
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
    union
    select part.oid
    from reached
    join pg_type t on t.oid = reached.oid
    cross join lateral (values (t.typbasetype), (t.typelem)) as part (oid)
    where part.oid <> 0
)
select t.oid,
       t.typname::text as name,
       format_type(t.oid, null) as sql_name,
       t.typtype::text as kind,
       t.typbasetype as base_oid,
       t.typtypmod as base_typmod,
       t.typnotnull as not_null,
       exists (select from pg_constraint k where k.contypid = t.oid and k.contype = 'c') as has_checks,
       -- Only a type that its element calls its array is one: name and point have elements too.
       case when e.typarray = t.oid then e.oid else 0::oid end as element_oid,
       array(select v.enumlabel::text from pg_enum v where v.enumtypid = t.oid order by v.enumsortorder) as labels,
       (
           select x.extname::text
           from pg_depend p
           join pg_extension x on x.oid = p.refobjid
           where p.classid = 'pg_type'::regclass
             and p.objid = t.oid
             and p.refclassid = 'pg_extension'::regclass
             and p.deptype = 'e'
       ) as extension
from reached
join pg_type t on t.oid = reached.oid
left join pg_type e on e.oid = t.typelem
