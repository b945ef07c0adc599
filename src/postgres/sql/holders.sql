-- Who holds the tables $1, or what they are made of, against whoever sets triggers and makes constraints there, and how many milliseconds
-- PostgreSQL has somebody wait before it ends an autovacuum for him.
with recursive member (oid) as (
    select to_regclass(wanted.name)::oid from unnest($1::text[]) as wanted (name)
    union
    select i.inhrelid from pg_inherits i join member on member.oid = i.inhparent
)
select n.nspname::text as schema,
       c.relname::text as name,
       l.pid,
       l.mode = 'ShareUpdateExclusiveLock' as like_a_vacuum,
       coalesce(nullif(a.application_name, ''), a.backend_type, '') as called,
       -- A prepared transaction holds its locks without a session, its own number among them.
       (select min(p.gid)
        from pg_locks own
        join pg_prepared_xacts p on p.transaction = own.transactionid
        where l.pid is null and own.pid is null and own.virtualtransaction = l.virtualtransaction) as prepared,
       (extract(epoch from current_setting('deadlock_timeout')::interval) * 1000)::bigint as patience_ms,
       -- Nobody is told what others' sessions are who may not read that.
       a.backend_type is not distinct from 'client backend' as a_clients
from pg_locks l
join member on member.oid = l.relation
join pg_class c on c.oid = l.relation
join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and l.mode not in ('AccessShareLock', 'RowShareLock')
order by l.pid, n.nspname, c.relname
