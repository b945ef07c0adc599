-- Tables, partitioned tables, views and foreign tables of schema $1.
-- What is published is listed once, for each look at that view lists all of it.
with published as materialized (
    select distinct u.oid
    from pg_publication p
    join pg_publication_tables t on t.pubname = p.pubname
    join pg_namespace m on m.nspname = t.schemaname
    join pg_class u on u.relnamespace = m.oid and u.relname = t.tablename
    where p.pubupdate or p.pubdelete
)
select c.oid,
       c.relname::text as name,
       c.relkind::text as kind,
       c.relispartition as is_partition,
       array(
           select p.relname::text
           from pg_inherits i
           join pg_class p on p.oid = i.inhparent
           where i.inhrelid = c.oid and p.relnamespace = c.relnamespace
           order by i.inhseqno
       ) as parents,
       pg_has_role(c.relowner, 'usage') as owned,
       c.relforcerowsecurity as row_security_forced,
       row_security_active(c.oid) as row_security,
       array(
           select format('%I.%I', m.nspname, u.relname)
           from pg_class u
           join pg_namespace m on m.oid = u.relnamespace
           where u.relpersistence = 'u' and (u.oid = c.oid or u.oid in (select relid from pg_partition_tree(c.oid)))
           order by 1
       ) as unlogged,
       array(
           select format('%I.%I', m.nspname, u.relname)
           from pg_class u
           join pg_namespace m on m.oid = u.relnamespace
           where exists (select from published)
             and u.relkind = 'r'
             and (u.oid = c.oid or u.oid in (select relid from pg_partition_tree(c.oid)))
             and (
                 u.oid in (select oid from published)
                 or exists (select from published where oid in (select relid from pg_partition_ancestors(u.oid)))
             )
             and u.relreplident <> 'f'
             and not exists (
                 select
                 from pg_index i
                 where i.indrelid = u.oid
                   and case u.relreplident
                       when 'd' then i.indisprimary and i.indimmediate
                       when 'i' then i.indisreplident
                   end
             )
           order by 1
       ) as unidentified,
       array(
           select w.rulename::text
           from pg_rewrite w
           where w.ev_class = c.oid and w.rulename <> '_RETURN' and w.ev_enabled <> 'D'
           order by w.rulename
       ) as rules,
       array(
           select p.word
           from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES'])
                with ordinality as p (word, at)
           where not case p.word
               when 'REFERENCES' then has_any_column_privilege(c.oid, p.word)
               else has_table_privilege(c.oid, p.word)
           end
           order by p.at
       ) as missing_privileges
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f')
order by c.relname
