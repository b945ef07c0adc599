-- What every session is made of, whatever the role, the database or the server are set to: names mean the catalog's,
-- literals and times read alike everywhere, and row-level security refuses instead of hiding rows.
set client_encoding = 'UTF8';
set standard_conforming_strings = on;
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set extra_float_digits = 3;
set quote_all_identifiers = off;
set search_path = pg_catalog, pg_temp;
set row_security = off;
-- What a role or a database allows an application's sessions is too little for ours, which have bounds of their own: a snapshot that is
-- compared stands still while SQLite is read, and a daemon that has nothing to do keeps its connections.
set statement_timeout = 0;
-- Nobody's lock is waited for without a word: less than what any answer is waited for, so that it is the lock that is named.
set lock_timeout = '15s';
set idle_in_transaction_session_timeout = '15min';
select set_config('idle_session_timeout', '0', false) where current_setting('idle_session_timeout', true) is not null;
select set_config('transaction_timeout', '0', false) where current_setting('transaction_timeout', true) is not null;
-- A look at a catalog is estimated dear and done in milliseconds: compiling it takes a hundred times as long.
set jit = off;
-- A commit that decides, or that a removal relies on, has to outlive the server. What may be lost says so itself.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
set default_transaction_isolation = 'read committed';
set client_min_messages = warning;
-- A client that was cut off without a word is no client: what its transaction has locked would keep us out until the kernel's two hours are over.
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
-- A backend whose client has died gives up its work and its locks within seconds. Servers before 14 cannot, nor can all systems.
select set_config('client_connection_check_interval', '5s', false)
where current_setting('client_connection_check_interval', true) is not null and version() like '%linux%';
select current_setting('server_version_num') as version, pg_backend_pid() as backend,
       pg_postmaster_start_time()::text as server, extract(epoch from clock_timestamp()) as clock,
       pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only;
