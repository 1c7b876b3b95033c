//! The integration tests: one binary, both databases. Run them with `tests/run`, which starts
//! the PostgreSQL they need.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]
#![allow(
    unreachable_pub,
    reason = "support is shared by the modules of this one binary"
)]

mod support;

mod architecture;
mod folding;
mod lists;
mod log;
mod migrations;
mod ownership;

mod beside;
mod browser;
mod checkpoint;
mod cli;
mod connections;
mod dashboard;
mod fixtures;
mod ingest;
mod libraries;
mod nodes;
mod parting;
mod process;
mod realtime;
mod rebuild;
mod resume;
mod settings;
mod traces;

mod faults_database;
mod faults_drops;
mod faults_floods;
mod faults_kill;
mod faults_nodes;
mod faults_power;
mod faults_stuck;

mod auth;
mod bulk_replay;
mod counts;
mod deliveries;
mod events;
mod http_conventions;
mod many;
mod metrics;
mod openapi;
mod proposals;
mod prospects;
mod search;
mod setup;
mod statistics;
mod users;
