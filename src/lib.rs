//! Bookbell turns Calendly bookings into live sales work: signed webhooks in, prospects and
//! proposals in the database, events over Socket.IO out.
//!
//! In reading order: [`domain`] says what the product is and does no I/O; [`calendly`] is
//! Calendly's wire; [`store`] holds all SQL; [`app`] is what the product does, one function for
//! each operation; [`net`], [`http`], [`realtime`], [`jobs`] and [`cli`] bring the
//! world to it; [`config`], [`memory`], [`telemetry`], [`otlp`] and [`serve`] put it together. `ARCHITECTURE.md` is the map.

pub mod app;
pub mod calendly;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod memory;
pub mod net;
pub mod otlp;
pub mod realtime;
pub mod serve;
pub mod store;
pub mod telemetry;
