//! The built program against real databases: a private PostgreSQL and SQLite files made for each test.

mod apply;
mod bad_luck;
mod canon_oracle;
mod capture;
mod corpus;
mod existing;
mod faults;
mod follow;
mod generate;
mod generated;
mod held;
mod http;
mod levers;
mod merge;
mod oracle;
mod proof;
mod refusals;
mod reshaped;
mod restored;
mod resume;
mod roles;
mod silence;
mod standby;
mod support;
mod translate;
mod turns;
