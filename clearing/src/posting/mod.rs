//! A message's way through the service: from its bytes to what they say, through the queue into one transaction with others, and to its receipt.

mod queue;
pub mod receipt;
pub mod verify;
pub mod writer;
