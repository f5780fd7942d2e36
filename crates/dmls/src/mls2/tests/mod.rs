mod bytes;
mod mixed;
mod mixed_mls_rs;
mod mixed_openmls;
mod world;
