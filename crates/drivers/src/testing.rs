//! Device models for the tests.
