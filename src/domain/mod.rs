//! What the product is: its records and the rules they follow. No I/O here; time and ids come
//! from outside.

pub mod booking;
pub mod clock;
pub mod delivery;
pub mod difference;
pub mod email;
pub mod event;
pub mod fields;
pub mod ids;
pub mod invitee;
pub mod latest;
pub mod profile;
pub mod proposal;
pub mod proposal_edit;
pub mod prospect;
pub mod prospect_edit;
pub mod secret;
pub mod source;
pub mod statistics;
pub mod text;
pub mod time;
pub mod user;
pub mod user_edit;
pub mod world;
