-- The server, the role, and what the role may do in schema $1.
select current_setting('server_version_num')::integer as version_num,
       current_setting('server_encoding') as server_encoding,
       current_database()::text as database,
       r.rolname::text as role,
       r.rolsuper as superuser,
       n.oid is not null as schema_exists,
       case
           when n.oid is null then has_database_privilege(current_database(), 'create')
           else has_schema_privilege(n.oid, 'create') and has_schema_privilege(n.oid, 'usage')
       end as may_create_in_schema,
       -- Schema liteferry is made by the first copy into a database.
       case
           when l.oid is null then has_database_privilege(current_database(), 'create')
           else has_schema_privilege(l.oid, 'create') and has_schema_privilege(l.oid, 'usage')
       end as may_keep_state,
       -- Where the extension's type is to be found; no path leads there.
       (select quote_ident(its.nspname) from pg_extension e join pg_namespace its on its.oid = e.extnamespace
        where e.extname = 'citext') as citext_schema,
       -- What an extension brings lives with what it does.
       array(select e.evtname::text from pg_event_trigger e
             where e.evtenabled in ('O', 'A') and not exists (
                 select from pg_depend d
                 where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e')
             order by 1) as event_triggers,
       pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean as read_only
from pg_roles r
left join pg_namespace n on n.nspname = $1
left join pg_namespace l on l.nspname = 'liteferry'
where r.rolname = current_user
