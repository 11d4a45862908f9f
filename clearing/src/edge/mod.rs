//! The edge: sockets, TLS, whose share of the service is how large, and the HTTP interface.

pub mod failures;
pub mod http;
pub mod listen;
mod looks;
pub mod shares;
pub mod tls;
