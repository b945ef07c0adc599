//! The built program against real databases: a private PostgreSQL and SQLite files made for each test.

mod canon_oracle;
mod corpus;
mod proof;
mod refusals;
mod resume;
mod support;
mod translate;
