//! What the benchmarks share: programs to measure, databases, loads, the machine, and how figures
//! are shown.

pub(crate) mod booking;
pub(crate) mod database;
pub(crate) mod figures;
pub(crate) mod ground;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod outcome;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod verdict;
pub(crate) mod wire;
