//! The integration tests: one binary, both databases. Run them with `tests/run`, which starts
//! the PostgreSQL they need.

mod support;

mod folding;

mod ingest;
