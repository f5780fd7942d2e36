//! Several machines on an in-memory homeserver.
