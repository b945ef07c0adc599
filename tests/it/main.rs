//! The built program against real databases: a private PostgreSQL and SQLite files made for each test.

mod canon_oracle;
mod corpus;
mod faults;
mod generate;
mod generated;
mod oracle;
mod proof;
mod refusals;
mod resume;
mod support;
