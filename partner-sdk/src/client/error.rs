//! Why a request has no answer to use, and what is wrong with the clearinghouse where it is to blame.

use super::tls::TlsError;
use crate::jws::JwsError;
use crate::log::checkpoint::CheckpointError;
use crate::problem::Problem;
use crate::trust::ReceiptError;
use crate::wire::Answer;

/// Why there is no answer to use. No variant shows addresses, member numbers or keys.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates or the key can't be used.
    #[error("the TLS identity can't be used")]
    Identity(#[source] TlsError),
    /// The base isn't `https://host:port`, or a path doesn't start with a slash.
    #[error("not an address: a base is https://host:port, a path starts with a slash")]
    Address,
    /// No connection, no answer in time, or an answer that broke off: whether the request had an effect isn't known.
    #[error("the request failed on its way")]
    Transport(#[source] reqwest::Error),
    /// The answer isn't one that the clearinghouse gives.
    #[error("the answer can't be read (status {status}): {why}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// What is wrong, without anything of the answer's content.
        why: String,
    },
    /// The request was refused, or not carried out; there is no receipt.
    #[error("the request was refused")]
    Refused(#[source] Box<Problem>),
    /// The message was rejected for good; the problem holds the signed receipt.
    #[error("the message was rejected")]
    Rejected(#[source] Box<Problem>),
    /// The answer's receipt proves nothing. Not to be taken for an outcome.
    #[error("the receipt can't be relied on")]
    ReceiptInvalid(#[source] ReceiptFault),
    /// What should be a head of the log isn't signed by the log's key.
    #[error("not a head of the clearinghouse's log")]
    Checkpoint(#[source] CheckpointError),
    /// The clearinghouse's log isn't what it was. Don't send anything more, and show the evidence to the other partners and to an auditor.
    #[error("the clearinghouse's log isn't what it was")]
    Log {
        /// What is wrong with it.
        #[source]
        fault: LogFault,
        /// What was answered to the messages that were posted when it came to light, checked as always: keep the receipts. Empty where nothing was posted.
        answers: Vec<Answer>,
    },
    /// More heads of the log wait than are kept: [`super::Client::check_log`] comes first.
    #[error("too many heads of the log wait until they are held to the newest one")]
    Unchecked,
}

/// Why a receipt can't be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// Not a receipt, or not the clearinghouse's.
    #[error("it is not a receipt of the clearinghouse")]
    Invalid(#[source] ReceiptError),
    /// What the clearinghouse signed beside messages isn't by its key.
    #[error("it is not signed by the clearinghouse")]
    Signature(#[source] JwsError),
    /// It is about other bytes than those that were sent.
    #[error("it is about another message")]
    OtherMessage,
    /// The answer says one thing, its receipt another.
    #[error("the answer and its receipt disagree")]
    Disagrees,
    /// The answer claims an acceptance, or nothing at all, and brings no receipt.
    #[error("there is none")]
    Missing,
}

impl From<LogFault> for ClientError {
    fn from(fault: LogFault) -> Self {
        Self::Log { fault, answers: vec![] }
    }
}

impl ClientError {
    /// Whether sending the same bytes again may help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Transport(error) => !error.is_builder(),
            Self::Refused(problem) => problem.retryable,
            _ => false,
        }
    }
}

/// The clearinghouse's log isn't what it was. Once a client has found that, it does nothing more: keep the heads, each signed by the clearinghouse, as evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// Two heads that can't be of one log: entries were changed, or others are shown to others. Where both have the same size, these two texts prove it to
    /// anybody. Where they don't, the tiles of the later one belong to the proof: they make up its root, and another root than the earlier one's.
    #[error("two heads of the log don't belong to one log: what one partner was shown isn't what another is")]
    Forked {
        /// The head that was seen first.
        earlier: String,
        /// The other one.
        later: String,
    },
    /// A newer head has fewer entries.
    #[error("the log has become shorter: entries are gone")]
    Shrunk {
        /// The head that was seen first.
        earlier: String,
        /// The newer one.
        later: String,
    },
    /// What the clearinghouse gives out as its tree isn't the one whose head it has signed.
    #[error("the log's tiles aren't those of its head")]
    Tiles {
        /// The head.
        head: String,
    },
    /// It didn't prove that the log goes on from a head: it was asked and gave no proof, and ten minutes or more after that it still gave none.
    #[error("the clearinghouse gives no proof that its log goes on from what was seen")]
    Unproven {
        /// The head that is to be continued.
        earlier: String,
    },
}
