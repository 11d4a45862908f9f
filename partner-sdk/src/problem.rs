//! The catalogue of problems: every way in which a request or a message can be refused, in one place (RFC 9457).
//!
//! The server answers with these, the SDK reads them, and the list in `docs/PROTOCOL.md` is generated from [`Code::ALL`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::text;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $retry:literal, $title:literal, $todo:literal;)*) => {
        /// A stable code; its meaning never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The code as it travels.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// Whether sending the same bytes again may succeed.
            pub fn retryable(self) -> bool {
                match self { $(Code::$variant => $retry,)* }
            }

            /// What it means, in a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// What the caller can do.
            pub fn what_to_do(self) -> &'static str {
                match self { $(Code::$variant => $todo,)* }
            }
        }
    };
}

catalogue! {
    // The request as such: no receipt, because nobody's signature stands behind it.
    CertificateUnknown = "certificate_unknown", 403, false, "The client certificate belongs to no partner.", "Ask the operator to register this certificate's public key (SPKI).";
    CertificateRevoked = "certificate_revoked", 403, false, "The client certificate isn't accepted any more: it was revoked, has ended, or its CA was withdrawn.", "Connect with a certificate that is in force, or ask the operator for one.";
    PartnerSuspended = "partner_suspended", 403, false, "A partner isn't active: the sender, or the issuer that `field` points to.", "Ask the operator why the partner is not active.";
    PartnerLeaving = "partner_leaving", 422, false, "A partner is leaving: the sender, or the issuer that `field` points to. It takes on nothing new.", "Spend, reverse and settle what there is.";
    Forbidden = "forbidden", 403, false, "This partner may not see that.", "Ask only for your own data, or for programmes that you have an agreement in.";
    NotFound = "not_found", 404, false, "There is nothing here.", "Check the path and the identifiers in it.";
    MethodNotAllowed = "method_not_allowed", 405, false, "This address takes another method.", "See the list of addresses in docs/PROTOCOL.md.";
    UnsupportedMedia = "unsupported_media", 415, false, "The body is encoded in a way that isn't taken.", "Send the body as it is, without Content-Encoding.";
    HeadersTooLarge = "headers_too_large", 431, false, "The request's head is larger than 16 KiB, or has more than 64 headers.", "Send fewer and shorter headers.";
    LengthRequired = "length_required", 411, false, "The body comes without a Content-Length.", "Send the body's length in Content-Length, not chunk by chunk.";
    Misdirected = "misdirected", 421, false, "This service isn't known by the name in Host.", "Use a name or address that is in the server's certificate.";
    TooLarge = "too_large", 413, false, "The body or the message is too large.", "Keep a message within 4 KiB, a document or a request about keys within 16 KiB, a batch within 1,000 messages and 4 MiB.";
    EmptyBatch = "empty_batch", 422, false, "The batch has no message.", "Send 1 to 1,000 messages.";
    TooSlow = "too_slow", 408, true, "The request did not arrive in time.", "Send the same bytes again.";
    BadRequest = "bad_request", 400, false, "The request can't be read.", "See docs/PROTOCOL.md for what this address takes.";
    TooManyRequests = "too_many_requests", 429, true, "This partner, or this address, has used up its share: requests at once or a second, bodies, or messages that wait. Nothing was posted.", "Wait for Retry-After seconds, send the same bytes again, and less at once from then on.";
    Overloaded = "overloaded", 503, true, "The queue is full; nothing was posted.", "Wait for Retry-After seconds and send the same bytes again.";
    ShuttingDown = "shutting_down", 503, true, "The service is stopping; nothing was posted.", "Send the same bytes again in a few seconds.";
    ClockBehind = "clock_behind", 503, true, "The clearinghouse's clock stands before its last entry; nothing was posted.", "Send the same bytes again later; the operator has to put the clock right.";
    WindowsOverdue = "windows_overdue", 503, true, "More settlement windows would close at once than the clearinghouse closes by itself; nothing was posted.", "Send the same bytes again later; the operator has to look whether the clock is right.";
    OutcomeUnknown = "outcome_unknown", 503, true, "The database failed while committing; whether the message was posted is not known yet.", "Send the same bytes again: the answer will be the one that holds.";
    Internal = "internal", 500, true, "A fault on our side; nothing was posted.", "Send the same bytes again; if it stays, tell the operator the time.";

    // The signature.
    MalformedJws = "malformed_jws", 400, false, "Not a compact JWS.", "Send header.payload.signature, each as unpadded base64url.";
    BadHeader = "bad_header", 400, false, "The JWS header isn't exactly alg, kid and typ.", "Send alg EdDSA or Ed25519, your kid, and the typ for this address; no crit.";
    UnknownKey = "unknown_key", 401, false, "No key of yours has this kid.", "Use a kid that is registered for you; `GET /v1/keys` shows a partner its own.";
    BadSignature = "bad_signature", 401, false, "The signature doesn't verify over the bytes received.", "Sign the exact bytes that you send, with the key registered under kid.";

    KeyNotValid = "key_not_valid", 403, false, "The key isn't valid at issued_at.", "Sign with the key that is valid when you issue the message.";
    KeyRevoked = "key_revoked", 403, false, "This key was revoked.", "Use another key of yours; a revoked one never comes back.";

    // Keys and certificates.
    InvitationInvalid = "invitation_invalid", 403, false, "The invitation isn't known, was used, has expired, or is another partner's.", "Ask the operator for a new invitation.";
    TooManyKeys = "too_many_keys", 409, false, "Two keys of this kind would be valid beside the new one, or it would be the ninth that is valid or to come.", "Revoke or end one of them first.";
    KeyTaken = "key_taken", 409, false, "This key or kid is registered already: for another partner, another key or another use.", "Make a new key, and give it a kid that nobody has.";
    WeakKey = "weak_key", 422, false, "The public key is weak: anybody could sign for it.", "Make a new key with a common library.";
    BadCertificateRequest = "bad_certificate_request", 422, false, "The certificate request can't be taken.", "Send PKCS#10 in PEM, signed by its own key, with your partner id as CN, without special extensions: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more.";
    SigningUnavailable = "signing_unavailable", 503, false, "The clearinghouse's CA doesn't sign certificates at the moment.", "Ask the operator to bring the CA's key, then send the same bytes again.";

    // Documents that several sign.
    MalformedDocument = "malformed_document", 400, false, "Not a JWS in general JSON serialization, or its payload isn't canonical JSON of this kind.", "Send {payload, signatures: [{protected, signature}]}, the payload in RFC 8785 canonical form with every term written out.";
    UnprotectedHeader = "unprotected_header", 400, false, "The document has a header that no signature protects.", "Leave the member `header` out.";
    DocumentChanged = "document_changed", 409, false, "These are not the bytes of the document that is there.", "Fetch the document and sign exactly its payload; for other terms propose another document.";
    DocumentState = "document_state", 409, false, "The document isn't in a state in which this is done.", "Fetch the document and look at its state, and when it ends.";
    DocumentKnown = "document_known", 409, false, "This document is there already.", "Fetch it by its hash; to propose the same once more, give it another salt.";
    AlreadySigned = "already_signed", 409, false, "This party has signed the document before.", "Nothing more is asked of you: look at the document's state.";
    NotParty = "not_party", 403, false, "This isn't yours to do: only another party of the document may.", "See docs/PROTOCOL.md for who may do what, and when.";
    TooManyProposals = "too_many_proposals", 409, false, "Too many of your proposals aren't in force yet.", "Withdraw what is no longer wanted.";
    NotApproved = "not_approved", 409, false, "The document lacks a signature that has to be there before it is countersigned.", "Have whoever is missing sign first.";
    AlreadySettled = "already_settled", 409, false, "The window is settled already.", "Look at who has confirmed its payments: clearing document show HASH.";
    FourEyes = "four_eyes", 403, false, "Who has proposed something doesn't approve it.", "Ask another of the operator's people.";
    Superseded = "superseded", 409, false, "Another version is in force, or starts then or later.", "Start later than the version that is there; an agreement names it in `supersedes` too.";
    DeadlinePassed = "deadline_passed", 409, false, "The time for this is over.", "Settle the matter with the other party, outside the clearinghouse.";
    NoticeTooShort = "notice_too_short", 422, false, "The notice that was agreed on isn't kept.", "Choose a later date.";
    BadTerms = "bad_terms", 422, false, "A term isn't possible.", "Change what `detail` names, in the term at `field`, and propose that.";
    CycleGains = "cycle_gains", 422, false, "Points sent around a cycle of exchanges would grow.", "Publish a rate or bonus under which no cycle gains; `detail` shows the one that would.";

    // The signed payload.
    MalformedPayload = "malformed_payload", 422, false, "The payload isn't one JSON object of strings.", "Send one flat JSON object whose values are all strings, and nothing after it.";
    UnknownField = "unknown_field", 422, false, "A field doesn't belong to this kind of message.", "Leave the field out.";
    DuplicateField = "duplicate_field", 422, false, "A field stands twice.", "Send each field once.";
    MissingField = "missing_field", 422, false, "A field is missing.", "Add the field.";
    BadValue = "bad_value", 422, false, "A field's value isn't of its form.", "See the field's grammar in docs/PROTOCOL.md.";
    BadAmount = "bad_amount", 422, false, "An amount isn't of the grammar, is zero, too large, or has more decimals than its unit.", "Write digits, then at most the unit's decimals: 12.50, not 1e3, +5, .5, 5. or 1_000.";
    SenderMismatch = "sender_mismatch", 403, false, "Certificate, key and sender aren't the same partner.", "Send only messages of your own, signed by your own key.";
    IssuedInFuture = "issued_in_future", 422, false, "issued_at is more than 10 seconds ahead of the clearinghouse's clock.", "Set your clock, and sign a new message.";
    Stale = "stale", 422, false, "issued_at or occurred_at is older than the agreement's store-and-forward allowance (about keys: older than 5 minutes), or occurred_at is later than issued_at.", "Sign anew and send at once; for messages that wait in a till, agree on a longer allowance.";
    IdReused = "id_reused", 409, false, "This id was used for other bytes.", "Use a new id for a new message, the same bytes for a retry.";

    // What the network allows.
    UnknownProgramme = "unknown_programme", 422, false, "There is no such programme.", "Use a programme of the network.";
    NoAgreement = "no_agreement", 422, false, "No agreement of the sender allows this at occurred_at.", "Check partner, programme, kind and the agreement's validity.";
    NoRate = "no_rate", 422, false, "No exchange rate is in force now.", "Ask for the rates in force; where one is, ask the operator for one that fits your agreement.";
    LimitPerMessage = "limit_per_message", 422, false, "More points than the agreement allows in one message.", "Send less at once.";
    NotAMultiple = "not_a_multiple", 422, false, "The points aren't a multiple of the agreement's step, or of the block in which they are bought.", "Send a multiple of the step or block.";
    NotPrepaid = "not_prepaid", 422, false, "The sender's agreement sells no points in advance.", "Agree on a block (the term `prepaid`), or earn without one: it is owed then.";
    LimitPartnerDay = "limit_partner_day", 422, false, "More points than the agreement allows for all members together in one window.", "Wait for the next window, or agree on a higher limit.";
    LimitMemberDay = "limit_member_day", 422, false, "More points than the agreement allows for one member in one window.", "Send less, or wait for the next window.";
    NetDebitCap = "net_debit_cap", 422, false, "A partner would owe more than its net debit cap.", "The partner whose debt would grow settles, or has its cap raised.";
    ExpiredOnArrival = "expired_on_arrival", 422, false, "The points would have expired before they arrive: nobody could spend them.", "Send earns sooner; these points can't be credited any more.";
    InsufficientBalance = "insufficient_balance", 422, false, "The member doesn't have that many points to spend.", "Ask for the balance; points under hold can't be spent.";
    HoldUnknown = "hold_unknown", 422, false, "No accepted authorise of the sender has this id.", "Name the id of your own authorise message.";
    HoldExpired = "hold_expired", 422, false, "The hold has expired.", "Authorise again, if the points are still wanted.";
    HoldClosed = "hold_closed", 422, false, "The hold was captured or voided before.", "Authorise again, if more points are wanted.";
    HoldExceeded = "hold_exceeded", 422, false, "More points than the hold holds.", "Capture at most what was authorised.";
    TargetUnknown = "target_unknown", 422, false, "No accepted message of the sender has this id.", "Name the id of your own accepted message.";
    NotReversible = "not_reversible", 422, false, "This kind of message can't be reversed, or not in this way.", "Reverse earn, burn, capture, exchange (not into a programme with external custody) or prepay; by spend only an earn that stated its spend.";
    ReversalWindowClosed = "reversal_window_closed", 422, false, "The agreement's time for reversals is over.", "Settle the matter outside the clearinghouse.";
    ReversalExceeded = "reversal_exceeded", 422, false, "More than what is left to reverse.", "Reverse at most what the message moved, less what was reversed before.";
    ClawbackLimited = "clawback_limited", 422, false, "Too few points can be taken back: the member's don't suffice and the programme doesn't allow the balance to go that far below zero, or earns have drawn on the block.", "Reverse at most `recoverable` points.";
    BelowMinimum = "below_minimum", 422, false, "Fewer points than the rate's minimum or step, or nothing would be credited.", "Offer at least the minimum and one step.";
    AboveMaximum = "above_maximum", 422, false, "More points than the rate's maximum.", "Exchange less at once.";
    QuoteUnknown = "quote_unknown", 422, false, "No accepted quote of the sender has this id.", "Name the id of your own quote message.";
    QuoteUsed = "quote_used", 422, false, "An exchange has used this quote before.", "Ask for a new quote.";
    QuoteExpired = "quote_expired", 422, false, "The quote has expired.", "Ask for a new quote, and exchange before its expires_at.";
    QuoteMismatch = "quote_mismatch", 422, false, "The exchange isn't about what was quoted.", "Send the programmes and points of the quote, or ask for another quote.";
    ExternalCustody = "external_custody", 422, false, "The issuer keeps this programme's balances itself; only exchanges with it are cleared here.", "Ask the programme's issuer.";
    ExchangeUnknown = "exchange_unknown", 422, false, "No exchange by this sender and id waits for, or has had, an answer of yours.", "Name the sender and the subject of the event exchange.instructed.";
    ExchangeClosed = "exchange_closed", 422, false, "The exchange was answered before; the first answer holds.", "Look at the exchange's state, and put your own books right by it.";
    Overflow = "overflow", 422, false, "This is more than one message may move, or than may add up.", "Send less at once.";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| format!("unknown code {text}"))
    }
}

/// What goes before a code in a problem's `type`.
pub const TYPE_PREFIX: &str = "urn:points-clearing:problem:";

/// Problem details (RFC 9457) with the extensions that every answer here has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// `urn:points-clearing:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stable code.
    pub code: Code,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// What the caller can do.
    pub what_to_do: String,
    /// Whether the same bytes may succeed later.
    pub retryable: bool,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The signed rejection, where the message's signature was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Seconds to wait before the same is sent again, where that is known; it travels as the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

/// The most characters of a field's name, which whoever is refused may have chosen.
const MAX_FIELD: usize = 64;

/// A text that may quote what came in: shown as it was, but for what isn't plain.
fn plain(text: String) -> String {
    match text::shown(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

impl Problem {
    /// A problem with its catalogue texts.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPE_PREFIX}{code}"),
            code,
            title: code.title().into(),
            status: code.status(),
            detail: plain(detail.into()),
            what_to_do: code.what_to_do().into(),
            retryable: code.retryable(),
            field: None,
            receipt: None,
            retry_after: None,
        }
    }

    /// The same, to be tried again after this time: whole seconds, one at least.
    pub fn after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + 1);
        self
    }

    /// The same, with what can be done in this very case where the catalogue's advice can't be followed.
    pub fn advise(mut self, what_to_do: impl Into<String>) -> Self {
        self.what_to_do = what_to_do.into();
        self
    }

    /// The same, naming the field at fault.
    pub fn at(mut self, field: Option<impl Into<String>>) -> Self {
        self.field = field.map(|field| plain(field.into().chars().take(MAX_FIELD).collect()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_complete() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()));
            assert!((400..=599).contains(&code.status()), "{code}");
            assert!(code.title().ends_with('.') && code.what_to_do().ends_with('.'), "{code}");
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }

    /// The table of docs/PROTOCOL.md, made anew.
    fn table() -> String {
        let row = |code: &Code| {
            let retryable = if code.retryable() { "yes" } else { "no" };
            format!(
                "| `{code}` | {} | {retryable} | {} | {} |\n",
                code.status(),
                code.title(),
                code.what_to_do()
            )
        };
        let rows: String = Code::ALL.iter().map(row).collect();
        format!("| code | status | retryable | meaning | what to do |\n|---|---|---|---|---|\n{rows}")
    }

    #[test]
    fn docs_list_every_problem() {
        let documented = include_str!("../../docs/PROTOCOL.md")
            .split_once("<!-- problems:begin -->\n")
            .and_then(|(_, rest)| rest.split_once("<!-- problems:end -->"))
            .map(|(documented, _)| documented.trim_matches('\n'));
        let table = table();
        assert!(
            documented == Some(table.trim_end()),
            "put this between the problems markers of docs/PROTOCOL.md:\n\n{table}"
        );
    }
}
