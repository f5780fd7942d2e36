//! The only module that names the MLS library.
