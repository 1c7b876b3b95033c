//! Calendly's wire: how its webhooks are signed and what they carry.
//!
//! Reading order: [`signature`] says whether a delivery is genuine, [`payload`] what it says.
//! [`sample`] makes one.
//! Nothing here does I/O or looks at a clock.

mod lenient;
pub mod payload;
pub mod sample;
pub mod signature;
pub mod statement;
