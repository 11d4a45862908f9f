//! The operator's own files: the configuration, a fresh installation, the network file, keys and certificates.

pub mod config;
pub mod install;
pub mod network_file;
pub mod pki;
