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
       case
           when j.oid is null then not has_database_privilege(current_database(), 'create')
           else not (has_schema_privilege(j.oid, 'create') and has_schema_privilege(j.oid, 'usage'))
       end as journal_refused,
       pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean as read_only
from pg_roles r
left join pg_namespace n on n.nspname = $1
left join pg_namespace j on j.nspname = 'liteferry'
where r.rolname = current_user
