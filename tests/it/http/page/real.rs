//! The page before a daemon that does what it is told: clicks alone lead a migration to PostgreSQL and back, and the databases show it.

use super::browser::Browser;
use super::pictures;
use crate::support::daemon::Daemon;
use crate::support::{application, database, psql, sqlite};

const ROWS: &str = "pragma journal_mode = wal;
    create table customers (id integer primary key, name text not null);
    create table orders (id integer primary key, customer integer references customers, note text);
    with recursive n(i) as (values (1) union all select i + 1 from n where i < 2000)
        insert into customers select i, 'customer ' || i from n;
    insert into orders select id, id, 'note' from customers;
    update orders set note = 'a' || char(0) where id = 7";

#[test]
fn clicks_alone_lead_a_real_migration_there_and_back() {
    let Some(browser) = Browser::start() else { return };
    let (source, target) = (sqlite(ROWS), database());
    let mut daemon = Daemon::start(&source, &target.url, &[]);
    daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"].is_string());
    let token =
        std::fs::read_to_string(format!("{}.state/token", source.path.display())).expect("it is made");
    let write = |sql: &str| application(&source.path).execute(sql, []);
    browser.open(&format!("http://{}/", daemon.address()));
    phase(&browser, "dual-write");
    browser.click("#do-validate");
    browser.until("the dry run", "document.querySelectorAll('#dialog-body ol li').length === 3");
    browser.fill("#token", token.trim());
    browser.click("#dialog-yes");
    phase(&browser, "validate");

    browser.until("the ledger", "document.querySelector('#ledger button').textContent === 'Accept'");
    browser.click("#ledger button");
    browser.click("#dialog-yes");
    browser.until("it is accepted", "document.querySelector('#ledger').textContent.includes('accepted')");
    daemon.until(|status| status["gates"]["switch"]["open"] == true);
    browser.click("#do-switch");
    browser.until("it is possible", "document.querySelector('#reason') !== null");
    browser.fill("#reason", "moving day");
    browser.click("#dialog-yes");
    phase(&browser, "switch");
    browser.until("who and why", "document.querySelector('#journal').textContent.includes('moving day')");
    pictures(&browser, "real-switched");
    let refused = write("insert into customers values (9001, 'too late')").expect_err("SQLite is closed");
    assert!(refused.to_string().contains("liteferry"), "{refused}");
    psql(&target.url, "insert into customers values (9002, 'in time')");

    daemon.until(|status| status["gates"]["rollback"]["open"] == true);
    browser.click("#do-rollback");
    browser.until("the dry run", "document.querySelectorAll('#dialog-body ol li').length === 4");
    browser.click("#dialog-yes");
    phase(&browser, "dual-write");
    pictures(&browser, "real-back");
    assert_eq!(write("update customers set name = 'came back' where id = 9002"), Ok(1));
    browser.is_silent();
}

#[track_caller]
fn phase(browser: &Browser, word: &str) {
    browser.until(word, &format!("document.querySelector('.path .here').textContent === '{word}'"));
}
