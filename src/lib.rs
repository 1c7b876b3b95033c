//! Bookbell turns Calendly bookings into live sales work.

pub mod calendly;
pub mod domain;
pub mod store;
