-- What disturbs a writer who brings rows in any order to the tables $1: foreign keys, triggers and rules that fire in a session of replication
-- role $2 (where that is null, in this one) and are none of $4, where $3 says so CHECKs, and subscriptions, which bring rows too. Where $2 is
-- given, the foreign keys too that point at them from other tables: a row that is written anew is gone for a moment, and such a key refuses
-- that, which is told when it does, or takes its own rows along, which nothing would tell. What is not ours to alter is told of the latter alone.
-- So are two of the tables of which one has come to be a part of the other: what is read or deleted in the one is the other's too.
with recursive above (child, ancestor) as (
    select i.inhrelid, i.inhparent
    from unnest($1::text[]) as wanted (name)
    join pg_inherits i on i.inhrelid = to_regclass(wanted.name)
    union
    select above.child, i.inhparent
    from above
    join pg_inherits i on i.inhrelid = above.ancestor
)
select n.nspname::text as schema, c.relname::text as name, what.kind, what.bears
from unnest($1::text[]) as wanted (name)
join pg_class c on c.oid = to_regclass(wanted.name)
join pg_namespace n on n.oid = c.relnamespace
cross join (select coalesce($2::text, current_setting('session_replication_role')) = 'replica' as replica) as session
cross join lateral (
    select 'trigger' as kind, t.tgname::text as bears
    from pg_trigger t
    where t.tgrelid = c.oid and not t.tgisinternal and t.tgname::text <> all ($4::text[])
      and (t.tgenabled = 'A' or t.tgenabled = case when replica then 'R' else 'O' end)
    union all
    select 'rule', w.rulename::text
    from pg_rewrite w
    where w.ev_class = c.oid and w.rulename <> '_RETURN'
      and (w.ev_enabled = 'A' or w.ev_enabled = case when replica then 'R' else 'O' end)
    union all
    select case k.contype when 'f' then 'foreign key' else 'constraint' end, k.conname::text
    from pg_constraint k
    where k.conrelid = c.oid and not replica
      and (k.contype = 'f' and k.conparentid = 0 or k.contype = 'c' and k.conislocal and $3::bool)
      and pg_get_constraintdef(k.oid) not like '%NOT ENFORCED'
    union all
    -- What it brings row by row is no statement, and passes guards; it may bring it to a partition. One that is at work: not every version
    -- lets everybody read which are enabled.
    select distinct 'subscription', s.subname::text
    from pg_stat_subscription s
    join pg_subscription_rel r on r.srsubid = s.subid
    where s.pid is not null and (r.srrelid = c.oid or r.srrelid in (select relid from pg_partition_tree(c.oid)))
) as what
union
select n.nspname::text, c.relname::text, 'foreign key from outside', k.conname::text
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
where $2::text = 'origin' and k.contype = 'f' and k.conparentid = 0
  and k.confrelid in (select to_regclass(name) from unnest($1::text[]) as wanted (name))
  and k.conrelid not in (select to_regclass(name) from unnest($1::text[]) as wanted (name) where to_regclass(name) is not null)
  and (pg_has_role(c.relowner, 'usage') or k.confdeltype in ('c', 'n', 'd'))
  and pg_get_constraintdef(k.oid) not like '%NOT ENFORCED'
union
select n.nspname::text, c.relname::text, 'inheritance', above.ancestor::regclass::text
from above
join pg_class c on c.oid = above.child
join pg_namespace n on n.oid = c.relnamespace
where $2::text is not null and above.ancestor in (select to_regclass(name) from unnest($1::text[]) as wanted (name))
order by 1, 2, 3, 4
