//! Mutual TLS, the server's side: nobody without a certificate of our CAs gets in, and every connection proves it anew.
//!
//! A resumed session would skip the check of the client's chain, so there is none: no session storage, no tickets, no early data.
//! Certificate, CAs and revocation lists are read again when their files change ([`Files`]) and swapped ([`Live`]): the listeners go on, new connections see the new ones, and a connection that is open already is judged again at its next request ([`Peer`]).

mod ask;
mod clients;
mod files;
mod live;
mod peer;
mod pems;
pub mod refused;
mod settings;
#[cfg(test)]
mod tests;

pub use files::Files;
pub use live::Live;
pub use peer::Peer;
pub use pems::{ClientPems, ServerPems, TlsError};
