//! Files of the process.
