//! Those whom dmls is compared with.

pub mod beekem;
pub mod megolm;
pub mod mls_rs;
pub mod openmls;
