-- From PostgreSQL 15 on the right to set a parameter can be granted.
select has_parameter_privilege('session_replication_role', 'set') as granted
