//! The built program against real databases: a private PostgreSQL and SQLite files made for each test.

mod canon_oracle;
mod capture;
mod corpus;
mod existing;
mod faults;
mod generate;
mod generated;
mod held;
mod merge;
mod oracle;
mod proof;
mod refusals;
mod resume;
mod roles;
mod support;
mod translate;
