//! Statements of a copy made to wait in the target for as long as a test likes: what comes before them can be met at leisure, whoever is
//! the quicker one.

use super::held::HeldSession;
use super::{psql, until};

/// Dropped, it lets go too.
pub struct HeldDdl {
    url: String,
    session: HeldSession,
}

/// `liteferry`'s own tables are made all the same.
const TRIGGER: &str = "create function wait_a_while() returns event_trigger language plpgsql as $$ begin
        if current_query() ilike '{like}' and current_query() not ilike '%liteferry.%' then perform pg_advisory_xact_lock(7); end if; end $$;
    create event trigger wait_a_while on ddl_command_start when tag in ('CREATE INDEX', 'ALTER TABLE') execute function wait_a_while()";
const ROWS: &str = "create function wait_a_while() returns trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock(7); return null; end $$;
    create function make_it_wait() returns event_trigger language plpgsql as $$ begin
        if exists (select from pg_event_trigger_ddl_commands() where object_identity = '{table}') then
            create trigger wait_a_while before insert on {table} for each statement execute function public.wait_a_while(); end if; end $$;
    create event trigger make_it_wait on ddl_command_end when tag in ('CREATE TABLE') execute function make_it_wait()";
const WAITING: &str = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'";

impl HeldDdl {
    /// In a database that has none of it yet; `like` is what such a statement looks like.
    pub fn of(url: &str, like: &str) -> HeldDdl {
        psql(url, &TRIGGER.replace("{like}", like));
        HeldDdl::lock(url)
    }

    fn lock(url: &str) -> HeldDdl {
        let session = HeldSession::open(url);
        session.run("select pg_advisory_lock(7)");
        HeldDdl { url: url.to_owned(), session }
    }

    /// Those that load rows into a table that is not made yet.
    pub fn loads_of(url: &str, table: &str) -> HeldDdl {
        psql(url, &ROWS.replace("{table}", table));
        HeldDdl::lock(url)
    }

    /// Those that make a unique index. None of the primary keys is made by one.
    pub fn unique_indexes(url: &str) -> HeldDdl {
        HeldDdl::of(url, "%unique index%")
    }

    /// Returns when one of them waits.
    #[track_caller]
    pub fn is_met(&self) {
        until("a statement waits", || !psql(&self.url, &format!("select 1 {WAITING}")).is_empty());
    }

    /// What waits goes on.
    pub fn let_go(self) {
        self.session.run("select pg_advisory_unlock(7)");
    }

    /// What waits for somebody who was killed never goes on.
    #[track_caller]
    pub fn clear_away(self) {
        until("nothing waits", || {
            psql(&self.url, &format!("select pg_terminate_backend(pid) {WAITING}")).is_empty()
        });
        self.let_go();
    }
}
